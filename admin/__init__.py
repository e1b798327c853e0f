"""The control plane: the admin app (HTTP on TCP and on a Unix socket), its runs, and the ``iac`` command."""
