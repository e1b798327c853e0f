"""``scripts/fetch``: Terraform's protocol on stdin, and slugs or a list by hand."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.githost import GitHost

PROGRAM = Path(__file__).resolve().parents[3] / "scripts/fetch"


def run(*arguments: str, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments], input=stdin, cwd=cwd, env=dict(os.environ), capture_output=True, text=True, timeout=60
    )


def test_terraform_gets_one_object_of_strings(githost: GitHost, tmp_path: Path) -> None:
    sha = githost.create("gh:acme/app", {"main.py": "1"})
    query = {
        "slugs": '["gh:acme/app"]',
        "base_dir": str(tmp_path),
        "lock_file": str(tmp_path / "x.lock.yaml"),
        "stack": "k",
    }
    done = run(stdin=json.dumps(query))
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert set(result) == {"services"}
    service = json.loads(result["services"])["app"]
    assert service["revision"] == sha
    assert service["env"] == {}
    assert Path(service["source"], "main.py").exists()
    assert (tmp_path / "x.lock.yaml").exists()


def test_the_same_query_gives_the_same_bytes(githost: GitHost, tmp_path: Path) -> None:
    for name in ("b2", "a1", "c3"):
        githost.create(f"gh:acme/{name}", {"main.py": name})
    query = json.dumps(
        {"slugs": '["gh:acme/b2", "gh:acme/a1", "gh:acme/c3"]', "base_dir": str(tmp_path), "lock_file": ""}
    )
    first = run(stdin=query)
    assert first.returncode == 0
    assert run(stdin=query).stdout == first.stdout
    assert not list(tmp_path.glob("*.lock.yaml"))


@pytest.mark.parametrize(
    ("stdin", "code", "words"),
    [
        ("nonsense", 2, "not JSON"),
        ("[]", 2, "one JSON object"),
        ('{"slugs": "nonsense"}', 2, "`slugs` in the query is not JSON"),
        ('{"slugs": "{}"}', 2, "not a list"),
        ("{}", 2, "not a list"),
        ('{"slugs": "[\\"gh:a/b#-x\\"]"}', 2, "begins with a dash"),
        ('{"slugs": "[{\\"slug\\": \\"gh:a/app\\", \\"prot\\": 1}]"}', 2, "did you mean `port`?"),
        ('{"slugs": "[\\"dir:nowhere\\"]"}', 1, "does not exist"),
    ],
)
def test_a_bad_query_is_one_sentence_on_stderr(tmp_path: Path, stdin: str, code: int, words: str) -> None:
    done = run(stdin=stdin, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_by_hand_it_takes_slugs_and_prints_them_prettily(githost: GitHost, tmp_path: Path) -> None:
    githost.create("gh:acme/app", {"main.py": "1"}, tags=["v1"])
    done = run("gh:acme/app#v1", cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["app"]["ref"] == "refs/tags/v1"
    assert done.stdout.startswith('{\n  "app": {\n')


def test_by_hand_it_takes_a_list_and_keeps_a_lock(githost: GitHost, tmp_path: Path) -> None:
    githost.create("gh:acme/app", {"main.py": "1"})
    (tmp_path / "repos.yaml").write_text("- gh:acme/app\n")
    lock = ["--lock", "repos.lock.yaml"]
    old = json.loads(run("repos.yaml", *lock, cwd=tmp_path).stdout)["app"]["revision"]
    new = githost.commit("gh:acme/app", {"main.py": "2"})
    assert json.loads(run("repos.yaml", *lock, cwd=tmp_path).stdout)["app"]["revision"] == old
    assert json.loads(run("repos.yaml", *lock, "--update", cwd=tmp_path).stdout)["app"]["revision"] == new


def test_by_hand_it_notes_what_a_source_lacks(githost: GitHost, tmp_path: Path) -> None:
    lib = githost.create("gh:acme/lib", {"x": "1"})
    githost.create(
        "gh:acme/app", {"main.py": "1", ".gitmodules": '[submodule "a"]\n path = a\n url = ../no\n', "a": ("m", lib)}
    )
    done = run("gh:acme/app", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.startswith("note: app lacks the submodule a")


def test_an_unknown_option_is_a_usage_error() -> None:
    done = run("--nope")
    assert done.returncode == 2
    assert "usage: scripts/fetch" in done.stderr
