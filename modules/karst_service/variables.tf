################################################################################
# What to run
################################################################################

variable "stack" {
  description = "Name of the stack: it labels every container and prefixes every image, so that several stacks share one host."
  type        = string
  default     = "karst"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.stack))
    error_message = "The stack must be 2 to 20 characters of `a-z`, `0-9` and `-`, beginning with a letter, for example `karst` or `team-a`."
  }
}

# `any` and not list(object({ … })): entries may be a bare slug or a mapping, and a typed object would drop an unknown key
# without a word. scripts/fetch checks every key and suggests the right one.
variable "slugs" {
  description = "What to deploy: a list whose entries are a slug (`gh:owner/repo#ref`, `gl:`, `bb:`, `dir:path`) or a mapping with `slug` and any of the keys listed in docs/slugs.md. Null: the list is in `slugs_file`."
  type        = any
  default     = null

  validation {
    condition     = var.slugs == null || (can([for entry in var.slugs : entry]) && !can(keys(var.slugs)))
    error_message = "The slugs must be a list of slugs and mappings, for example `[\"gh:owner/repo#v1.2.0\", { slug = \"dir:./shop\", port = 8000 }]`."
  }
}

# Read by scripts/fetch and not by yamldecode, which takes two equal keys, makes `on` a boolean and loses ` #ref` to a comment,
# each without a word.
variable "slugs_file" {
  description = "YAML, JSON or tfvars file with that list, instead of `slugs`. `dir:` slugs are relative to its folder."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.slugs_file == "" || can(regex("^[^~].*[.](ya?ml|json|tfvars)$", var.slugs_file))
    error_message = "The list must be a path that ends in `.yaml`, `.yml`, `.json` or `.tfvars` and does not begin with `~`, for example `$${path.root}/repos.yaml`."
  }
}

variable "base_dir" {
  description = "Folder that `dir:` slugs are relative to. Default: the folder of the root module."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = !startswith(var.base_dir, "~")
    error_message = "The base folder must be a path without `~`, which Terraform does not expand; for example `$${path.root}/apps`."
  }
}

variable "lock_file" {
  description = "Lock file that keeps each ref's commit (made to be committed). Empty: refs are resolved anew in every plan."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.lock_file == "" || can(regex("^[^~].*[.]ya?ml$", var.lock_file))
    error_message = "The lock file must be a path that ends in `.yaml` or `.yml` and does not begin with `~`, for example `$${path.root}/repos.lock.yaml`."
  }
}

# A path and not the content, which is as large as the answers of fetch, detect and render together.
variable "held_file" {
  description = "JSON file of services to hold at a generation that was recorded, as `iac deploy` writes it (docs/deploys.md). Empty: none is held, and a service that cannot be fetched or rendered fails the plan."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.held_file == "" || can(regex("^[^~].*[.]json$", var.held_file))
    error_message = "The file of held services must be a path that ends in `.json` and does not begin with `~`, for example `/srv/karst/held.json`."
  }
}

################################################################################
# Mesh
################################################################################

variable "network" {
  description = "Id or name of the Docker network that the services share, usually module.karst_mesh.network_id."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_.-]*$", var.network))
    error_message = "The network must be the id or the name of a Docker network, for example `module.mesh.network_id` or `iacnet`."
  }
}

variable "engine" {
  description = "What runs the services: `docker`, in pods of three containers that Terraform starts and replaces; or `swarm`, as Swarm services, which the Swarm places, restarts elsewhere when a node dies, and replaces one task after the other. `network` is then an attachable overlay's id."
  type        = string
  default     = "docker"
  nullable    = false

  validation {
    condition     = contains(["docker", "swarm"], var.engine)
    error_message = "The engine must be `docker` or `swarm`, for example `swarm` on a manager of a Swarm."
  }
}

