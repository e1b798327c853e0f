"""A package, so that its one mesh (conftest.py) goes as soon as no test of the folder is left, beside the others."""
