# A Terraform repository of somebody else's: the module comes by git, network and state are its own. No bootstrap and no
# checkout of the kit: the helper scripts make their own Python environment in the cache, once.

terraform {
  required_version = ">= 1.7"

  required_providers {
    docker = {
      source  = "kreuzwerker/docker"
      version = ">= 3.6, < 5"
    }
  }

  # Yours: s3, gcs, pg, http … What is kept in it are paths, hashes and settings, and the values of `env:`; no key.
  backend "local" {
    path = "state/services.tfstate"
  }
}

provider "docker" {}

resource "docker_network" "mesh" {
  name = "${var.stack}-mesh"

  labels {
    label = "karst.stack"
    value = var.stack
  }
}

module "services" {
  source = "git::https://example.org/karstkit.git//modules/karst_service?ref=v0.1.0"

  stack = var.stack
  slugs = [
    { slug = "dir:apps/api", port = 8123 },
    { slug = "dir:apps/report", allow = ["api"] },
  ]

  network       = docker_network.mesh.id
  network_name  = "${var.stack}-mesh"
  secrets_dir   = "${path.root}/secrets" # made with a development CA, unless ca.pem and ca.key are there
  base_image    = var.base_image
  build_ca_file = var.build_ca_file
}
