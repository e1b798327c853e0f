# The edge's key on a Docker host that is not this machine: modules/karst_service/keys.tf says how and why. The keeper does
# nothing but hold the volume, so that the key is still in memory when the edge alone starts again.

resource "docker_volume" "keeper" {
  count = local.uploads ? 1 : 0

  driver_opts = var.identity_delivery == "memory" ? {
    type   = "tmpfs"
    device = "tmpfs"
    o      = "size=4m,mode=0700,uid=10001,gid=10001,nosuid,nodev,noexec"
  } : {}

  dynamic "labels" {
    for_each = { "karst.stack" = var.stack, "karst.service" = "edge" }
    content {
      label = labels.key
      value = labels.value
    }
  }
}

resource "docker_container" "keeper" {
  count = local.uploads ? 1 : 0

  name         = "${var.stack}-keeper"
  image        = docker_image.edge.image_id
  entrypoint   = ["sleep", "infinity"]
  user         = "10001:10001"
  init         = true
  network_mode = "none"
  restart      = "unless-stopped"
  read_only    = true
  memory       = 16
  memory_swap  = 16

  mounts {
    type   = "volume"
    source = docker_volume.keeper[0].name
    target = "/secrets"
  }

  capabilities {
    drop = ["ALL"]
  }
  security_opts = ["no-new-privileges:true"]

  dynamic "labels" {
    for_each = merge(local.labels, { "karst.role" = "keeper" })
    content {
      label = labels.key
      value = labels.value
    }
  }
}

resource "terraform_data" "keeper" {
  count = local.uploads ? 1 : 0

  triggers_replace = [
    docker_container.keeper[0].id,
    local.identity.fingerprint,
    data.external.identity.result.bundle_fingerprint,
  ]

  provisioner "local-exec" {
    command     = "exec \"$KARST_DELIVER\""
    interpreter = ["/bin/sh", "-c"]
    quiet       = true
    environment = merge(local.engine_environment, {
      KARST_DELIVER     = "${local.scripts}/deliver"
      KARST_SERVICE     = "ops/edge"
      KARST_CONTAINER   = docker_container.keeper[0].id
      KARST_SECRETS_DIR = abspath(var.secrets_dir)
    })
  }
}
