"""Secrets of every kind, in use during real deploys, and looked for everywhere they must not be."""

from __future__ import annotations

import json
import secrets
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from karst.toolchain import record
from tests.integration.conftest import CALLER, HELLO
from tests.integration.test_admin import Admin, start
from tests.support.githost import GitHost
from tests.support.kit import ROOT, Kit
from tests.support.step_ca import step_ca
from tests.support.supabase_stub import SupabaseStub

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(400)]

# Of the state folder all is the owner's alone but this: Prometheus runs as somebody else, and it says nothing private.
PUBLIC = ".prometheus.json"
# Terraform's own folder, where it keeps which modules and which state file it uses.
TERRAFORMS = ("terraform", "modules")


class Watch:
    """Reads the arguments of every process of this machine, and the environment of Terraform's, again and again."""

    def __init__(self) -> None:
        self.arguments: set[bytes] = set()
        self.environments: set[bytes] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        known: set[tuple[str, bytes]] = set()
        while not self._done.wait(0.05):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    words = (process / "cmdline").read_bytes()
                    self.arguments.add(words)
                    if b"terraform" in words.split(b"\0")[0] and (process.name, words) not in known:
                        known.add((process.name, words))
                        self.environments.add((process / "environ").read_bytes())
                except OSError:
                    continue  # it has ended


@pytest.fixture(params=["files", "step-ca"])
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Kit, dict[str, str]]]:
    """A stack whose every secret is a canary, by name; once with an authority in the folder, once with a step-ca."""
    canaries = {name: f"canary-{secrets.token_hex(8)}" for name in ("app secret", "git token", "index credentials")}
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine index.invalid login me password {canaries['index credentials']}\n")
    netrc.chmod(0o600)
    made: dict[str, str] = {
        "CANARY": canaries["app secret"],
        "GITLAB_TOKEN": canaries["git token"],
        "TF_VAR_build_secrets": json.dumps({"netrc": str(netrc)}),
    }
    (tmp_path / "ca").mkdir()
    with GitHost(tmp_path / "githost") as host:
        token = canaries["git token"]
        host.create("gh:acme/hello", {"main.py": HELLO})
        host.create("gl:acme/caller", {"caller/__init__.py": "", "caller/__main__.py": CALLER}, token=token)
        made |= host.environment()
        if request.param == "files":
            kit = Kit(tmp_path / "kit", env=made)
            yield kit, canaries
            kit.destroy()
            return
        with step_ca(tmp_path / "ca") as server:
            canaries["step-ca password"] = server.password_file.read_text().strip()
            kit = Kit(tmp_path / "kit", env=made | server.environment())
            yield kit, canaries
            kit.destroy()


def test_no_secret_is_anywhere_but_where_it_is_used(kit: tuple[Kit, dict[str, str]]) -> None:
    """Deploys through the admin app, one of them failing; then everything that they left and said is searched."""
    stack, canaries = kit
    stub = SupabaseStub()
    token = stub.token(stub.add_user("admin"))
    canaries |= {"Supabase service key": stub.service_role_key, "user token": token}
    admin = start(stack, stub, token)
    try:
        said = _deploy(admin, [token, stub.service_role_key])
    finally:
        admin.process.terminate()
        admin.process.communicate(timeout=20)
        stub.close()
    said["iac plan"] = stack.iac("plan", "--json").stdout
    said |= _asked(stack) | _files(stack)
    keys = _keys(stack.secrets_dir)
    assert {Path(name).name for name in keys} >= {"operator.key", "svid.pem"}
    assert len(keys) >= 5
    canaries |= keys
    for name, value in canaries.items():
        for place, text in said.items():
            assert value not in text.replace("\\n", "").replace("\n", ""), f"{name} is in {place}"


def _deploy(admin: Admin, callers: list[str]) -> dict[str, str]:
    """One deploy that works and one of which a service cannot be had; what was said and seen meanwhile.

    ``callers``: what the admin app alone has to know, and Terraform's environment must not have either.
    """
    caller = {"slug": "gl:acme/caller", "secrets": ["CANARY"]}
    with Watch() as watch:
        first = admin.curl("/deploy", {"slugs": ["gh:acme/hello", caller]})
        second = admin.curl("/deploy", {"slugs": ["gh:acme/hello", caller, "gl:acme/nowhere"]})
        time.sleep(0.1)
    assert json.loads(first.splitlines()[-1])["outcome"] == "ok", first
    assert json.loads(second.splitlines()[-1])["outcome"] == "failed", second
    assert len(watch.arguments) > 20
    environments = b"\n".join(watch.environments).decode("latin-1")
    assert "KARST_STACK" in environments
    assert not [one for one in callers if one in environments]
    return {
        "the events of a deploy": first,
        "the events of a deploy that failed": second,
        "arguments of processes": b"\n".join(watch.arguments).decode("latin-1"),
    }


def _asked(kit: Kit) -> dict[str, str]:
    """What Docker, the apps and Terraform tell."""
    rows = kit.containers()
    terraform = [record.terraform_command(), f"-chdir={ROOT / 'envs' / 'local'}", "show", "-json", str(kit.state_file)]
    environment = record.terraform_environment() | {"TF_DATA_DIR": str(kit.state_file.parent / "terraform")}
    state = subprocess.run(terraform, env=environment, capture_output=True, text=True, check=True).stdout
    assert '"docker_container"' in state
    images = {row["Image"] for row in rows}
    found = {
        "terraform show": state,
        "docker inspect": json.dumps(rows),
        "inspect of images": kit.docker("inspect", *images),
        "history of images": "\n".join(kit.docker("history", "--no-trunc", image) for image in images),
    }
    for row in rows:
        logs = subprocess.run(["docker", "logs", row["Id"]], capture_output=True, text=True, check=True)
        found[f"log of {row['Name']}"] = logs.stdout + logs.stderr
        if row["Config"]["Labels"]["karst.role"] == "app":
            found[f"environment of {row['Name']}"] = kit.docker("exec", row["Id"], "cat", "/proc/1/environ")
    return found


def _files(kit: Kit) -> dict[str, str]:
    """Every file that the runs left in both state folders; each, or the folder it is in, is its owner's alone."""
    found = {}
    for folder in (kit.home / "state", kit.home / "admin"):
        for path in folder.rglob("*"):
            if path.name == "header":  # curl's, of the test
                continue
            if path.is_symlink() or not path.is_file() or "providers" in path.parts:
                continue
            found[str(path)] = path.read_bytes().decode("latin-1")
            ours = path.parent != kit.home / "admin" and path.parent.name not in TERRAFORMS
            if ours and not path.name.endswith(PUBLIC):
                assert not stat.S_IMODE(path.stat().st_mode & path.parent.stat().st_mode) & 0o077, path
    assert {"history", "karst.tfplan", "audit.ndjson"} <= {part for path in found for part in Path(path).parts}
    return found


def _keys(folder: Path) -> dict[str, str]:
    """The middle of every private key, by its path."""
    keys = {}
    for path in folder.rglob("*"):
        if path.is_file() and "PRIVATE KEY" in (text := path.read_bytes().decode("latin-1")):
            keys[str(path.relative_to(folder))] = text.split("PRIVATE KEY-----")[1].replace("\n", "")[20:60]
    return keys
