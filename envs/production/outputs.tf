output "services" {
  description = "Every service with its revision, entry point, identity and labels."
  value       = module.karst_service.services
}

output "stack" {
  description = "Name of the stack."
  value       = var.stack
}

output "ports" {
  description = "Ports of the edge on 127.0.0.1."
  value       = module.karst_mesh.ports
}

output "operator" {
  description = "Where the operator's certificate, key and trust bundle are."
  value       = module.karst_mesh.operator
}
