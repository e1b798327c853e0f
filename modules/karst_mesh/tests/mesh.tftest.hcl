# What the module plans, with both providers mocked: no engine and no network is needed.

mock_provider "docker" {}

mock_provider "external" {}

variables {
  secrets_dir = "/tmp/karst-test-secrets"
}

override_data {
  target = data.external.identity
  values = {
    result = {
      uid                = "10001"
      gid                = "10001"
      ca_fingerprint     = "cc"
      bundle_fingerprint = "bb"
      services           = "{\"ops/edge\": {\"dir\": \"/s/mesh/ops-edge\", \"fingerprint\": \"f0\"}, \"ops/operator\": {\"dir\": \"/s/mesh/ops-operator\"}}"
    }
  }
}

run "the_edge_listens_on_localhost_only" {
  command = plan

  assert {
    condition     = alltrue([for port in docker_container.edge.ports : port.ip == "127.0.0.1"])
    error_message = "No port of the edge is open to other machines."
  }
  assert {
    condition     = toset([for port in docker_container.edge.ports : port.external]) == toset([15000, 9901, 8088])
    error_message = "The default ports are those of the documentation."
  }
}

run "the_edge_has_no_rights" {
  command = plan

  assert {
    condition     = one(docker_container.edge.capabilities).drop == toset(["ALL"]) && docker_container.edge.read_only
    error_message = "The edge has no capability and a read-only root."
  }
}

run "ports_can_be_moved" {
  command = plan
  variables {
    ports = { edge = 25000 }
  }

  assert {
    condition     = output.edge.port == 25000
    error_message = "The output names the port that was asked for."
  }
}

run "two_purposes_on_one_port_are_refused" {
  command = plan
  variables {
    ports = { edge = 9901 }
  }
  expect_failures = [var.ports]
}

run "a_network_name_with_an_underscore_is_refused" {
  command = plan
  variables {
    network_name = "iac_net"
  }
  expect_failures = [var.network_name]
}

run "a_stack_name_with_capitals_is_refused" {
  command = plan
  variables {
    stack = "Team_A"
  }
  expect_failures = [var.stack]
}

run "a_trust_domain_with_a_slash_is_refused" {
  command = plan
  variables {
    trust_domain = "karst.local/x"
  }
  expect_failures = [var.trust_domain]
}

run "a_key_that_is_sent_is_kept_in_memory_by_a_container_of_its_own" {
  command = plan
  variables {
    identity_delivery = "memory"
  }

  assert {
    condition     = docker_volume.keeper[0].driver_opts.type == "tmpfs" && one(docker_container.edge.mounts).type == "volume" && one(docker_container.edge.mounts).read_only
    error_message = "The edge reads its key from memory."
  }
  assert {
    condition     = docker_container.keeper[0].network_mode == "none" && length(docker_container.keeper[0].ports) == 0
    error_message = "The keeper is on no network."
  }
}

run "a_mounted_key_needs_no_keeper" {
  command = plan

  assert {
    condition     = length(docker_container.keeper) + length(docker_volume.keeper) == 0 && one(docker_container.edge.mounts).type == "bind"
    error_message = "By default the edge mounts the folder of its identity."
  }
}
