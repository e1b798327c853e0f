# A Swarm service each, for the engine `swarm`: a task is one container with the app, its sidecar and what starts both
# (image/task). The Swarm places tasks, starts others when a node dies, and replaces them one by one, new before old; a task
# counts when its health check, which asks as callers do, has passed, and the first that fails takes the update back.

locals {
  # File → what it is a version of. Contents stay out of the state: the program below brings them, the state has names and ids.
  task_secrets = {
    for name in local.in_tasks : name => merge(
      {
        "svid.pem" = local.services[name].identity.fingerprint
        "ca.pem"   = data.external.identity.result.bundle_fingerprint
      },
      { for file in local.services[name].secrets : "app/${file}" => local.services[name].identity.app_secrets_digest },
    )
  }

  # All that a roll-out puts into place, by names that are known at plan.
  rollouts = {
    for name in local.in_tasks : name => substr(sha256(jsonencode([
      local.generations[name],
      local.image_names[name],
      local.task_secrets[name],
      local.replicas[name],
      local.services[name].memory,
      local.durations,
    ])), 0, 12)
  }

  # As the provider reads them back: `1m`, not `60s`, which it would set again in every plan.
  durations = {
    for name, t in { gate = var.gate_timeout, stop = var.drain_seconds + 20 } : name => join("", [
      t >= 3600 ? "${floor(t / 3600)}h" : "",
      t % 3600 >= 60 || (t >= 3600 && t % 60 > 0) ? "${floor(t % 3600 / 60)}m" : "",
      t % 60 > 0 ? "${t % 60}s" : "",
    ])
  }

  task_env = {
    for name in local.in_tasks : name => {
      for key, value in merge(local.app_env[name], {
        ENVOY_CONFIG      = local.envoy_configs[name]
        KARST_DRAIN_LIMIT = tostring(var.drain_seconds)
      }) : key => replace(value, "{{", "{{\"{{\"}}") # else the Swarm would take it for a template of its own
    }
  }

  tasks_query = {
    stack    = var.stack
    services = jsonencode({ for name in local.in_tasks : name => { image = local.image_names[name], secrets = local.task_secrets[name] } })
    host     = var.docker_host
    certs    = var.docker_cert_path
  }

  tasks = var.engine == "swarm" ? jsondecode(data.external.tasks[0].result.services) : {}
}

# Pushes the image and makes the Swarm's secrets: not docker_secret, which keeps its data in the state, nor
# docker_registry_image, which wants a registry's login in the configuration.
resource "terraform_data" "supplies" {
  for_each = local.in_tasks

  triggers_replace = [local.app_images[each.key], local.image_names[each.key], local.task_secrets[each.key]]

  # What a destroy needs may come from here alone.
  input = {
    program     = "${local.scripts}/swarm"
    environment = merge(local.engine_environment, { KARST_STACK = var.stack, KARST_SERVICE = each.key })
  }

  provisioner "local-exec" {
    command     = "exec \"$KARST_SWARM\" supply"
    interpreter = ["/bin/sh", "-c"]
    quiet       = true
    environment = merge(local.engine_environment, {
      KARST_SWARM       = "${local.scripts}/swarm"
      KARST_STACK       = var.stack
      KARST_SERVICE     = each.key
      KARST_IMAGE       = local.image_names[each.key]
      KARST_SECRETS     = jsonencode(local.task_secrets[each.key])
      KARST_SECRETS_DIR = abspath(var.secrets_dir)
    })
  }

  # After the service, which is destroyed first: its secrets, and its tasks, without which the network can go.
  provisioner "local-exec" {
    when        = destroy
    command     = "exec \"$KARST_SWARM\" clear"
    interpreter = ["/bin/sh", "-c"]
    quiet       = true
    environment = merge(self.input.environment, { KARST_SWARM = self.input.program })
  }

  # Of all services: a build that fails then fails before any task has been touched.
  depends_on = [local.app_images]
}

# The ids of the secrets and the digests of the images. Read at apply where supplies change, else at plan.
data "external" "tasks" {
  count = var.engine == "swarm" ? 1 : 0

  program = ["${local.scripts}/swarm", "find"]
  query   = local.tasks_query

  depends_on = [terraform_data.supplies]
}

