"""What docs/scale.md says of limits, tried: each is lowered on purpose, run into, and got past."""
