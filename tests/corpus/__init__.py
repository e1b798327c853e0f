"""Real repositories with the start a person found by reading them, and the detector's score against that."""
