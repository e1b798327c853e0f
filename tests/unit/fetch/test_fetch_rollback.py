"""A rollback in the lock file: every door fetches what was then, until `iac update SERVICE` or another slug."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from admin.cli import rollback
from admin.cli.holding import Holding
from karst import lockfile
from karst.errors import KarstError, UsageError
from karst.events import Events
from karst.fetch import Fetched, fetch_all, update
from karst.files import write_atomic
from karst.generations import FAILED, OK, REMOVED, Generation
from karst.manifest import Service, parse_entry, parse_list
from karst.stack import resolve
from tests.support.githost import GitHost

ENTRY: dict[str, Any] = {
    "name": "app",
    "slug": "gh:acme/app",
    "env": {"MODE": "old", "NUMBER": "1"},
    "args": ["--quick", ""],
    "allow": ["gone", "edge"],
    "expose": True,
    "port": 9000,
    "memory": "256m",
    "cpus": 0.5,
    "health": "/ready",
    "otel": False,
    "apt": ["curl"],
    "python": "3.11",
    "secrets": ["TOKEN"],
    "path": "api",
    "entrypoint": "app:main",
}


def generation(one: Fetched, name: str = "g1") -> Generation:
    return Generation(
        "app", "2030-01-01T00:00:00+00:00", OK, name, one.revision, f"t/app:{one.revision}", fetched=one.to_dict()
    )


def fetch(entries: list[Any], lock: Path) -> dict[str, Fetched]:
    return fetch_all(parse_list(entries, lock.parent), lock.parent, lock)


def test_an_entry_written_from_a_service_is_that_service_again(tmp_path: Path) -> None:
    """Every key of the list, and an entry with none of them."""
    for entry in (ENTRY, {"slug": "dir:./app"}):
        service = parse_entry(entry, tmp_path, "here")
        assert parse_entry(service.to_entry(), tmp_path, "here") == service
    assert Service("app", "gh:acme/app").to_entry() == {"name": "app", "slug": "gh:acme/app"}


def test_a_rolled_back_repository_is_fetched_at_its_commit_with_its_entry_of_then(
    githost: GitHost, tmp_path: Path, cache: Path
) -> None:
    """Also into an empty cache, as on another machine; the lock file stays as it is until the service is named."""
    lock = tmp_path / "repos.lock.yaml"
    first = githost.create("gh:acme/app", {"api/main.py": "1", "v": "1"}, tags=["v1"])
    then = fetch([ENTRY | {"slug": "gh:acme/app#v1", "allow": ["edge"]}], lock)["app"]
    second = githost.commit("gh:acme/app", {"api/main.py": "2", "v": "2"})
    now = ["gh:acme/app"]
    assert fetch(now, lock)["app"].revision == second

    lockfile.save(lock, {"app": rollback.locked(generation(then), "gh:acme/app")})
    written = lock.read_text()
    shutil.rmtree(cache)
    back = fetch(now, lock)["app"]
    assert (back.revision, back.service, back.tree) == (first, then.service, then.tree)
    assert lock.read_text() == written

    assert update(parse_list(now, tmp_path), tmp_path, lock) == [], "an update of all leaves it"
    assert lock.read_text() == written
    (change,) = update(parse_list(now, tmp_path), tmp_path, lock, "app")
    assert (change.before, change.after) == (first, second)
    assert fetch(now, lock)["app"].service.env == {}


def test_a_rollback_is_taken_over_by_a_list_that_has_no_lock_file(tmp_path: Path) -> None:
    """Each run of the admin app has a list of its own; one with a lock file goes by that."""
    stack = resolve(name="carry", list_file=str(tmp_path / "a" / "repos.json"))
    stack = replace(stack, home=tmp_path / "home")
    entry = lockfile.Locked("dir:app", "", "dir-" + "1" * 12, "2" * 64, rollback="g1", entry='{"slug": "dir:app"}')
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "repos.json").write_text('["dir:app"]')
    lockfile.save(lockfile.lock_path(stack.list_file), {"app": entry})
    write_atomic(stack.variables_file, json.dumps(stack.variables()))
    following = replace(stack, list_file=tmp_path / "b" / "repos.json")
    told: list[dict[str, Any]] = []
    holding = Holding(following, Events(told.append))
    holding.carry_rollbacks()
    holding.tell_rollbacks()
    assert lockfile.read(lockfile.lock_path(following.list_file)) == {"app": entry}
    assert told[0]["message"].startswith(f"app is rolled back to {entry.revision}")
    own = replace(stack, list_file=tmp_path / "c" / "repos.json")
    lockfile.lock_path(own.list_file).write_text("version: 1\nservices: {}\n")
    Holding(own, Events(told.append)).carry_rollbacks()
    assert lockfile.read(lockfile.lock_path(own.list_file)) == {}


def test_another_slug_in_the_list_ends_a_rollback(githost: GitHost, tmp_path: Path) -> None:
    """Whoever writes another ref says what is wanted."""
    lock = tmp_path / "repos.lock.yaml"
    githost.create("gh:acme/app", {"v": "1"}, tags=["v1"])
    then = fetch(["gh:acme/app"], lock)["app"]
    second = githost.commit("gh:acme/app", {"v": "2"}, branch="next")
    lockfile.save(lock, {"app": rollback.locked(generation(then), "gh:acme/app")})
    assert fetch(["gh:acme/app#next"], lock)["app"].revision == second
    assert not lockfile.read(lock)["app"].rollback


def test_a_rolled_back_folder_is_its_snapshot_until_that_is_gone(tmp_path: Path, cache: Path) -> None:
    """A folder has no commits: what was deployed is in the cache, or nowhere."""
    lock = tmp_path / "repos.lock.yaml"
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("1")
    then = fetch(["dir:app"], lock)["app"]
    (tmp_path / "app" / "main.py").write_text("2")
    lockfile.save(lock, {"app": rollback.locked(generation(then), "dir:app")})
    back = fetch(["dir:app"], lock)["app"]
    assert (back.revision, (back.source / "main.py").read_text()) == (then.revision, "1")

    shutil.rmtree(cache)
    with pytest.raises(KarstError, match="no longer in the cache") as caught:
        fetch(["dir:app"], lock)
    assert "iac update" in caught.value.hint
    (change,) = update(parse_list(["dir:app"], tmp_path), tmp_path, lock, "app")
    assert (change.before, change.ref) == (then.revision, "")
    assert lockfile.read(lock) == {}


@pytest.mark.parametrize(
    "damage",
    [
        {"rollback": ""},
        {"entry": {}},
        {"revision": "dir-12"},
        {"entry": {"slug": "gh:acme/app", "prot": 80}},
    ],
)
def test_a_rollback_that_somebody_damaged_is_refused(damage: dict[str, Any], tmp_path: Path) -> None:
    """The lock file is made to be committed, so that it gets edited and merged."""
    lock = tmp_path / "repos.lock.yaml"
    entry = {"slug": "dir:app", "ref": "", "revision": "dir-0123456789ab", "tree": "ab" * 32}
    whole = entry | {"rollback": "g1", "entry": {"name": "app", "slug": "dir:app"}} | damage
    lock.write_text(json.dumps({"version": 1, "services": {"app": whole}}))
    with pytest.raises(UsageError):
        fetch(["dir:app"], lock)


def _made(revision: str, name: str = "") -> Generation:
    fetched = {"name": "app", "slug": "dir:app", "revision": revision}
    return Generation("app", "", OK, name or f"g-{revision}", revision, f"t/app:{revision}", fetched=fetched)


HISTORY = [_made("aaaa1"), _made("aabb2"), _made("cccc3")]


@pytest.mark.parametrize(
    ("history", "to", "revision"),
    [
        (HISTORY, None, "aabb2"),
        ([*HISTORY, _made("aabb2")], None, "aaaa1"),
        ([*HISTORY, replace(_made("dddd4"), outcome=FAILED)], None, "cccc3"),
        (HISTORY, "aaaa", "aaaa1"),
        (HISTORY, "g-aabb", "aabb2"),
        ([_made("dir-0123456789ab"), _made("dir-fedcba987654")], "0123", "dir-0123456789ab"),
    ],
)
def test_the_target_is_the_generation_before_or_the_one_that_is_named(
    history: list[Generation], to: str | None, revision: str
) -> None:
    """By the beginning of its revision or of its generation; a second rollback goes further back."""
    assert rollback.choose("app", history, to).revision == revision


@pytest.mark.parametrize(
    ("history", "to", "code", "hint"),
    [
        (HISTORY, "aaaa2", "unknown_revision", "did you mean `aaaa1`?"),
        (HISTORY, "zzzz", "unknown_revision", "it was at cccc3, aabb2, aaaa1"),
        (HISTORY, "aa", "unknown_revision", ""),
        ([_made("aaaa1"), _made("aaaa2")], "aaaa", "ambiguous_revision", "write more of it"),
        (HISTORY[:1], None, "no_previous", "`iac history app`"),
        ([*HISTORY, Generation("app", "", REMOVED)], None, "not_deployed", "`iac deploy`"),
        ([], None, "not_deployed", "`iac deploy`"),
    ],
)
def test_a_target_that_there_is_not_is_told_with_what_there_is(
    history: list[Generation], to: str | None, code: str, hint: str
) -> None:
    """Unknown, too short, ambiguous, the first one, or no service at all."""
    with pytest.raises(KarstError) as caught:
        rollback.choose("app", history, to)
    assert caught.value.code == code
    assert hint in caught.value.hint
