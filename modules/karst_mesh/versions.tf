terraform {
  required_version = ">= 1.5"

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
