# tflint-ignore-file: terraform_unused_declarations
variable "slugs_file" {
  description = "YAML, JSON or tfvars list of what to deploy; relative paths are relative to this folder. Its lock file lies beside it."
  type        = string
  default     = "../../repos.yaml"
  nullable    = false

  validation {
    condition     = can(regex("^[^~].*[.](ya?ml|json|tfvars)$", var.slugs_file))
    error_message = "The list must be a path that ends in `.yaml`, `.yml`, `.json` or `.tfvars` and does not begin with `~`, for example `../../repos.yaml`."
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

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.network_name))
    error_message = "The network's name must be 1 to 63 characters of `a-z`, `0-9` and `-`, beginning and ending with a letter or a digit, for example `iacnet`."
  }
}

variable "ports" {
  description = "Ports of the edge on 127.0.0.1 of each host."
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

  validation {
    condition     = trimspace(var.secrets_dir) != "" && !startswith(var.secrets_dir, "~")
    error_message = "The secrets folder must be a path, not empty and without `~`, which Terraform does not expand; for example `../../secrets`."
  }
}

variable "identity_delivery" {
  description = "How keys reach their containers: `bind` (the secrets folder is on the Docker host), `memory` or `disk` (it is not; docs/production.md)."
  type        = string
  default     = "memory"
  nullable    = false

  validation {
    condition     = contains(["bind", "memory", "disk"], var.identity_delivery)
    error_message = "The delivery must be `bind`, `memory` or `disk`, for example `memory` for a Docker host elsewhere."
  }
}

variable "cert_lifetime" {
  description = "How long a certificate is valid, `1h` to `90d`; it is renewed with a third of that left. Empty: KARST_CERT_LIFETIME, else `7d`."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition = var.cert_lifetime == "" || try(alltrue([
      for seconds in [
        for part in [regex("^([0-9]{1,7})([smhd])$", var.cert_lifetime)] : part[0] * { s = 1, m = 60, h = 3600, d = 86400 }[part[1]]
      ] : seconds >= 3600 && seconds <= 7776000
    ]), false)
    error_message = "The lifetime must be from `1h` to `90d`: a number and its unit (`s`, `m`, `h` or `d`), for example `24h`."
  }
}

variable "base_image" {
  description = "Image with Python that everything is built on. `make bootstrap` writes the one it found to toolchain.auto.tfvars.json."
  type        = string
  default     = "python:3.11-slim"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._:/-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})$", var.base_image))
    error_message = "The base image must have a tag or a digest, because `latest` changes its Python; for example `python:3.11-slim`."
  }
}

variable "build_ca_file" {
  description = "CA bundle for builds behind a proxy with a CA of its own. Empty: none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = !startswith(var.build_ca_file, "~")
    error_message = "The CA bundle must be a path without `~`, which Terraform does not expand; for example `/etc/ssl/certs/ca-certificates.crt`."
  }
}

variable "build_secrets" {
  description = "Files for builds from a private package index, by id: `netrc`, `pip_conf`."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "registry" {
  description = "With `scripts/hosts --engine swarm`: the registry, and a path in it if need be, from which all hosts take the images that the first one pushes."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.registry == "" || can(regex("^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]*)*$", var.registry))
    error_message = "The registry must be a host with its port and path, where it has these, without a scheme, for example `registry.example:5000/shop`."
  }
}

variable "registry_login" {
  description = "Whether that registry wants a login of those who pull, too: the hosts are then given the one of this user's Docker configuration."
  type        = bool
  default     = false
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
  description = "Folder for the last lines of replaced generations; relative paths are relative to this folder. Default: `.karst/hosts/logs` in the kit's folder."
  type        = string
  default     = null

  validation {
    condition     = !startswith(coalesce(var.log_dir, "-"), "~")
    error_message = "The log folder must be a path without `~`, which Terraform does not expand; for example `/srv/karst/logs`."
  }
}

variable "log_megabytes" {
  description = "Megabytes of its output that Docker keeps of each container, in three files. `0`: the engine's own rule, needed where its log driver is neither `json-file` nor `local`."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.log_megabytes == floor(var.log_megabytes) && var.log_megabytes >= 0 && var.log_megabytes <= 100000
    error_message = "The kept output must be a whole number of megabytes from `0` (the engine's own rule) to 100000, for example `30`."
  }
}
