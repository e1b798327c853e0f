"""Building and changing one app, measured side by side with what people write by hand: `make bench-build`."""
