"""Apps with a Dockerfile of their own: the example, changed and broken, and images of real servers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import threading
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import JOB
from tests.support import images
from tests.support.kit import ROOT, Kit, docker

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.xdist_group("stack")]

SERVER, DOCKERFILE, LIST = Path("app", "server.pl"), Path("app", "Dockerfile"), Path("repos.yaml")


class Example(Kit):
    """The example's own folder, copied as it is, on a stack of its own."""

    @property
    def list_file(self) -> Path:
        return self.home / "example" / "repos.yaml"

    @contextlib.contextmanager
    def edited(self, *changes: tuple[Path, str, str]) -> Iterator[None]:
        """Files of the example with another text in place of one that is there; put back afterwards."""
        folder = self.list_file.parent
        before = {file: (folder / file).read_text() for file, _, _ in changes}
        try:
            for file, old, new in changes:
                assert old in (folder / file).read_text()
                (folder / file).write_text((folder / file).read_text().replace(old, new))
            yield
        finally:
            for file, text in before.items():
                (folder / file).write_text(text)

    def apply(self, *, check: int = 0) -> str:
        """Deploy, and return what was said."""
        return self.iac("deploy", "--file", str(self.list_file), check=check).stderr

    def app(self) -> str:
        """Id of the app's running container."""
        found = [row["Id"] for row in self.containers("visits") if row["Config"]["Labels"]["karst.role"] == "app"]
        assert len(found) == 1, found
        return str(found[0])


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    home = tmp_path_factory.mktemp("own")
    shutil.copytree(ROOT / "examples" / "own-dockerfile", home / "example")
    kit = Example(home, env={"KARST_DRAIN_SECONDS": "3"})
    with images.official("debian:bookworm-slim"), kit.deployed():
        yield kit


def test_the_example_serves_with_its_own_image_and_keeps_few_rights(example: Example) -> None:
    health = example.health()["visits"]
    assert (health["status"], health["kind"], health["app_port"]) == ("SERVING", "server", 8080)
    assert [example.ask("visits"), example.ask("visits")] == ["visit 1\n", "visit 2\n"]
    lines = example.iac("logs", "--service", "visits").stdout
    assert "listening on port 8080" in lines
    assert "visit 2" in lines
    app = example.app()
    status = dict(
        line.split(":\t") for line in docker("exec", app, "cat", "/proc/1/status").splitlines() if ":\t" in line
    )
    assert (status["Uid"].split()[0], status["CapEff"], status["NoNewPrivs"]) == ("1000", "0" * 16, "1")
    tried = docker(
        "exec", app, "sh", "-c", "for f in / /srv /run /srv/data; do touch $f/x 2>/dev/null && echo $f; done"
    )
    assert tried == "/srv/data"
    assert docker("exec", app, "sh", "-c", "ls /opt; echo $PORT $HTTP_PROXY $OTEL_SERVICE_NAME") == (
        "8080 http://127.0.0.1:15001 visits"
    )
    plan = json.loads(example.iac("plan", "--file", str(example.list_file), "--json").stdout)
    assert {entry["action"] for entry in plan["services"].values()} == {"none"}, plan
    example.iac("drift")


def test_several_pods_of_it_are_told_apart_and_go_again(example: Example) -> None:
    with example.edited((LIST, "health: /healthz", "health: /healthz\n  replicas: 2")):
        example.apply()
        health = example.health()["visits"]
        assert (health["status"], health["pods"], health["healthy_pods"]) == ("SERVING", 2, 2)
    example.apply()
    assert len(example.pods()) == 1
    example.app()


def test_a_change_is_planned_with_its_reason_and_loses_no_request(example: Example) -> None:
    """And a rollback brings the image of then back."""
    failed: list[Exception] = []
    asked, done = 0, threading.Event()

    def load() -> None:
        nonlocal asked
        while not done.is_set():
            asked += 1
            try:
                example.ask("visits")
            except (urllib.error.URLError, OSError) as err:
                failed.append(err)
            time.sleep(0.02)

    with example.edited((SERVER, 'return "visit ', 'return "visitor ')):
        said = example.iac("plan", "--file", str(example.list_file))
        assert "image rebuilt: source changed" in said.stdout + said.stderr
        caller = threading.Thread(target=load)
        caller.start()
        try:
            example.apply()
        finally:
            done.set()
            caller.join()
        assert (failed, asked > 50) == ([], True)
        assert example.ask("visits").startswith("visitor ")
        example.iac("rollback", "visits")
        assert example.ask("visits").startswith("visit ")
    example.iac("update", "visits", "--file", str(example.list_file))
    example.apply()
    assert example.ask("visits").startswith("visit ")


def test_a_version_that_crashes_is_refused_soon_with_its_exit_code_and_its_log_is_kept(example: Example) -> None:
    before = example.pods()
    with example.edited((SERVER, 'print "listening', 'die "the mill is dry\\n";\nprint "listening')):
        started = time.monotonic()
        said = example.apply(check=5)
        assert time.monotonic() - started < 45
    assert "exited with code" in said
    assert "the mill is dry" in said
    assert example.ask("visits").startswith("visit ")
    assert before["visits"] in {row["Id"] for row in example.containers("visits")}
    health = example.health(check=5)["visits"]
    assert (health["status"], health["reason"].partition(";")[0]) == ("SERVING", "an older generation serves")
    assert any(one["message"].startswith("its app is restarting (exit code ") for one in health["findings"])
    example.apply()
    assert example.health()["visits"]["reason"] == ""
    kept = list((example.home / "state" / example.stack / "logs" / "visits").glob("*.log"))
    assert any("exited with code" in path.read_text() and "the mill is dry" in path.read_text() for path in kept)


