# What the module plans, with both providers mocked: no engine and no network is needed.

mock_provider "docker" {}

mock_provider "external" {}

variables {
  slugs       = ["gh:acme/alpha", { slug = "dir:beta", port = 9000, expose = true, allow = ["alpha"] }]
  network     = "iacnet"
  secrets_dir = "/tmp/karst-test-secrets"
}

override_data {
  target = data.external.fetch
  values = {
    result = {
      services = <<-JSON
        {
          "alpha": {"name": "alpha", "slug": "gh:acme/alpha", "ref": "main", "revision": "1111111111111111111111111111111111111111",
                    "source": "/src/alpha", "tree": "aa", "path": null, "entrypoint": null, "args": [], "port": null, "env": {"A": "1"},
                    "secrets": [], "allow": null, "expose": false, "memory": null, "cpus": null, "health": null, "otel": true, "missing": []},
          "beta":  {"name": "beta", "slug": "dir:beta", "ref": "", "revision": "dir-222222222222",
                    "source": "/src/beta", "tree": "bb", "path": null, "entrypoint": null, "args": [], "port": 9000, "env": {},
                    "secrets": ["TOKEN"], "allow": ["alpha"], "expose": true, "memory": "1g", "cpus": 0.5, "health": "/ready", "otel": false, "missing": []}
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
          "alpha": {"argv": ["python", "/app/main.py"], "rule": "C3", "kind": "server", "evidence": "main.py:1", "port": null, "env": {}},
          "beta":  {"argv": ["python", "-m", "beta"], "rule": "C2", "kind": "server", "evidence": "beta/__main__.py:1", "port": 5000, "env": {"FLASK_APP": "beta"}}
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
          "alpha": {"context": "/build/a", "dockerfile": "Dockerfile", "input_hash": "aaaaaaaaaaaaaaaa", "tag": "karst/alpha:aaaaaaaaaaaa", "argv": []},
          "beta":  {"context": "/build/b", "dockerfile": "Dockerfile", "input_hash": "bbbbbbbbbbbbbbbb", "tag": "karst/beta:bbbbbbbbbbbb", "argv": []}
        }
      JSON
    }
  }
}

override_data {
  target = data.external.identity
  values = {
    result = {
      uid                = "1000"
      gid                = "1000"
      ca_fingerprint     = "cc"
      bundle_fingerprint = "bb"
      services           = <<-JSON
        {
          "alpha": {"dir": "/s/mesh/alpha", "fingerprint": "f1", "not_after": "2030-01-01T00:00:00Z", "uri": "spiffe://karst.local/svc/alpha",
                    "app_secrets": "", "app_secrets_digest": ""},
          "beta":  {"dir": "/s/mesh/beta", "fingerprint": "f2", "not_after": "2030-01-01T00:00:00Z", "uri": "spiffe://karst.local/svc/beta",
                    "app_secrets": "/s/app/beta", "app_secrets_digest": "d1"}
        }
      JSON
    }
  }
}

run "one_pod_of_three_containers_for_each_service" {
  command = plan

  assert {
    condition     = toset(keys(docker_container.pod)) == toset(["alpha", "beta"])
    error_message = "Each service has a pod."
  }
  assert {
    condition     = alltrue([for set in [docker_container.app, docker_container.sidecar, terraform_data.gate] : length(set) == 2])
    error_message = "Each pod has an app, a sidecar and a gate."
  }
  assert {
    condition     = length(docker_image.infra) == 3 && length(docker_image.app) == 2
    error_message = "Builder, runner and sidecar are built once, the apps once each."
  }
}

run "only_the_pod_container_may_set_a_packet_filter" {
  command = plan

  assert {
    condition     = alltrue([for c in docker_container.pod : one(c.capabilities).drop == toset(["ALL"]) && contains(one(c.capabilities).add, "CAP_NET_ADMIN")])
    error_message = "The pod starts with NET_ADMIN and nothing it does not need."
  }
  assert {
    condition     = alltrue([for c in concat(values(docker_container.app), values(docker_container.sidecar)) : one(c.capabilities).drop == toset(["ALL"]) && one(c.capabilities).add == null])
    error_message = "App and sidecar have no capability."
  }
  assert {
    condition     = alltrue([for c in docker_container.app : one(c.ulimit).name == "nproc" && one(c.ulimit).hard == 8192])
    error_message = "An app's fork bomb is bounded."
  }
  assert {
    condition     = alltrue([for c in concat(values(docker_container.app), values(docker_container.sidecar)) : c.read_only && contains(c.security_opts, "no-new-privileges:true")])
    error_message = "App and sidecar have a read-only root and gain no privileges."
  }
}

