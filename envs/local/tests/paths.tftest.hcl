# What this root adds to the modules: paths relative to its folder, and the lock file beside the list.

mock_provider "docker" {}

# Identities of the mesh, and no service.
mock_provider "external" {
  mock_data "external" {
    defaults = {
      result = { services = "{\"ops/edge\": {\"dir\": \"/s/mesh/ops-edge\"}}", uid = "10001", gid = "10001", ca_fingerprint = "cc" }
    }
  }
}

override_data {
  target = module.karst_service.data.external.fetch
  values = {
    result = { services = "{}", uid = "10001", gid = "10001" }
  }
}

override_data {
  target = module.karst_service.data.external.detect
  values = {
    result = { services = "{}", uid = "10001", gid = "10001" }
  }
}

override_data {
  target = module.karst_service.data.external.render
  values = {
    result = { services = "{}", uid = "10001", gid = "10001" }
  }
}

override_data {
  target = module.karst_service.data.external.identity
  values = {
    result = { services = "{}", uid = "10001", gid = "10001" }
  }
}

run "relative_paths_are_relative_to_this_folder" {
  command = plan
  variables {
    slugs_file    = "../../examples/repos.yaml"
    secrets_dir   = "../../secrets"
    build_ca_file = ""
  }

  assert {
    condition     = local.list == abspath("../../examples/repos.yaml") && local.secrets_dir == abspath("../../secrets")
    error_message = "Paths are made absolute."
  }
  assert {
    condition     = local.lock == abspath("../../examples/repos.lock.yaml")
    error_message = "The lock file lies beside the list."
  }
}

run "a_list_in_tfvars_has_the_lock_file_that_iac_looks_for" {
  command = plan
  variables {
    slugs_file    = "/srv/apps.tfvars.json"
    build_ca_file = ""
  }

  assert {
    condition     = local.list == "/srv/apps.tfvars.json" && local.lock == "/srv/apps.lock.yaml"
    error_message = "Absolute paths stay, and all of `.tfvars.json` is the suffix."
  }
}

run "an_edge_on_other_ports_is_in_the_outputs" {
  command = plan
  variables {
    ports         = { metrics = 19901 }
    build_ca_file = ""
  }

  assert {
    condition     = output.ports == { edge = 15000, metrics = 19901, front_door = 8088 }
    error_message = "Ports that are not given have their defaults."
  }
  assert {
    condition     = output.prometheus_targets[0].targets == ["127.0.0.1:19901"] && output.prometheus_targets[0].labels.service == "edge"
    error_message = "Prometheus is sent to the port for statistics."
  }
}
