# What each variable refuses. One run a rule: Terraform says only whether the variable failed, not by which rule.

mock_provider "docker" {}

mock_provider "external" {
  mock_data "external" {
    defaults = {
      result = { services = "{\"ops/edge\": {\"dir\": \"/s/mesh/ops-edge\"}}", uid = "10001", gid = "10001", ca_fingerprint = "cc" }
    }
  }
}

variables {
  secrets_dir = "/tmp/karst-test-secrets"
}

run "a_stack_name_with_capitals_is_refused" {
  command = plan
  variables {
    stack = "Team_A"
  }
  expect_failures = [var.stack]
}

run "a_network_name_with_an_underscore_is_refused" {
  command = plan
  variables {
    network_name = "iac_net"
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

run "a_trust_domain_with_a_slash_is_refused" {
  command = plan
  variables {
    trust_domain = "karst.local/x"
  }
  expect_failures = [var.trust_domain]
}

run "a_base_image_without_a_tag_is_refused" {
  command = plan
  variables {
    base_image = "localhost:5000/python"
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

run "two_purposes_on_one_port_is_refused" {
  command = plan
  variables {
    ports = { edge = 9901 }
  }
  expect_failures = [var.ports]
}

run "a_port_above_65535_is_refused" {
  command = plan
  variables {
    ports = { front_door = 65536 }
  }
  expect_failures = [var.ports]
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

run "part_of_a_megabyte_of_output_is_refused" {
  command = plan
  variables {
    log_megabytes = 0.5
  }
  expect_failures = [var.log_megabytes]
}

run "a_network_by_its_name_is_refused" {
  command = plan
  variables {
    shared_network = { id = "my network" }
  }
  expect_failures = [var.shared_network]
}

run "a_relative_folder_of_certificates_is_refused" {
  command = plan
  variables {
    docker_cert_path = "certs"
  }
  expect_failures = [var.docker_cert_path]
}
