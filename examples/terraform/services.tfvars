# The list in Terraform's own words; `dir:` slugs are relative to envs/local. `iac deploy --file` reads this file, too.
slugs = [
  { slug = "dir:../../examples/job", name = "nightly", args = [] },
]
