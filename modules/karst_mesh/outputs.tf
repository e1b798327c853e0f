output "network_id" {
  description = "Id of the network, for `network` of karst_service: unknown until the network exists, which lets the first plan succeed."
  value       = local.network
}

output "network_name" {
  description = "Name of the network."
  value       = var.network_name
}

output "edge" {
  description = "Where the edge listens on this machine, for `edge` of karst_service."
  value = {
    host = "127.0.0.1"
    port = var.ports.edge
  }
  # No depends_on: what waits for the edge would hand its create_before_destroy on to it, and a second edge can have neither
  # the name nor the ports of the first. The gate asks until the edge answers.
}

output "ports" {
  description = "Ports of the edge on 127.0.0.1."
  value       = var.ports
}

output "endpoints" {
  description = "Where the edge answers on this machine: `edge` (mutual TLS to any service, by server name), `metrics` and `front_door` (URLs)."
  value = {
    edge       = "127.0.0.1:${var.ports.edge}"
    metrics    = "http://127.0.0.1:${var.ports.metrics}"
    front_door = "http://127.0.0.1:${var.ports.front_door}"
  }
}

output "stack" {
  description = "Name of the stack, the value of the label `karst.stack`; for `stack` of karst_service."
  value       = var.stack
}

output "trust_domain" {
  description = "SPIFFE trust domain, for `trust_domain` of karst_service: with another one there, the edge would trust none of its services."
  value       = var.trust_domain
}

output "labels" {
  description = "Labels of the edge's container."
  value       = local.labels
}

output "operator" {
  description = "The operator's identity: paths of certificate, key and trust bundle for people and tools."
  value = {
    certificate  = "${abspath(var.secrets_dir)}/operator.crt"
    key          = "${abspath(var.secrets_dir)}/operator.key"
    trust_bundle = "${abspath(var.secrets_dir)}/ca.pem"
    uri          = "spiffe://${var.trust_domain}/ops/operator"
  }
}
