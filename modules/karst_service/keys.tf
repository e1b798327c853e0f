# Keys and secrets on a Docker host that is not this machine, whose containers can mount none of its folders. They go over
# Docker's API into a volume that the pod's container holds and that sidecar or app mount read-only. In memory (tmpfs) the
# volume is empty again when nobody holds it any more: after a restart of the host, not after one of a container.
#
# Not by the provider's `upload`: it runs before the container does, when Docker mounts a tmpfs volume for that moment only,
# and it replaces the container for each renewed certificate.

locals {
  uploads = var.identity_delivery != "bind"

  # In a volume everything can belong to the images' own user; a mounted folder keeps the owner that it has.
  key_owner = local.uploads ? { uid = "10001", gid = "10001" } : {
    uid = data.external.identity.result.uid
    gid = data.external.identity.result.gid
  }

  volume_options = var.identity_delivery == "memory" ? {
    type   = "tmpfs"
    device = "tmpfs"
    o      = "size=4m,mode=0700,uid=10001,gid=10001,nosuid,nodev,noexec"
  } : {}

  key_bearers    = { for key, pod in local.pods : key => pod if local.uploads }
  secret_bearers = { for key, pod in local.key_bearers : key => pod if local.services[pod.service].identity.app_secrets != "" }

  # The programs below talk to the engine that the provider was given.
  engine_environment = merge(
    var.docker_host == "" ? {} : { DOCKER_HOST = var.docker_host },
    var.docker_cert_path == "" ? {} : { DOCKER_CERT_PATH = var.docker_cert_path, DOCKER_TLS_VERIFY = "1" },
  )
}

resource "docker_volume" "keys" {
  for_each = local.key_bearers

  driver_opts = local.volume_options

  dynamic "labels" {
    for_each = { "karst.stack" = var.stack, "karst.service" = each.value.service }
    content {
      label = labels.key
      value = labels.value
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "docker_volume" "app_secrets" {
  for_each = local.secret_bearers

  driver_opts = local.volume_options

  dynamic "labels" {
    for_each = { "karst.stack" = var.stack, "karst.service" = each.value.service }
    content {
      label = labels.key
      value = labels.value
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

# Fills a new pod, and a running one again when a certificate was renewed; nothing is replaced or restarted for that.
resource "terraform_data" "keys" {
  for_each = local.key_bearers

  triggers_replace = [
    local.made_pods[each.key].id,
    local.services[each.value.service].identity.fingerprint,
    data.external.identity.result.bundle_fingerprint,
    local.services[each.value.service].identity.app_secrets_digest,
  ]

  provisioner "local-exec" {
    command     = "exec \"$KARST_DELIVER\""
    interpreter = ["/bin/sh", "-c"]
    quiet       = true
    environment = merge(local.engine_environment, {
      KARST_DELIVER     = "${local.scripts}/deliver"
      KARST_SERVICE     = each.value.service
      KARST_CONTAINER   = local.made_pods[each.key].id
      KARST_SECRETS_DIR = abspath(var.secrets_dir)
    })
  }

  lifecycle {
    create_before_destroy = true
  }
}