run "the_service_name_is_an_alias_of_the_pod_alone" {
  command = plan

  assert {
    condition     = alltrue([for name, c in docker_container.pod : one(c.networks_advanced).aliases == toset([name])])
    error_message = "The pod carries the service's name on the network."
  }
  assert {
    condition     = alltrue([for c in docker_container.app : length(c.networks_advanced) == 0])
    error_message = "The app has no address of its own."
  }
}

run "settings_of_an_entry_reach_its_containers" {
  command = plan

  assert {
    condition     = contains(docker_container.app["beta"].env, "PORT=9000") && contains(docker_container.app["beta"].env, "FLASK_APP=beta")
    error_message = "A given port wins over a detected one; the launch's own variables are set."
  }
  assert {
    condition     = docker_container.app["beta"].memory == 1024 && docker_container.app["beta"].cpus == "0.5"
    error_message = "Limits reach the app's container."
  }
  assert {
    condition     = one(docker_container.app["beta"].mounts).target == "/run/secrets" && length(docker_container.app["alpha"].mounts) == 0
    error_message = "Secrets are mounted where there are any."
  }
  assert {
    condition     = contains(docker_container.app["alpha"].env, "A=1")
    error_message = "The entry's own environment reaches the app."
  }
}

run "no_key_is_mounted_into_an_app" {
  command = plan

  assert {
    condition     = alltrue([for c in docker_container.app : alltrue([for m in c.mounts : m.target != "/secrets"])])
    error_message = "Only sidecars see a key."
  }
  assert {
    condition     = alltrue([for c in docker_container.sidecar : one(c.mounts).read_only])
    error_message = "The sidecar reads its key and cannot change it."
  }
}

run "replicas_are_pods_of_one_service_and_the_first_keeps_its_address" {
  command = plan

  override_data {
    target = data.external.fetch
    values = {
      result = {
        services = <<-JSON
          {
            "alpha": {"name": "alpha", "slug": "gh:acme/alpha", "ref": "main", "revision": "1111111111111111111111111111111111111111",
                      "source": "/src/alpha", "tree": "aa", "path": null, "entrypoint": null, "args": [], "port": null, "env": {"A": "1"},
                      "secrets": [], "allow": null, "expose": false, "memory": null, "cpus": null, "health": null, "otel": true,
                      "replicas": 3, "missing": []},
            "beta":  {"name": "beta", "slug": "dir:beta", "ref": "", "revision": "dir-222222222222",
                      "source": "/src/beta", "tree": "bb", "path": null, "entrypoint": null, "args": [], "port": 9000, "env": {},
                      "secrets": ["TOKEN"], "allow": ["alpha"], "expose": true, "memory": "1g", "cpus": 0.5, "health": "/ready", "otel": false, "missing": []}
          }
        JSON
      }
    }
  }

  assert {
    condition     = toset(keys(docker_container.pod)) == toset(["alpha", "alpha~2", "alpha~3", "beta"])
    error_message = "The first pod has the service's name alone."
  }
  assert {
    condition     = alltrue([for key in ["alpha", "alpha~2", "alpha~3"] : one(docker_container.pod[key].networks_advanced).aliases == toset(["alpha"])])
    error_message = "All of them carry the service's name on the network."
  }
  assert {
    condition     = length(distinct([for key in ["alpha", "alpha~2", "alpha~3"] : docker_container.pod[key].name])) == 3
    error_message = "Each container has a name of its own."
  }
  assert {
    condition     = toset(keys(terraform_data.gate)) == toset(["alpha", "beta"]) && length(docker_image.app) == 2
    error_message = "There is one gate and one image a service."
  }
}

