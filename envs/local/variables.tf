variable "stack" {
  description = "Name of the stack. Stacks with different names share a host when network, ports and secrets folder differ too."
  type        = string
  default     = "karst"
  nullable    = false
}

variable "slugs_file" {
  description = "YAML or JSON list of what to deploy; relative paths are relative to this folder. Its lock file lies beside it."
  type        = string
  default     = "../../repos.yaml"
  nullable    = false

  validation {
    condition     = can(regex("\\.(ya?ml|json)$", var.slugs_file))
    error_message = "The list must be a file whose name ends in `.yaml`, `.yml` or `.json`, for example `../../repos.yaml`."
  }
}

variable "slugs" {
  description = "The list itself, instead of a file: for example [\"gh:owner/repo#v1\", { slug = \"dir:../../examples/hello\" }]."
  type        = any
  default     = null
}

variable "held_file" {
  description = "JSON file of services to hold at a recorded generation, as `iac deploy` writes it. Empty: none."
  type        = string
  default     = ""
  nullable    = false
}

variable "network_name" {
  description = "Name of the Docker network to make."
  type        = string
  default     = "iacnet"
  nullable    = false
}

variable "ports" {
  description = "Ports of the edge on 127.0.0.1."
  type = object({
    edge       = optional(number, 15000)
    metrics    = optional(number, 9901)
    front_door = optional(number, 8088)
  })
  default  = {}
  nullable = false
}

variable "secrets_dir" {
  description = "Folder with the CA and the identities; relative paths are relative to this folder."
  type        = string
  default     = "../../secrets"
  nullable    = false
}

variable "identity_delivery" {
  description = "How keys reach their containers: `bind` (the secrets folder is on the Docker host), `memory` or `disk` (it is not; docs/production.md)."
  type        = string
  default     = "bind"
  nullable    = false
}

variable "cert_lifetime" {
  description = "How long a certificate is valid, `1h` to `90d`; it is renewed with a third of that left. Empty: KARST_CERT_LIFETIME, else `7d`."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.cert_lifetime == "" || can(regex("^[0-9]{1,7}[smhd]$", var.cert_lifetime))
    error_message = "The lifetime must be a number and its unit, for example `24h` or `7d`."
  }
}

variable "base_image" {
  description = "Image with Python that everything is built on. `make bootstrap` writes the one it found to toolchain.auto.tfvars.json."
  type        = string
  default     = "python:3.11-slim"
  nullable    = false
}

variable "build_ca_file" {
  description = "CA bundle for builds behind a proxy with a CA of its own. Empty: none."
  type        = string
  default     = ""
  nullable    = false
}

variable "build_secrets" {
  description = "Files for builds from a private package index, by id: `netrc`, `pip_conf`."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "otlp_endpoint" {
  description = "OTLP collector for the apps' traces. Empty: OTLP/JSON lines on their stdout."
  type        = string
  default     = ""
  nullable    = false
}

variable "envoy_spans" {
  description = "Whether the sidecars send spans of their own to `otlp_endpoint`, for services that are traced. Needs a collector."
  type        = bool
  default     = false
  nullable    = false
}

variable "gate_timeout" {
  description = "Seconds that a new generation has to answer SERVING."
  type        = number
  default     = 60
  nullable    = false
}

variable "drain_seconds" {
  description = "Longest time a replaced generation may take to finish its open requests."
  type        = number
  default     = 20
  nullable    = false
}

variable "log_dir" {
  description = "Folder for the last lines of replaced generations; relative paths are relative to this folder. Default: where `iac logs` looks."
  type        = string
  default     = null
}
