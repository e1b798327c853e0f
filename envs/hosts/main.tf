# tflint-ignore-file: terraform_unused_declarations # used by hosts.tf.json, which scripts/hosts writes
# A stack on several Docker hosts. scripts/hosts writes the providers and the modules, one of each for every host, into
# hosts.tf.json: Terraform cannot make providers from a list. docs/hosts.md is the way from three machines to a stack.

locals {
  from_file  = var.slugs == null
  list       = startswith(var.slugs_file, "/") ? var.slugs_file : abspath("${path.root}/${var.slugs_file}")
  slugs_file = local.from_file ? local.list : ""
  lock_file  = local.from_file ? replace(local.list, "/\\.(ya?ml|json|tfvars|tfvars\\.json)$/", ".lock.yaml") : ""

  secrets_dir = startswith(var.secrets_dir, "/") ? var.secrets_dir : abspath("${path.root}/${var.secrets_dir}")

  logs    = coalesce(var.log_dir, "../../.karst/hosts/logs")
  log_dir = startswith(local.logs, "/") ? local.logs : abspath("${path.root}/${local.logs}")

  # Each host's gates ask at that host's edge: through Docker's API where it is elsewhere, and by its port where the engine's
  # socket is on this machine. Any edge reaches every pod.
  edge = { host = "127.0.0.1", port = var.ports.edge }
}