run "a_mounted_folder_keeps_its_owner_and_needs_no_volume" {
  command = plan

  assert {
    condition     = alltrue([for c in docker_container.sidecar : c.user == "1000:1000" && one(c.mounts).type == "bind"])
    error_message = "By default a sidecar mounts the folder of its identity and runs as its owner."
  }
  assert {
    condition     = length(docker_volume.keys) + length(docker_volume.app_secrets) + length(terraform_data.keys) == 0
    error_message = "By default there are no volumes."
  }
}

run "keys_that_are_sent_go_into_memory_and_no_folder_is_mounted" {
  command = plan
  variables {
    identity_delivery = "memory"
  }

  assert {
    condition     = alltrue([for c in docker_container.sidecar : c.user == "10001:10001" && one(c.mounts).type == "volume" && one(c.mounts).read_only])
    error_message = "A sidecar reads its volume as the images' own user."
  }
  assert {
    condition     = alltrue([for v in concat(values(docker_volume.keys), values(docker_volume.app_secrets)) : v.driver_opts.type == "tmpfs" && strcontains(v.driver_opts.o, "mode=0700")])
    error_message = "The volumes are in memory, and closed to others."
  }
  assert {
    condition     = toset([for m in docker_container.pod["beta"].mounts : m.target]) == toset(["/secrets", "/app-secrets"]) && toset([for m in docker_container.pod["alpha"].mounts : m.target]) == toset(["/secrets"])
    error_message = "A pod holds a volume for secrets only where its app has some."
  }
  assert {
    condition     = contains(docker_container.app["beta"].env, "KARST_AWAIT=/run/secrets/.delivered") && one(docker_container.app["beta"].mounts).type == "volume"
    error_message = "An app waits for its secrets."
  }
}

run "keys_on_disk_are_in_plain_volumes" {
  command = plan
  variables {
    identity_delivery = "disk"
  }

  assert {
    condition     = alltrue([for v in docker_volume.keys : length(v.driver_opts) == 0])
    error_message = "A volume on disk has no options."
  }
}

run "limits_count_where_an_entry_gives_none" {
  command = plan
  variables {
    limits = { memory = "256m", cpus = 0.25 }
  }

  assert {
    condition     = docker_container.app["alpha"].memory == 256 && docker_container.app["alpha"].cpus == "0.25" && docker_container.app["beta"].memory == 1024
    error_message = "The entry's own limits win."
  }
}

run "output_is_kept_up_to_a_size" {
  command = plan

  assert {
    condition     = alltrue([for c in concat(values(docker_container.app), values(docker_container.sidecar)) : c.log_opts == tomap({ "max-size" = "10240k", "max-file" = "3" })])
    error_message = "Docker keeps 30 MB of each container by default."
  }
}

run "output_is_kept_as_the_engine_says_where_that_is_wanted" {
  command = plan
  variables {
    log_megabytes = 0
  }

  assert {
    condition     = alltrue([for c in concat(values(docker_container.app), values(docker_container.sidecar)) : length(coalesce(c.log_opts, {})) == 0])
    error_message = "Without a size the engine's own options count."
  }
}

run "sidecars_drain_as_long_as_they_may" {
  command = plan
  variables {
    drain_seconds = 5
  }

  assert {
    condition     = alltrue([for c in docker_container.sidecar : c.destroy_grace_seconds == 15 && contains(c.env, "KARST_DRAIN_LIMIT=5")])
    error_message = "A sidecar is given more time to end than its drain takes."
  }
}

run "without_a_collector_traces_go_to_stdout" {
  command = plan

  assert {
    condition     = alltrue([for c in docker_container.app : alltrue([for one in c.env : !startswith(one, "OTEL_EXPORTER_OTLP_ENDPOINT=")])])
    error_message = "No app is told of a collector that there is not."
  }
  assert {
    condition     = contains(docker_container.app["alpha"].env, "KARST_OTEL=on") && contains(docker_container.app["beta"].env, "KARST_OTEL=off")
    error_message = "`otel: false` turns tracing off for its service alone."
  }
}

