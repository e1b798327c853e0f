"""The `iac` command: works on a stack directly, through Terraform and Docker."""
