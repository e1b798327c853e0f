"""What callers notice of every change, of kills and of overload: `python -m tests.chaos`."""
