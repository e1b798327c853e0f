# What is planned with the engine `swarm`, both providers mocked.

mock_provider "docker" {}

mock_provider "external" {}

variables {
  engine      = "swarm"
  registry    = "registry.example:5000/shop"
  slugs       = ["dir:alpha", "dir:beta"]
  network     = "overlayid"
  secrets_dir = "/tmp/karst-test-secrets"
}

override_data {
  target = data.external.fetch
  values = {
    result = {
      services = <<-JSON
        {
          "alpha": {"name": "alpha", "slug": "dir:alpha", "ref": "", "revision": "dir-1", "args": [], "env": {"GREETING": "{{.Node.ID}}"}, "secrets": ["TOKEN"], "port": null, "allow": null,
                    "expose": false, "memory": "1g", "cpus": 0.5, "health": null, "otel": true, "replicas": 3, "missing": []},
          "beta":  {"name": "beta", "slug": "dir:beta", "ref": "", "revision": "dir-2", "args": [], "env": {}, "secrets": [], "port": null, "allow": null,
                    "expose": false, "memory": null, "cpus": null, "health": null, "otel": true, "missing": []}
        }
      JSON
    }
  }
}

override_data {
  target = data.external.detect
  values = {
    result = {
      services = <<-JSON
        {
          "alpha": {"argv": ["a"], "rule": "C3", "kind": "server", "evidence": "", "port": null, "env": {}},
          "beta":  {"argv": ["b"], "rule": "C3", "kind": "server", "evidence": "", "port": null, "env": {}}
        }
      JSON
    }
  }
}

override_data {
  target = data.external.render
  values = {
    result = {
      services = <<-JSON
        {
          "alpha": {"context": "/b/a", "dockerfile": "Dockerfile", "input_hash": "a", "tag": "karst/alpha:a", "argv": ["python", "-m", "alpha"]},
          "beta":  {"context": "/b/b", "dockerfile": "Dockerfile", "input_hash": "b", "tag": "karst/beta:b", "argv": ["python", "-m", "beta"]}
        }
      JSON
    }
  }
}

override_data {
  target = data.external.identity
  values = {
    result = {
      uid                = "10001"
      gid                = "10001"
      ca_fingerprint     = "cc"
      bundle_fingerprint = "bb"
      services           = <<-JSON
        {
          "alpha": {"dir": "/s/a", "fingerprint": "f1", "not_after": "", "uri": "spiffe://karst.local/svc/alpha", "app_secrets": "/s/app/alpha", "app_secrets_digest": "d1"},
          "beta":  {"dir": "/s/b", "fingerprint": "f2", "not_after": "", "uri": "spiffe://karst.local/svc/beta", "app_secrets": "", "app_secrets_digest": ""}
        }
      JSON
    }
  }
}

override_data {
  target = data.external.tasks
  values = {
    result = {
      services = <<-JSON
        {
          "alpha": {"image": "registry.example:5000/shop/karst/alpha:a@sha256:1", "secrets": {"svid.pem": {"id": "s1", "name": "n1"}, "ca.pem": {"id": "s2", "name": "n2"}, "app/TOKEN": {"id": "s3", "name": "n3"}}},
          "beta":  {"image": "registry.example:5000/shop/karst/beta:b@sha256:2", "secrets": {"svid.pem": {"id": "s4", "name": "n4"}, "ca.pem": {"id": "s5", "name": "n5"}}}
        }
      JSON
    }
  }
}

run "tasks" {
  command = plan

  assert {
    condition     = length(docker_container.pod) + length(docker_container.app) + length(docker_container.sidecar) + length(terraform_data.gate) == 0
    error_message = "A Swarm's services have no pods of the kit's."
  }
  assert {
    condition     = output.pods == {}
    error_message = "And none are given out."
  }
  assert {
    condition     = docker_image.app["alpha"].name == "registry.example:5000/shop/karst/alpha:a" && output.services["alpha"].image == docker_image.app["alpha"].name
    error_message = "The nodes take the images from the registry."
  }
  assert {
    condition     = docker_service.task["alpha"].name == "karst_alpha" && one(docker_service.task["alpha"].mode[0].replicated).replicas == 3 && one(docker_service.task["beta"].mode[0].replicated).replicas == 1
    error_message = "One service each, under the stack's name, with its replicas."
  }
  assert {
    condition     = one(docker_service.task["beta"].task_spec[0].networks_advanced).id == "overlayid" && contains(one(docker_service.task["beta"].task_spec[0].networks_advanced).aliases, "beta")
    error_message = "On the network by its id, under the service's name, as the mesh knows it."
  }
  assert {
    condition     = alltrue([for service in docker_service.task : service.endpoint_spec[0].mode == "dnsrr" && service.update_config[0].order == "start-first" && service.update_config[0].failure_action == "rollback"])
    error_message = "New before old, back when it fails, and the callers balance by themselves."
  }
  assert {
    condition     = docker_service.task["alpha"].task_spec[0].container_spec[0].env["GREETING"] == "{{\"{{\"}}.Node.ID}}"
    error_message = "A value is a value: the Swarm must not take it for a template."
  }
  assert {
    condition     = docker_service.task["alpha"].task_spec[0].resources[0].limits[0].memory_bytes == 1280 * 1024 * 1024 && docker_service.task["alpha"].task_spec[0].resources[0].limits[0].nano_cpus == 500000000
    error_message = "The app's memory, and the sidecar's."
  }
}

run "rights" {
  command = plan

  assert {
    condition = alltrue(flatten([for service in docker_service.task : [for spec in service.task_spec[0].container_spec :
      spec.read_only && spec.cap_drop == tolist(["ALL"]) && toset(spec.cap_add) == toset(["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SETGID", "CAP_SETUID"])
    ]]))
    error_message = "A task gets what it gives up again, and nothing else."
  }
}

run "quick_gate" {
  command = plan
  variables {
    gate_timeout  = 90
    drain_seconds = 40
  }

  assert {
    condition     = docker_service.task["beta"].task_spec[0].container_spec[0].healthcheck[0].start_period == "1m30s" && docker_service.task["beta"].task_spec[0].container_spec[0].stop_grace_period == "1m"
    error_message = "Durations as the provider reads them back, or every plan would set them again."
  }
}

run "an_image_of_the_repositorys_own_is_refused" {
  command = plan
  override_data {
    target = data.external.fetch
    values = {
      result = {
        services = <<-JSON
          {"gamma": {"name": "gamma", "slug": "dir:gamma", "ref": "", "revision": "dir-3", "args": [], "env": {}, "secrets": [], "port": 80, "allow": null, "dockerfile": "Dockerfile",
                     "expose": false, "memory": null, "cpus": null, "health": null, "otel": true, "missing": []}}
        JSON
      }
    }
  }
  expect_failures = [data.external.detect]
}
