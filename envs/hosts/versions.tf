# tflint-ignore-file: terraform_unused_required_providers
terraform {
  required_version = ">= 1.7" # `removed` blocks, for a host that is down

  backend "local" {
    path = "karst.tfstate"
  }

  required_providers {
    docker = {
      source  = "kreuzwerker/docker"
      version = ">= 3.6, < 5"
    }
    external = {
      source  = "hashicorp/external"
      version = ">= 1.2, < 3"
    }
  }
}
