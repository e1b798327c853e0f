"""scripts/toolchain/environment: where the Python environment is, and how it comes to be there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from karst.errors import KarstError
from karst.toolchain import environment

ROOT = Path(__file__).resolve().parents[3]


def checkout(folder: Path) -> Path:
    """A checkout that holds no more than the program needs, with requirements that install in no time."""
    for name in ("scripts/toolchain/environment", "scripts/toolchain/uv.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    package = folder / "scripts" / "karst"
    package.mkdir()
    for name in ("__init__.py", "errors.py", "external.py", "files.py"):
        shutil.copy2(ROOT / "scripts" / "karst" / name, package / name)
    shutil.copytree(
        ROOT / "scripts/karst/toolchain", package / "toolchain", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "requirements.txt").write_text("")
    (folder / "requirements-dev.txt").write_text("# the tools\n")
    return folder


def call(root: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    base = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "KARST_CACHE": str(root / "cache")}
    program = root / "scripts" / "toolchain" / "environment"
    return subprocess.run([program, *arguments], env=base | env, capture_output=True, text=True, check=False)


@pytest.fixture
def fake_uv(tmp_path: Path) -> str:
    """A PATH whose uv notes each call and installs nothing; it takes a moment, as the real one does."""
    folder = tmp_path / "bin"
    folder.mkdir()
    uv = folder / "uv"
    uv.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/uv.calls\nsleep 0.3\n')
    uv.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_the_path_is_the_same_at_each_call_and_nothing_is_made(tmp_path: Path) -> None:
    root = checkout(tmp_path / "kit")
    first, second = call(root, "--path"), call(root, "--path")
    assert first.stdout == second.stdout != ""
    assert first.stdout.startswith(f"{root}/cache/venv/kit-")
    assert not (root / "cache").exists()


def test_other_requirements_have_another_path(tmp_path: Path) -> None:
    root = checkout(tmp_path / "kit")
    before = call(root, "--path").stdout
    (root / "requirements.txt").write_text("# something else\n")
    assert call(root, "--path").stdout != before
    assert call(root, "--path", "--dev").stdout not in (before, call(root, "--path").stdout)


def test_the_path_is_asked_for_at_every_start_so_it_takes_milliseconds(tmp_path: Path) -> None:
    """No Python may be started for it; twenty times the time seen leaves room for a busy machine."""
    root = checkout(tmp_path / "kit")
    times = []
    for _ in range(5):
        started = time.monotonic()
        call(root, "--path")
        times.append(time.monotonic() - started)
    assert min(times) < 0.08


def test_the_path_is_found_through_a_link_to_the_program(tmp_path: Path) -> None:
    root = checkout(tmp_path / "kit")
    link = tmp_path / "environment"
    link.symlink_to(root / "scripts" / "toolchain" / "environment")
    done = subprocess.run([link, "--path"], env={"PATH": os.environ["PATH"], "HOME": "/home/x"}, capture_output=True)
    assert done.stdout.decode().startswith("/home/x/.cache/karst/venv/kit-")


def test_an_environment_of_your_own_is_used_instead(tmp_path: Path) -> None:
    root = checkout(tmp_path / "kit")
    assert call(root, "--path", KARST_VENV="/opt/mine").stdout == "/opt/mine\n"
    done = call(root, KARST_VENV=str(tmp_path / "nothing"))
    assert done.returncode == 1
    assert "KARST_VENV" in done.stderr
    assert "Traceback" not in done.stderr


def test_many_starts_at_once_make_one_environment(tmp_path: Path, fake_uv: str) -> None:
    root = checkout(tmp_path / "kit")
    results: list[subprocess.CompletedProcess[str]] = []
    threads = [threading.Thread(target=lambda: results.append(call(root, PATH=fake_uv))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done.returncode for done in results] == [0] * 4, results
    assert len((tmp_path / "uv.calls").read_text().splitlines()) == 1
    assert sum("made with" in done.stdout for done in results) == 1
    python = Path(call(root, "--path").stdout.strip()) / "bin" / "python"
    assert subprocess.run([python, "-c", ""], check=False).returncode == 0


def test_a_half_made_environment_is_never_seen(tmp_path: Path, fake_uv: str) -> None:
    """The path appears when everything is installed, not when installing starts."""
    root = checkout(tmp_path / "kit")
    uv = tmp_path / "bin" / "uv"
    uv.write_text(f"#!/bin/sh\nls {root}/cache/venv >{tmp_path}/seen\nexit 1\n")
    done = call(root, PATH=fake_uv)
    path = Path(call(root, "--path").stdout.strip())
    assert done.returncode == 1
    assert path.name not in (tmp_path / "seen").read_text().split()
    assert not path.exists()
    assert [left.name for left in path.parent.iterdir()] == [f"{path.name}.lock"]


def test_an_environment_whose_python_went_away_is_made_anew(tmp_path: Path, fake_uv: str) -> None:
    root = checkout(tmp_path / "kit")
    call(root, PATH=fake_uv)
    path = Path(call(root, "--path").stdout.strip())
    python = path / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3.11")
    assert call(root, PATH=fake_uv).returncode == 0
    assert python.exists()
    assert len([left for left in path.parent.iterdir() if left.is_dir() and not left.is_symlink()]) == 1


def test_a_failed_installation_is_one_sentence_with_the_reason(tmp_path: Path, fake_uv: str) -> None:
    root = checkout(tmp_path / "kit")
    (tmp_path / "bin" / "uv").write_text("#!/bin/sh\necho 'error: no route to the index' >&2\nexit 2\n")
    done = call(root, PATH=fake_uv)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == (
        "cannot install the packages of requirements.txt: error: no route to the index"
    )
    assert "hint:" in done.stderr


def test_without_a_python_it_says_which_one_is_needed(tmp_path: Path) -> None:
    root = checkout(tmp_path / "kit")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "readlink", "sha256sum"):
        (tools / name).symlink_to(str(shutil.which(name)))
    (tools / "python3").write_text("#!/bin/sh\nexit 127\n")
    (tools / "python3").chmod(0o755)
    done = call(root, PATH=str(tools))
    assert done.returncode == 1
    assert "no Python 3.11 or newer was found" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_pip_settings_reach_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    """A company's index is usually told to pip only."""
    monkeypatch.setenv("PIP_INDEX_URL", "https://pypi.example/simple")
    monkeypatch.setenv("PIP_CERT", "/etc/ca.pem")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    settings = environment._uv_settings()
    assert settings["UV_DEFAULT_INDEX"] == "https://pypi.example/simple"
    assert settings["SSL_CERT_FILE"] == "/etc/ca.pem"


def test_pip_installs_where_no_uv_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_uv() -> Path:
        raise KarstError("no uv")

    used = []
    monkeypatch.setattr(environment, "uv", no_uv)
    monkeypatch.setattr(environment, "_pip", lambda folder, requirements: used.append(requirements.name))
    assert environment._install(tmp_path, Path("requirements.txt")) == "pip"
    assert used == ["requirements.txt"]


def test_the_locked_requirements_name_no_index_and_hash_everything() -> None:
    for name in ("requirements.txt", "requirements-dev.txt", "scripts/toolchain/uv.txt"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert "--find-links" not in text
        pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert pins
        assert all("==" in pin and pin.endswith("\\") for pin in pins)


def test_the_interpreter_is_a_real_file_of_a_supported_version() -> None:
    done = call(ROOT, "--python")
    python = Path(done.stdout.strip())
    assert python.is_file()
    assert not python.is_symlink()
    version = subprocess.run([python, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True)
    assert version.stdout == b"True\n", sys.version
