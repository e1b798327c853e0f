"""scripts/ci from end to end: a bare git repository is the host, its hook the runner, and a git note the comment."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import HELLO
from tests.support.kit import ROOT, Kit

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("ci")]

# What a CI does: check the pushed commit out, and call the script. Everything it says is kept beside the repository.
HOOK = """\
#!/bin/sh
unset GIT_DIR
while read -r _ commit ref; do
    rm -rf checkout
    git clone --quiet . checkout
    git -C checkout checkout --quiet "$commit"
    log=$PWD/log-${ref##*/}
    if [ "$ref" = refs/heads/main ]; then
        (cd checkout && "$KARST_CI" apply repos.yaml) >"$log" 2>&1
        echo $? >"$log.code"
    else
        (cd checkout && "$KARST_CI" plan repos.yaml) >plan.md 2>"$log"
        echo $? >"$log.code"
        git notes add --force --file plan.md "$commit"
    fi
done
"""


class Host:
    """The bare repository, and a clone in which somebody works."""

    def __init__(self, folder: Path, kit: Kit) -> None:
        self.bare, self.work, self.kit = folder / "host.git", folder / "work", kit
        self._git(folder, "init", "--quiet", "--bare", "--initial-branch", "main", str(self.bare))
        hook = self.bare / "hooks" / "post-receive"
        hook.write_text(HOOK)
        hook.chmod(0o755)
        self._git(folder, "clone", "--quiet", str(self.bare), str(self.work))
        self._git(self.work, "checkout", "--quiet", "-b", "main")

    def commit(self, files: dict[str, str], *, branch: str = "") -> None:
        if branch:
            self._git(self.work, "checkout", "--quiet", "-b", branch)
        for name, text in files.items():
            (self.work / name).parent.mkdir(exist_ok=True)
            (self.work / name).write_text(text)
        self._git(self.work, "add", "--all")
        self._git(self.work, "commit", "--quiet", "--message", f"Change {', '.join(files)}")

    def push(self, branch: str) -> tuple[int, str]:
        """Exit code and words of the job that the push has started."""
        self._git(self.work, "push", "--quiet", "origin", branch)
        log = self.bare / f"log-{branch}"
        return int((self.bare / f"log-{branch}.code").read_text()), log.read_text()

    def comment(self, branch: str) -> str:
        return self._git(self.bare, "notes", "show", branch)

    def merge(self, branch: str) -> tuple[int, str]:
        """Squashed, so that the commit on main is another one than was planned."""
        self.back_to_main()
        self._git(self.work, "merge", "--quiet", "--squash", branch)
        self._git(self.work, "commit", "--quiet", "--message", f"Merge {branch}")
        return self.push("main")

    def back_to_main(self) -> None:
        self._git(self.work, "checkout", "--quiet", "main")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """scripts/ci by hand in the checkout of the last job."""
        return subprocess.run(
            [str(ROOT / "scripts" / "ci"), *arguments],
            cwd=self.bare / "checkout",
            env={**os.environ, **self.kit.env},
            capture_output=True,
            text=True,
            check=False,
        )

    def _git(self, folder: Path, *arguments: str) -> str:
        who = {f"GIT_{role}_{what}": "ci@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        env = {**os.environ, **self.kit.env, **who, "KARST_CI": str(ROOT / "scripts" / "ci")}
        done = subprocess.run(["git", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("ci")
    kit = Kit(folder / "kit")
    host = Host(folder, kit)
    yield host
    kit.destroy()


def test_a_change_is_planned_reviewed_merged_and_applied(host: Host) -> None:
    host.commit({"README": "the list is to come\n"})
    host.push("main")  # there is no list yet, and so no deploy either
    host.commit({"repos.yaml": "- dir:web\n", "web/main.py": HELLO}, branch="first")
    code, said = host.push("first")
    assert code == 0, said
    comment = host.comment("first")
    assert f"### Plan of stack {host.kit.stack}: 2 to change, 0 untouched" in comment  # `web`, and what all share
    assert "| web | create | dir:web at dir-" in comment
    assert host.kit.containers() == [], "a plan for review has changed something"
    assert not (host.kit.home / "state" / host.kit.stack / "karst.tfplan").exists()

    code, said = host.merge("first")
    assert code == 0, said
    assert host.kit.health()["web"]["status"] == "SERVING"


def test_what_was_not_reviewed_is_refused_until_somebody_approves_it(host: Host) -> None:
    """The host has drifted between review and merge, so that the merge would do more than was seen."""
    host.commit({"web/main.py": f"# two\n{HELLO}"}, branch="second")
    assert host.push("second")[0] == 0
    assert "| web | replace | folder dir-" in host.comment("second")
    host.kit.docker("rm", "--force", f"{host.kit.stack}-edge")
    before = host.kit.pods()

    code, said = host.merge("second")
    assert code == 2
    assert "was approved; nothing was changed" in said
    assert host.kit.pods() == before

    seen = host.run("plan", "repos.yaml")
    assert "edge" in seen.stdout
    digest = seen.stdout.split("Digest: `")[1].split("`")[0]
    assert host.run("apply", "repos.yaml", "0" * 64).returncode == 2
    done = host.run("apply", "repos.yaml", digest)
    assert done.returncode == 0, done.stderr
    assert host.kit.pods() != before


def test_a_push_that_nobody_planned_is_refused_unless_it_changes_nothing(host: Host) -> None:
    host.commit({"README": "words\n"})
    code, said = host.push("main")
    assert code == 0, said
    before = host.kit.pods()
    host.commit({"web/main.py": f"# three\n{HELLO}"})
    code, said = host.push("main")
    assert code == 1
    assert "nobody has seen a plan of these files" in said
    assert host.kit.pods() == before


def test_a_wrong_list_fails_its_plan_and_says_why(host: Host) -> None:
    host.commit({"repos.yaml": "- dir:nowhere\n  prot: 1\n"}, branch="wrong")
    code, said = host.push("wrong")
    assert code == 2
    assert "repos.yaml" in said


def test_a_plan_for_review_leaves_the_plan_that_somebody_saved(host: Host) -> None:
    """…and the stack's own idea of which list it was deployed with."""
    kit = host.kit
    host.back_to_main()
    kit.iac("plan", "--file", str(host.work / "repos.yaml"))
    saved = [kit.home / "state" / kit.stack / name for name in ("karst.tfplan", "karst.json", "karst.tfvars.json")]
    before = [path.read_bytes() for path in saved]
    other = host.work / "other.yaml"
    other.write_text("- {slug: dir:web, name: renamed}\n")
    assert "| renamed | create |" in kit.iac("plan", "--file", str(other), "--markdown").stdout
    assert [path.read_bytes() for path in saved] == before
