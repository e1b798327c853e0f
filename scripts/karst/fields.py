"""The values an entry of the list may hold, one rule each: what is allowed, and the sentence when it is not."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from karst.errors import UsageError

RESERVED_PORTS = {15000: "inbound mTLS", 15001: "outbound", 9901: "metrics", 50051: "the runner"}
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SECRET_NAME = re.compile(r"[A-Z_][A-Z0-9_]*", re.ASCII)
_MEMORY = re.compile(r"([1-9][0-9]{0,14})([kmg])", re.ASCII)
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SUBFOLDER = re.compile(r"[\w ./@+=,~()-]+")
_HTTP_PATH = re.compile(r"/[A-Za-z0-9/_.~%?&=:@+,;-]*", re.ASCII)
_APT = re.compile(r"[a-z0-9][a-z0-9+.-]+", re.ASCII)  # Debian Policy 5.6.1
MAX_REPLICAS = 32
_CONTAINER_USER = re.compile(r"[1-9][0-9]{0,9}(:[0-9]{1,10})?", re.ASCII)
_CONTAINER_FOLDER = re.compile(r"/|(/[A-Za-z0-9_.+@-]+)+/?", re.ASCII)
#: The kit's own mounts, and the kernel's.
_MOUNTED = ("/tmp", "/run", "/proc", "/sys", "/dev")  # noqa: S108 # nosec B108
_PYTHON = re.compile(r"3\.[0-9]{1,2}", re.ASCII)
_KINDS = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}


def kind(value: Any) -> str:
    """A type's name for a person."""
    return "nothing" if value is None else _KINDS.get(type(value), f"a {type(value).__name__}")


