# Which pods each of several hosts gets, with both providers mocked.

mock_provider "docker" {}

mock_provider "external" {}

variables {
  slugs       = ["dir:alpha", "dir:beta", "dir:gamma"]
  network     = "overlay-id"
  secrets_dir = "/tmp/karst-test-secrets"
}

override_data {
  target = data.external.fetch
  values = {
    result = {
      services = <<-JSON
        {
          "alpha": {"name": "alpha", "slug": "dir:alpha", "ref": "", "revision": "dir-1", "args": [], "env": {}, "secrets": [], "port": null, "allow": null,
                    "expose": false, "memory": null, "cpus": null, "health": null, "otel": true, "replicas": 4, "missing": []},
          "beta":  {"name": "beta", "slug": "dir:beta", "ref": "", "revision": "dir-2", "args": [], "env": {}, "secrets": [], "port": null, "allow": null,
                    "expose": false, "memory": null, "cpus": null, "health": null, "otel": true, "missing": []},
          "gamma": {"name": "gamma", "slug": "dir:gamma", "ref": "", "revision": "dir-3", "args": [], "env": {}, "secrets": [], "port": null, "allow": null,
                    "expose": false, "memory": null, "cpus": null, "health": null, "otel": true, "replicas": 2, "missing": []}
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
          "beta":  {"argv": ["b"], "rule": "C3", "kind": "server", "evidence": "", "port": null, "env": {}},
          "gamma": {"argv": ["c"], "rule": "C3", "kind": "server", "evidence": "", "port": null, "env": {}}
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
          "alpha": {"context": "/b/a", "dockerfile": "Dockerfile", "input_hash": "a", "tag": "karst/alpha:a", "argv": []},
          "beta":  {"context": "/b/b", "dockerfile": "Dockerfile", "input_hash": "b", "tag": "karst/beta:b", "argv": []},
          "gamma": {"context": "/b/c", "dockerfile": "Dockerfile", "input_hash": "c", "tag": "karst/gamma:c", "argv": []}
        }
      JSON
    }
  }
}

override_data {
  target = data.external.identity
  values = {
    result = {
      uid            = "10001"
      gid            = "10001"
      ca_fingerprint = "cc"
      services       = <<-JSON
        {
          "alpha": {"dir": "/s/a", "fingerprint": "f1", "not_after": "", "uri": "spiffe://karst.local/svc/alpha", "app_secrets": "", "app_secrets_digest": ""},
          "beta":  {"dir": "/s/b", "fingerprint": "f2", "not_after": "", "uri": "spiffe://karst.local/svc/beta", "app_secrets": "", "app_secrets_digest": ""},
          "gamma": {"dir": "/s/c", "fingerprint": "f3", "not_after": "", "uri": "spiffe://karst.local/svc/gamma", "app_secrets": "", "app_secrets_digest": ""}
        }
      JSON
    }
  }
}

run "a" {
  command = plan
  variables {
    placement = { host = "a", hosts = ["a", "b", "c"] }
  }
  assert {
    condition     = alltrue([for c in docker_container.pod : one(c.networks_advanced).name == "overlay-id"])
    error_message = "The overlay is given by its id: the engine may not know it yet."
  }
}

run "b" {
  command = plan
  variables {
    placement = { host = "b", hosts = ["a", "b", "c"] }
  }
}

run "c" {
  command = plan
  variables {
    placement = { host = "c", hosts = ["c", "b", "a"] } # in any order
  }

  assert {
    condition     = sort([for pods in [run.a.pods, run.b.pods, output.pods] : length(pods["alpha"])]) == tolist(["1", "1", "2"])
    error_message = "Four pods on three hosts: one each, and one more."
  }
  assert {
    condition     = length([for pods in [run.a.pods, run.b.pods, output.pods] : pods if contains(keys(pods), "beta")]) == 1
    error_message = "One pod is on one host."
  }
  assert {
    condition     = sort([for pods in [run.a.pods, run.b.pods, output.pods] : length(try(pods["gamma"], []))]) == tolist(["0", "1", "1"])
    error_message = "Two pods are on two hosts."
  }
  assert {
    condition     = keys(docker_image.app) == keys(output.pods) && toset(keys(terraform_data.gate)) == toset(keys(output.pods))
    error_message = "A host builds and lets through what runs there, and nothing else."
  }
  assert {
    condition     = length(distinct(flatten([for pods in [run.a.pods, run.b.pods, output.pods] : values(pods)]))) == 7
    error_message = "A pod's name is its name on the network, and no two hosts use the same."
  }
  assert {
    condition     = output.services["alpha"].generation == run.a.services["alpha"].generation
    error_message = "The generation is the same on every host."
  }
}

run "a_without_c" {
  command = plan
  variables {
    placement = { host = "a", hosts = ["a", "b"] }
  }
}

run "b_without_c" {
  command = plan
  variables {
    placement = { host = "b", hosts = ["a", "b"] }
  }

  assert {
    condition     = length(setsubtract(keys(run.a.pods), keys(run.a_without_c.pods))) == 0 && length(setsubtract(keys(run.b.pods), keys(output.pods))) == 0
    error_message = "A host that goes moves its own pods alone: what the others had, they keep."
  }
  assert {
    condition     = toset(concat(keys(run.a_without_c.pods), keys(output.pods))) == toset(["alpha", "beta", "gamma"])
    error_message = "The others take its pods over."
  }
}

run "a_while_its_pods_move_to_c" {
  command = plan
  variables {
    placement = { host = "a", hosts = ["a", "b", "c"], keep = ["a", "b"] }
  }

  assert {
    condition     = alltrue([for name in ["alpha", "beta", "gamma"] : length(try(output.pods[name], [])) == max(length(try(run.a.pods[name], [])), length(try(run.a_without_c.pods[name], [])))])
    error_message = "A host has what it had and what it is to have, until the others have theirs."
  }
}

run "c_while_it_is_emptied" {
  command = plan
  variables {
    placement = { host = "c", hosts = ["a", "b"], keep = ["a", "b", "c"] }
  }

  assert {
    condition     = { for name, pods in output.pods : name => length(pods) } == { for name, pods in run.c.pods : name => length(pods) }
    error_message = "A host that is to be emptied keeps its pods until others have taken them over."
  }
}
