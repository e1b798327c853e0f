"""The other ways in: make with a list, Terraform itself in envs/local, POST /deploy; each as its example says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from karst.toolchain.record import terraform_command, terraform_environment
from tests.integration.conftest import JOB
from tests.integration.test_admin import start
from tests.support.githost import GitHost
from tests.support.kit import ROOT, Kit
from tests.support.supabase_stub import SupabaseStub

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy, examples included; its default stack's state is its own."""
    copy = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(
        ".git", ".karst", "secrets", ".terraform*", "*.tfstate*", "__pycache__", ".*_cache"
    )
    shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored)
    return copy


def _run(folder: Path, env: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_make_plan_apply_deploys_a_list_and_make_destroy_removes_it(checkout: Path, tmp_path: Path) -> None:
    """`make plan apply SLUGS=…` in one call applies exactly what it planned."""
    kit = Kit(tmp_path / "kit")
    try:
        said = _run(checkout, kit.env, "make", "plan", "apply", "SLUGS=examples/make/repos.yaml")
        assert "COMPLETED" in said
        assert "job" in _run(checkout, kit.env, "make", "health")
    finally:
        _run(checkout, kit.env, "make", "destroy")
    assert set(kit.leftovers().values()) == {""}


def test_terraform_apply_with_a_variables_file_is_a_door_of_its_own(checkout: Path, tmp_path: Path) -> None:
    """`terraform apply -var-file=…` in envs/local; the plan after it is empty."""
    kit = Kit(tmp_path / "kit")
    envs = checkout / "envs" / "local"
    variables = {
        "stack": kit.stack,
        "network_name": f"iacnet-{kit.stack}",
        "ports": kit.ports,
        "secrets_dir": str(kit.secrets_dir),
    }
    (envs / "mine.tfvars.json").write_text(json.dumps(variables))
    files = ("-var-file=../../examples/terraform/services.tfvars", "-var-file=mine.tfvars.json")
    terraform, env = terraform_command(), terraform_environment()
    _run(envs, env, terraform, "init", "-input=false", "-no-color")
    try:
        _run(envs, env, terraform, "apply", "-auto-approve", "-no-color", *files)
        states = {row["Config"]["Labels"]["karst.role"]: row["State"]["Status"] for row in kit.containers()}
        assert states == dict.fromkeys(("pod", "app", "sidecar", "edge"), "running")
        _run(envs, env, terraform, "plan", "-detailed-exitcode", "-no-color", *files)
    finally:
        _run(envs, env, terraform, "destroy", "-auto-approve", "-refresh=false", "-no-color", *files)
    left = kit.leftovers()
    assert (left["containers"], left["networks"], left["volumes"]) == ("", "", "")
    for image in set(left["images"].split()):
        subprocess.run(["docker", "rmi", "-f", image], capture_output=True, check=False)


def test_post_deploy_by_the_examples_script_streams_the_run_to_its_result(tmp_path: Path) -> None:
    """curl on the Unix socket with a JWT out of a file; the exit code is the run's."""
    with GitHost(tmp_path / "githost") as host:
        host.create("gh:acme/hello", ROOT / "examples" / "hello", tags=["v1.0.0"])
        host.create("gh:acme/job", {"main.py": JOB}, tags=["v1.0.0"])
        kit, stub = Kit(tmp_path / "kit", env=host.environment()), SupabaseStub()
        token = stub.token(stub.add_user("admin"))
        (tmp_path / "token").write_text(f"Authorization: Bearer {token}\n")
        admin = start(kit, stub, token)
        script = ROOT / "examples" / "post-deploy" / "deploy.sh"
        env = {"KARST_ADMIN_SOCKET": str(admin.socket), "KARST_TOKEN_FILE": str(tmp_path / "token")}
        try:
            events = [json.loads(line) for line in _run(tmp_path, env, str(script)).splitlines()]
            assert (events[-1]["type"], events[-1]["outcome"]) == ("result", "ok"), events
            assert {row["service"]: row["status"] for row in events[-1]["services"]} == {
                "hello": "SERVING",
                "job": "COMPLETED",
            }
            (tmp_path / "token").write_text("Authorization: Bearer nonsense\n")
            refused = subprocess.run([script], env={**os.environ, **env}, capture_output=True, text=True, check=False)
            assert (refused.returncode != 0, '"status": 401' in refused.stdout or '"status":401' in refused.stdout) == (
                True,
                True,
            )
        finally:
            admin.process.terminate()
            admin.process.communicate(timeout=20)
            stub.close()
            kit.destroy()
