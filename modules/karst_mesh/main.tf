# Once per stack: the network, the trust bundle with the operator's identity, and the edge.

locals {
  scripts   = abspath("${path.module}/../../scripts")
  image_dir = abspath("${path.module}/../karst_service/image/sidecar")

  image_hash = substr(sha256(jsonencode([
    var.base_image,
    { for file in fileset(local.image_dir, "**") : file => filesha256("${local.image_dir}/${file}") if !can(regex("(^|/)([.]|__pycache__)", file)) },
  ])), 0, 12)

  # The delivery talks to the engine that the provider was given.
  engine_environment = merge(
    var.docker_host == "" ? {} : { DOCKER_HOST = var.docker_host },
    var.docker_cert_path == "" ? {} : { DOCKER_CERT_PATH = var.docker_cert_path, DOCKER_TLS_VERIFY = "1" },
  )

  network = var.shared_network == null ? docker_network.mesh[0].id : var.shared_network.id

  labels = {
    "karst.stack"   = var.stack
    "karst.service" = "edge"
    "karst.role"    = "edge"
  }

  uploads  = var.identity_delivery != "bind"
  identity = jsondecode(data.external.identity.result.services)["ops/edge"]
}

resource "docker_network" "mesh" {
  count = var.shared_network == null ? 1 : 0

  name   = var.network_name
  driver = "bridge"

  labels {
    label = "karst.stack"
    value = var.stack
  }
}

data "external" "identity" {
  program = ["${local.scripts}/identity"]

  query = {
    secrets_dir  = abspath(var.secrets_dir)
    stack        = var.stack
    services     = jsonencode(["ops/edge", "ops/operator"])
    network      = var.network_name
    trust_domain = var.trust_domain
    lifetime     = var.cert_lifetime
  }

  lifecycle {
    precondition {
      condition     = fileexists("${local.scripts}/identity")
      error_message = "The kit's programs are not in ${local.scripts}: the module needs the whole repository, for example `git::https://example.org/karstkit.git//modules/karst_mesh`."
    }
    precondition {
      condition     = var.build_ca_file == "" || try(fileexists(var.build_ca_file), false)
      error_message = "There is no CA bundle at ${var.build_ca_file}: `build_ca_file` must be a file of this machine, for example `/etc/ssl/certs/ca-certificates.crt`."
    }
  }
}

# The sidecar's image under a name of its own: with one name in two modules, each would think that the other's was drift.
resource "docker_image" "edge" {
  name         = "karstkit/edge:${local.image_hash}"
  keep_locally = true
  triggers     = { inputs = local.image_hash }

  build {
    context    = local.image_dir
    dockerfile = "${local.image_dir}/Dockerfile" # a relative one is looked for beside the root first
    build_args = { BASE = var.base_image }
    label      = { "karst.kind" = "edge" }

    dynamic "secrets" {
      for_each = var.build_ca_file == "" ? [] : [var.build_ca_file]
      content {
        id  = "ca"
        src = secrets.value
      }
    }
  }

  lifecycle {
    ignore_changes        = [build]
    create_before_destroy = true
  }
}

resource "docker_container" "edge" {
  name       = "${var.stack}-edge"
  image      = docker_image.edge.image_id
  entrypoint = ["/opt/karst/edge"]
  user       = local.uploads ? "10001:10001" : "${data.external.identity.result.uid}:${data.external.identity.result.gid}"
  restart    = "unless-stopped"
  read_only  = true
  tmpfs = {
    "/run/karst" = "rw,nosuid,nodev,noexec,size=4m,mode=1777"
    "/tmp"       = "rw,nosuid,nodev,noexec,size=4m,mode=1777"
  }
  env = ["ENVOY_CONFIG=${templatefile("${path.module}/templates/edge.yaml.tmpl", {
    stack         = var.stack
    trust_domain  = var.trust_domain
    network       = var.network_name
    several_hosts = var.shared_network != null
  })}"]
  destroy_grace_seconds = 10
  memory                = 256
  memory_swap           = 256
  log_opts              = var.log_megabytes == 0 ? {} : { max-size = "${ceil(var.log_megabytes * 1024 / 3)}k", max-file = "3" }

  networks_advanced {
    name = local.network
  }

  dynamic "ports" {
    for_each = { 15000 = var.ports.edge, 9901 = var.ports.metrics, 8088 = var.ports.front_door }
    content {
      internal = tonumber(ports.key)
      external = ports.value
      ip       = "127.0.0.1"
    }
  }

  mounts {
    type      = local.uploads ? "volume" : "bind"
    source    = local.uploads ? docker_volume.keeper[0].name : local.identity.dir
    target    = "/secrets"
    read_only = true
  }

  capabilities {
    drop = ["ALL"]
  }
  security_opts = ["no-new-privileges:true"]

  dynamic "labels" {
    for_each = local.labels
    content {
      label = labels.key
      value = labels.value
    }
  }

  lifecycle {
    ignore_changes = [log_opts] # the engine adds options of its own configuration
  }
}
