"""A rendered context, built by a real engine: what is in the image, what is not, and what a changed line costs."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from karst.files import tree_hash
from karst.render import handle
from karst.toolchain import base_image
from tests.support import images
from tests.support.kit import docker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240), pytest.mark.slow]

CANARY = "canary-netrc-71c3"
PYPROJECT = """\
[project]
name = "shop"
version = "1.4.0"
dependencies = ["itsdangerous==2.2.0"]
[project.scripts]
shop = "shop.cli:main"
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""
CLI = """\
import importlib.metadata, itsdangerous, os, sys

def main():
    print("shop", importlib.metadata.version("shop"), itsdangerous.__name__, sys.argv[1:], os.getuid())
"""

Build = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """Render and build a repository: (render's answer, the build's log). The images are removed at the end."""
    home = tmp_path_factory.mktemp("build")
    stack = f"t{secrets.token_hex(3)}"
    (home / "netrc").write_text(f"machine nowhere.invalid login l password {CANARY}\n")
    tags: list[str] = []
    references = {"base": images.base(), "builder": images.build("builder"), "runner": images.build("runner")}
    kept = os.environ.get("KARST_CACHE")
    os.environ["KARST_CACHE"] = str(home / "cache")

    def run(source: Path, argv: list[str], **detection: Any) -> tuple[dict[str, Any], str]:
        service = {"source": str(source), "tree": tree_hash(source), "revision": "a" * 40, "ref": "refs/heads/main"}
        query = {f"{key}_image": value for key, value in references.items()} | {"stack": stack}
        query["services"] = json.dumps({"shop": service | {"apt": detection.pop("apt", [])}})
        query["detections"] = json.dumps({"shop": {"argv": argv, "launch": "console-script", **detection}})
        answer = json.loads(handle(query)["services"])["shop"]
        tags.append(answer["tag"])
        return answer, _docker_build(answer, {"netrc": str(home / "netrc"), "ca": base_image.build_ca_file()})

    yield run
    if kept is None:
        del os.environ["KARST_CACHE"]
    else:
        os.environ["KARST_CACHE"] = kept
    subprocess.run(["docker", "rmi", "--force", *set(tags)], capture_output=True, check=False)


def _docker_build(answer: dict[str, Any], mounted: dict[str, str]) -> str:
    words = ["build", "--progress", "plain", "--tag", answer["tag"], "--label", "karst.test=image"]
    for name, path in mounted.items():
        words += ["--secret", f"id={name},src={path}"] if path else []
    said = ""
    for client in ("docker", "/usr/bin/docker"):
        done = subprocess.run(
            [client, *words, answer["context"]],
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout
        said += done.stdout
    raise AssertionError(said)


def inside(tag: str, *command: str) -> str:
    """Run a command in the image under the rights that a pod gives it, past the runner."""
    rights = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none"]
    return docker("run", "--rm", *rights, "--label", "karst.test=image", "--entrypoint", command[0], tag, *command[1:])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    (folder / "shop").mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "shop/__init__.py").write_text("")
    (folder / "shop/cli.py").write_text(CLI)
    return folder


@pytest.fixture(scope="module")
def built(build: Build, source: Path) -> dict[str, Any]:
    return build(source, ["shop", "--all"], packages=["click"], install=True)[0]


def test_the_command_runs_read_only_as_nobody_in_particular(built: dict[str, Any]) -> None:
    assert inside(built["tag"], "shop", "--all") == "shop 1.4.0 itsdangerous ['--all'] 10001"
    config = json.loads(docker("image", "inspect", built["tag"]))[0]["Config"]
    assert config["User"] == "10001:10001"
    assert config["Cmd"] == ["shop", "--all"]
    assert config["Entrypoint"] == ["/opt/karst/bin/runner"]
    assert "50051/tcp" in config["ExposedPorts"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "shop"
    assert labels["org.opencontainers.image.version"] == "1.4.0"
    assert labels["org.opencontainers.image.revision"] == "a" * 40


def test_neither_builder_nor_cache_nor_secret_is_in_the_image(built: dict[str, Any], tmp_path: Path) -> None:
    found = inside(
        built["tag"],
        "sh",
        "-c",
        "which uv gcc cc git; ls /deps /opt/karst/build /var/cache/uv /run/secrets 2>/dev/null; true",
    )
    assert found == "/run/secrets:" or found == ""
    archive = tmp_path / "image.tar"
    docker("save", "--output", str(archive), built["tag"])
    assert CANARY.encode() not in archive.read_bytes()
    assert CANARY not in docker("history", "--no-trunc", built["tag"])


def test_everything_is_compiled_and_listed(built: dict[str, Any]) -> None:
    code = (
        "import json, shop.cli, itsdangerous, pathlib; "
        "print(all(pathlib.Path(m.__cached__).exists() for m in (shop.cli, itsdangerous))); "
        "print(sorted(c['name'] for c in json.load(open('/opt/venv/sbom.cdx.json'))['components']))"
    )
    assert inside(built["tag"], "python", "-c", code).splitlines() == ["True", "['click', 'itsdangerous', 'shop']"]


def test_a_changed_line_of_code_costs_one_copy(build: Build, source: Path, built: dict[str, Any]) -> None:
    word = f"store-{secrets.token_hex(3)}"
    (source / "shop/cli.py").write_text(CLI.replace('"shop"', f'"{word}"', 1))
    try:
        answer, log = build(source, ["shop", "--all"], packages=["click"], install=True)
    finally:
        (source / "shop/cli.py").write_text(CLI)
    steps = dict(re.findall(r"^(#\d+) \[((?:dependencies|stage-\d) [^\]]*\] \w+)", log, re.M))
    ran = [step for number, step in steps.items() if not re.search(rf"^{number} CACHED", log, re.M)]
    assert [step.split("] ")[1] for step in ran if "FROM" not in step] == ["COPY"]
    assert answer["input_hash"] != built["input_hash"]
    assert inside(answer["tag"], "shop").startswith(f"{word} 1.4.0")


@pytest.mark.slow
def test_a_compiled_package_finds_its_libraries_and_no_compiler_comes_along(build: Build, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("psycopg2==2.9.10\n")
    (tmp_path / "main.py").write_text("import psycopg2\nprint(psycopg2.__libpq_version__ > 0)\n")
    packages = ["gcc", "libc6-dev", "libpq-dev", "python3-dev"]
    answer, _ = build(tmp_path, ["python", "/app/main.py"], launch="file", apt=packages)
    assert inside(answer["tag"], "python", "/app/main.py") == "True"
    assert inside(answer["tag"], "sh", "-c", "which gcc; dpkg -l | grep -E '^ii +(gcc|[a-z0-9.+-]+-dev) '; true") == ""