resource "docker_service" "task" {
  for_each = local.in_tasks

  # As `docker stack` names them: a `-` would make the names of two stacks meet.
  name = "${var.stack}_${each.key}"

  task_spec {
    container_spec {
      image   = local.tasks[each.key].image
      command = ["/opt/karst/task"]
      args    = local.services[each.key].image.argv
      env     = local.task_env[each.key]
      # Root until the network is closed and both processes run as users of their own: image/task/task.
      user      = "0:0"
      cap_drop  = ["ALL"]
      cap_add   = ["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SETGID", "CAP_SETUID"]
      read_only = true

      # Longer than the drain and the app's own time to stop.
      stop_grace_period = local.durations["stop"]

      dynamic "mounts" {
        for_each = { "/tmp" = { size = 256, mode = null }, "/run/karst" = { size = 4, mode = 493 } } # 0755; for null 01777
        content {
          type   = "tmpfs"
          target = mounts.key
          tmpfs_options {
            mode       = mounts.value.mode
            size_bytes = mounts.value.size * 1024 * 1024
          }
        }
      }

      # The sidecar's key for its user alone, the app's secrets for the app's.
      dynamic "secrets" {
        for_each = local.task_secrets[each.key]
        content {
          secret_id   = local.tasks[each.key].secrets[secrets.key].id
          secret_name = local.tasks[each.key].secrets[secrets.key].name
          file_name   = startswith(secrets.key, "app/") ? trimprefix(secrets.key, "app/") : "/secrets/${secrets.key}"
          file_uid    = startswith(secrets.key, "app/") ? "10001" : "10002"
          file_gid    = startswith(secrets.key, "app/") ? "10001" : "10002"
          file_mode   = 256 # 0400
        }
      }

      healthcheck {
        test         = ["CMD", "/opt/karst/check"]
        interval     = "3s"
        timeout      = "5s"
        retries      = 3
        start_period = local.durations["gate"]
      }

      # What stays: of another label the provider would make another service, and none would serve meanwhile.
      dynamic "labels" {
        for_each = { "karst.stack" = var.stack, "karst.service" = each.key, "karst.role" = "task" }
        content {
          label = labels.key
          value = labels.value
        }
      }
    }

    networks_advanced {
      id      = var.network
      aliases = [each.key]
    }

    # Both processes' together: a sidecar takes up to 256 MiB.
    resources {
      limits {
        memory_bytes = local.memory_mib[each.key] == null ? 0 : (local.memory_mib[each.key] + 256) * 1024 * 1024
        nano_cpus    = local.services[each.key].cpus == null ? 0 : floor(local.services[each.key].cpus * 1000000000)
      }
    }

    restart_policy {
      condition    = "any"
      delay        = "2s"
      max_attempts = 0
      window       = "0s"
    }

    dynamic "log_driver" {
      for_each = var.log_megabytes == 0 ? [] : [local.log_opts]
      content {
        name    = "json-file"
        options = log_driver.value
      }
    }
  }

  mode {
    replicated {
      replicas = local.replicas[each.key]
    }
  }

  update_config {
    order          = "start-first"
    parallelism    = 1
    failure_action = "rollback"
    monitor        = "5s"
  }

  rollback_config {
    order       = "start-first"
    parallelism = 0 # all at once: what ran before needs no trial
    monitor     = "5s"
  }

  # By name to addresses: the sidecars balance by themselves, and ask each task for its health.
  endpoint_spec {
    mode = "dnsrr"
  }

  # The roll-out that it is in, by which the program below sees whether the Swarm has gone back to the one before.
  dynamic "labels" {
    for_each = merge(local.labels[each.key], { "karst.rollout" = local.rollouts[each.key] })
    content {
      label = labels.key
      value = labels.value
    }
  }

  lifecycle {
    # The engine fills in the platforms that the registry knows of.
    ignore_changes = [task_spec[0].placement]
  }
}

# Waits until all tasks are the new ones; when the Swarm takes the update back, fails with the reason. Not the provider's
# converge_config, which knows no reason and removes a service that does not come up at once.
resource "terraform_data" "rollout" {
  for_each = local.in_tasks

  triggers_replace = [local.made_tasks[each.key], local.rollouts[each.key]]

  provisioner "local-exec" {
    command     = "exec \"$KARST_SWARM\" wait"
    interpreter = ["/bin/sh", "-c"]
    quiet       = true
    environment = merge(local.engine_environment, {
      KARST_SWARM        = "${local.scripts}/swarm"
      KARST_STACK        = var.stack
      KARST_SERVICE      = each.key
      KARST_ROLLOUT      = local.rollouts[each.key]
      KARST_GATE_TIMEOUT = var.gate_timeout
    })
  }
}
