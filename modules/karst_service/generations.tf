# What a service's pods are made of, from what the four programs said of it: settings, names, labels, and the hash that decides
# when a pod is replaced.

locals {
  # Names of a Swarm's network are no engine's to look up that has no container on it.
  network = local.overlay ? var.network : data.docker_network.mesh[0].id
  overlay = var.placement != null || var.engine == "swarm"

  # Built by the repository's own Dockerfile, without a runner. `try`: a generation of an older kit may be held.
  own_image = { for name, service in local.services : name => try(service.dockerfile, null) != null }
  user      = { for name, service in local.services : name => try(service.user, null) }
  run_owner = { for name, user in local.user : name => user == null ? "" : ",uid=${split(":", user)[0]}" }
  writable  = { for name, service in local.services : name => toset(try(service.writable, [])) }
  # As `docker run IMAGE ARGS`; to the kit's images the arguments were given when they were built.
  command = { for name, service in local.services : name => local.own_image[name] && length(service.args) > 0 ? service.args : null }

  # Where Envoy sends its own spans, by the rules that the apps' SDK goes by: 4317 means gRPC, else HTTP below the given path.
  otlp_parts = try(regex("^(https?)://([^:/?#]+)(?::([0-9]+))?(/[^?#]*)?$", var.otlp_endpoint), null)
  collector = local.otlp_parts == null ? null : {
    host = local.otlp_parts[1]
    port = tonumber(coalesce(local.otlp_parts[2], local.otlp_parts[0] == "https" ? "443" : "80"))
    tls  = local.otlp_parts[0] == "https"
    grpc = local.otlp_parts[2] == "4317"
    uri  = "${trimsuffix(var.otlp_endpoint, "/")}/v1/traces"
  }

  envoy_settings = {
    for name, service in local.services : name => {
      expose = service.expose
      health = service.health == null ? "" : service.health
      runner = !local.own_image[name]
      spans  = var.envoy_spans && service.otel ? local.collector : null
      # Null, not the list of all: a new service must not change the sidecars of the others.
      callers = service.allow == null ? null : [
        for caller in service.allow :
        "spiffe://${var.trust_domain}/${contains(["edge", "operator"], caller) ? "ops" : "svc"}/${caller}"
      ]
    }
  }

  # `templatefile` parses the template each time, which takes as long as the rest of a service's plan: so once for all
  # services with the same settings, and the name is put in afterwards. A name is a-z, 0-9 and -.
  envoy_templates = {
    for key, same in { for settings in local.envoy_settings : jsonencode(settings) => settings... } :
    key => templatefile("${path.module}/templates/envoy.yaml.tmpl", merge(same[0], {
      service       = "@service@"
      stack         = var.stack
      trust_domain  = var.trust_domain
      several_hosts = local.overlay
    }))
  }

  envoy_configs = {
    for name, settings in local.envoy_settings :
    name => replace(local.envoy_templates[jsonencode(settings)], "@service@", name)
  }

  app_env = {
    for name, service in local.services : name => merge(
      {
        PORT                     = tostring(coalesce(service.port, service.detection.port, 8000))
        HOST                     = "127.0.0.1"
        HTTP_PROXY               = "http://127.0.0.1:15001"
        http_proxy               = "http://127.0.0.1:15001"
        NO_PROXY                 = "localhost,127.0.0.1,::1"
        no_proxy                 = "localhost,127.0.0.1,::1"
        grpc_proxy               = "" # else gRPC would ask 15001 for a tunnel to wherever it goes
        OTEL_SERVICE_NAME        = name
        OTEL_RESOURCE_ATTRIBUTES = "service.version=${service.revision},karst.stack=${var.stack}"
        KARST_OTEL               = service.otel ? "on" : "off"
      },
      local.own_image[name] ? (service.otel ? {} : { OTEL_SDK_DISABLED = "true" }) : { HOME = "/tmp" },
      var.otlp_endpoint == "" ? {} : { OTEL_EXPORTER_OTLP_ENDPOINT = var.otlp_endpoint },
      service.detection.env,
      service.env,
      {
        KARST_SERVICE  = name
        KARST_STACK    = var.stack
        KARST_REVISION = service.revision
        KARST_PORT     = service.port == null ? "" : tostring(service.port)
        KARST_HEALTH   = service.health == null ? "" : service.health
        KARST_KIND     = service.detection.kind
      },
      local.uploads && service.identity.app_secrets != "" ? { KARST_AWAIT = "/run/secrets/.delivered" } : {},
    )
  }

  # Docker keeps every line for ever unless told otherwise.
  log_opts = var.log_megabytes == 0 ? {} : { max-size = "${ceil(var.log_megabytes * 1024 / 3)}k", max-file = "3" }

  # Processes and threads that the apps' user may have on the host, in all: enough for 300 services (docs/scale.md), and few
  # enough that the host keeps three quarters of its process numbers when an app is a fork bomb.
  processes = 8192

  # Everything a pod is made of. A change of any of it replaces the pod as a whole, because two generations inside one
  # network namespace would fight over their ports. Certificates are left out: they rotate in place.
  generations = {
    for name, service in local.services : name => substr(sha256(jsonencode([
      service.image.input_hash,
      { for kind, hash in local.infra_hashes : kind => hash if kind == "sidecar" || !local.own_image[name] },
      local.envoy_configs[name],
      local.app_env[name],
      service.identity.app_secrets_digest,
      [local.key_owner.uid, local.key_owner.gid],
      # The provider replaces a container to change it: alone, the new app would find its ports taken by the old one.
      service.cpus, local.processes,
      # Of an image of the kit these are part of the image.
      local.own_image[name] ? jsonencode([service.args, service.user, service.writable]) : "",
      var.log_megabytes,
    ])), 0, 12)
  }

  # Part by part what a generation is made of, as text, for the reasons that `iac plan` gives. Never a value of `env`.
  made_of = {
    for name, service in local.services : name => merge(try(service.image.made_of, {}), {
      port     = service.port == null ? "" : tostring(service.port)
      health   = service.health == null ? "" : service.health
      allow    = service.allow == null ? "every service" : join(", ", service.allow)
      expose   = tostring(service.expose)
      memory   = service.memory == null ? "" : service.memory
      cpus     = service.cpus == null ? "" : tostring(service.cpus)
      otel     = tostring(service.otel)
      logs     = "${var.log_megabytes} MB"
      replicas = tostring(local.replicas[name])
      sidecar  = local.infra_images.sidecar
      envoy    = substr(sha256(local.envoy_configs[name]), 0, 12)
      secrets  = service.identity.app_secrets_digest
      identity = service.identity.fingerprint
      owner    = "${local.key_owner.uid}:${local.key_owner.gid}"
      }, !local.own_image[name] ? {} : {
      args     = join(" ", service.args)
      user     = service.user == null ? "" : service.user
      writable = join(", ", service.writable)
    })
  }

  # One entry a pod. The first has the service's name alone, so that it stays as it is when the service gets more.
  pods = merge([
    for name, count in local.counts : {
      for number in range(1, count + 1) :
      (number == 1 ? name : "${name}~${number}") => { service = name, number = number }
    } if var.engine == "docker"
  ]...)

  pods_of = { for key, pod in local.pods : pod.service => key... }

  # `512m`, `2g` …, as fetch has checked it, in the MiB that the provider takes.
  memory_mib = {
    for name, service in local.services : name => service.memory == null ? null : ceil(
      tonumber(regex("^[0-9]+", service.memory)) * { k = 1 / 1024, m = 1, g = 1024 }[regex("[kmg]$", service.memory)]
    )
  }

  labels = {
    for name, service in local.services : name => {
      "karst.stack"      = var.stack
      "karst.service"    = name
      "karst.revision"   = service.revision
      "karst.generation" = local.generations[name]
      # Who may call it, for `iac graph`: names, `edge` for the front door, `*` for every service of the stack.
      "karst.allow" = join(",", distinct(concat(service.allow == null ? ["*"] : sort(service.allow), service.expose ? ["edge"] : [])))
    }
  }

  # A fresh name each time, ignored afterwards: with names made of content alone, every failed deploy ended in "container
  # name already in use" on the retry and on the revert. Containers are found by label.
  stamp = formatdate("MMDDhhmmss", plantimestamp())
  names = {
    for key, pod in local.pods : key => {
      for role in ["pod", "app", "sidecar"] :
      role => "${pod.service}-${role}-${local.stamp}-${substr(sha256("${var.stack}/${local.generations[pod.service]}${trimprefix(key, pod.service)}${local.here}"), 0, 6)}"
    }
  }

  pod_labels = {
    for key, pod in local.pods : key => merge(
      local.labels[pod.service],
      pod.number == 1 ? {} : { "karst.replica" = tostring(pod.number) },
      local.here == "" ? {} : { "karst.host" = local.here },
    )
  }
}
