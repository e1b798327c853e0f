"""The pods of a service that has several: how Terraform's keys name them.

The first pod's resources have the service's name alone, so that a service with one pod keeps it when it gets more; the
second's are ``web~2``, and so on. A service's name has no ``~``.
"""

from __future__ import annotations

_BETWEEN = "~"


def service_of(key: str) -> str:
    """The service that a resource's key belongs to."""
    return key.partition(_BETWEEN)[0]


def number_of(key: str) -> int:
    """Which of its service's pods, from 1; 1 for a key that is no pod's."""
    number = key.partition(_BETWEEN)[2]
    return int(number) if number.isdecimal() else 1