@dataclass(frozen=True)
class Entry:
    """One entry's mapping. An absent key or null gives the default; what is not allowed, UsageError (``bad_value``).

    Attributes:
        raw: the decoded mapping.
        where: the entry as a message names it.
    """

    raw: Mapping[Any, Any]
    where: str

    def bad(self, key: str, why: str, hint: str = "", code: str = "bad_value") -> UsageError:
        return UsageError(f"{self.where}: `{key}`: {why}", hint=hint, code=code)

    def wrong_type(self, key: str, wanted: str, hint: str = "") -> UsageError:
        value = self.raw.get(key)
        shown = (
            f" ({str(value).lower() if isinstance(value, bool) else value})"
            if isinstance(value, bool | int | float)
            else ""
        )
        if isinstance(value, bool) and wanted == "text":
            hint = "YAML reads on, yes, no, y and n as booleans: put the word in quotes"
        return self.bad(key, f"wanted {wanted}, got {kind(value)}{shown}", hint)

    def text(self, key: str) -> str | None:
        value = self.raw.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.wrong_type(key, "text", "put it in quotes" if isinstance(value, int | float) else "")
        if not value.strip():
            raise self.bad(key, "it is empty", "leave the key away")
        if any(not char.isprintable() for char in value):
            raise self.bad(key, "it holds a control character")
        if len(value) > 4096:
            raise self.bad(key, "it is longer than 4096 characters")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.raw.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong_type(key, "true or false")
        return value

    def subfolder(self, key: str) -> str | None:
        return self._inside(key, "folder", "give a folder of the repository, as in services/api")

    def dockerfile(self, key: str) -> str | None:
        if self.raw.get(key) is True:
            raise self.bad(key, "wanted a path, got true", "name the file, as in Dockerfile or docker/api.Dockerfile")
        return self._inside(key, "file", "give the file's path below the project, as in docker/api.Dockerfile")

    def user(self, key: str) -> str | None:
        value = self.raw.get(key)
        hint = 'write a number, or user and group, as in "101" or "101:101"; /etc/passwd of the image has them'
        if value is None:
            return None
        text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
        if text.partition(":")[0] == "0":
            raise self.bad(key, "0 is root", "leave the key away: the image's own user is used")
        if not _CONTAINER_USER.fullmatch(text):
            raise self.bad(key, f"`{value}` is no numeric user", hint)
        return text

    def folders(self, key: str) -> tuple[str, ...]:
        """Folders of a container; ``/`` stands alone, and what the kit mounts itself is not to be had."""
        hint = "name folders of the image, as in /var/cache/nginx, or / for everything"
        names = [name.rstrip("/") or "/" for name in self._names(key, _CONTAINER_FOLDER, hint)]
        for name in names:
            if ".." in name.split("/") or name in _MOUNTED:
                raise self.bad(key, f"`{name}` is not to be had", "what is in memory can be written to without it")
        if "/" in names and len(names) > 1:
            raise self.bad(key, "`/` is everything", "leave the others away")
        return tuple(sorted(names))

    def _inside(self, key: str, what: str, hint: str) -> str | None:
        """A path that stays in the repository, without empty parts."""
        value = self.text(key)
        if value is None:
            return None
        parts = [part for part in value.split("/") if part not in ("", ".")]
        if value.startswith(("/", "~")):
            raise self.bad(key, f"`{value}` is not relative", hint)
        if ".." in parts:
            raise self.bad(key, f"`{value}` leaves the repository", hint)
        if value.startswith("-") or not _SUBFOLDER.fullmatch(value) or ".git" in parts:
            raise self.bad(key, f"`{value}` is not a {what}'s name that can be used", hint)
        return "/".join(parts) or None

    def entrypoint(self, key: str) -> str | None:
        value = self.text(key)
        if value is not None and value.startswith("-"):
            raise self.bad(key, f"`{value}` begins with a dash", "write module:function, module, or a file's path")
        return value

    def words(self, key: str) -> tuple[str, ...]:
        return tuple(self._scalar(key, f"`{key}` item {n}", item) for n, item in enumerate(self._list(key), 1))

    def port(self, key: str) -> int | None:
        value = self.raw.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong_type(
                key, "a number from 1 to 65535", "leave the quotes away" if isinstance(value, str) else ""
            )
        if not 1 <= value <= 65535:
            raise self.bad(key, f"{value} is not a port", "a port is a number from 1 to 65535")
        if value in RESERVED_PORTS:
            raise self.bad(
                key,
                f"{value} is taken in every pod ({RESERVED_PORTS[value]})",
                "let the program listen on another port",
            )
        return value

    def env(self, key: str) -> dict[str, str]:
        value = self.raw.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.wrong_type(key, "a mapping of names to values", "write `NAME: value`, one a line")
        result: dict[str, str] = {}
        for name, item in value.items():
            if not isinstance(name, str) or not _ENV_NAME.fullmatch(name):
                shown = f"`{name}`" if isinstance(name, str) else f"`{str(name).lower()}` ({kind(name)})"
                raise self.bad(key, f"{shown} is no name of a variable", "names are letters, digits and _")
            if name.startswith("KARST_"):
                raise self.bad(
                    key, f"`{name}` is one of the kit's own variables", "names beginning with KARST_ are taken"
                )
            result[name] = self._scalar(key, f"`{name}`", item)
        clash = set(result) & set(self.secrets("secrets"))
        if clash:
            raise self.bad(key, f"`{min(clash)}` is both in env and in secrets", "keep one of them")
        return dict(sorted(result.items()))

    def secrets(self, key: str) -> tuple[str, ...]:
        names = self._names(key, _SECRET_NAME, "a secret is the NAME of an environment variable: A-Z, 0-9 and _")
        return tuple(sorted(names))

    def allow(self, key: str, rule: re.Pattern[str]) -> tuple[str, ...] | None:
        if self.raw.get(key) is None:
            return None
        return tuple(sorted(self._names(key, rule, "name services of the list, or operator or edge")))

    def memory(self, key: str) -> str | None:
        value = self.raw.get(key)
        hint = "write a number and k, m or g, as in 256m"
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.wrong_type(key, "text such as 256m", hint)
        match = _MEMORY.fullmatch(value.strip().lower())
        if not match:
            raise self.bad(key, f"`{value}` is no amount of memory", hint)
        if int(match[1]) * _UNITS[match[2]] < 6 << 20:
            raise self.bad(key, f"`{value}` is less than Docker's least, 6m", hint)
        return match[0]

    def cpus(self, key: str) -> float | None:
        value = self.raw.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong_type(
                key, "a number such as 0.5", "leave the quotes away" if isinstance(value, str) else ""
            )
        if not math.isfinite(value) or not 0.01 <= value <= 1024:
            raise self.bad(key, f"{value} is not a number of cores", "give 0.01 to 1024, as in 0.5")
        return float(value)

    def replicas(self, key: str) -> int:
        value = self.raw.get(key)
        if value is None:
            return 1
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong_type(
                key, f"a number from 1 to {MAX_REPLICAS}", "leave the quotes away" if isinstance(value, str) else ""
            )
        if not 1 <= value <= MAX_REPLICAS:
            hint = "to stop a service, take it out of the list" if value == 0 else ""
            raise self.bad(key, f"{value} is not a number from 1 to {MAX_REPLICAS}", hint)
        return value

    def http_path(self, key: str) -> str | None:
        value = self.text(key)
        if value is not None and not _HTTP_PATH.fullmatch(value):
            raise self.bad(key, f"`{value}` is no path of a URL", "write the path only, as in /healthz")
        return value

    def packages(self, key: str) -> tuple[str, ...]:
        return tuple(sorted(self._names(key, _APT, "name Debian packages, as in libpq-dev")))

    def python(self, key: str) -> str | None:
        value = self.raw.get(key)
        if value is None:
            return None
        if isinstance(value, float):
            # YAML and HCL read 3.10 as the number 3.1: a one-digit minor may have lost its zero.
            if _PYTHON.fullmatch(str(value)) and len(str(value)) == 4:
                return str(value)
            raise self.bad(key, f"{value} is a number, and may have been 3.10", 'put it in quotes, as in "3.10"')
        if not isinstance(value, str):
            raise self.wrong_type(key, 'text such as "3.12"')
        if not _PYTHON.fullmatch(value):
            raise self.bad(key, f"`{value}` is no version of Python 3", 'write major and minor only, as in "3.12"')
        return value

    def _list(self, key: str) -> list[Any]:
        value = self.raw.get(key)
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            raise self.wrong_type(key, "a list", "write `[a, b]`, or one `- ` a line")
        return list(value)

    def _names(self, key: str, rule: re.Pattern[str], hint: str) -> list[str]:
        names: list[str] = []
        for number, item in enumerate(self._list(key), 1):
            if not isinstance(item, str):
                more = ": YAML reads on, yes, no, y and n as booleans" if isinstance(item, bool) else ""
                raise self.bad(key, f"item {number}: wanted text, got {kind(item)}{more}", hint)
            if not rule.fullmatch(item):
                raise self.bad(key, f"`{item[:60]}` is not allowed here", hint)
            if item in names:
                raise self.bad(key, f"`{item}` is there twice", "name it once")
            names.append(item)
        return names

    def _scalar(self, key: str, what: str, item: Any) -> str:
        if isinstance(item, bool):
            return "true" if item else "false"
        if isinstance(item, int | float):
            if isinstance(item, float) and not math.isfinite(item):
                raise self.bad(key, f"{what}: {item} is not a number that can be written")
            text = getattr(item, "text", "")
            if text.endswith("0"):  # a number from YAML; the zero would be lost, and Terraform's decoder loses it too
                raise self.bad(key, f"{what}: {text} would lose its zero", f'put it in quotes, as in "{text}"')
            whole = isinstance(item, float) and item.is_integer() and abs(item) < 1e15
            return str(int(item)) if whole else str(item)
        if item is None:
            raise self.bad(key, f"{what} has no value", 'write "" for an empty one')
        if not isinstance(item, str):
            raise self.bad(key, f"{what}: wanted text, a number or a boolean, got {kind(item)}", "put it in quotes")
        if "\0" in item or len(item) > 65536:
            raise self.bad(key, f"{what}: it holds a NUL or is longer than 64 KiB")
        try:
            item.encode()
        except UnicodeEncodeError:
            raise self.bad(key, f"{what}: it is not valid text") from None
        return item
