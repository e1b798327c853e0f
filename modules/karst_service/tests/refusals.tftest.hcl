# What each variable refuses. One run a rule: Terraform says only whether the variable failed, not by which rule.

mock_provider "docker" {}

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

run "a_stack_name_with_capitals_is_refused" {
  command = plan
  variables {
    stack = "Team_A"
  }
  expect_failures = [var.stack]
}

run "slugs_that_are_no_list_is_refused" {
  command = plan
  variables {
    slugs = { alpha = "gh:acme/alpha" }
  }
  expect_failures = [var.slugs]
}

run "a_list_file_of_an_unknown_kind_is_refused" {
  command = plan
  variables {
    slugs_file = "repos.toml"
  }
  expect_failures = [var.slugs_file]
}

run "a_list_file_in_a_home_that_nobody_expands_is_refused" {
  command = plan
  variables {
    slugs_file = "~/repos.yaml"
  }
  expect_failures = [var.slugs_file]
}

run "a_base_folder_in_a_home_that_nobody_expands_is_refused" {
  command = plan
  variables {
    base_dir = "~/apps"
  }
  expect_failures = [var.base_dir]
}

run "a_lock_file_that_is_no_yaml_is_refused" {
  command = plan
  variables {
    lock_file = "repos.lock"
  }
  expect_failures = [var.lock_file]
}

run "a_file_of_held_services_that_is_no_json_is_refused" {
  command = plan
  variables {
    held_file = "held.yaml"
  }
  expect_failures = [var.held_file]
}

run "a_network_without_a_name_is_refused" {
  command = plan
  variables {
    network = ""
  }
  expect_failures = [var.network]
}

run "a_network_name_with_a_slash_is_refused" {
  command = plan
  variables {
    network_name = "iac/net"
  }
  expect_failures = [var.network_name]
}

run "no_secrets_folder_is_refused" {
  command = plan
  variables {
    secrets_dir = " "
  }
  expect_failures = [var.secrets_dir]
}

run "a_secrets_folder_in_a_home_that_nobody_expands_is_refused" {
  command = plan
  variables {
    secrets_dir = "~/secrets"
  }
  expect_failures = [var.secrets_dir]
}

run "a_lifetime_of_half_an_hour_is_refused" {
  command = plan
  variables {
    cert_lifetime = "30m"
  }
  expect_failures = [var.cert_lifetime]
}

run "a_lifetime_of_91_days_is_refused" {
  command = plan
  variables {
    cert_lifetime = "91d"
  }
  expect_failures = [var.cert_lifetime]
}

run "a_lifetime_without_a_unit_is_refused" {
  command = plan
  variables {
    cert_lifetime = "24"
  }
  expect_failures = [var.cert_lifetime]
}

run "a_trust_domain_with_a_slash_is_refused" {
  command = plan
  variables {
    trust_domain = "karst.local/x"
  }
  expect_failures = [var.trust_domain]
}

run "a_trust_domain_with_a_scheme_is_refused" {
  command = plan
  variables {
    trust_domain = "spiffe://karst.local"
  }
  expect_failures = [var.trust_domain]
}

run "an_edge_with_a_scheme_is_refused" {
  command = plan
  variables {
    edge = { host = "http://127.0.0.1" }
  }
  expect_failures = [var.edge]
}

run "an_edge_at_port_zero_is_refused" {
  command = plan
  variables {
    edge = { port = 0 }
  }
  expect_failures = [var.edge]
}

run "an_edge_at_half_a_port_is_refused" {
  command = plan
  variables {
    edge = { port = 15000.5 }
  }
  expect_failures = [var.edge]
}

run "a_base_image_without_a_tag_is_refused" {
  command = plan
  variables {
    base_image = "localhost:5000/python"
  }
  expect_failures = [var.base_image]
}

run "a_base_image_with_a_space_is_refused" {
  command = plan
  variables {
    base_image = "python: 3.11"
  }
  expect_failures = [var.base_image]
}

run "a_ca_bundle_in_a_home_that_nobody_expands_is_refused" {
  command = plan
  variables {
    build_ca_file = "~/ca.pem"
  }
  expect_failures = [var.build_ca_file]
}

run "a_build_secret_that_builds_do_not_know_is_refused" {
  command = plan
  variables {
    build_secrets = { npmrc = "/home/me/.npmrc" }
  }
  expect_failures = [var.build_secrets]
}

run "a_build_secret_in_a_home_that_nobody_expands_is_refused" {
  command = plan
  variables {
    build_secrets = { netrc = "~/.netrc" }
  }
  expect_failures = [var.build_secrets]
}

run "a_collector_without_a_scheme_is_refused" {
  command = plan
  variables {
    otlp_endpoint = "collector:4318"
  }
  expect_failures = [var.otlp_endpoint]
}

run "a_collector_with_a_password_is_refused" {
  command = plan
  variables {
    otlp_endpoint = "http://me:secret@collector:4318"
  }
  expect_failures = [var.otlp_endpoint]
}

run "a_gate_that_waits_for_ever_is_refused" {
  command = plan
  variables {
    gate_timeout = 100000
  }
  expect_failures = [var.gate_timeout]
}

run "a_gate_that_waits_for_parts_of_a_second_is_refused" {
  command = plan
  variables {
    gate_timeout = 60.5
  }
  expect_failures = [var.gate_timeout]
}

run "part_of_a_megabyte_of_output_is_refused" {
  command = plan
  variables {
    log_megabytes = 0.5
  }
  expect_failures = [var.log_megabytes]
}

run "a_negative_drain_is_refused" {
  command = plan
  variables {
    drain_seconds = -1
  }
  expect_failures = [var.drain_seconds]
}

run "a_log_folder_in_a_home_that_nobody_expands_is_refused" {
  command = plan
  variables {
    log_dir = "~/logs"
  }
  expect_failures = [var.log_dir]
}

run "a_delivery_that_there_is_not_is_refused" {
  command = plan
  variables {
    identity_delivery = "upload"
  }
  expect_failures = [var.identity_delivery]
}

run "an_engine_without_a_scheme_is_refused" {
  command = plan
  variables {
    docker_host = "deploy@host"
  }
  expect_failures = [var.docker_host]
}

run "a_limit_in_words_is_refused" {
  command = plan
  variables {
    limits = { memory = "plenty" }
  }
  expect_failures = [var.limits]
}

run "a_limit_of_no_core_is_refused" {
  command = plan
  variables {
    limits = { cpus = 0 }
  }
  expect_failures = [var.limits]
}

run "a_host_that_is_none_of_its_hosts_is_refused" {
  command = plan
  variables {
    placement = { host = "d", hosts = ["a", "b", "c"] }
  }
  expect_failures = [var.placement]
}

run "a_relative_folder_of_certificates_is_refused" {
  command = plan
  variables {
    docker_cert_path = "certs"
  }
  expect_failures = [var.docker_cert_path]
}

run "an_engine_that_there_is_not_is_refused" {
  command = plan
  variables {
    engine = "kubernetes"
  }
  expect_failures = [var.engine]
}

run "a_registry_with_a_scheme_is_refused" {
  command = plan
  variables {
    registry = "https://registry.example"
  }
  expect_failures = [var.registry]
}
