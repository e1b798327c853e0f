# Which pods this host gets. Each service has an order of the hosts of its own, by a hash of both names (rendezvous hashing); its
# pods go to the hosts in that order, one each, and round again where there are more pods than hosts. So a host that comes or
# goes moves those pods alone that it gets or had, and nothing has to be remembered. docs/hosts.md has the rule.

locals {
  here = var.placement == null ? "" : var.placement.host

  # While pods move, a host has what it had and what it is to have: Terraform removes without waiting for another host's gates.
  lists = var.placement == null ? [[""]] : [
    for list in [var.placement.hosts, var.placement.keep] : list if contains(list, local.here)
  ]

  replicas = { for name, service in local.services : name => coalesce(try(service.replicas, null), 1) }

  counts = {
    for name, number in local.replicas : name => max([
      for list in local.lists : floor(number / length(list)) + (
        index([
          for each in sort([for host in list : "${sha256("${name}/${host}")} ${host}"]) : split(" ", each)[1]
        ], local.here) < number % length(list) ? 1 : 0
      )
    ]...)
  }

  # Names, for `for_each`: Terraform walks through all of its value once for each instance, and that of `services` is large.
  placed = toset([for name, count in local.counts : name if count > 0])

  # What of it is pods, and what a Swarm's tasks, which that places by itself.
  in_pods  = toset([for name in local.placed : name if var.engine == "docker"])
  in_tasks = toset([for name in local.placed : name if var.engine == "swarm"])
}
