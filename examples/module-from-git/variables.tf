variable "stack" {
  description = "Name of the stack: it labels every container and prefixes every image."
  type        = string
  default     = "acme"
}

variable "base_image" {
  description = "Debian-based image with Python 3.11 that everything is built on."
  type        = string
  default     = "python:3.11-slim"
}

variable "build_ca_file" {
  description = "CA bundle for builds behind a proxy that opens TLS. Empty: none."
  type        = string
  default     = ""
}
