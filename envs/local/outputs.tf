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
    for target in concat(
      flatten([
        # Without a name of a pod the edge asks the service, which is the same while there is one.
        for name, service in module.karst_service.services : [
          for pod in module.karst_service.pods[name] : {
            service  = name
            revision = service.revision
            instance = length(module.karst_service.pods[name]) == 1 ? name : pod
            path     = length(module.karst_service.pods[name]) == 1 ? "/services/${name}" : "/services/${name}/pods/${pod}"
          }
        ]
      ]),
      [{ service = "edge", revision = "", instance = "edge", path = "" }],
      ) : {
      targets = ["127.0.0.1:${module.karst_mesh.ports.metrics}"]
      labels = {
        __metrics_path__ = "${target.path}/stats/prometheus"
        instance         = target.instance
        revision         = target.revision
        service          = target.service
        stack            = var.stack
      }
    }
  ]
}
