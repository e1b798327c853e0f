"""What turns a bare machine into one that can run the kit: engine, Terraform, providers, base image, tools.

Standard library only (besides `karst.errors` and `karst.files`): these programs run before there is an environment.
Each step tries the normal source first, falls back to building from packages, keeps its result in the cache keyed by
version, and says in one line which source it used.
"""
