# What changes a generation and what does not: compared with the run before, which OpenTofu cannot do for plans.

mock_provider "docker" {}

mock_provider "external" {
  mock_data "external" {
    defaults = {
      result = {
        uid            = "10001"
        gid            = "10001"
        ca_fingerprint = "cc"
        services       = <<-JSON
          {
            "alpha": {"slug": "gh:acme/alpha", "revision": "1111111111111111111111111111111111111111", "port": null, "env": {},
                      "secrets": [], "allow": null, "expose": true, "memory": null, "cpus": null, "health": null, "otel": true, "missing": [],
                      "args": [], "user": null, "writable": [],
                      "rule": "C3", "evidence": "main.py:1", "kind": "server",
                      "context": "/build/a", "dockerfile": "Dockerfile", "input_hash": "aaaaaaaaaaaaaaaa", "tag": "karst/alpha:aaaaaaaaaaaa",
                      "argv": ["python", "/app/main.py"],
                      "dir": "/s/mesh/alpha", "fingerprint": "f1", "not_after": "2030-01-01T00:00:00Z",
                      "uri": "spiffe://karst.local/svc/alpha", "app_secrets": "", "app_secrets_digest": ""}
          }
        JSON
      }
    }
  }
}

variables {
  slugs       = ["gh:acme/alpha"]
  network     = "iacnet"
  secrets_dir = "/tmp/karst-test-secrets"
}

run "as_it_was" {
  command = plan
}

run "another_base_image_is_another_generation" {
  command = plan
  variables {
    base_image = "python:3.12-slim"
  }

  assert {
    condition     = output.services["alpha"].generation != run.as_it_was.services["alpha"].generation
    error_message = "Everything built on the base image is replaced."
  }
}

run "longer_waits_and_another_list_are_none" {
  command = plan
  variables {
    gate_timeout  = 90
    drain_seconds = 90
    log_dir       = "logs"
    lock_file     = "repos.lock.yaml"
  }

  assert {
    condition     = output.services["alpha"].generation == run.as_it_was.services["alpha"].generation
    error_message = "What runs is the same."
  }
}

run "more_pods_are_none" {
  command = plan

  override_data {
    target = data.external.fetch
    values = {
      result = {
        services = <<-JSON
          {
            "alpha": {"slug": "gh:acme/alpha", "revision": "1111111111111111111111111111111111111111", "port": null, "env": {},
                      "secrets": [], "allow": null, "expose": true, "memory": null, "cpus": null, "health": null, "otel": true, "missing": [], "replicas": 3,
                      "args": [], "user": null, "writable": [],
                      "rule": "C3", "evidence": "main.py:1", "kind": "server",
                      "context": "/build/a", "dockerfile": "Dockerfile", "input_hash": "aaaaaaaaaaaaaaaa", "tag": "karst/alpha:aaaaaaaaaaaa",
                      "argv": ["python", "/app/main.py"],
                      "dir": "/s/mesh/alpha", "fingerprint": "f1", "not_after": "2030-01-01T00:00:00Z",
                      "uri": "spiffe://karst.local/svc/alpha", "app_secrets": "", "app_secrets_digest": ""}
          }
        JSON
      }
    }
  }

  assert {
    condition     = length(docker_container.pod) == 3 && output.services["alpha"].generation == run.as_it_was.services["alpha"].generation
    error_message = "The pods that run stay."
  }
}