run "spans_of_envoy_are_for_services_that_are_traced" {
  command = plan
  variables {
    otlp_endpoint = "http://traces.acme.example:4317"
    envoy_spans   = true
  }

  assert {
    condition     = alltrue([for c in docker_container.app : contains(c.env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://traces.acme.example:4317")])
    error_message = "Apps are told of the collector."
  }
  assert {
    condition = (
      length([for one in docker_container.sidecar["alpha"].env : one if strcontains(one, "traces.acme.example")]) == 1
      && length([for one in docker_container.sidecar["beta"].env : one if strcontains(one, "traces.acme.example")]) == 0
    )
    error_message = "Only the sidecar of a traced service sends spans."
  }
}

run "a_trust_domain_is_that_of_the_callers_that_are_let_in" {
  command = plan
  variables {
    trust_domain = "acme.example"
  }

  assert {
    condition     = length([for one in docker_container.sidecar["beta"].env : one if strcontains(one, "spiffe://acme.example/svc/alpha")]) == 1
    error_message = "`allow` is written with the stack's trust domain."
  }
}

run "an_image_of_the_repositorys_own_is_built_as_it_is_and_answered_for_by_its_sidecar" {
  command = plan

  override_data {
    target = data.external.fetch
    values = {
      result = {
        services = <<-JSON
          {
            "alpha": {"name": "alpha", "slug": "gh:acme/alpha", "ref": "main", "revision": "1111111111111111111111111111111111111111",
                      "source": "/src/alpha", "tree": "aa", "path": null, "entrypoint": null, "args": ["-v"], "port": null, "env": {},
                      "secrets": [], "allow": null, "expose": false, "memory": null, "cpus": null, "health": "/up", "otel": false, "missing": [],
                      "dockerfile": "docker/Dockerfile", "user": null, "writable": ["/data"]},
            "beta":  {"name": "beta", "slug": "dir:beta", "ref": "", "revision": "dir-222222222222",
                      "source": "/src/beta", "tree": "bb", "path": null, "entrypoint": null, "args": [], "port": 9000, "env": {},
                      "secrets": [], "allow": null, "expose": false, "memory": null, "cpus": null, "health": null, "otel": true, "missing": [],
                      "dockerfile": "Dockerfile", "user": "101:101", "writable": ["/"]}
          }
        JSON
      }
    }
  }

  assert {
    condition     = one(docker_image.app["alpha"].build).dockerfile == "/build/a/Dockerfile" && one(docker_image.app["alpha"].build).label["karst.dockerfile"] == "Dockerfile"
    error_message = "The Dockerfile is named by its whole path, and in a label."
  }
  assert {
    condition     = one(docker_container.app["alpha"].capabilities).add == toset(["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"]) && one(docker_container.app["beta"].capabilities).add == null
    error_message = "As root it may become somebody else; a given user may nothing."
  }
  assert {
    condition     = docker_container.app["alpha"].read_only && !docker_container.app["beta"].read_only && docker_container.app["beta"].user == "101:101"
    error_message = "Only `/` makes the root writable."
  }
  assert {
    condition     = endswith(docker_container.app["beta"].tmpfs["/run"], ",uid=101") && !strcontains(docker_container.app["alpha"].tmpfs["/run"], ",uid=")
    error_message = "The folder of pid files is the given user's."
  }
  assert {
    condition     = one(docker_container.app["alpha"].volumes).container_path == "/data" && length(docker_container.app["beta"].volumes) == 0
    error_message = "Each writable folder is an anonymous volume."
  }
  assert {
    condition     = docker_container.app["alpha"].command == tolist(["-v"]) && docker_container.app["alpha"].init && contains(docker_container.app["alpha"].env, "OTEL_SDK_DISABLED=true")
    error_message = "Arguments take the place of CMD, and Docker's init is PID 1."
  }
  assert {
    condition     = contains(docker_container.sidecar["alpha"].env, "KARST_ANSWER=1") && contains(docker_container.sidecar["alpha"].env, "KARST_HEALTH=/up")
    error_message = "The sidecar answers for an app without a runner."
  }
  assert {
    condition     = !anytrue([for pair in docker_container.app["alpha"].env : startswith(pair, "HOME=")])
    error_message = "HOME is the image's."
  }
}