variable "registry" {
  description = "With the engine `swarm`: the registry, and a path in it if need be, to which images are pushed and from which the nodes take them. The engine pushes, with the login of the user who runs Terraform."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.registry == "" || can(regex("^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]*)*$", var.registry))
    error_message = "The registry must be a host with its port and path, where it has these, without a scheme, for example `registry.example:5000/shop`."
  }
}

variable "placement" {
  description = "With several hosts: the host that this instance of the module is for (its provider's), and the names of all of them, which settle the pods that it gets; `keep` are those of before, while pods move. `network` is then an attachable overlay's id. Null: one host has all pods."
  type = object({
    host  = string
    hosts = list(string)
    keep  = optional(list(string), [])
  })
  default = null

  validation {
    condition = var.placement == null || try(
      contains(concat(var.placement.hosts, var.placement.keep), var.placement.host) && alltrue([
        for list in [var.placement.hosts, var.placement.keep] : length(distinct(list)) == length(list)
      ]), false
    )
    error_message = "The placement's host must be one of its hosts, each of which is named once, for example `{ host = \"a\", hosts = [\"a\", \"b\"] }`."
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

variable "network_name" {
  description = "Name of that network as it appears in the certificates' second DNS name, `<service>.<network_name>`."
  type        = string
  default     = "iacnet"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9]([A-Za-z0-9_.-]{0,250}[A-Za-z0-9])?$", var.network_name))
    error_message = "The network's name must be of `A-Z`, `a-z`, `0-9`, `_`, `.` and `-`, beginning and ending with a letter or a digit, for example `iacnet`."
  }
}

variable "secrets_dir" {
  description = "Folder with the CA (`ca.pem`, `ca.key`) in which the identities are kept. With the delivery `bind` it must be on the Docker host."
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
  description = "How keys and secrets reach their containers: `bind` mounts the secrets folder, which must be on the Docker host; `memory` sends them over Docker's API into memory of a host elsewhere, until its next restart (`iac heal` and `iac deploy` send them again); `disk` sends them into Docker volumes, where they lie in clear."
  type        = string
  default     = "bind"
  nullable    = false

  validation {
    condition     = contains(["bind", "memory", "disk"], var.identity_delivery)
    error_message = "The delivery must be `bind`, `memory` or `disk`, for example `memory` for a Docker host elsewhere."
  }
}

variable "docker_host" {
  description = "The engine that the `docker` provider of this module was given, for the gate and the delivery of keys, for example `ssh://deploy@host`. Empty: DOCKER_HOST, as for the provider."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.docker_host == "" || can(regex("^(unix|tcp|ssh|https?|npipe)://[^[:space:]]+$", var.docker_host))
    error_message = "The engine must be an address as in DOCKER_HOST, with `unix`, `tcp`, `ssh`, `http`, `https` or `npipe`, for example `ssh://deploy@host`."
  }
}

variable "edge" {
  description = "Where the edge listens on this machine. Null: there is no edge, and the gate asks each pod by its own address."
  type = object({
    host = optional(string, "127.0.0.1")
    port = optional(number, 15000)
  })
  default = null

  validation {
    condition     = var.edge == null || can(regex("^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", var.edge.host))
    error_message = "The edge's host must be a name or an IPv4 address, without scheme and port, for example `{ host = \"127.0.0.1\", port = 15000 }`."
  }

  validation {
    condition     = var.edge == null || try(var.edge.port == floor(var.edge.port) && var.edge.port >= 1 && var.edge.port <= 65535, false)
    error_message = "The edge's port must be a whole number from 1 to 65535, for example `{ port = 15000 }`."
  }
}

################################################################################
# Images
################################################################################

variable "base_image" {
  description = "Debian-based image with Python 3.11 that everything is built on."
  type        = string
  default     = "python:3.11-slim"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._:/-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})$", var.base_image))
    error_message = "The base image must have a tag or a digest, because `latest` changes its Python; for example `python:3.11-slim`."
  }
}

