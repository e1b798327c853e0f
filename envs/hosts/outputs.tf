# Which pods are where, and every service, are outputs in hosts.tf.json: they name the modules of all hosts.

output "ports" {
  description = "Ports of the edge on 127.0.0.1 of each host."
  value       = var.ports
}
