"""The messages and services of proto/controlplane.proto (generated: scripts/toolchain/proto)."""