variable "build_ca_file" {
  description = "CA bundle given to builds as a secret mount, for networks whose proxy has a CA of its own. Empty: none. Never part of an image."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = !startswith(var.build_ca_file, "~")
    error_message = "The CA bundle must be a path without `~`, which Terraform does not expand; for example `/etc/ssl/certs/ca-certificates.crt`."
  }
}

# A map and not object({ optional() }), which would drop a misspelt id without a word.
variable "build_secrets" {
  description = "Files given to builds as secret mounts, by id: `netrc` and `pip_conf`, for a private package index (docs/build.md). Never part of an image."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.build_secrets), ["netrc", "pip_conf"])) == 0
    error_message = "The build secrets are `netrc` and `pip_conf`, for example `{ netrc = \"/home/me/.netrc\" }`."
  }

  validation {
    condition     = alltrue([for path in values(var.build_secrets) : try(path != "" && !startswith(path, "~"), false)])
    error_message = "Each build secret must be a path without `~`, which Terraform does not expand; for example `{ netrc = pathexpand(\"~/.netrc\") }`."
  }
}

variable "keep_images" {
  description = "Whether images stay on the host when Terraform is done with them, which is what a rollback starts from."
  type        = bool
  default     = true
  nullable    = false
}

################################################################################
# Running
################################################################################

variable "otlp_endpoint" {
  description = "OTLP collector for the apps' traces, for example `http://collector:4318`. Empty: OTLP/JSON lines on the apps' stdout."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.otlp_endpoint == "" || can(regex("^https?://[^:/?#@[:space:]]+(:[0-9]{1,5})?(/[^?#[:space:]]*)?$", var.otlp_endpoint))
    error_message = "The collector must be a URL with `http` or `https` and without a password, for example `http://collector:4318`."
  }
}

variable "envoy_spans" {
  description = "Whether the sidecars send spans of their own to `otlp_endpoint`, for services that are traced. Needs a collector."
  type        = bool
  default     = false
  nullable    = false
}

variable "limits" {
  description = "Memory and cores of an app whose entry gives none. Null: no limit."
  type = object({
    memory = optional(string)
    cpus   = optional(number)
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^[1-9][0-9]*[kmg]$", coalesce(var.limits.memory, "1m"))) && coalesce(var.limits.cpus, 1) >= 0.01
    error_message = "The limits must be an amount of memory and a number of cores, for example `{ memory = \"512m\", cpus = 1 }`."
  }
}

variable "gate_timeout" {
  description = "Seconds that a new generation has to answer SERVING before it is taken out of rotation and the apply fails."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.gate_timeout == floor(var.gate_timeout) && var.gate_timeout >= 5 && var.gate_timeout <= 3600
    error_message = "The gate's timeout must be a whole number of seconds from 5 to 3600, for example `60`."
  }
}

variable "drain_seconds" {
  description = "Longest time a replaced generation may take to finish its open requests before it is stopped."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.drain_seconds == floor(var.drain_seconds) && var.drain_seconds >= 0 && var.drain_seconds <= 600
    error_message = "The drain limit must be a whole number of seconds from 0 to 600, for example `20`."
  }
}

variable "log_dir" {
  description = "Folder in which the last lines of a replaced or refused generation are kept, readable by its owner only. Empty: they go with their container."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = !startswith(var.log_dir, "~")
    error_message = "The log folder must be a path without `~`, which Terraform does not expand; for example `$${path.root}/logs`."
  }
}

variable "log_megabytes" {
  description = "Megabytes of its output that Docker keeps of each app and of each sidecar, in three files. `0`: the engine's own rule, needed where its log driver is neither `json-file` nor `local`."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.log_megabytes == floor(var.log_megabytes) && var.log_megabytes >= 0 && var.log_megabytes <= 100000
    error_message = "The kept output must be a whole number of megabytes from `0` (the engine's own rule) to 100000, for example `30`."
  }
}
