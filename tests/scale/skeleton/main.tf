# What modules/karst_service makes for each service, in the same order, of resources that cost nothing: what is left is how
# long Terraform itself takes to put them in order. `generation` replaces all of them, as a new version of the kit does.

terraform {
  required_version = ">= 1.5"
}

variable "services" {
  description = "How many there are."
  type        = number
}

variable "generation" {
  description = "What all of them are made of: another value replaces them."
  type        = string
}

locals {
  names    = toset([for number in range(var.services) : tostring(number)])
  images   = { for name, one in terraform_data.image : name => one.id }
  pods     = { for name, one in terraform_data.pod : name => one.id }
  apps     = { for name, one in terraform_data.app : name => one.id }
  sidecars = { for name, one in terraform_data.sidecar : name => one.id }
}

resource "terraform_data" "image" {
  for_each         = local.names
  triggers_replace = var.generation

  lifecycle {
    create_before_destroy = true
  }
}

resource "terraform_data" "pod" {
  for_each         = local.names
  triggers_replace = var.generation
  depends_on       = [local.images]

  lifecycle {
    create_before_destroy = true
  }
}

resource "terraform_data" "app" {
  for_each         = local.names
  triggers_replace = [local.pods[each.key], local.images[each.key]]

  lifecycle {
    create_before_destroy = true
  }
}

resource "terraform_data" "sidecar" {
  for_each         = local.names
  triggers_replace = local.pods[each.key]
  depends_on       = [local.apps]

  lifecycle {
    create_before_destroy = true
  }
}

resource "terraform_data" "gate" {
  for_each         = local.names
  triggers_replace = local.sidecars[each.key]

  lifecycle {
    create_before_destroy = true
  }
}
