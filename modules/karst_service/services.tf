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
}

data "external" "detect" {
  program = ["${local.scripts}/detect"]

  query = {
    services = data.external.fetch.result.services
  }
}

data "external" "render" {
  program = ["${local.scripts}/render"]

  query = {
    services      = data.external.fetch.result.services
    detections    = data.external.detect.result.services
    stack         = var.stack
    base_image    = var.base_image
    runner_image  = local.infra_images.runner
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
