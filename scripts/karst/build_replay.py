"""Why a build failed, although the Docker provider only passes on an exit code.

The provider speaks to the engine's BuildKit itself and drops the log (its ``build_log_file`` needs a buildx builder).
So the steps of the failed build are run once more in a container of the builder image, which every engine can do,
until one fails the same way; what it says is explained. Nothing is kept: the container goes, and no image is made.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from karst.build_errors import Explanation, explain, last_lines
from karst.errors import KarstError

TIMEOUT = 900
LAST_STAGE = "# What runs"


@dataclass(frozen=True)
class Failure:
    """A failed build, told."""

    service: str
    explanation: Explanation
    lines: tuple[str, ...]

    def error(self) -> KarstError:
        """The failure as the kit's error: the sentence, what to try, and the step's own last lines."""
        said = "".join(f"\n  | {line}" for line in self.lines)
        return KarstError(
            f"{self.service}: {self.explanation.message}{said}", hint=self.explanation.hint, code=self.explanation.code
        )


def failure(service: str, context: Path, *, ca_file: str = "", count: int = 15, dockerfile: str = "") -> Failure | None:
    """Run the build of ``context`` again and explain it; None when it does not fail this time.

    ``dockerfile`` names the repository's own, relative to ``context``: its steps are built, not replayed.
    """
    if dockerfile:
        from karst.own_build import build_again

        code, log = build_again(context, dockerfile, ca_file=ca_file)
        said = last_lines(log, count)
        why = f": {said[-1]}" if said else ""
        told = Explanation("build_failed", f"`{dockerfile}` could not be built{why}", "the step's last lines say why")
        return None if code == 0 else Failure(service, told, tuple(said))
    code, log = replay(context, ca_file=ca_file)
    return None if code == 0 else Failure(service, explain(log), tuple(last_lines(log, count)))


def replay(context: Path, *, ca_file: str = "", timeout: float = TIMEOUT) -> tuple[int, str]:
    """(exit code, what was said) of the build stages' steps, in a container. Raises KarstError without an engine."""
    image, script = steps((context / "Dockerfile").read_text(encoding="utf-8"))
    name = f"karst-replay-{secrets.token_hex(4)}"
    _docker("create", "--name", name, "--label", "karst.role=replay", "--user", "0:0", image, "sh", "-c", script)
    try:
        _docker("cp", f"{context}/.", f"{name}:/context")
        if ca_file:
            _docker("cp", "--follow-link", ca_file, f"{name}:/karst-ca")
        done = subprocess.run(
            ["docker", "start", "--attach", name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as err:
        return 124, (err.stdout or b"").decode(errors="replace")
    finally:
        with contextlib.suppress(KarstError):
            _docker("rm", "--force", "--volumes", name)


def steps(dockerfile: str) -> tuple[str, str]:
    """(builder image, shell script) of what happens before the last stage of a rendered Dockerfile."""
    text = dockerfile.split(LAST_STAGE)[0].replace("\\\n", " ")
    image = re.search(r"^FROM (\S+) AS dependencies$", text, re.M)
    if image is None:
        raise KarstError(
            "this Dockerfile has no build stage, so there is no step that could be explained", code="no_log"
        )
    lines = [
        "set -e",
        "mkdir -p /deps /app /run/secrets",
        "[ ! -f /karst-ca ] || cp /karst-ca /run/secrets/ca",
        "cd /deps",
    ]
    for line in text.split("\n"):
        word, _, rest = line.partition(" ")
        if word == "COPY":
            source, target = json.loads(rest)
            lines.append(f"cp -R {shlex.quote('/context/' + source)}. {shlex.quote(target)}")
        elif word == "ENV":
            key, _, value = rest.partition("=")
            lines.append(f"export {key}={shlex.quote(value.strip().strip(chr(34)))}")
        elif word == "RUN":
            lines.append(shlex.join(json.loads(rest[rest.index('["') :])))
    return image.group(1), "\n".join(lines)


def _docker(*words: str) -> str:
    try:
        done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise KarstError(f"docker {words[0]} failed: {err}", code="docker_failed") from err
    if done.returncode:
        raise KarstError(f"docker {words[0]} failed: {done.stderr.strip()}", code="docker_failed")
    return done.stdout
