"""What the helper scripts, the admin app and the ``iac`` command share."""
