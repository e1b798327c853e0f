variable "stack" {
  description = "Name of the stack: it labels every container and prefixes every image."
  type        = string
  default     = "acme"
}

variable "slugs" {
  description = "What to deploy; KARST_GH_URL and its like name the git server that the slugs mean."
  type        = any
  default     = ["gh:acme/hello#v1.0.0"]
}

variable "base_image" {
  description = "Debian-based image with Python 3.11 in a registry of one's own."
  type        = string
  default     = "registry.example.org:5000/python:3.11-slim"
}

variable "build_ca_file" {
  description = "CA bundle for builds from servers with a CA of one's own. Empty: none."
  type        = string
  default     = ""
}

variable "ports" {
  description = "Ports of the edge on 127.0.0.1."
  type        = map(number)
  default     = {}
}
