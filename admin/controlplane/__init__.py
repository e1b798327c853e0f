"""The ControlPlane of proto/controlplane.proto over gRPC: the same runs and rules as HTTP, for the mesh's operator."""
