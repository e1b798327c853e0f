# What is refused because of something else: another variable, or a file that is not there.

mock_provider "docker" {}

# One answer for the four programs: no service.
mock_provider "external" {
  mock_data "external" {
    defaults = {
      result = { services = "{}", uid = "10001", gid = "10001", ca_fingerprint = "cc" }
    }
  }
}

variables {
  slugs       = []
  network     = "iacnet"
  secrets_dir = "/tmp/karst-test-secrets"
}

run "a_list_and_a_list_file_are_one_too_many" {
  command = plan
  variables {
    slugs_file = "/tmp/repos.yaml"
  }
  expect_failures = [data.external.fetch]
}

run "neither_a_list_nor_a_list_file_is_refused" {
  command = plan
  variables {
    slugs = null
  }
  expect_failures = [data.external.fetch]
}

run "a_ca_bundle_that_is_not_there_is_refused" {
  command = plan
  variables {
    build_ca_file = "/nowhere/ca.pem"
  }
  expect_failures = [data.external.fetch]
}

run "a_build_secret_that_is_not_there_is_refused" {
  command = plan
  variables {
    build_secrets = { netrc = "/nowhere/netrc" }
  }
  expect_failures = [data.external.fetch]
}

run "spans_without_a_collector_are_refused" {
  command = plan
  variables {
    envoy_spans = true
  }
  expect_failures = [data.external.fetch]
}

run "files_that_are_there_and_spans_with_a_collector_are_taken" {
  command = plan
  variables {
    build_ca_file = "tests/preconditions.tftest.hcl"
    build_secrets = { netrc = "tests/preconditions.tftest.hcl", pip_conf = "tests/preconditions.tftest.hcl" }
    envoy_spans   = true
    otlp_endpoint = "https://collector.example/otlp/"
  }
}

run "a_swarm_without_a_registry_is_refused" {
  command = plan
  variables {
    engine = "swarm"
  }
  expect_failures = [data.external.fetch]
}

run "a_swarm_places_tasks_by_itself" {
  command = plan
  variables {
    engine    = "swarm"
    registry  = "registry.example:5000"
    placement = { host = "a", hosts = ["a"] }
  }
  expect_failures = [data.external.fetch]
}

run "a_swarms_keys_are_its_secrets" {
  command = plan
  variables {
    engine            = "swarm"
    registry          = "registry.example:5000"
    identity_delivery = "memory"
  }
  expect_failures = [data.external.fetch]
}
