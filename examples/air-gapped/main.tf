# A machine without Docker Hub and without Terraform's registry: providers come from a folder, base images from a registry of
# one's own, the module from a git server of one's own, and Python packages from an index of one's own (PIP_INDEX_URL).

terraform {
  required_version = ">= 1.7"

  required_providers {
    docker = {
      source  = "kreuzwerker/docker"
      version = ">= 3.6, < 5"
    }
  }
}

provider "docker" {}

module "mesh" {
  source = "git::https://example.org/karstkit.git//modules/karst_mesh?ref=v0.1.0"

  stack         = var.stack
  network_name  = "${var.stack}-mesh"
  ports         = var.ports
  secrets_dir   = "${path.root}/secrets"
  base_image    = var.base_image
  build_ca_file = var.build_ca_file
}

module "services" {
  source = "git::https://example.org/karstkit.git//modules/karst_service?ref=v0.1.0"

  stack         = var.stack
  slugs         = var.slugs
  network       = module.mesh.network_id
  network_name  = "${var.stack}-mesh"
  edge          = module.mesh.edge
  secrets_dir   = "${path.root}/secrets"
  base_image    = var.base_image
  build_ca_file = var.build_ca_file
}
