# Three images that do not depend on any service (builder, runner base, sidecar), and one per service.
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

resource "docker_image" "app" {
  for_each = local.placed

  name         = local.services[each.key].image.tag
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

  depends_on = [docker_image.infra]
}
