"""The program of the build stage, run on folders of the test's own instead of /opt and /app."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[3] / "modules/karst_service/image/builder/karst-build"


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("karst_build", str(PROGRAM))
    spec = importlib.util.spec_from_loader("karst_build", loader)
    assert spec is not None
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "karst_build", module)
    loader.exec_module(module)
    paths = {"VENV": "venv", "APP": "app", "DELTA": "delta", "SECRETS": "secrets", "SNAPSHOT": "b/venv.json"}
    for name, below in {**paths, "RUNTIME": "b/runtime", "UV": "uv", "SYSTEM_CA": "system.pem"}.items():
        monkeypatch.setattr(module, name, tmp_path / below)
    for folder in ("venv/bin", "app", "secrets", "b"):
        (tmp_path / folder).mkdir(parents=True)
    module.site_packages().mkdir(parents=True)
    return module


def fake_uv(build: Any, body: str) -> None:
    build.UV.write_text(f"#!/bin/sh\n{body}\n")
    build.UV.chmod(0o755)


def test_a_build_stands_back_for_what_runs() -> None:
    """Lower priority, first to go when memory runs out, and no process of it takes more than half of the machine's."""
    code = f"""if True:
        import os, pathlib, resource, runpy
        before = os.nice(0)
        runpy.run_path({str(PROGRAM)!r}, run_name="karst_build")["stand_back"]()
        half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        assert os.nice(0) == min(19, before + 10)
        assert pathlib.Path("/proc/self/oom_score_adj").read_text().strip() == "800"
        assert 0 < resource.getrlimit(resource.RLIMIT_DATA)[1] <= half
    """
    subprocess.run([sys.executable, "-B", "-c", code], check=True)


