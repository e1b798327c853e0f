# What somebody writes who runs the same containers without the kit: a network, an edge, three containers for each
# service, an image for each. No helper program, no gate, no hand-over between generations.
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

variable "images" {
  description = "The sidecar's image and the edge's, which are there."
  type        = object({ sidecar = string, edge = string })
}

variable "user" {
  description = "Numeric owner of the keys."
  type        = string
}

variable "edge" {
  description = "Its configuration, the folder of its identity, and its ports on 127.0.0.1 by the port inside."
  type        = object({ env = list(string), identity = string, ports = map(number) })
}

variable "services" {
  description = "By name: environment of app and sidecar, folder of its identity."
  type        = map(object({ app_env = list(string), sidecar_env = list(string), identity = string }))
}

locals {
  hashes = {
    for name in keys(var.services) : name => substr(sha256(join("", [
      for file in sort(fileset("${path.module}/${name}", "*")) : filesha256("${path.module}/${name}/${file}")
    ])), 0, 12)
  }
}

resource "docker_network" "this" {
  name = var.name
}

resource "docker_image" "sidecar" {
  name         = var.images.sidecar
  keep_locally = true
}

resource "docker_image" "edge" {
  name         = var.images.edge
  keep_locally = true
}

resource "docker_image" "app" {
  for_each = var.services

  name         = "${var.name}/${each.key}:${local.hashes[each.key]}"
  keep_locally = true
  triggers     = { files = local.hashes[each.key] }

  build {
    context = "${path.module}/${each.key}"
  }
}

resource "docker_container" "edge" {
  name       = "${var.name}-edge"
  image      = docker_image.edge.image_id
  entrypoint = ["/opt/karst/edge"]
  user       = var.user
  restart    = "unless-stopped"
  read_only  = true
  tmpfs = {
    "/run/karst" = "rw,nosuid,nodev,noexec,size=4m,mode=1777"
    "/tmp"       = "rw,nosuid,nodev,noexec,size=4m,mode=1777"
  }
  env                   = var.edge.env
  destroy_grace_seconds = 10
  memory                = 256
  memory_swap           = 256
  security_opts         = ["no-new-privileges:true"]

  networks_advanced {
    name = docker_network.this.id
  }

  dynamic "ports" {
    for_each = var.edge.ports
    content {
      internal = tonumber(ports.key)
      external = ports.value
      ip       = "127.0.0.1"
    }
  }

  mounts {
    type      = "bind"
    source    = var.edge.identity
    target    = "/secrets"
    read_only = true
  }

  capabilities {
    drop = ["ALL"]
  }
}

resource "docker_container" "pod" {
  for_each = var.services

  name          = "${var.name}-${each.key}-pod"
  image         = docker_image.sidecar.image_id
  entrypoint    = ["/opt/karst/pod"]
  user          = "0:0"
  init          = true
  restart       = "unless-stopped"
  memory        = 32
  memory_swap   = 32
  security_opts = ["no-new-privileges:true"]

  networks_advanced {
    name    = docker_network.this.id
    aliases = [each.key]
  }

  capabilities {
    add  = ["CAP_NET_ADMIN", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"]
    drop = ["ALL"]
  }

  labels {
    label = "service"
    value = each.key
  }
}

resource "docker_container" "app" {
  for_each = var.services

  name                  = "${var.name}-${each.key}-app"
  image                 = docker_image.app[each.key].image_id
  network_mode          = "container:${docker_container.pod[each.key].id}"
  env                   = each.value.app_env
  restart               = "unless-stopped"
  destroy_grace_seconds = 15
  read_only             = true
  tmpfs                 = { "/tmp" = "rw,nosuid,nodev,size=256m,mode=1777" }
  security_opts         = ["no-new-privileges:true"]

  ulimit {
    name = "nproc"
    soft = 8192
    hard = 8192
  }

  capabilities {
    drop = ["ALL"]
  }

  labels {
    label = "service"
    value = each.key
  }
}

resource "docker_container" "sidecar" {
  for_each = var.services

  name         = "${var.name}-${each.key}-sidecar"
  image        = docker_image.sidecar.image_id
  entrypoint   = ["/opt/karst/sidecar"]
  network_mode = "container:${docker_container.pod[each.key].id}"
  user         = var.user
  restart      = "unless-stopped"
  read_only    = true
  tmpfs = {
    "/run/karst" = "rw,nosuid,nodev,noexec,size=4m,mode=1777"
    "/tmp"       = "rw,nosuid,nodev,noexec,size=4m,mode=1777"
  }
  env                   = each.value.sidecar_env
  destroy_grace_seconds = 30
  memory                = 256
  memory_swap           = 256
  security_opts         = ["no-new-privileges:true"]

  mounts {
    type      = "bind"
    source    = each.value.identity
    target    = "/secrets"
    read_only = true
  }

  capabilities {
    drop = ["ALL"]
  }

  labels {
    label = "service"
    value = each.key
  }

  depends_on = [docker_container.app]
}
