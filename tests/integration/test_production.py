"""envs/production: an engine reached over ssh, state in Postgres, keys in memory, two operators, and a lost machine.

Another machine here is a private engine in namespaces of its own, with Debian's sshd; Postgres is a real one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from karst.files import cache_dir
from tests.integration.conftest import CALLER, CANARY, HELLO
from tests.support import reports
from tests.support.engine import Engine
from tests.support.kit import IAC, Kit
from tests.support.postgres import postgres
from tests.support.sshd import sshd

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("engine")]

PASSPHRASE = "correct horse battery staple"


@dataclass
class Operator(Kit):
    """Somebody at a machine of their own, who works on the engine elsewhere; `far` is that engine, seen from inside."""

    far: Engine = field(kw_only=True)

    def docker(self, *arguments: str, timeout: float = 60) -> str:
        return self.far.docker(*arguments, timeout=timeout)

    def another(self, home: Path) -> Operator:
        """A colleague: the same stack, list and secrets; a checkout's own state folder."""
        home.mkdir()
        env = {**self.env, "KARST_STATE_DIR": str(home / "state")}
        return Operator(home, stack=self.stack, env=env, far=self.far)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Two services, deployed with the root `production`."""
    home = tmp_path_factory.mktemp("production")
    with Engine.borrowed() as engine, sshd(engine) as ssh, postgres() as database:
        one = Operator(
            home / "one", env={**ssh, **database, "KARST_ENV": "production", "KARST_APP_SECRETS": str(home)}, far=engine
        )
        (home / "CANARY").write_text(CANARY)
        for name, text in {"hello": HELLO, "caller": CALLER}.items():
            (one.home / name).mkdir()
            (one.home / name / "main.py").write_text(text)
        one.write_list(["dir:hello", {"slug": "dir:caller", "secrets": ["CANARY"], "memory": "200m"}])
        one.deploy()
        yield one
        one.destroy()
        assert one.leftovers() == {"containers": "", "networks": "", "volumes": "", "images": ""}


def test_every_command_reaches_the_services_on_the_other_machine(operator: Operator) -> None:
    """Nothing of that machine's ports is open on this one: all of it goes the engine's way."""
    assert {row["status"] for row in operator.health().values()} == {"SERVING"}
    operator.iac("plan", "--detailed-exitcode")
    operator.iac("certs", "--check")
    assert "hello" in operator.iac("logs", "--tail", "5").stdout
    figures = {row["service"]: row for row in json.loads(operator.iac("stats", "--json").stdout)}
    assert set(figures) == {"hello", "caller"}
    assert json.loads(operator.iac("graph", "--json").stdout)["nodes"]
    assert {row["place"] for row in json.loads(operator.iac("status", "--json").stdout)["services"]} == {"current"}
    running = {row["Id"]: row["State"]["StartedAt"] for row in operator.containers()}
    operator.iac("certs", "rotate")
    assert {row["Id"]: row["State"]["StartedAt"] for row in operator.containers()} == running


def test_an_app_without_limits_of_its_own_gets_the_roots(operator: Operator) -> None:
    limits = {
        row["Config"]["Labels"]["karst.service"]: (row["HostConfig"]["Memory"] >> 20, row["HostConfig"]["NanoCpus"])
        for row in operator.containers()
        if row["Config"]["Labels"]["karst.role"] == "app"
    }
    assert limits == {"hello": (512, 10**9), "caller": (200, 10**9)}


def test_no_key_and_no_secret_is_on_the_disk_of_the_other_machine(operator: Operator) -> None:
    """Its whole data root is searched; the public half, which the sidecars' logs and images never hold, is not."""
    patterns = operator.home / "patterns"
    keys = [path.read_text() for path in operator.secrets_dir.rglob("*") if path.name in ("svid.pem", "operator.key")]
    lines = [text.split("PRIVATE KEY-----")[1].strip().splitlines()[0] for text in keys]
    patterns.write_text("\n".join([*lines, CANARY]) + "\n")
    assert len(lines) >= 4
    for place in (operator.far.disk, operator.far.folder):
        found = subprocess.run(
            ["grep", "-rlaF", "--devices=skip", "-f", patterns, place], capture_output=True, text=True, check=False
        )
        assert found.stdout == ""
    # That the search would find it: the same key in a file of a container's own.
    [edge] = [row["Id"] for row in operator.containers() if row["Config"]["Labels"]["karst.role"] == "pod"][:1]
    operator.docker("cp", str(patterns), f"{edge}:/tmp/found")
    found = subprocess.run(
        ["grep", "-rlaF", "--devices=skip", "-f", patterns, operator.far.disk / "overlay2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.strip().endswith("/tmp/found")


def test_the_databases_password_is_in_no_file(operator: Operator) -> None:
    password = operator.env["PG_CONN_STR"].split(":")[2].split("@")[0]
    operator.iac("plan")
    found = subprocess.run(["grep", "-rlaF", password, operator.home], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_of_two_operators_at_once_one_is_refused_and_one_that_waits_is_served(
    operator: Operator, tmp_path: Path
) -> None:
    """Terraform's own lock in Postgres; neither sees the other's processes or files."""
    slow = HELLO.replace('"""Serves one line over HTTP."""', "import time; time.sleep(6)")
    (operator.home / "hello" / "main.py").write_text(slow)
    colleague = operator.another(tmp_path / "colleague")
    arguments = ["deploy", "--file", str(operator.list_file)]
    env = {**os.environ, **operator.env}
    first = subprocess.Popen(
        [IAC, *arguments, "--events"], cwd=operator.home, env=env, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    for line in first.stdout:
        event = json.loads(line)
        if (event["type"], event.get("phase"), event.get("state")) == ("phase", "apply", "start"):
            break
    time.sleep(1.5)
    refused = colleague.iac(*arguments, check=3)
    assert "is busy: somebody holds its state (pg)" in refused.stderr
    waited = colleague.iac(*arguments, "--lock-wait", "120")
    assert first.wait(120) == 0, first.stdout.read()
    assert "SERVING" in waited.stdout
    operator.iac("plan", "--detailed-exitcode")


def test_a_restart_of_the_other_machines_engine_is_healed_from_here(operator: Operator) -> None:
    operator.far.kill()
    operator.far.start()
    os.chown(operator.far.socket, 20022, 20022)
    found = {one["code"] for row in operator.health(check=5).values() for one in row["findings"]}
    assert found & {"keys_missing", "orphaned", "member_stopped", "edge_down"}
    operator.iac("heal", timeout=200)
    assert {row["status"] for row in operator.health().values()} == {"SERVING"}


def test_a_stack_of_which_nothing_is_left_comes_back_from_its_backup(operator: Operator) -> None:
    """Containers, images and volumes; state; secrets, list, local folders and histories: all deleted, then restored."""
    before, pods = operator.health(), operator.pods()
    trees = {row["revision"].removeprefix("dir-") for row in before.values()}
    serials = _serials(operator)
    passphrase = operator.home.parent / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n")
    operator.env["KARST_BACKUP_PASSPHRASE_FILE"] = str(passphrase)
    file = operator.home.parent / "backup.karst"
    steps = [_timed(operator, "backup", str(file), shown="iac backup backup.karst")]
    assert file.stat().st_mode & 0o777 == 0o600
    assert CANARY.encode() not in file.read_bytes()

    _wipe(operator, trees)
    assert set(operator.leftovers().values()) == {""}
    steps.append(_timed(operator, "restore", str(file), shown="iac --env production restore backup.karst"))
    after = operator.health()
    steps.append(_timed(operator, "health", shown="iac health"))
    assert {name: row["revision"] for name, row in after.items()} == {n: r["revision"] for n, r in before.items()}
    assert {row["status"] for row in after.values()} == {"SERVING"}
    assert _serials(operator) == serials
    assert not set(operator.pods().values()) & set(pods.values())
    operator.iac("certs", "--check")
    operator.iac("plan", "--detailed-exitcode")
    assert "ok" in operator.iac("history", "hello").stdout
    text = reports.table(["command", "seconds"], [[f"`{shown}`", f"{seconds:.1f}"] for shown, seconds in steps])
    note = "Two services; the engine had its base image and the build cache."
    text = f"{text}\n\n{note} Machine: {reports.machine()}."
    print(text)
    if os.environ.get("KARST_TEST_WRITE_DOCS") == "1":
        reports.write("docs/production.md", "restore", text)
    page = (reports.ROOT / "docs" / "production.md").read_text()
    for shown, _ in steps:
        assert f"\n{shown}\n" in page, f"the runbook does not tell `{shown}`"


def _serials(kit: Kit) -> dict[str, str]:
    rows: list[dict[str, Any]] = json.loads(kit.iac("certs", "--json").stdout)["identities"]
    return {row["name"]: row["serial"] for row in rows}


def _timed(kit: Kit, *arguments: str, shown: str) -> tuple[str, float]:
    began = time.monotonic()
    kit.iac(*arguments)
    return shown, time.monotonic() - began


def _wipe(operator: Operator, trees: set[str]) -> None:
    """As when both machines' disks and the database are lost; passphrase and backup were elsewhere."""
    label = f"label=karst.stack={operator.stack}"
    operator.docker("rm", "--force", "--volumes", *(row["Id"] for row in operator.containers()))
    for kind in ("volume", "network"):
        operator.docker(kind, "rm", *operator.docker(kind, "ls", "--quiet", "--filter", label).split())
    for image in operator.docker("images", "--quiet", "--filter", label).split():
        operator.docker("rmi", "--force", image)
    for path in sorted(cache_dir().glob("src/dir/*/*")):
        if path.name in trees:
            shutil.rmtree(path)
    for path in operator.home.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    schema = "karst_" + operator.stack
    subprocess.run(
        ["psql", operator.env["PG_CONN_STR"], "-qc", f"DROP SCHEMA {schema} CASCADE"],
        check=True,
        capture_output=True,
    )
