"""A job: it ends, and is healthy."""

print("forty-two")
