terraform {
  required_version = ">= 1.5"

  # Stacks other than the default one give another path at init (docs/stacks.md). Not Terraform's own default name: a file
  # of that name would make every init with another path ask whether to copy it.
  backend "local" {
    path = "karst.tfstate"
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

# Host, certificates and registry logins come from DOCKER_HOST and the Docker CLI's configuration, as for `docker` itself.
provider "docker" {}
