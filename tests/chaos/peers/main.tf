# The usual way to run images with this provider: one image and one container for each service, replaced when code changes.
terraform {
  required_version = ">= 1.5"

  required_providers {
    docker = {
      source  = "kreuzwerker/docker"
      version = ">= 3.6, < 5"
    }
  }
}

variable "name" {
  description = "Of the network; containers and images begin with it."
  type        = string
}

variable "ports" {
  description = "Ports on 127.0.0.1, by service."
  type        = map(number)
}

locals {
  services = toset(["web", "rpc", "caller"])
  hashes = {
    for name in local.services :
    name => sha256(join("", [for file in sort(fileset("${path.module}/${name}", "*")) : filesha256("${path.module}/${name}/${file}")]))
  }
}

resource "docker_network" "this" {
  name = var.name
}

resource "docker_image" "this" {
  for_each = local.services

  name     = "${var.name}-${each.key}"
  triggers = { files = local.hashes[each.key] }

  build {
    context = "${path.module}/${each.key}"
  }
}

resource "docker_container" "this" {
  for_each = local.services

  name    = "${var.name}-${each.key}"
  image   = docker_image.this[each.key].image_id
  env     = ["HOST=0.0.0.0", "PORT=8000"]
  init    = true
  restart = "unless-stopped"

  networks_advanced {
    name    = docker_network.this.id
    aliases = [each.key]
  }

  dynamic "ports" {
    for_each = contains(keys(var.ports), each.key) ? [var.ports[each.key]] : []
    content {
      internal = 8000
      external = ports.value
      ip       = "127.0.0.1"
    }
  }
}
