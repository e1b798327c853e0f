"""A service that calls another one."""