def test_steps_run_in_order_and_stop_at_the_first_failure(build: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    fake_uv(build, f'echo "$@" >> {log}; [ "$1" != bad ] || exit 7')
    with pytest.raises(SystemExit) as stopped:
        build.main(["uv", "a", "b", "--then", "uv", "bad", "--then", "uv", "c"])
    assert stopped.value.code == 7
    assert log.read_text() == "a b\nbad\n"


def test_an_optional_step_warns_and_the_rest_goes_on(build: Any, tmp_path: Path, capsys: Any) -> None:
    fake_uv(build, "exit 2")
    build.main(["optional", "uv", "x", "--then", "path", "/app", "/app/src"])
    assert "warning" in capsys.readouterr().out
    assert (build.site_packages() / "karst-app.pth").read_text() == "/app\n/app/src\n"


def test_without_secrets_the_environment_is_the_images(build: Any) -> None:
    with build.secrets() as environment:
        assert environment == dict(os.environ)


def test_a_ca_is_trusted_beside_the_systems_and_only_during_the_call(build: Any) -> None:
    (build.SECRETS / "ca").write_text("company")
    build.SYSTEM_CA.write_text("system")
    with build.secrets() as environment:
        bundle = Path(environment["SSL_CERT_FILE"])
        assert bundle.read_text() == "company\nsystem"
        assert environment["GIT_SSL_CAINFO"] == environment["PIP_CERT"] == str(bundle)
    assert not bundle.exists()
    assert "company" not in str(dict(os.environ))


def test_credentials_and_indexes_of_the_secrets_reach_uv(build: Any) -> None:
    (build.SECRETS / "netrc").write_text("machine h login l password p\n")
    (build.SECRETS / "pip_conf").write_text(
        "[global]\nindex-url = https://h/simple\nextra-index-url =\n    https://a/simple\n    https://b/simple\n"
        "[install]\ntrusted-host = h\ntimeout = 9\n"
    )
    with build.secrets() as environment:
        added = {key: value for key, value in environment.items() if key not in os.environ}
    assert added == {
        "NETRC": str(build.SECRETS / "netrc"),
        "PIP_CONFIG_FILE": str(build.SECRETS / "pip_conf"),
        "UV_DEFAULT_INDEX": "https://h/simple",
        "UV_INDEX": "https://a/simple https://b/simple",
        "UV_INSECURE_HOST": "h",
    }


def test_a_supplied_package_never_replaces_the_apps_own_version(build: Any, tmp_path: Path) -> None:
    (build.site_packages() / "Flask_Login-0.6.dist-info").mkdir()
    (build.site_packages() / "uvicorn-0.20.dist-info").mkdir()
    fake_uv(build, f'echo "$@" > {tmp_path}/words; cp "$4" {tmp_path}/pins')
    build.main(["supply", "uvicorn>=0.30", "gunicorn[setproctitle]>=22"])
    assert (tmp_path / "words").read_text().split()[-1:] == ["gunicorn[setproctitle]>=22"]
    assert (tmp_path / "pins").read_text() == "flask-login==0.6\nuvicorn==0.20\n"


def test_nothing_is_installed_when_the_app_brings_everything(build: Any) -> None:
    (build.site_packages() / "uvicorn-0.20.dist-info").mkdir()
    fake_uv(build, "exit 1")
    build.main(["supply", "uvicorn"])


def test_an_archive_that_counts_on_pkg_resources_gets_a_second_attempt(build: Any, tmp_path: Path) -> None:
    fake_uv(
        build,
        f'echo "$UV_BUILD_CONSTRAINT" >> {tmp_path}/log\n[ -n "$UV_BUILD_CONSTRAINT" ] && exit 0\n'
        "echo \"ModuleNotFoundError: No module named 'pkg_resources'\" >&2; exit 1",
    )
    build.main(["uv", "pip", "install", "old"])
    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_another_failure_gets_no_second_attempt(build: Any, tmp_path: Path) -> None:
    fake_uv(build, f"echo x >> {tmp_path}/log; echo no network >&2; exit 2")
    with pytest.raises(SystemExit):
        build.main(["uv", "pip", "install", "x"])
    assert (tmp_path / "log").read_text() == "x\n"


def test_pkg_resources_is_installed_only_when_something_imports_it_and_it_is_not_there(
    build: Any, tmp_path: Path
) -> None:
    fake_uv(build, f'echo "$@" >> {tmp_path}/log')
    (build.site_packages() / "guarded.py").write_text("try:\n    import pkg_resources\nexcept ImportError:\n    pass\n")
    build.main(["legacy"])
    assert not (tmp_path / "log").exists()
    (build.site_packages() / "old.py").write_text("import pkg_resources\n")
    build.main(["legacy"])
    assert (tmp_path / "log").read_text() == "pip install setuptools<81\n"
    (build.site_packages() / "pkg_resources").mkdir()
    build.main(["legacy", "app.py"])
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_the_image_gets_libraries_and_named_packages_but_no_compiler_and_no_headers(build: Any) -> None:
    build.RUNTIME.write_text("libpq5\n")
    asked = ["gcc", "g++-12", "libpq-dev", "python3-dev", "ffmpeg", "make", "git", "libmagic1=1:5.44-3", "pkg-config"]
    assert build.runtime_packages(asked) == ["ffmpeg", "libmagic1=1:5.44-3", "libpq5"]


def test_only_what_the_projects_step_added_is_set_apart(build: Any) -> None:
    (build.VENV / "old.py").write_text("old")
    (build.VENV / "changed.py").write_text("before")
    build.main(["snapshot"])
    (build.VENV / "changed.py").write_text("after it")
    (build.VENV / "lib" / "new.pth").write_text("/app\n")
    (build.VENV / "bin" / "tool").symlink_to("python")
    build.main(["delta"])
    found = {path.relative_to(build.DELTA).as_posix() for path in build.DELTA.rglob("*") if not path.is_dir()}
    assert found == {"changed.py", "lib/new.pth", "bin/tool"}
    assert (build.DELTA / "bin/tool").is_symlink()


def test_a_step_that_removes_something_is_an_error_because_a_layer_cannot(build: Any) -> None:
    (build.VENV / "old.py").write_text("old")
    build.main(["snapshot"])
    (build.VENV / "old.py").unlink()
    with pytest.raises(SystemExit, match=r"removed old\.py"):
        build.main(["delta"])


def test_a_written_script_calls_its_function(build: Any) -> None:
    build.main(["script", "shop", "shop.cli:app.run"])
    path = build.VENV / "bin/shop"
    text = path.read_text()
    assert text.startswith(f"#!{build.VENV}/bin/python\n")
    assert "from shop.cli import app\nsys.exit(app.run())" in text
    assert path.stat().st_mode & 0o111


def test_the_source_is_compiled_and_a_file_for_another_python_is_no_error(build: Any) -> None:
    (build.APP / "good.py").write_text("x = 1\n")
    (build.APP / "bad.py").write_text("print 'two'\n")
    build.main(["compile", str(build.APP)])
    assert [path.stem.split(".")[0] for path in (build.APP / "__pycache__").iterdir()] == ["good"]


def test_the_program_needs_nothing_but_the_standard_library() -> None:
    import ast

    names = set()
    for node in ast.walk(ast.parse(PROGRAM.read_text())):
        names |= {alias.name.split(".")[0] for alias in node.names} if isinstance(node, ast.Import) else set()
    assert names <= set(sys.stdlib_module_names)


def test_the_sbom_is_complete_and_the_same_every_time(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx")
    import subprocess

    info = tmp_path / "site/Flask-3.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: Flask\nVersion: 3.0\nLicense-Expression: BSD-3-Clause\n"
    )
    texts = []
    for name in ("a.json", "b.json"):
        words = [sys.executable, "-I", PROGRAM.parent / "sbom.py", "shop", tmp_path / "site", tmp_path / name]
        subprocess.run(words, check=True)
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    found = json.loads(texts[0])
    assert [component["purl"] for component in found["components"]] == ["pkg:pypi/flask@3.0"]
    assert found["metadata"]["component"]["name"] == "shop"
    assert "timestamp" not in found["metadata"]
