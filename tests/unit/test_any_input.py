"""Whatever a file or a caller says, a reader gives an answer or one sentence, never a traceback.

Readers with property tests of their own: slugs, refs, lists, fields, archives, what detection reads, versions.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from admin import entries
from admin.problems import Problem
from admin.runs import events
from karst import generations, lockfile, stats
from karst.deps import Request, choose
from karst.errors import KarstError
from karst.identity import authority, leaf
from karst.identity.names import Identity
from tests.support import certificates as forge

few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
fewer = settings(few, max_examples=25)
DEEP = "[" * 100_000
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


def _sentence(message: str, names: str = "") -> None:
    """An error names what is wrong, in words of the kit."""
    assert message
    assert names in message
    assert "Traceback" not in message


def _torn(text: str) -> st.SearchStrategy[str]:
    """The text with a piece replaced by anything."""
    return st.builds(
        lambda at, length, piece: text[:at] + piece + text[at + length :],
        st.integers(0, len(text)),
        st.integers(0, 40),
        st.text(max_size=12),
    )


ENTRY = lockfile.Locked("gh:o/app", "refs/heads/main", "1" * 40, "a" * 64, rollback="g1", entry='{"slug": "gh:o/app"}')
LOCK = lockfile.render({"app": ENTRY})


@fewer
@given(st.text(max_size=80) | _torn(LOCK) | JSON.map(lambda value: json.dumps({"version": 1, "services": value})))
def test_any_lock_file(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.lock.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        found = lockfile.read(path)
    except KarstError as err:
        _sentence(err.message, path.name)
    else:
        assert all(isinstance(one, lockfile.Locked) for one in found.values())


LINE = json.dumps({"service": "web", "at": "2030-01-01T00:00:00+00:00", "outcome": "ok", "fetched": {"slug": "gh:a/b"}})


@few
@given(st.lists(st.text(max_size=30) | _torn(LINE) | JSON.map(json.dumps), max_size=3))
@example([DEEP, LINE])
def test_any_history_costs_its_own_lines_alone(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    folder = tmp_path_factory.getbasetemp()
    text = "\n".join([*lines, LINE]) + "\n"
    (folder / "web.jsonl").write_text(text, encoding="utf-8", errors="replace")
    found = generations.read(folder, "web")
    assert found[-1].fetched == {"slug": "gh:a/b"}
    assert generations.last_good(found) is not None


@few
@given(st.text(max_size=40) | JSON.map(json.dumps) | JSON.map(lambda one: json.dumps({"version": 1, "services": one})))
@example(DEEP)
def test_any_file_of_held_services(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "held.json"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        assert isinstance(generations.read_held(path), dict)
    except KarstError as err:
        _sentence(err.message, str(path))


PROJECT = '[project]\nname = "shop"\nversion = "1.0"\ndependencies = ["flask>=3; python_version > \'3.8\'"]\n'
REQUIREMENTS = (
    "-r other.txt\nflask[async] >= 3 ; python_version > '3.8' --hash=sha256:00\n-e .\ngit+https://x/y@v1#egg=y\n"
)
HERE = Path(__file__).parent / "deps" / "locks"


def _real(name: str) -> str:
    return next(iter(sorted(HERE.rglob(name)))).read_text()


@few
@given(
    st.sampled_from(
        ["requirements.txt", "pyproject.toml", "Pipfile", "poetry.lock", "pdm.lock", "uv.lock", "Pipfile.lock"]
    ),
    st.data(),
)
def test_any_manifest_and_lock_of_dependencies(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    whole = {"requirements.txt": REQUIREMENTS, "pyproject.toml": PROJECT, "Pipfile": '[packages]\nflask = "*"\n'}
    text = data.draw(st.text(max_size=60) | _torn(whole.get(name) or _real(name)))
    folder = tmp_path_factory.mktemp("deps")
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / name).write_text(text, encoding="utf-8", errors="replace")
    try:
        choose(Request(source=folder, python="3.11"))
    except KarstError as err:
        _sentence(err.message)


KEY = forge.new_key()
CERTIFICATE, SECRET = forge.pem(forge.authority("any", KEY)), forge.pem(KEY)
SVID = forge.leaf(forge.authority("any", KEY), KEY, uris=["spiffe://karst.local/svc/web"], dns=["web"])


def _broken(whole: bytes) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda at, length, piece: whole[:at] + piece + whole[at + length :],
        st.integers(0, len(whole)),
        st.integers(0, 60),
        st.binary(max_size=8),
    )


@few
@given(st.binary(max_size=60) | _broken(CERTIFICATE), st.binary(max_size=60) | _broken(SECRET) | st.just(SECRET))
@example(CERTIFICATE, SECRET[:41] + b"/" + SECRET[42:])  # a kind of key that there is not
def test_any_authority(certificates: bytes, key: bytes) -> None:
    try:
        authority.load(certificates, key, ca_pem=Path("ca.pem"), ca_key=Path("ca.key"), now=dt.datetime.now(dt.UTC))
    except KarstError as err:
        _sentence(err.message, "ca.")


@few
@given(st.binary(max_size=60) | _broken(SVID))
def test_any_certificate_of_a_service(svid: bytes) -> None:
    found = leaf.read(Identity.parse("web", network="iacnet", trust_domain="karst.local"), svid)
    assert found is None or found.certificate
    assert leaf.named("web", svid) is None or b"CERTIFICATE" in svid


@few
@given(st.binary(max_size=80) | JSON.map(lambda value: json.dumps({"type": "log", "x": value}).encode()))
@example(b'{"type": "log", "x": ' + DEEP.encode())
def test_any_line_of_a_run_is_an_event(line: bytes) -> None:
    event = events.parse(line, 7)
    assert event["seq"] == 7
    assert isinstance(event["type"], str)
    json.dumps(event)


STATS = json.dumps(
    {
        "stats": [
            {"name": "server.live", "value": 1},
            {"name": "karst.served.from.spiffe://karst.local/svc/web.code.200.grpc.", "value": 2},
            {"histograms": [{"name": "x", "buckets": [{"upper_bound": 1, "interval": 0, "cumulative": 3}]}]},
        ]
    }
)


@few
@given(st.text(max_size=60) | _torn(STATS) | JSON.map(lambda value: json.dumps({"stats": value})))
@example(DEEP)
@example(STATS.replace(": 3", ": 1e999"))
def test_any_text_in_the_place_of_envoys_figures(text: str) -> None:
    try:
        sample = stats.parse(text)
    except KarstError as err:
        _sentence(err.message)
    else:
        assert stats.summary(sample, sample) is not None
    assert all(isinstance(value, int) for value in stats.parse_stats(f"server.live: {text}\n{text}").values())


@few
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps({"slugs": value}).encode()))
@example(b'{"slugs": ' + DEEP.encode())
@example(b'{"a": 1, "a": 2}')
def test_any_body_of_a_request_is_taken_or_refused_in_one_sentence(body: bytes) -> None:
    policy = entries.Policy()
    asked: list[Callable[[dict[str, Any]], Any]] = [
        lambda found: entries.only(found, ["slugs", "dry_run"]),
        lambda found: entries.flag(found, "dry_run"),
        lambda found: entries.check(found.get("slugs"), policy),
    ]
    refused: list[int] = []
    for ask in asked:
        try:
            ask(entries.decode(body))
        except Problem as err:
            _sentence(err.detail)
            refused.append(err.status)
    assert set(refused) <= {400, 403, 422}
