# What is built, and what a builder gets back. One answer for the four programs: the keys of all of them for each service.

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
                      "uri": "spiffe://karst.local/svc/alpha", "app_secrets": "", "app_secrets_digest": ""},
            "held":  {"slug": "dir:held", "revision": "dir-222222222222", "port": 9000, "env": {},
                      "secrets": [], "allow": ["alpha"], "expose": false, "memory": null, "cpus": null, "health": null, "otel": true, "missing": [],
                      "args": [], "user": null, "writable": [],
                      "rule": "C2", "evidence": "held/__main__.py:1", "kind": "server",
                      "built": true, "input_hash": "bbbbbbbbbbbbbbbb", "tag": "karst/held:bbbbbbbbbbbb", "argv": ["python", "-m", "held"],
                      "dir": "/s/mesh/held", "fingerprint": "f2", "not_after": "2030-01-01T00:00:00Z",
                      "uri": "spiffe://karst.local/svc/held", "app_secrets": "", "app_secrets_digest": ""}
          }
        JSON
      }
    }
  }
}

variables {
  slugs       = ["gh:acme/alpha", { slug = "dir:held", allow = ["alpha"] }]
  network     = "iacnet"
  secrets_dir = "/tmp/karst-test-secrets"
}

run "only_what_is_not_there_is_built" {
  command = plan

  assert {
    condition     = one(docker_image.app["alpha"].build).context == "/build/a" && length(docker_image.app["held"].build) == 0
    error_message = "A service that is held takes its image as it is."
  }
  assert {
    condition     = docker_image.app["held"].name == "karst/held:bbbbbbbbbbbb" && docker_image.app["held"].keep_locally
    error_message = "Images are kept for rollbacks, unless told otherwise."
  }
}

run "files_for_builds_are_secret_mounts" {
  command = plan
  variables {
    build_ca_file = "tests/preconditions.tftest.hcl"
    build_secrets = { netrc = "tests/variables.tftest.hcl" }
  }

  assert {
    condition     = toset([for one in one(docker_image.app["alpha"].build).secrets : "${one.id}=${one.src}"]) == toset(["ca=tests/preconditions.tftest.hcl", "netrc=tests/variables.tftest.hcl"])
    error_message = "CA bundle and build secrets are mounted, never copied."
  }
  assert {
    condition     = data.external.render.query.ca == "1"
    error_message = "The Dockerfile is written for the mount."
  }
}

run "images_of_apps_need_not_be_kept" {
  command = plan
  variables {
    keep_images = false
  }

  assert {
    condition     = alltrue([for image in docker_image.app : !image.keep_locally]) && alltrue([for image in docker_image.infra : image.keep_locally])
    error_message = "The apps' images go, the shared ones stay for other stacks."
  }
}

run "builders_are_told_endpoints_identities_revisions_and_labels" {
  command = plan
  variables {
    stack = "team-a"
    edge  = { port = 25000 }
  }

  assert {
    condition = output.endpoints == {
      for name in ["alpha", "held"] : name => { url = "http://${name}", address = "${name}:15000", edge = "127.0.0.1:25000", server_name = name }
    }
    error_message = "Each service has its addresses."
  }
  assert {
    condition     = output.identities == { alpha = "spiffe://karst.local/svc/alpha", held = "spiffe://karst.local/svc/held" }
    error_message = "Each service has its identity."
  }
  assert {
    condition     = output.revisions == { alpha = "1111111111111111111111111111111111111111", held = "dir-222222222222" }
    error_message = "Each service has its revision."
  }
  assert {
    condition     = output.labels["alpha"]["karst.stack"] == "team-a" && output.labels["alpha"]["karst.allow"] == "*,edge" && output.labels["held"]["karst.allow"] == "alpha"
    error_message = "Each service has the labels of its containers."
  }
  assert {
    condition     = alltrue([for name, one in output.services : one.labels == output.labels[name] && one.revision == output.revisions[name] && one.identity == output.identities[name] && one.url == output.endpoints[name].url])
    error_message = "What is said twice is the same."
  }
}

run "without_an_edge_there_is_no_address_at_one" {
  command = plan

  assert {
    condition     = alltrue([for one in output.endpoints : one.edge == null])
    error_message = "An edge that does not exist has no address."
  }
}
