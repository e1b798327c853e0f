output "services" {
  description = "Per service: revision, image tag, entry point, identity, address on the network, the labels its containers carry, what the source lacks of the repository, and what the generation is made of (hashes and settings, no values of `env` or secrets)."
  value = {
    for name, service in local.services : name => {
      revision   = service.revision
      slug       = service.slug
      image      = local.image_names[name]
      argv       = service.image.argv
      rule       = service.detection.rule
      evidence   = service.detection.evidence
      identity   = service.identity.uri
      not_after  = service.identity.not_after
      address    = "${name}:15000"
      url        = "http://${name}"
      generation = local.generations[name]
      labels     = local.labels[name]
      missing    = service.missing
      made_of    = local.made_of[name]
    }
  }

  # It is one variable of the container's, and Linux takes none of more than 128 KiB: Docker's words would be "argument list
  # too long", when everything has been built. A name is put in later, and may be as long as 40 characters.
  precondition {
    condition = alltrue([for template in values(local.envoy_templates) : length(template) < 127 * 1024])
    error_message = "`allow:` of ${join(", ", [
      for name, service in local.services : "`${name}` (${length(service.allow)})" if try(length(service.allow) > 500, false)
    ])} names more services than an Envoy's configuration has room for, which is about 1,000: leave it away there, or split the list (docs/scale.md)."
  }
}

output "pods" {
  description = "Per service: the names of its pods' containers, which are also their names on the network. None with the engine `swarm`, which makes and names containers as it likes."
  value = {
    for name, keys in local.pods_of : name => sort([for key in keys : local.made_pods[key].name])
  }
}

# After the gates: what takes an address from here is made when the service behind it has answered SERVING.
output "endpoints" {
  description = "Per service, where it answers: `url` and `address` for the services of the mesh (through their sidecars), `edge` for mutual TLS from this machine with `server_name` as name (null without an edge). Known to be SERVING: it waits for the gates."
  value = {
    for name in keys(local.services) : name => {
      url         = "http://${name}"
      address     = "${name}:15000"
      edge        = var.edge == null ? null : "${var.edge.host}:${var.edge.port}"
      server_name = name
    }
  }
  depends_on = [terraform_data.gate, terraform_data.rollout]
}

output "identities" {
  description = "Per service, its SPIFFE URI, for `allow` rules and checks of other systems. It stays when certificates rotate."
  value       = { for name, service in local.services : name => service.identity.uri }
}

output "revisions" {
  description = "Per service, the commit that it was built from, or `dir-` and a hash for a local folder."
  value       = { for name, service in local.services : name => service.revision }
}

output "labels" {
  description = "Per service, the labels of its containers, by which `docker ps --filter label=…` and monitors find them; `karst.role` (`pod`, `app`, `sidecar`; `task` with the engine `swarm`) is added to each."
  value       = local.labels
}

output "stack" {
  description = "Name of the stack, the value of the label `karst.stack`."
  value       = var.stack
}
