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
    condition     = output.edge == { host = "127.0.0.1", port = 25000 } && output.ports == { edge = 25000, metrics = 9901, front_door = 8088 }
    error_message = "The outputs name the port that was asked for."
  }
  assert {
    condition     = output.endpoints == { edge = "127.0.0.1:25000", metrics = "http://127.0.0.1:9901", front_door = "http://127.0.0.1:8088" }
    error_message = "The addresses have the ports that were asked for."
  }
}

run "every_setting_reaches_what_goes_by_it" {
  command = plan
  variables {
    stack         = "team-a"
    network_name  = "n"
    secrets_dir   = "keys"
    cert_lifetime = "24h"
    trust_domain  = "acme.example"
    base_image    = "registry.acme.org:5000/python:3.11"
    build_ca_file = "tests/mesh.tftest.hcl"
  }

  assert {
    condition = data.external.identity.query == tomap({
      secrets_dir  = abspath("keys")
      stack        = "team-a"
      services     = jsonencode(["ops/edge", "ops/operator"])
      network      = "n"
      trust_domain = "acme.example"
      lifetime     = "24h"
    })
    error_message = "identity is told folder, names and lifetime."
  }
  assert {
    condition     = docker_network.mesh[0].name == "n" && docker_container.edge.name == "team-a-edge"
    error_message = "Network and edge have the names that were asked for."
  }
  assert {
    condition     = one(docker_image.edge.build).build_args.BASE == "registry.acme.org:5000/python:3.11" && one(one(docker_image.edge.build).secrets).id == "ca"
    error_message = "The edge's image is built on the base image, with the CA bundle as a secret mount."
  }
  assert {
    condition     = output.stack == "team-a" && output.trust_domain == "acme.example" && output.labels["karst.role"] == "edge"
    error_message = "What karst_service has to be told is an output."
  }
  assert {
    condition     = output.operator.uri == "spiffe://acme.example/ops/operator" && output.operator.key == "${abspath("keys")}/operator.key"
    error_message = "The operator's identity is an output, as paths."
  }
}

run "a_ca_bundle_that_is_not_there_is_refused" {
  command = plan
  variables {
    build_ca_file = "/nowhere/ca.pem"
  }
  expect_failures = [data.external.identity]
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

run "a_network_that_is_there_is_used_and_none_is_made" {
  command = plan
  variables {
    shared_network = { id = "0mqbpbctqgr0h3qlixoa6h5i2" }
  }

  assert {
    condition     = length(docker_network.mesh) == 0 && one(docker_container.edge.networks_advanced).name == "0mqbpbctqgr0h3qlixoa6h5i2"
    error_message = "With several hosts the overlay is made once, outside."
  }
}
