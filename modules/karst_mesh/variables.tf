variable "stack" {
  description = "Name of the stack that the network and the edge belong to."
  type        = string
  default     = "karst"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.stack))
    error_message = "The stack must be 2 to 20 characters of `a-z`, `0-9` and `-`, beginning with a letter, for example `karst` or `team-a`."
  }
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

# An object, so that it is known whether there is one while its id is not known yet.
variable "shared_network" {
  description = "A network that is there already, by its id, and is used instead of one of its own: with several hosts, the overlay that all of them share. Null: the network is made here."
  type        = object({ id = string })
  default     = null

  validation {
    condition     = var.shared_network == null || can(regex("^[a-z0-9]{12,64}$", var.shared_network.id))
    error_message = "The network's id must be 12 to 64 characters of `a-z` and `0-9`, as `docker network ls --no-trunc` shows it, for example `{ id = \"0mqbpbctqgr0h3qlixoa6h5i2\" }`."
  }
}

variable "docker_cert_path" {
  description = "Folder with ca.pem, cert.pem and key.pem for a `docker_host` of `tcp://`, as the provider's `cert_path`. Empty: none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.docker_cert_path == "" || startswith(var.docker_cert_path, "/")
    error_message = "The folder of the engine's certificates must be an absolute path, for example `/etc/karst/docker`."
  }
}

variable "secrets_dir" {
  description = "Folder in which the CA and the identities are kept; the development CA is made there when it holds none. With the delivery `bind` it must be on the Docker host."
  type        = string
  nullable    = false

  validation {
    condition     = trimspace(var.secrets_dir) != "" && !startswith(var.secrets_dir, "~")
    error_message = "The secrets folder must be a path, not empty and without `~`, which Terraform does not expand; for example `$${path.root}/secrets`."
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

variable "trust_domain" {
  description = "SPIFFE trust domain of the identities."
  type        = string
  default     = "karst.local"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9._-]{0,250}[a-z0-9])?$", var.trust_domain))
    error_message = "The trust domain must be a name of `a-z`, `0-9`, `.`, `_` and `-`, without a scheme, for example `karst.local`."
  }
}

variable "identity_delivery" {
  description = "How the edge's key reaches its container: `bind` mounts the secrets folder, which must be on the Docker host; `memory` sends it over Docker's API into memory of a host elsewhere, until its next restart (`iac heal` and `iac deploy` send it again); `disk` sends it into a Docker volume, where it lies in clear."
  type        = string
  default     = "bind"
  nullable    = false

  validation {
    condition     = contains(["bind", "memory", "disk"], var.identity_delivery)
    error_message = "The delivery must be `bind`, `memory` or `disk`, for example `memory` for a Docker host elsewhere."
  }
}

variable "docker_host" {
  description = "The engine that the `docker` provider of this module was given, for the delivery of the key, for example `ssh://deploy@host`. Empty: DOCKER_HOST, as for the provider."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.docker_host == "" || can(regex("^(unix|tcp|ssh|https?|npipe)://[^[:space:]]+$", var.docker_host))
    error_message = "The engine must be an address as in DOCKER_HOST, with `unix`, `tcp`, `ssh`, `http`, `https` or `npipe`, for example `ssh://deploy@host`."
  }
}

variable "base_image" {
  description = "Debian-based image with Python 3.11 that the edge's image is built on."
  type        = string
  default     = "python:3.11-slim"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._:/-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})$", var.base_image))
    error_message = "The base image must have a tag or a digest, because `latest` changes its Python; for example `python:3.11-slim`."
  }
}

variable "build_ca_file" {
  description = "CA bundle given to builds as a secret mount. Empty: none. Never part of an image."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = !startswith(var.build_ca_file, "~")
    error_message = "The CA bundle must be a path without `~`, which Terraform does not expand; for example `/etc/ssl/certs/ca-certificates.crt`."
  }
}

variable "ports" {
  description = "Ports of the edge on 127.0.0.1 of the host: `edge` (mTLS to any service), `metrics` (statistics), `front_door` (http://<service>.localhost for services with `expose: true`)."
  type = object({
    edge       = optional(number, 15000)
    metrics    = optional(number, 9901)
    front_door = optional(number, 8088)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for port in values(var.ports) : try(port == floor(port) && port >= 1 && port <= 65535, false)]) && length(distinct(values(var.ports))) == 3
    error_message = "The ports must be three different whole numbers from 1 to 65535, for example `{ edge = 15000, metrics = 9901, front_door = 8088 }`."
  }
}

variable "log_megabytes" {
  description = "Megabytes of its output that Docker keeps of the edge, in three files. `0`: the engine's own rule, needed where its log driver is neither `json-file` nor `local`."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.log_megabytes == floor(var.log_megabytes) && var.log_megabytes >= 0 && var.log_megabytes <= 100000
    error_message = "The kept output must be a whole number of megabytes from `0` (the engine's own rule) to 100000, for example `30`."
  }
}
