"""The commands of `iac`, by what they are for. Each is a few lines over the module that does the work."""
