"""A package, so that its one stack (conftest.py) goes as soon as no test of the folder is left, beside the others."""
