output "services" {
  description = "Per service: revision, identity, address in the mesh, labels of its containers."
  value       = module.services.services
}
