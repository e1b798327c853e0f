# From slugs to what each pod needs, in four steps. Each step is one small program that takes all services in one call, so
# that the number of processes of a plan does not grow with the number of services. None of them is given an attribute of
# a resource: that would put the read off to the apply.

locals {
  scripts = abspath("${path.module}/../../scripts")
}

data "external" "fetch" {
  program = ["${local.scripts}/fetch"]

  query = {
    slugs      = var.slugs == null ? "" : jsonencode(var.slugs)
    slugs_file = var.slugs_file
    base_dir   = abspath(coalesce(var.base_dir, path.root))
    lock_file  = var.lock_file
    held_file  = var.held_file
    stack      = var.stack
  }

  # What the variables say together, and what is there of the kit: told once, before anything runs.
  lifecycle {
    precondition {
      condition     = fileexists("${local.scripts}/fetch")
      error_message = "The kit's programs are not in ${local.scripts}: the module needs the whole repository, for example `git::https://example.org/karstkit.git//modules/karst_service`."
    }
    precondition {
      condition     = (var.slugs == null) != (var.slugs_file == "")
      error_message = "What to deploy is said in `slugs` or in `slugs_file`, in one of them: for example `slugs = [\"gh:owner/repo#v1.2.0\"]`."
    }
    precondition {
      condition     = var.build_ca_file == "" || try(fileexists(var.build_ca_file), false)
      error_message = "There is no CA bundle at ${var.build_ca_file}: `build_ca_file` must be a file of this machine, for example `/etc/ssl/certs/ca-certificates.crt`."
    }
    precondition {
      condition     = alltrue([for path in values(var.build_secrets) : try(fileexists(path), false)])
      error_message = "There is no file at ${join(", ", [for path in values(var.build_secrets) : path if !try(fileexists(path), false)])}: `build_secrets` must be files of this machine, for example `{ netrc = pathexpand(\"~/.netrc\") }`."
    }
    precondition {
      condition     = var.engine != "swarm" || (var.registry != "" && var.placement == null && var.identity_delivery == "bind")
      error_message = "With the engine `swarm`, a Swarm places tasks on nodes that take their images from a registry, and keys are its secrets: set `registry`, and leave `placement` and `identity_delivery` away; for example `registry = \"registry.example:5000\"`."
    }
    precondition {
      condition     = !var.envoy_spans || local.collector != null
      error_message = "Envoy's spans need a collector: set `otlp_endpoint` (OTEL_EXPORTER_OTLP_ENDPOINT), for example `http://collector:4317`."
    }
  }
}

data "external" "detect" {
  program = ["${local.scripts}/detect"]

  query = {
    services = data.external.fetch.result.services
  }

  lifecycle {
    precondition {
      condition     = var.engine != "swarm" || length(local.with_own_image) == 0
      error_message = "`dockerfile:` of ${join(", ", local.with_own_image)} is not for the engine `swarm`: there app and sidecar share one image, which is made on the kit's own base; leave the key out, or run that service with the engine `docker`."
    }
  }
}

data "external" "render" {
  program = ["${local.scripts}/render"]

  query = {
    services      = data.external.fetch.result.services
    detections    = data.external.detect.result.services
    stack         = var.stack
    base_image    = var.base_image
    runner_image  = local.runner_image
    builder_image = local.infra_images.builder
    ca            = var.build_ca_file == "" ? "" : "1"
  }
}

# Paths and fingerprints only: whatever an external returns is kept in the state in clear.
data "external" "identity" {
  program = ["${local.scripts}/identity"]

  query = {
    secrets_dir  = abspath(var.secrets_dir)
    stack        = var.stack
    services     = jsonencode(concat(sort(keys(local.fetched)), ["ops/operator"])) # the gate asks as the operator
    app_secrets  = jsonencode({ for name, service in local.fetched : name => service.secrets })
    own_images   = jsonencode(local.with_own_image)
    network      = var.network_name
    trust_domain = var.trust_domain
    lifetime     = var.cert_lifetime
  }
}

locals {
  fetched    = jsondecode(data.external.fetch.result.services)
  detected   = jsondecode(data.external.detect.result.services)
  rendered   = jsondecode(data.external.render.result.services)
  identified = jsondecode(data.external.identity.result.services)

  with_own_image = [for name, service in local.fetched : name if try(service.dockerfile, null) != null]

  services = {
    for name, service in local.fetched : name => merge(service, {
      detection = local.detected[name]
      image     = local.rendered[name]
      identity  = local.identified[name]
      memory    = service.memory == null ? var.limits.memory : service.memory
      cpus      = service.cpus == null ? var.limits.cpus : service.cpus
    })
  }
}
