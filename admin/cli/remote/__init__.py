"""The `iac` command towards an admin app: `--url`, `--socket`, KARST_URL, KARST_SOCKET."""
