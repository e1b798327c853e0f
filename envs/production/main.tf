# What envs/local is, for a Docker host that is not this machine and for more than one operator: state in Postgres, keys
# sent into memory of the host, a limit for every app. docs/production.md is the runbook.

locals {
  list        = startswith(var.slugs_file, "/") ? var.slugs_file : abspath("${path.root}/${var.slugs_file}")
  lock        = replace(local.list, "/\\.(ya?ml|json|tfvars|tfvars\\.json)$/", ".lock.yaml")
  secrets_dir = startswith(var.secrets_dir, "/") ? var.secrets_dir : abspath("${path.root}/${var.secrets_dir}")

  logs    = coalesce(var.log_dir, "../../.karst/stacks/${var.stack}/logs")
  log_dir = startswith(local.logs, "/") ? local.logs : abspath("${path.root}/${local.logs}")
}

module "karst_mesh" {
  source = "../../modules/karst_mesh"

  stack             = var.stack
  network_name      = var.network_name
  ports             = var.ports
  secrets_dir       = local.secrets_dir
  cert_lifetime     = var.cert_lifetime
  identity_delivery = var.identity_delivery
  base_image        = var.base_image
  build_ca_file     = var.build_ca_file
  log_megabytes     = var.log_megabytes
}

module "karst_service" {
  source = "../../modules/karst_service"

  stack             = var.stack
  slugs_file        = local.list
  lock_file         = local.lock
  held_file         = var.held_file
  network           = module.karst_mesh.network_id
  network_name      = var.network_name
  edge              = module.karst_mesh.edge
  secrets_dir       = local.secrets_dir
  cert_lifetime     = var.cert_lifetime
  identity_delivery = var.identity_delivery
  limits            = var.limits
  base_image        = var.base_image
  build_ca_file     = var.build_ca_file
  build_secrets     = var.build_secrets
  otlp_endpoint     = var.otlp_endpoint
  envoy_spans       = var.envoy_spans
  gate_timeout      = var.gate_timeout
  drain_seconds     = var.drain_seconds
  log_dir           = local.log_dir
  log_megabytes     = var.log_megabytes
}
