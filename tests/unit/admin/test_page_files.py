"""The page as files: who gets them, as what, and what they may do in a browser. What it does there: tests/page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from admin.api import page as page_api
from tests.support.admin_app import App

FOLDER = Path(page_api.__file__).resolve().parents[1] / "page"
FILES = sorted(path.name for path in FOLDER.iterdir())


def test_every_file_of_the_page_is_sent_as_what_it_is(app: App) -> None:
    """To everybody, on both sockets: scripts as scripts, or a browser told not to guess runs none of them."""
    kinds = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for number, name in enumerate(FILES):
        answer = app.call("GET", f"/page/{name}", unix=number % 2 == 0)
        assert (answer.status, answer.body) == (200, (FOLDER / name).read_bytes()), name
        assert answer.headers["content-type"].partition(";")[0] == kinds[Path(name).suffix], name
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert app.call("GET", "/").body == (FOLDER / "index.html").read_bytes()


def test_a_file_is_asked_for_each_time_and_sent_when_it_changed(app: App) -> None:
    """By its ETag: a new version of the kit never meets a script of the old one."""
    first = app.call("GET", "/page/main.js")
    assert first.headers["cache-control"] == "no-cache"
    again = app.call("GET", "/page/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert app.call("GET", "/page/main.js", headers={"If-None-Match": '"other"'}).status == 200
    assert app.call("GET", "/page/base.css").headers["etag"] != first.headers["etag"]


def test_nothing_but_the_pages_files_can_be_had(app: App) -> None:
    """A name is looked up in a table; there is no path that could lead out of the folder."""
    outside = ["..", "%2e%2e%2fapp.py", "..%2fapp.py", "%2e%2e/app.py", "../app.py", "a/main.js"]
    for name in [*outside, "nothing.js", "main.js%00", "MAIN.JS", ""]:
        answer = app.call("GET", f"/page/{name}", role="viewer")
        assert (answer.status, b"import" in answer.body) == (404, False), name


def test_the_page_may_run_its_own_scripts_only_and_talk_to_two_servers_only(app: App) -> None:
    """No inline script or style, no text turned into code, no frame, no form target."""
    policy = dict(part.split(" ", 1) for part in app.call("GET", "/").headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert (policy["script-src"], policy["style-src"]) == ("'self'", "'self'")
    assert policy["connect-src"] == f"'self' {app.supabase.url}"
    assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "'none'")
    assert {policy[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert "default-src 'none'" in app.call("GET", "/health").headers["content-security-policy"]


def test_the_page_has_no_inline_code_and_never_parses_text_as_html() -> None:
    """What the policy would refuse is not there in the first place."""
    html = (FOLDER / "index.html").read_text()
    assert not re.search(r"<script(?![^>]* src=)|<style|\son[a-z]+=|\sstyle=|javascript:", html)
    scripts = "".join((FOLDER / name).read_text() for name in FILES if name.endswith(".js"))
    words = "innerHTML outerHTML insertAdjacentHTML document.write DOMParser eval( Function( ContextualFragment srcdoc"
    assert not [word for word in words.split() if word in scripts]
    for name in re.findall(r"""(?:from|import) "\./([a-z-]+\.js)\"""", scripts):
        assert name in FILES


def test_where_to_sign_in_is_told_to_everybody_and_holds_no_secret(app: App) -> None:
    answer = app.call("GET", "/v1/sign-in")
    assert answer.json() == {"url": f"{app.supabase.url}/auth/v1", "key": app.supabase.anon_key}
    assert app.supabase.service_role_key.encode() not in answer.body


def test_without_a_publishable_key_the_page_talks_to_this_server_only(start_app: Callable[..., App]) -> None:
    app = start_app(auth={"public_key": ""})
    assert app.call("GET", "/v1/sign-in").json() == {"url": None, "key": None}
    assert "connect-src 'self';" in app.call("GET", "/").headers["content-security-policy"]


def test_the_page_answers_to_our_own_names_only(app: App) -> None:
    """As the API does: another site's name that leads here gets nothing (DNS rebinding)."""
    assert app.call("GET", "/", headers={"Host": "evil.test"}).status == 421
