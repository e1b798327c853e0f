"""scripts/ci beside an `iac` that only notes how it was called, and hosts that only note what was posted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ONE, TWO = "1" * 64, "2" * 64
IAC = """\
#!/bin/sh
root=$(dirname "$0")/..
echo "$*" >>"$root/calls"
case $1 in
plan) [ ! -e "$root/plan" ] || cat "$root/plan"; exit "$(cat "$root/code")" ;;
esac
"""


class Kit:
    """A kit whose `iac` is a stand-in, and a checkout with a list and its lock file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.checkout = folder / "kit", folder / "checkout"
        for name, text in (("admin/iac", IAC), ("scripts/python", '#!/bin/sh\nexec python3 "$@"\n')):
            (self.folder / name).parent.mkdir(parents=True)
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)
        shutil.copy2(ROOT / "scripts" / "ci", self.folder / "scripts" / "ci")
        self.checkout.mkdir()
        self.git("init", "--quiet")
        self.commit("repos.yaml", "repos.lock.yaml")
        self.plans(ONE)

    def git(self, *arguments: str) -> None:
        who = ("-c", "user.name=ci", "-c", "user.email=ci@example.org")
        subprocess.run(["git", *who, *arguments], cwd=self.checkout, check=True, capture_output=True)

    def commit(self, *names: str) -> None:
        for name in names:
            path = self.checkout / name
            path.write_text(path.read_text() + "#\n" if path.exists() else "#\n")
        self.git("add", *names)
        self.git("commit", "--quiet", "--message", "x")

    def plans(self, digest: str, code: int = 2) -> None:
        """What the next plan says; "" for one that fails."""
        (self.folder / "plan").write_text(f"### Plan\n\nDigest: `{digest}`\n" if digest else "")
        (self.folder / "code").write_text(str(code))

    def run(self, *arguments: str, text: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("GITHUB_", "CI_", "BITBUCKET_"))}
        return subprocess.run(
            [str(self.folder / "scripts" / "ci"), *arguments],
            cwd=self.checkout,
            env={**kept, **env},
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[str]:
        """How `iac` was called since it was asked last."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit(tmp_path)


def test_what_was_planned_is_what_is_approved(kit: Kit) -> None:
    done = kit.run("plan")
    assert (done.returncode, done.stdout) == (0, f"### Plan\n\nDigest: `{ONE}`\n")
    assert kit.calls() == ["plan --file repos.yaml --markdown --detailed-exitcode --lock-wait 1800"]
    kit.git("commit", "--quiet", "--amend", "--message", "another commit with the same files")
    assert kit.run("apply").returncode == 0
    assert kit.calls() == [f"deploy --file repos.yaml --approved {ONE} --lock-wait 1800"]


def test_other_files_than_were_planned_are_not_applied(kit: Kit) -> None:
    kit.run("plan")
    kit.commit("repos.yaml")
    kit.calls()
    done = kit.run("apply")
    assert done.returncode == 1
    assert f"scripts/ci apply repos.yaml {ONE}" in done.stderr
    assert [call.split()[0] for call in kit.calls()] == ["plan"]


def test_files_that_nobody_planned_may_change_nothing(kit: Kit) -> None:
    kit.plans(TWO, code=0)
    assert kit.run("apply").returncode == 0
    assert [call.split()[0] for call in kit.calls()] == ["plan"]


def test_a_persons_digest_goes_first(kit: Kit) -> None:
    kit.run("plan")
    kit.calls()
    kit.run("apply", "repos.yaml", TWO)
    assert kit.calls() == [f"deploy --file repos.yaml --approved {TWO} --lock-wait 1800"]


def test_another_stack_has_other_reviews(kit: Kit) -> None:
    kit.run("plan", KARST_STACK="blue")
    assert kit.run("apply", KARST_STACK="green").returncode == 1
    assert kit.run("apply", KARST_STACK="blue").returncode == 0


@pytest.mark.parametrize("code", [1, 2, 3, 5])
def test_a_plan_that_fails_fails_the_job_and_reviews_nothing(kit: Kit, code: int) -> None:
    """2 is also a wrong list."""
    kit.plans("", code=code)
    assert kit.run("plan").returncode == code
    kit.plans(ONE)
    assert kit.run("apply").returncode == 1


def test_a_lock_file_with_gaps_is_refused(kit: Kit) -> None:
    """The plan resolved a ref that the change does not lock."""
    plan = kit.folder / "admin" / "iac"
    plan.write_text(plan.read_text() + f'echo more >>"{kit.checkout}/repos.lock.yaml"\n')
    plan.write_text(plan.read_text().replace("plan)", f'plan) echo more >>"{kit.checkout}/repos.lock.yaml";'))
    done = kit.run("plan")
    assert done.returncode == 1
    assert "repos.lock.yaml does not lock every service: commit it" in done.stderr


def test_uncommitted_changes_are_refused(kit: Kit) -> None:
    (kit.checkout / "repos.yaml").write_text("- gh:other/one\n")
    assert "changes that no commit has" in kit.run("plan").stderr
    assert kit.calls() == []


def test_a_folder_without_a_commit_is_refused(kit: Kit, tmp_path: Path) -> None:
    shutil.rmtree(kit.checkout / ".git")
    done = kit.run("plan", GIT_CEILING_DIRECTORIES=str(tmp_path))
    assert done.returncode == 1
    assert "is no checkout with a commit" in done.stderr


def test_without_a_verb_it_says_what_there_is(kit: Kit) -> None:
    done = kit.run()
    assert (done.returncode, done.stderr) == (2, "ci: what to do: plan, apply or comment\n")


# ------------------------------------------------------------------------------------------------------------ comments
@pytest.fixture
def api() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A host's API: its address, and what was posted there. A token of `bad` is refused."""
    posted: list[dict[str, Any]] = []

    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            posted.append({"path": self.path, "body": body, "headers": dict(self.headers)})
            refused = "bad" in str(self.headers)
            answer = b'{"message": "bad credentials"}' if refused else b"{}"
            self.send_response(401 if refused else 201)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", posted
    server.shutdown()
    thread.join()
    server.server_close()


HOSTS = {
    "github": (
        {"GITHUB_REPOSITORY": "a/b", "GITHUB_REF": "refs/pull/7/merge", "GITHUB_TOKEN": "tok"},
        ("GITHUB_API_URL", "/repos/a/b/issues/7/comments", "Authorization", "Bearer tok"),
    ),
    "gitlab": (
        {"CI_MERGE_REQUEST_IID": "7", "CI_PROJECT_ID": "3", "KARST_CI_TOKEN": "tok"},
        ("CI_API_V4_URL", "/projects/3/merge_requests/7/notes", "PRIVATE-TOKEN", "tok"),
    ),
    "bitbucket": (
        {"BITBUCKET_PR_ID": "7", "BITBUCKET_REPO_FULL_NAME": "a/b", "KARST_CI_TOKEN": "tok"},
        ("BITBUCKET_API_URL", "/repositories/a/b/pullrequests/7/comments", "Authorization", "Bearer tok"),
    ),
}


@pytest.mark.parametrize("host", HOSTS)
def test_a_comment_reaches_each_host(kit: Kit, api: tuple[str, list[dict[str, Any]]], host: str) -> None:
    address, posted = api
    env, (url, path, header, value) = HOSTS[host]
    text = 'one "line" → two\n| a |\n'
    done = kit.run("comment", text=text, **env, **{url: address})
    assert done.returncode == 0, done.stderr
    [one] = posted
    assert (one["path"], one["headers"][header]) == (path, value)
    assert one["body"] == ({"content": {"raw": text}} if host == "bitbucket" else {"body": text})


def test_a_refused_comment_fails_with_the_hosts_words(kit: Kit, api: tuple[str, list[dict[str, Any]]]) -> None:
    env, _ = HOSTS["github"]
    done = kit.run("comment", text="x", **{**env, "GITHUB_TOKEN": "bad", "GITHUB_API_URL": api[0]})
    assert done.returncode == 1
    assert "bad credentials" in done.stderr


def test_elsewhere_there_is_no_comment(kit: Kit) -> None:
    assert kit.run("comment", text="x").returncode == 2


@pytest.mark.parametrize("host", HOSTS)
def test_the_examples_only_call_the_script(host: str) -> None:
    """Each is YAML, and every command in it is scripts/ci with a verb that there is."""
    text = (ROOT / "docs" / "ci" / f"{host}.yml").read_text()
    assert isinstance(yaml.safe_load(text), dict)
    commands = [
        line.strip().removeprefix("- ").removeprefix("run: ") for line in text.splitlines() if "scripts/ci " in line
    ]
    assert {command.split()[1] for command in commands} == {"plan", "comment", "apply"}
    assert all(command.startswith("/opt/karstkit/scripts/ci ") for command in commands)
