output "services" {
  description = "Per service: revision, image tag, entry point, identity, address on the network, the labels its containers carry, what the source lacks of the repository, and what the generation is made of (hashes and settings, no values of `env` or secrets)."
  value = {
    for name, service in local.services : name => {
      revision   = service.revision
      slug       = service.slug
      image      = service.image.tag
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
}

output "pods" {
  description = "Per service: the names of its pods' containers, which are also their names on the network."
  value = {
    for name, service in local.services : name => sort([
      for key, pod in local.pods : docker_container.pod[key].name if pod.service == name
    ])
  }
}

output "stack" {
  description = "Name of the stack, the value of the label `karst.stack`."
  value       = var.stack
}
