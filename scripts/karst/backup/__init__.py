"""A stack in one encrypted file: what it takes to have it again after everything else is gone.

``collect`` gathers, ``sealed`` encrypts, ``restore`` puts back. Images and logs are not in it: the first are
built again, the second are gone with their disk.
"""
