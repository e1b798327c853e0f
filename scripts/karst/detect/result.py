"""What a detection answers: the start command and why it is the one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# argv may hold these two tokens; the runner replaces them at the start of the container. There is no shell.
PORT = "${PORT}"
HOST = "${HOST}"


@dataclass(frozen=True)
class Alternative:
    """Another start command that a later rule would have given."""

    argv: tuple[str, ...]
    rule: str
    evidence: str

    def to_dict(self) -> dict[str, Any]:
        return {"argv": list(self.argv), "rule": self.rule, "evidence": self.evidence}


@dataclass(frozen=True)
class Detection:
    """How one repository is started inside its container.

    Attributes:
        argv: the command; the source is at /app, the virtual environment at /opt/venv comes first on PATH.
        kind: a static guess, ``server``, ``job`` or ``unknown``; what really happens decides at run time.
        rule: the id of the rule that answered (docs/detection.md lists them in order).
        reason: one sentence for a person.
        evidence: ``file:line``, or where an override came from.
        alternatives: what later rules would have answered.
        launch: how it is started: console-script, module, file, function, uvicorn, gunicorn, streamlit, command …
        port: a port written in the source or the command, when there is one.
        env: variables the launch needs, literal values.
        packages: requirements the kit adds because the launch needs them and the repository does not name them.
        python: the version specifier the repository declares, or "".
        install: True when the command only exists once the project itself is installed (console scripts).
        confidence: ``certain`` for overrides and declarations, ``likely`` for conventions, ``guess`` for the scan.
    """

    argv: tuple[str, ...]
    kind: str
    rule: str
    reason: str
    evidence: str
    alternatives: tuple[Alternative, ...] = ()
    launch: str = "file"
    port: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    python: str = ""
    install: bool = False
    confidence: str = "likely"

    def to_dict(self) -> dict[str, Any]:
        """The JSON shape of the external program and of ``scripts/detect``."""
        return {
            "argv": list(self.argv),
            "kind": self.kind,
            "rule": self.rule,
            "reason": self.reason,
            "evidence": self.evidence,
            "alternatives": [item.to_dict() for item in self.alternatives],
            "launch": self.launch,
            "port": self.port,
            "env": dict(self.env),
            "packages": list(self.packages),
            "python": self.python,
            "install": self.install,
            "confidence": self.confidence,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Detection:
        """The inverse of ``to_dict``; unknown keys are ignored, so that old caches can be read."""
        return cls(
            argv=tuple(data["argv"]),
            kind=data["kind"],
            rule=data["rule"],
            reason=data["reason"],
            evidence=data["evidence"],
            alternatives=tuple(
                Alternative(tuple(item["argv"]), item["rule"], item["evidence"])
                for item in data.get("alternatives", ())
            ),
            launch=data.get("launch", "file"),
            port=data.get("port"),
            env=dict(data.get("env", {})),
            packages=tuple(data.get("packages", ())),
            python=data.get("python", ""),
            install=bool(data.get("install", False)),
            confidence=data.get("confidence", "likely"),
        )
