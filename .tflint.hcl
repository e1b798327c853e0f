# tflint with its bundled ruleset only: nothing is downloaded. The rules are named, so that a new version of tflint
# cannot bring in rules that nobody chose.
config {
  call_module_type    = "none"
  disabled_by_default = true
}

plugin "terraform" {
  enabled = true
}

rule "terraform_comment_syntax" {
  enabled = true
}

rule "terraform_deprecated_index" {
  enabled = true
}

rule "terraform_deprecated_interpolation" {
  enabled = true
}

rule "terraform_deprecated_lookup" {
  enabled = true
}

rule "terraform_documented_outputs" {
  enabled = true
}

rule "terraform_documented_variables" {
  enabled = true
}

rule "terraform_empty_list_equality" {
  enabled = true
}

rule "terraform_map_duplicate_keys" {
  enabled = true
}

rule "terraform_module_pinned_source" {
  enabled = true
}

rule "terraform_naming_convention" {
  enabled = true
}

rule "terraform_required_providers" {
  enabled = true
}

rule "terraform_required_version" {
  enabled = true
}

rule "terraform_typed_variables" {
  enabled = true
}

rule "terraform_unused_declarations" {
  enabled = true
}

# Of modules and envs alone, by scripts/toolchain/lint: terraform_standard_module_structure. Roots of tests and examples are
# one file.

# Off: terraform_unused_required_providers. A root names the versions of the providers that its modules use.

rule "terraform_workspace_remote" {
  enabled = true
}
