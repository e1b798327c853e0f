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

output "prometheus_targets" {
  description = "What a Prometheus reads by file_sd, as every `iac deploy` writes it: `terraform output -json prometheus_targets`."
  value = [
    for name, revision in merge({ for name, service in module.karst_service.services : name => service.revision }, { edge = "" }) : {
      targets = ["127.0.0.1:${module.karst_mesh.ports.metrics}"]
      labels = {
        __metrics_path__ = name == "edge" ? "/stats/prometheus" : "/services/${name}/stats/prometheus"
        instance         = name
        revision         = revision
        service          = name
        stack            = var.stack
      }
    }
  ]
}
