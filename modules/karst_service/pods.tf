# A pod is three containers in one network namespace, made and replaced as a chain: pod → app → sidecar → gate. With
# siblings instead of a chain, Terraform stopped the old app before the new sidecar was healthy.

# Not with several hosts: an engine knows an overlay network only once a container of its own is on it.
data "docker_network" "mesh" {
  count = local.overlay ? 0 : 1
  name  = var.network
}

# Owns the network namespace and the name `<service>` on the network; sets the packet filter, drops every right, sleeps.
resource "docker_container" "pod" {
  for_each = local.pods

  name       = local.names[each.key].pod
  image      = local.sidecar_image
  entrypoint = ["/opt/karst/pod"]
  user       = "0:0"
  init       = true
  restart    = "unless-stopped"
  must_run   = true

  networks_advanced {
    name    = local.network
    aliases = [each.value.service]
  }

  # Root, with what it takes to set the packet filter; the entry script gives all of it up before it idles.
  capabilities {
    add  = ["CAP_NET_ADMIN", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"]
    drop = ["ALL"]
  }
  security_opts = ["no-new-privileges:true"]
  memory        = 32
  memory_swap   = 32

  # Where keys.tf delivers to: writable here alone, and only to the user that they belong to.
  dynamic "mounts" {
    for_each = merge(
      local.uploads ? { "/secrets" = local.key_volumes[each.key] } : {},
      local.uploads && local.services[each.value.service].identity.app_secrets != "" ? { "/app-secrets" = local.secret_volumes[each.key] } : {},
    )
    content {
      type   = "volume"
      source = mounts.value
      target = mounts.key
    }
  }

  dynamic "labels" {
    for_each = merge(local.pod_labels[each.key], { "karst.role" = "pod" })
    content {
      label = labels.key
      value = labels.value
    }
  }

  lifecycle {
    create_before_destroy = true
    ignore_changes        = [name]
  }

  # Of all services: a build that fails then fails before any pod has been touched.
  depends_on = [local.app_images]
}

# The runner as PID 1 and the repository's main() as its child, or what the repository's own image starts. Never sees a
# mesh key.
resource "docker_container" "app" {
  for_each = local.pods

  name                  = local.names[each.key].app
  image                 = local.app_images[each.value.service]
  network_mode          = "container:${local.made_pods[each.key].id}"
  env                   = [for key, value in local.app_env[each.value.service] : "${key}=${value}"]
  restart               = "unless-stopped"
  destroy_grace_seconds = 15
  read_only             = !contains(local.writable[each.value.service], "/")
  tmpfs = merge(
    { "/tmp" = "rw,nosuid,nodev,size=256m,mode=1777" },
    # For pid files and sockets. Not for everybody: runc before 1.1.9 keeps the mode of the image's own folder.
    local.own_image[each.value.service] ? { "/run" = "rw,nosuid,nodev,size=64m,mode=755${local.run_owner[each.value.service]}" } : {},
  )
  command = local.command[each.value.service]
  user    = local.user[each.value.service]
  # Programs that were not written to be PID 1 do not end on SIGTERM; the runner is one that was.
  init        = local.own_image[each.value.service] ? true : null
  memory      = local.memory_mib[each.value.service]
  memory_swap = local.memory_mib[each.value.service]
  cpus        = local.services[each.value.service].cpus == null ? null : tostring(local.services[each.value.service].cpus)

  # Against fork bombs. The provider has no pids_limit; this one counts all processes and threads of the apps' user on the
  # host.
  ulimit {
    name = "nproc"
    soft = local.processes
    hard = local.processes
  }

  dynamic "mounts" {
    for_each = local.services[each.value.service].identity.app_secrets == "" ? [] : [
      local.uploads ? local.secret_volumes[each.key] : local.services[each.value.service].identity.app_secrets
    ]
    content {
      type      = local.uploads ? "volume" : "bind"
      source    = mounts.value
      target    = "/run/secrets"
      read_only = true
    }
  }

  # Anonymous volumes: they begin with what the image has there, owner and mode included, and go with the container.
  dynamic "volumes" {
    for_each = setsubtract(local.writable[each.value.service], ["/"])
    content {
      container_path = volumes.value
    }
  }

  # Many images begin as root to prepare a folder and then become another user: these are what that takes. Of somebody who
  # is not root they make nothing, because no privilege can be gained; `user:` leaves them away.
  capabilities {
    add  = local.own_image[each.value.service] && local.user[each.value.service] == null ? ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"] : null
    drop = ["ALL"]
  }
  security_opts = ["no-new-privileges:true"]
  log_opts      = local.log_opts

  dynamic "labels" {
    for_each = merge(local.pod_labels[each.key], { "karst.role" = "app" })
    content {
      label = labels.key
      value = labels.value
    }
  }

  lifecycle {
    create_before_destroy = true
    # The engine adds options of its own configuration to `log_opts`. Of `cpus`, the provider reads some numbers back otherwise
    # than they were given (1 as `1.0`, 0.05 as `0.1`), and would replace the app in every plan; a change of it is a new
    # generation.
    ignore_changes = [name, log_opts, cpus]
  }

  depends_on = [local.delivered]
}

# Envoy. It runs as the numeric owner of its key, so that a 0600 key needs nobody to be root.
resource "docker_container" "sidecar" {
  for_each = local.pods

  name         = local.names[each.key].sidecar
  image        = local.sidecar_image
  entrypoint   = ["/opt/karst/sidecar"]
  network_mode = "container:${local.made_pods[each.key].id}"
  user         = "${local.key_owner.uid}:${local.key_owner.gid}"
  restart      = "unless-stopped"
  read_only    = true
  tmpfs = {
    "/run/karst" = "rw,nosuid,nodev,noexec,size=4m,mode=1777"
    "/tmp"       = "rw,nosuid,nodev,noexec,size=4m,mode=1777"
  }
  env = concat([
    "ENVOY_CONFIG=${local.envoy_configs[each.value.service]}",
    "KARST_DRAIN_LIMIT=${var.drain_seconds}",
    "KARST_PORT=${local.app_env[each.value.service].KARST_PORT}",
    "PORT=${local.app_env[each.value.service].PORT}",
    ], !local.own_image[each.value.service] ? [] : [
    "KARST_ANSWER=1",
    "KARST_HEALTH=${local.app_env[each.value.service].KARST_HEALTH}",
    "KARST_REVISION=${local.app_env[each.value.service].KARST_REVISION}",
    "KARST_SERVICE=${each.value.service}",
    "KARST_STACK=${var.stack}",
  ])
  # Longer than the drain: a kill in the middle of it would lose the requests that the drain waits for.
  destroy_grace_seconds = var.drain_seconds + 10
  memory                = 256
  memory_swap           = 256

  mounts {
    type      = local.uploads ? "volume" : "bind"
    source    = local.uploads ? local.key_volumes[each.key] : local.services[each.value.service].identity.dir
    target    = "/secrets"
    read_only = true
  }

  capabilities {
    drop = ["ALL"]
  }
  security_opts = ["no-new-privileges:true"]
  log_opts      = local.log_opts

  dynamic "labels" {
    for_each = merge(local.pod_labels[each.key], { "karst.role" = "sidecar" })
    content {
      label = labels.key
      value = labels.value
    }
  }

  lifecycle {
    create_before_destroy = true
    ignore_changes        = [name, log_opts] # the engine adds options of its own configuration
  }

  depends_on = [local.made_apps]
}

# The switch, one a service. Asks all new pods HealthCheck over mTLS; when every one is SERVING, drains the old ones; when one
# does not get there, takes the new ones out of rotation and fails with the reason. Terraform destroys nothing old before
# all gates ran, so that at no time fewer pods serve than are wanted.
resource "terraform_data" "gate" {
  for_each = local.in_pods

  triggers_replace = [for key in local.pods_of[each.key] : local.made_sidecars[key]]

  provisioner "local-exec" {
    command     = "exec \"$KARST_GATE\""
    interpreter = ["/bin/sh", "-c"]
    quiet       = true
    environment = merge(local.engine_environment, {
      KARST_GATE    = "${local.scripts}/gate"
      KARST_SERVICE = each.key
      KARST_STACK   = var.stack
      KARST_PODS = jsonencode([
        for key in local.pods_of[each.key] : merge(local.made_pods[key], { address = local.addresses[key] })
      ])
      KARST_EDGE         = var.edge == null ? "" : "${var.edge.host}:${var.edge.port}"
      KARST_SECRETS_DIR  = abspath(var.secrets_dir)
      KARST_TRUST_DOMAIN = var.trust_domain
      KARST_GATE_TIMEOUT = var.gate_timeout
      KARST_LOG_DIR      = var.log_dir == "" ? "" : abspath(var.log_dir)
      KARST_OWN_IMAGE    = local.own_image[each.key] ? "1" : ""
    })
  }

  lifecycle {
    create_before_destroy = true
  }
}
