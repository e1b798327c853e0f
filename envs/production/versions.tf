terraform {
  required_version = ">= 1.5"

  # The state and its lock are in Postgres; PG_CONN_STR says where and as whom, so that no password is in a file or in a plan.
  # Stacks other than the default one give another schema at init, as `iac --env production --stack NAME` does.
  backend "pg" {
    schema_name = "karst"
  }

  required_providers {
    docker = {
      source  = "kreuzwerker/docker"
      version = ">= 3.6, < 5"
    }
    external = {
      source  = "hashicorp/external"
      version = ">= 1.2, < 3"
    }
  }
}

# The engine is the one that DOCKER_HOST names, for example ssh://deploy@host: for this provider, the gates, the delivery of
# keys and `iac` alike.
provider "docker" {}
