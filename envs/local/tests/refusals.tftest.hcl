# What each variable refuses. One run a rule: Terraform says only whether the variable failed, not by which rule.

mock_provider "docker" {}

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

run "a_stack_name_with_capitals_is_refused" {
  command = plan
  variables {
    stack = "Team_A"
  }
  expect_failures = [var.stack]
}

run "a_list_file_of_an_unknown_kind_is_refused" {
  command = plan
  variables {
    slugs_file = "repos.toml"
  }
  expect_failures = [var.slugs_file]
}

run "a_network_name_with_an_underscore_is_refused" {
  command = plan
  variables {
    network_name = "iac_net"
  }
  expect_failures = [var.network_name]
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

run "a_base_image_without_a_tag_is_refused" {
  command = plan
  variables {
    base_image = "python"
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
