"""The Docker engine: what is there, else Debian's, started once.

Usage: scripts/toolchain/engine
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from karst.errors import Exit, KarstError
from karst.files import cache_dir, locked
from karst.toolchain import apt
from karst.toolchain.process import last_line, report, run

SOCKET = Path("/var/run/docker.sock")
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INSTANCES = 8192
START_SECONDS = 90
ANSWER_SECONDS = 20


def main() -> int:
    raise_inotify()
    version = version_or_none()
    if version:
        report("engine", f"is there: Docker {version}")
        return int(Exit.OK)
    refuse_what_is_not_ours()
    # One engine per machine, whatever cache the callers have.
    with locked(Path("/run/lock/karst-engine.lock") if Path("/run/lock").is_dir() else cache_dir() / "engine.lock"):
        version = version_or_none()
        source = "is there"
        if not version:
            source = _install_and_start()
            version = version_or_none()
    report("engine", f"{source}: Docker {version}")
    return int(Exit.OK)


def raise_inotify() -> None:
    """Let one user have more inotify instances, when we may: an Envoy needs six, and Linux gives 128 by default."""
    try:
        before = int(INOTIFY.read_text())
        if before >= INSTANCES or os.geteuid() != 0:
            return
        INOTIFY.write_text(str(INSTANCES))
    except (OSError, ValueError):  # no Linux, or a container that may not
        return
    report(
        "inotify", f"raised from {before} to {INSTANCES} instances a user, until the next boot: each Envoy needs six"
    )


def version_or_none() -> str | None:
    """Return the server's version when an engine answers."""
    return ask()[0]


def ask() -> tuple[str | None, str]:
    """Return the server's version and "", or None and the client's reason."""
    if shutil.which("docker") is None:
        return None, "there is no `docker` command"
    try:
        text = run(
            ["docker", "info", "--format", "{{.ServerVersion}}"],
            what="ask the Docker engine",
            timeout=ANSWER_SECONDS,
        ).strip()
    except KarstError as err:
        return None, err.message
    # Some clients exit with 0 and an empty version when no server answers.
    return (text, "") if text else (None, "no engine answered")


def refuse_what_is_not_ours() -> None:
    """Raise the one sentence that helps when starting an engine is not for us to do."""
    reason = ask()[1]
    host = os.environ.get("DOCKER_HOST", "")
    if host:
        raise KarstError(
            f"no Docker engine answers at DOCKER_HOST={host} ({last_line(reason)})",
            hint="start that engine, or unset DOCKER_HOST to use the one of this machine",
            code="no_engine",
        )
    if os.geteuid() != 0:
        if SOCKET.exists() and not os.access(SOCKET, os.W_OK):
            raise KarstError(
                f"a Docker engine runs, but you may not use it ({SOCKET} is not writable for you)",
                hint="`sudo usermod -aG docker $USER`, then log in again",
                code="no_engine",
            )
        start = "start it: `sudo systemctl start docker`, or Docker Desktop"
        install = "install it: `sudo apt-get install docker.io`, or see https://docs.docker.com/engine/install/"
        raise KarstError(
            "no Docker engine is running",
            hint=start if shutil.which("docker") else install,
            code="no_engine",
        )
    if not shutil.which("dockerd") and not apt.usable():
        raise KarstError(
            "no Docker engine is installed, and this is no Debian or Ubuntu where the kit could install one",
            hint="see https://docs.docker.com/engine/install/",
            code="no_engine",
        )


def _install_and_start() -> str:
    """Install the engine if needed, start it, wait until it answers; return how it came about."""
    source = "started"
    # iptables is only a recommendation of some versions of the package, and without it there is no bridge.
    if not shutil.which("dockerd") or not shutil.which("iptables"):
        apt.install("docker.io", "iptables")
        source = "installed from Debian packages and started"
    if Path("/run/systemd/system").is_dir():
        run(["systemctl", "start", "docker"], what="start the Docker engine", timeout=START_SECONDS)
        _wait(None, None)
        return source
    log = cache_dir() / "dockerd.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # An installing package may have started it already: starting a second one would fail, harmlessly but loudly.
    if _running():
        _wait(None, None)
        return source
    with log.open("ab") as handle:
        process = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=handle, stderr=handle, cwd="/", start_new_session=True
        )
    _wait(process, log)
    return source


def _running() -> bool:
    """Whether a dockerd of this machine is alive, by the pid file it keeps."""
    for pid_file in (Path("/var/run/docker.pid"), Path("/run/docker.pid")):
        try:
            name = Path(f"/proc/{int(pid_file.read_text())}/comm").read_text().strip()
        except (OSError, ValueError):
            continue
        if name == "dockerd":
            return True
    return False


def _wait(process: subprocess.Popen[bytes] | None, log: Path | None) -> None:
    deadline = time.monotonic() + START_SECONDS
    while version_or_none() is None:
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > deadline:
            reason = last_line(log.read_text(errors="replace")) if log else "see `journalctl -u docker`"
            what = "ended at once" if ended else f"did not answer within {START_SECONDS} s"
            raise KarstError(
                f"the Docker engine was started but {what}: {reason}",
                hint=f"its log is {log}" if log else "",
                code="no_engine",
            )
        time.sleep(0.3)
