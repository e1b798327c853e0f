"""What a request may ask for."""

from __future__ import annotations

from typing import Any

import pytest

from admin.entries import Policy, check, decode, only, parse_patterns
from admin.problems import Problem
from tests.support.admin_app import App


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"{", 400, "bad_json"),
        (b"[]", 400, "bad_json"),
        (b'"x"', 400, "bad_json"),
        (b"\xff{}", 400, "bad_json"),
        (b'{"slugs": ["gh:owner/web"], "slugs": []}', 400, "bad_json"),
        (b'{"slugs": NaN}', 400, "bad_json"),
        (b'{"a":' * 20_000, 400, "bad_json"),
        (b"{}", 422, "not_a_list"),
        (b'{"slugs": []}', 422, "not_a_list"),
        (b'{"slugs": "gh:owner/web"}', 422, "not_a_list"),
        (b'{"slugs": {"0": "gh:owner/web"}}', 422, "not_a_list"),
        (b'{"slugs": [5]}', 422, "bad_entry"),
        (b'{"slugs": [null]}', 422, "bad_entry"),
        (b'{"slug": ["gh:owner/web"]}', 422, "unknown_key"),
        (b'{"slugs": ["gh:owner/web"], "dry_run": "false"}', 422, "bad_value"),
        (b'{"slugs": ["gh:owner/web", "gh:other/web"]}', 422, None),
        (b'{"slugs": [{"slug": "gh:owner/web", "prot": 80}]}', 422, "unknown_key"),
        (b'{"slugs": ["dir:/etc"]}', 403, "local_folder"),
        (b'{"slugs": [{"slug": "dir:../x", "name": "xy"}]}', 403, "local_folder"),
        (b'{"slugs": [{"slug": "gh:owner/web", "path": "../../etc"}]}', 422, None),
        (b'{"slugs": [{"slug": "gh:owner/web", "secrets": ["SUPABASE_SERVICE_ROLE_KEY"]}]}', 403, "secret_not_allowed"),
        (b'{"slugs": [{"slug": "gh:owner/web", "secrets": ["GITHUB_TOKEN"]}]}', 403, "secret_not_allowed"),
    ],
)
def test_bodies_that_are_wrong_are_refused_and_start_nothing(
    body: bytes, status: int, code: str | None, app: App
) -> None:
    answer = app.call("POST", "/deploy", role="deployer", body=body)
    assert answer.status == status
    assert code is None or answer.json()["code"] == code
    assert answer.json()["detail"]
    assert app.call("GET", "/v1/deploys", role="viewer").json()["deploys"] == []


@pytest.mark.parametrize(
    "slug",
    [
        "gh:owner/web; touch x",
        "gh:owner/$(touch x)",
        "gh:owner/`id`",
        "gh:-owner/web",
        "gh:owner/web#-x",
        "gh:owner/web#--upload-pack=x",
        "gh:owner/../../x",
        "gh:owner/web\n--file=/etc/passwd",
        "gh:owner/web\u0000",
        "https://github.com/owner/web",
        "file:///etc/passwd",
        "--help",
        "gh:" + "a" * 500,
        "gh:оwner/web",
    ],
)
def test_slugs_with_anything_but_the_grammar_in_them_are_refused(slug: str, app: App) -> None:
    """Shell, option, path and look-alike characters: refused, never cleaned up."""
    answer = app.call("POST", "/deploy", role="deployer", body={"slugs": [slug]})
    assert answer.status == 422
    assert app.call("GET", "/v1/deploys", role="viewer").json()["deploys"] == []


def _refused(entries: list[Any], policy: Policy) -> str:
    with pytest.raises(Problem) as caught:
        check(entries, policy)
    return caught.value.code


def test_the_allow_list_compares_host_and_owner_and_not_the_ref() -> None:
    """Letter case does not matter to the hosts, so it does not here."""
    policy = Policy(parse_patterns("gh:us/*, gl:group/tools/*, bb:us/one"))
    for slug in ("gh:us/web#main", "gh:US/Web", "gl:group/tools/web", "gl:group/tools/deep/web", "bb:us/one#v1"):
        assert len(check([slug], policy)) == 1
    for slug in ("gh:them/web", "gh:us-too/web", "gl:group/web", "bb:us/other", "gl:us/web", "gh:them/us#us/x"):
        assert _refused([slug], policy) == "owner_not_allowed", slug


def test_a_secret_may_be_asked_for_by_the_names_on_the_list_only() -> None:
    policy = Policy(secrets=frozenset({"DB_PASSWORD"}))
    entry = {"slug": "gh:owner/web", "secrets": ["DB_PASSWORD"]}
    assert check([entry], policy) == ("gh:owner/web",)
    entry["secrets"] = ["DB_PASSWORD", "OTHER"]
    assert _refused([entry], policy) == "secret_not_allowed"


def test_too_many_entries_are_refused() -> None:
    assert _refused([f"gh:owner/web-{n}" for n in range(201)], Policy()) == "too_many"


def test_a_mistyped_member_gets_the_right_one_suggested() -> None:
    with pytest.raises(Problem) as caught:
        only({"dryrun": True}, ["slugs", "dry_run"])
    assert "dry_run" in caught.value.hint


def test_a_good_body_is_decoded() -> None:
    assert decode('{"slugs": ["gh:owner/wéb"]}'.encode()) == {"slugs": ["gh:owner/wéb"]}


def test_every_wrong_entry_is_named_by_its_place() -> None:
    """So that a page can say what is wrong where it is wrong, for all entries at once."""
    with pytest.raises(Problem) as caught:
        check(["gh:owner/web", "gh:owner", {"slug": "gh:owner/api", "prot": 80}], Policy())
    errors = caught.value.to_dict()["errors"]
    assert [(each["pointer"], each["code"]) for each in errors] == [
        ("/slugs/1", "bad_slug"),
        ("/slugs/2", "unknown_key"),
    ]
    assert all(each["detail"] for each in errors)
    assert "port" in errors[1]["hint"]


@pytest.mark.parametrize(
    ("entries", "pointer", "code"),
    [
        (["gh:one/web", "gh:two/api", "gh:three/web"], "/slugs/2", "duplicate_name"),
        (["gh:one/web", {"slug": "gh:two/api", "allow": ["wbe"]}], "/slugs/1", "unknown_caller"),
        (["gh:us/web", "gh:them/api"], "/slugs/1", "owner_not_allowed"),
    ],
)
def test_what_is_wrong_between_entries_is_named_at_the_one_that_completes_it(
    entries: list[Any], pointer: str, code: str
) -> None:
    policy = Policy(parse_patterns("gh:us/*")) if code == "owner_not_allowed" else Policy()
    with pytest.raises(Problem) as caught:
        check(entries, policy)
    assert [(each["pointer"], each["code"]) for each in caught.value.extra["errors"]] == [(pointer, code)]
