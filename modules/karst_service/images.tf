# Three images that do not depend on any service (builder, runner base, sidecar; for a Swarm's tasks a base that has both of
# these), and one per service.
# An image's identity is the hash of what goes into it: image ids are not reproducible, and a plan does not read the
# context. `build` is ignored because the context's path differs between machines while its hash, the tag, does not.

locals {
  image_dir = "${path.module}/image"

  infra_hashes = {
    for kind in ["builder", "runner", "sidecar"] : kind => substr(sha256(jsonencode([
      var.base_image,
      { for file in fileset("${local.image_dir}/${kind}", "**") : file => filesha256("${local.image_dir}/${kind}/${file}")
      if !can(regex("(^|/)([.]|__pycache__)", file)) },
    ])), 0, 12)
  }

  build_secrets = merge(var.build_ca_file == "" ? {} : { ca = var.build_ca_file }, var.build_secrets)

  infra_images = { for kind, hash in local.infra_hashes : kind => "karstkit/${kind}:${hash}" }

  task_hash = substr(sha256(jsonencode([
    local.infra_hashes.runner,
    local.infra_hashes.sidecar,
    { for file in ["Dockerfile", "check", "task"] : file => filesha256("${local.image_dir}/task/${file}") },
  ])), 0, 12)

  # What the apps' images are built on, and what they are called: a Swarm's nodes take them from a registry.
  runner_image = var.engine == "swarm" ? "karstkit/task:${local.task_hash}" : local.infra_images.runner
  image_names  = { for name, service in local.services : name => var.engine == "swarm" ? "${var.registry}/${service.image.tag}" : service.image.tag }
}

resource "docker_image" "infra" {
  for_each = local.infra_images

  name         = each.value
  keep_locally = true
  triggers     = { inputs = local.infra_hashes[each.key] }

  build {
    context    = abspath("${local.image_dir}/${each.key}")
    dockerfile = abspath("${local.image_dir}/${each.key}/Dockerfile") # a relative one is looked for beside the root first
    build_args = { BASE = var.base_image }
    label      = { "karst.kind" = each.key }

    dynamic "secrets" {
      for_each = local.build_secrets
      content {
        id  = secrets.key
        src = secrets.value
      }
    }
  }

  lifecycle {
    ignore_changes        = [build]
    create_before_destroy = true
  }
}

resource "docker_image" "task" {
  count = var.engine == "swarm" ? 1 : 0

  name         = local.runner_image
  keep_locally = true
  triggers     = { inputs = local.task_hash }

  build {
    context    = abspath("${local.image_dir}/task")
    dockerfile = abspath("${local.image_dir}/task/Dockerfile")
    build_args = { RUNNER = local.infra_images.runner, SIDECAR = local.infra_images.sidecar }
    label      = { "karst.kind" = "task" }

    dynamic "secrets" {
      for_each = local.build_secrets
      content {
        id  = secrets.key
        src = secrets.value
      }
    }
  }

  lifecycle {
    ignore_changes        = [build]
    create_before_destroy = true
  }

  depends_on = [docker_image.infra]
}

resource "docker_image" "app" {
  for_each = local.placed

  name         = local.image_names[each.key]
  keep_locally = var.keep_images
  triggers     = { inputs = local.services[each.key].image.input_hash }

  # A service held or rolled back to an image that is there: without a build block the provider takes it as it is.
  dynamic "build" {
    for_each = try(local.services[each.key].image.built, false) ? [] : [local.services[each.key].image]
    content {
      context    = build.value.context
      dockerfile = "${build.value.context}/${build.value.dockerfile}"
      label = merge(
        { "karst.stack" = var.stack, "karst.service" = each.key, "karst.kind" = "app" },
        local.own_image[each.key] ? { "karst.dockerfile" = build.value.dockerfile } : {},
      )

      dynamic "secrets" {
        for_each = local.build_secrets
        content {
          id  = secrets.key
          src = secrets.value
        }
      }
    }
  }

  lifecycle {
    ignore_changes        = [build]
    create_before_destroy = true
  }

  depends_on = [docker_image.infra, docker_image.task]
}
