"""What can go from the cache: old, needed by no retained generation of any stack, measured by what it really frees."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from karst import generations
from karst.fetch import fetch_all, store
from karst.generations import OK, REMOVED, Generation
from karst.manifest import parse_list
from karst.prune import caches, remove, retained

DAY = 24 * 3600.0
MAIN = 'def main():\n    print("{}")\n\n\nif __name__ == "__main__":\n    main()\n'


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KARST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _deployed(folder: Path, text: str) -> Generation:
    """A version of dir:app that was fetched and rendered, as its line in the history."""
    from karst.render import render_service

    (folder / "app").mkdir(exist_ok=True)
    (folder / "app" / "main.py").write_text(MAIN.format(text))
    (one,) = fetch_all(parse_list(["dir:app"], folder), folder).values()
    fetched, detection = one.to_dict(), {"argv": ["python", "/app/main.py"], "launch": "file"}
    images = {"base": "python:3.11-slim", "runner": "runner", "builder": "builder"}
    rendered = render_service("app", fetched, detection, "t", images)
    return Generation("app", "", OK, text, one.revision, rendered["tag"], "deploy", "me", fetched, detection, rendered)


def _age(cache: Path, days: float) -> None:
    when = time.time() - days * DAY
    for folder, folders, names in os.walk(cache, topdown=False):
        for name in [*names, *folders]:
            os.utime(Path(folder, name), (when, when))


def test_what_is_retained_is_what_serves_and_the_newest_there_were() -> None:
    """Also when what serves is an old one that somebody rolled back to; nothing of a service that was taken down."""
    made = [
        Generation("app", "", OK, name, name, name, fetched={"name": "app", "slug": "dir:app"}) for name in "abcdef"
    ]
    assert {one.revision for one in retained(made, 2)} == {"e", "f"}
    assert {one.revision for one in retained([*made, made[0]], 2)} == {"a", "e", "f"}
    assert retained([*made, Generation("app", "", REMOVED)], 2) == []
    assert retained([], 2) == []


def test_old_entries_go_but_for_those_of_retained_generations(tmp_path: Path, cache: Path) -> None:
    """Source, context, memo and byte code of the oldest version; those that a rollback needs stay, of any stack."""
    first, second, third = (_deployed(tmp_path, text) for text in ("first", "second", "third"))
    stacks = tmp_path / "stacks"
    generations.append(stacks / "one" / "history", second)
    generations.append(stacks / "two" / "history", third)
    assert caches(stacks, 5, DAY) == [], "nothing is old"
    _age(cache, 8)
    before = {path for path in cache.rglob("*") if path.is_file()}
    used = sum(path.stat().st_size for path in {p.stat().st_ino: p for p in before}.values())
    found = caches(stacks, 5, 7 * DAY)
    assert [one.name for one in found if one.kind == "source"] == [str(first.source)]
    assert [one.name for one in found if one.kind == "build"] == [first.rendered["context"]]
    assert len([one for one in found if one.kind == "bytecode"]) == 1

    assert remove(found, None) == found
    after = {p.stat().st_ino: p for p in cache.rglob("*") if p.is_file()}.values()
    meta = before - set(after) - {Path(one.name) for one in found}
    beside = sum(1 for path in meta if path.name == f"{first.source.name}.json")
    assert beside == 1, "the note beside the source goes with it"
    freed = used - sum(path.stat().st_size for path in after)
    assert 0 <= freed - sum(one.size for one in found) < 1024, "what was told is what was freed, but for that note"
    for kept in (second, third):
        assert (kept.source / "main.py").is_file()
        assert (Path(kept.rendered["context"]) / "src" / "main.py").is_file()
    assert caches(stacks, 5, 7 * DAY) == []


def test_a_repository_with_pairs_like_the_caches_own_is_left_whole(tmp_path: Path, cache: Path) -> None:
    """A folder beside a JSON file of its name, deep inside a source, is no checkout."""
    inner = tmp_path / "app" / "0123456789ab"
    inner.mkdir(parents=True)
    (inner / "data").write_text("x")
    (tmp_path / "app" / "0123456789ab.json").write_text("{}")
    one = _deployed(tmp_path, "only")
    generations.append(tmp_path / "stacks" / "one" / "history", one)
    _age(cache, 8)
    assert [removal.name for removal in caches(tmp_path / "stacks", 5, 7 * DAY) if removal.kind == "source"] == []
    assert store.unused(time.time()) == [one.source]
    assert (one.source / "0123456789ab" / "data").is_file()


def test_a_stack_without_history_or_cache_has_nothing_to_prune(tmp_path: Path) -> None:
    """As on a fresh machine."""
    assert caches(tmp_path / "stacks", 5, 0) == []
