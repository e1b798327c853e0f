# Where the values of variables go, and which unusual ones are taken.

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
  slugs       = ["gh:acme/alpha#v1", { slug = "dir:beta", port = 9000 }]
  network     = "iacnet"
  secrets_dir = "keys"
}

run "the_defaults_are_those_of_the_documentation" {
  command = plan

  assert {
    condition     = data.external.fetch.query.slugs == jsonencode(["gh:acme/alpha#v1", { slug = "dir:beta", port = 9000 }])
    error_message = "The list goes to fetch as it is."
  }
  assert {
    condition     = data.external.fetch.query.base_dir == abspath(".") && data.external.identity.query.secrets_dir == abspath("keys")
    error_message = "Folders are made absolute: programs run elsewhere."
  }
  assert {
    condition     = data.external.identity.query.network == "iacnet" && data.external.identity.query.trust_domain == "karst.local"
    error_message = "Identities have the default names."
  }
  assert {
    condition     = alltrue([for image in docker_image.infra : one(image.build).build_args.BASE == "python:3.11-slim" && image.keep_locally])
    error_message = "The default base image is the documented one."
  }
  assert {
    condition     = output.stack == "karst" && output.services == {}
    error_message = "Without services there are none in the outputs."
  }
}

run "every_setting_reaches_the_program_that_goes_by_it" {
  command = plan
  variables {
    stack         = "team-a"
    slugs         = null
    slugs_file    = "/srv/repos.tfvars"
    base_dir      = "/srv/apps"
    lock_file     = "/srv/repos.lock.yaml"
    held_file     = "/srv/held.json"
    network_name  = "prod_net.1"
    trust_domain  = "prod.acme_1.org"
    cert_lifetime = "90d"
    base_image    = "registry.acme.org:5000/base/python:3.11@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    edge          = { host = "edge.acme.org" }
    gate_timeout  = 3600
    drain_seconds = 0
    log_dir       = "logs"
  }

  assert {
    condition = data.external.fetch.query == tomap({
      slugs      = ""
      slugs_file = "/srv/repos.tfvars"
      base_dir   = "/srv/apps"
      lock_file  = "/srv/repos.lock.yaml"
      held_file  = "/srv/held.json"
      stack      = "team-a"
    })
    error_message = "fetch is told where list, lock and held services are."
  }
  assert {
    condition     = data.external.render.query.base_image == var.base_image && data.external.render.query.stack == "team-a"
    error_message = "render is told what to build on."
  }
  assert {
    condition = (
      data.external.identity.query.network == "prod_net.1"
      && data.external.identity.query.trust_domain == "prod.acme_1.org"
      && data.external.identity.query.lifetime == "90d"
    )
    error_message = "identity is told names and lifetime."
  }
}

run "the_shortest_lifetime_is_an_hour" {
  command = plan
  variables {
    cert_lifetime = "3600s"
  }

  assert {
    condition     = data.external.identity.query.lifetime == "3600s"
    error_message = "An hour in seconds is taken."
  }
}
