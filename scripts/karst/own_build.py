"""The build of a repository's own Dockerfile once more, for the log that the Docker provider drops."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

TIMEOUT = 900
# A newer client has no BuildKit without its plugin; a distribution's own beside it has, and each has the old builder.
CLIENTS = (("docker", "1"), ("/usr/bin/docker", "1"), ("docker", "0"))
_CANNOT = ("buildx component is missing", "BuildKit is enabled but the buildx", "unknown flag: --progress")


def build_again(context: Path, dockerfile: str, *, ca_file: str = "") -> tuple[int, str]:
    """(exit code, log); nothing is kept of a build that succeeds this time. 127 and "" where no client can build."""
    for client, buildkit in CLIENTS:
        with tempfile.TemporaryDirectory() as folder:
            built = Path(folder, "id")
            command = [client, "build", "--file", str(context / dockerfile), "--iidfile", str(built)]
            if buildkit == "1":
                command += ["--progress", "plain", *(["--secret", f"id=ca,src={ca_file}"] if ca_file else [])]
            try:
                done = subprocess.run(
                    [*command, str(context)],
                    env={**os.environ, "DOCKER_BUILDKIT": buildkit},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    timeout=TIMEOUT,
                    check=False,
                )
            except FileNotFoundError:
                continue
            except subprocess.TimeoutExpired as err:
                return 124, (err.stdout or b"").decode(errors="replace")
            log = done.stdout.decode(errors="replace")
            if any(words in log for words in _CANNOT):
                continue
            if done.returncode == 0 and built.exists():
                subprocess.run([client, "image", "rm", built.read_text()], capture_output=True, check=False)
            return done.returncode, log
    return 127, ""
