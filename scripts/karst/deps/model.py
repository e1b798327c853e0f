"""What a choice of dependencies is made of: pure data, so that it can be tested, hashed and rendered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# Where things are inside the build stage. The template and the builder image use the same paths.
DEPS = "/deps"
APP = "/app"
VENV = "/opt/venv"

Command = tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """How one repository's dependencies are installed.

    Attributes:
        kind: what decided: ``uv.lock``, ``poetry.lock``, ``requirements``, ``pyproject`` … or ``none``.
        reason: one sentence for a person.
        evidence: the file that decided, relative to the source; "" when there was none.
        manifests: files of the source that the dependency layer needs (copied to ``/deps`` before the source).
        files: generated files of the dependency layer, by name.
        install: commands of the dependency layer.
        project: commands that install the project itself, after the source is there.
        project_optional: a failing ``project`` step only warns, because the launch does not need it.
        skeleton: files on which the project's install can run before the source (see ``skeleton.py``), or None.
        complete: whether ``install`` brings everything, so that ``project`` only ever adds files to the venv.
        env: environment of the project step (pretend versions), never of the final image.
        apt: Debian packages that the installation itself needs (``git``), besides the user's ``apt:``.
        scripts: console scripts to write because the project is not installable: name → ``module:function``.
        version: the project's version, "" when it cannot be known statically.
        notes: what a person should know (an ignored option, an entry for another platform).
    """

    kind: str
    reason: str
    evidence: str = ""
    manifests: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    install: tuple[Command, ...] = ()
    project: tuple[Command, ...] = ()
    project_optional: bool = False
    skeleton: dict[str, str | None] | None = None
    complete: bool = True
    env: dict[str, str] = field(default_factory=dict)
    apt: tuple[str, ...] = ()
    scripts: dict[str, str] = field(default_factory=dict)
    version: str = ""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What ``scripts/render`` shows by hand: the decision, without the generated text."""
        return {
            "kind": self.kind,
            "reason": self.reason,
            "evidence": self.evidence,
            "manifests": list(self.manifests),
            "files": sorted(self.files),
            "install": [list(command) for command in self.install],
            "project": [list(command) for command in self.project],
            "before_source": self.skeleton is not None,
            "version": self.version,
            "notes": list(self.notes),
        }
