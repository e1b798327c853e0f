"""How long a leaf is valid: `cert_lifetime` of the modules, else KARST_CERT_LIFETIME, else seven days."""

from __future__ import annotations

import datetime as dt
import os
import re

from karst.errors import UsageError

# Seven days: short enough that a stolen leaf is soon worthless (there is no revocation list), long enough for a machine
# that is off over a long weekend. Renewal begins with a third of it left, so every deploy leaves at least 56 hours.
LIFETIME = dt.timedelta(days=7)
# Below an hour, clocks and timers would decide who is let in; above 90 days, a stolen leaf outlives the memory of it.
SHORTEST, LONGEST = dt.timedelta(hours=1), dt.timedelta(days=90)
VARIABLE = "KARST_CERT_LIFETIME"

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LIFETIME = re.compile(r"([0-9]{1,7})([smhd])")


def lifetime(given: str = "") -> dt.timedelta:
    """``given`` (from Terraform), else the environment's, else the default; UsageError when it is not a usable time."""
    where, text = ("cert_lifetime", given) if given else (VARIABLE, os.environ.get(VARIABLE, ""))
    if not text:
        return LIFETIME
    match = _LIFETIME.fullmatch(text.strip())
    value = dt.timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
    if value is None or not SHORTEST <= value <= LONGEST:
        raise UsageError(
            f"{where} is `{text[:40]}`, and certificates are issued for 1h to 90d",
            hint="a number and its unit, for example `24h` or `7d` (the default)",
            code="bad_lifetime",
        )
    return value
