terraform {
  required_version = ">= 1.5"

  # The path is given at init (`-backend-config=path=…`) for stacks other than the default one; see docs/stacks.md.
  backend "local" {}

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

# Host, certificates and registry logins come from DOCKER_HOST and the Docker CLI's configuration, as for `docker` itself.
provider "docker" {}