def test_a_place_that_cannot_be_written_to_is_named_with_the_key_that_opens_it(example: Example) -> None:
    changes = (LIST, "writable: [/srv/data]", "writable: []"), (
        SERVER,
        'print "listening',
        'visit();\nprint "listening',
    )
    with example.edited(*changes):
        said = example.apply(check=5)
    assert "it writes to /srv/data/visits, and the image is read-only when it runs" in said
    assert "add `writable: [/srv/data]`" in said
    example.apply()


def test_a_dockerfile_that_does_not_build_or_is_not_there_holds_its_service(example: Example) -> None:
    before = example.pods()
    with example.edited((DOCKERFILE, "USER", "RUN echo the mill is dry >&2; exit 3\nUSER")):
        said = example.apply(check=1)
    assert "visits: held at dir-" in said
    assert "`Dockerfile` could not be built" in said
    assert "the mill is dry" in said
    with example.edited((LIST, "dockerfile: Dockerfile", "dockerfile: Containerfile")):
        said = example.apply(check=1)
    assert "there is no file `Containerfile` in the repository" in said
    assert "it has Dockerfile" in said
    assert example.pods() == before


def test_an_app_whose_network_died_is_found_and_healed(example: Example) -> None:
    """It has nobody in it who would notice that its pod was killed alone; the sidecar's health does."""
    pod = next(row for row in example.containers("visits") if row["Config"]["Labels"]["karst.role"] == "pod")
    os.kill(pod["State"]["Pid"], signal.SIGKILL)
    deadline = time.monotonic() + 30
    while example.health(check=None)["visits"]["status"] == "SERVING":
        assert time.monotonic() < deadline, "a dead network is no service"
        time.sleep(0.5)
    assert "its network died with the pod's container" in example.iac("health", check=5).stdout
    example.iac("heal")
    assert example.health()["visits"]["status"] == "SERVING"
    assert example.ask("visits").startswith("visit")
    plan = json.loads(example.iac("plan", "--file", str(example.list_file), "--json").stdout)
    assert {entry["action"] for entry in plan["services"].values()} == {"none"}, plan


INSTALL = """\
FROM debian:bookworm-slim
RUN --mount=type=secret,id=ca \\
    if [ -s /run/secrets/ca ]; then set -- -o Acquire::https::CAInfo=/run/secrets/ca; else set --; fi; \\
    apt-get "$@" -qq update && DEBIAN_FRONTEND=noninteractive apt-get "$@" -qq install -y --no-install-recommends {0}
"""


def test_images_of_real_servers_run_with_what_they_need(tmp_path: Path) -> None:
    """nginx begins as root and becomes www-data, on port 80; redis speaks no HTTP and is one number from the start."""
    kit = Kit(tmp_path / "kit")
    for name, text in (
        ("nginx", INSTALL.format("nginx-light") + 'EXPOSE 80\nCMD ["nginx", "-g", "daemon off;"]\n'),
        (
            "redis",
            INSTALL.format("redis-server") + "EXPOSE 6379\nVOLUME /data\nWORKDIR /data\nRUN chmod 1777 /data\n"
            'ENTRYPOINT ["redis-server"]\nCMD ["--port", "1"]\n',
        ),
    ):
        (kit.home / name).mkdir()
        (kit.home / name / "Dockerfile").write_text(text)
    (kit.home / "once").mkdir()
    (kit.home / "once" / "main.py").write_text(JOB)
    kit.write_list(
        [
            {
                "slug": "dir:nginx",
                "dockerfile": "Dockerfile",
                "health": "/",
                "expose": True,
                "writable": ["/var/lib/nginx", "/var/log/nginx"],
            },
            {
                "slug": "dir:redis",
                "dockerfile": "Dockerfile",
                "user": "4711:4711",
                "args": ["--port", "6379", "--dir", "/data", "--appendonly", "yes"],
            },
            "dir:once",
        ]
    )
    with images.official("debian:bookworm-slim"):
        try:
            kit.deploy()
            health = kit.health()
            assert {name: (one["status"], one["app_port"]) for name, one in health.items()} == {
                "nginx": ("SERVING", 80),
                "redis": ("SERVING", 6379),
                "once": ("COMPLETED", None),
            }
            assert "Welcome to nginx" in kit.ask("nginx")
            apps = {
                row["Config"]["Labels"]["karst.service"]: row["Id"]
                for row in kit.containers()
                if row["Config"]["Labels"]["karst.role"] == "app"
            }
            assert docker("exec", apps["redis"], "redis-cli", "set", "a", "1") == "OK"
            assert (
                docker("exec", apps["redis"], "sh", "-c", "id -u; ls -d /data/appendonlydir")
                == "4711\n/data/appendonlydir"
            )
            users = docker("exec", apps["nginx"], "sh", "-c", "cat /proc/[0-9]*/status").splitlines()
            assert {line.split()[1] for line in users if line.startswith("Uid:")} == {"0", "33"}
            plan = json.loads(kit.iac("plan", "--file", str(kit.list_file), "--json").stdout)
            assert {entry["action"] for entry in plan["services"].values()} == {"none"}, plan
            used = {m["Name"] for row in kit.containers() for m in row["Mounts"] if m["Type"] == "volume"}
            assert len(used) == 3
        finally:
            kit.destroy()
    assert kit.leftovers() == {"containers": "", "networks": "", "volumes": "", "images": ""}
    assert not used.intersection(docker("volume", "ls", "-q").split()), "anonymous volumes go with their container"
