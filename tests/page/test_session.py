"""Signing in and out of the page, and staying signed in."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.page.conftest import PASSWORD
from tests.support.admin_app import App
from tests.support.browser import Visit
from tests.support.supabase_stub import User

pytestmark = [pytest.mark.page, pytest.mark.slow]


def test_a_wrong_password_is_one_sentence_and_no_session(app: App, person: User, tabs: Callable[..., Visit]) -> None:
    tab = tabs()
    tab.open()
    tab.page.get_by_label("E-mail address").fill(person.email)
    tab.page.get_by_label("Password").fill("not it")
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_role("alert")).to_have_text("E-mail address and password do not go together.")
    assert tab.page.get_by_label("Password").input_value() == ""
    assert tab.page.evaluate("sessionStorage.length") == 0
    assert tab.wrong() == []


def test_the_password_goes_to_the_auth_server_only_with_the_publishable_key(
    app: App, person: User, tabs: Callable[..., Visit]
) -> None:
    """Never to the admin app, and the service role key never to the browser."""
    sent: list[tuple[str, str]] = []
    tab = tabs()
    tab.page.on("request", lambda request: sent.append((request.url, request.post_data or "")))
    tab.open()
    tab.sign_in(person.email, PASSWORD)
    assert {url.partition("?")[0] for url, body in sent if PASSWORD in body} == {f"{app.supabase.url}/auth/v1/token"}
    keys = {headers.get("apikey") for path, headers in app.supabase.requests if "grant_type=password" in path}
    assert keys == {app.supabase.anon_key}
    assert app.supabase.service_role_key not in tab.page.content()


def test_a_user_without_a_role_is_told_so_and_may_take_another_account(app: App, tabs: Callable[..., Visit]) -> None:
    nobody = app.supabase.add_user(None, password=PASSWORD)
    tab = tabs()
    tab.open()
    tab.page.get_by_label("E-mail address").fill(nobody.email)
    tab.page.get_by_label("Password").fill(PASSWORD)
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_role("alert")).to_have_text("this user has no role here")
    tab.page.get_by_role("button", name="Use another account").click()
    expect(tab.page.get_by_label("E-mail address")).to_be_visible()


def test_a_reload_stays_signed_in_and_another_tab_does_not(tab: Visit, tabs: Callable[..., Visit]) -> None:
    """sessionStorage: of this tab, until it is closed."""
    tab.page.reload()
    expect(tab.page.get_by_role("heading", name="Services", exact=True)).to_be_visible()
    assert tab.page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    other = tabs()
    other.open()
    expect(other.page.get_by_label("E-mail address")).to_be_visible()


def test_a_token_is_replaced_before_it_ends_and_requests_never_fail(
    app: App, person: User, tabs: Callable[..., Visit]
) -> None:
    """With tokens of 5 seconds: the page outlives several of them."""
    app.supabase.lifetime = 5
    refused: list[str] = []
    tab = tabs()
    tab.page.on("response", lambda answer: refused.append(answer.url) if answer.status == 401 else None)
    try:
        tab.open()
        tab.sign_in(person.email, PASSWORD)
        first = tab.page.evaluate("sessionStorage.getItem('karst-session')")
        time.sleep(9)
        tab.go("Deploys")
        expect(tab.page.get_by_text("Nothing was deployed from here yet.")).to_be_visible()
        assert tab.page.evaluate("sessionStorage.getItem('karst-session')") != first
        assert refused == []
    finally:
        app.supabase.lifetime = 3600


def test_a_session_that_was_ended_elsewhere_ends_here_with_a_sentence(app: App, tab: Visit) -> None:
    """Logged out by an administrator: the next read is refused, the refresh too, and nothing is left in the tab."""
    app.supabase.sessions.clear()
    app.instance.context.authenticator._cache.clear()
    expect(tab.page.get_by_role("alert")).to_have_text(re.compile("Sign in again"))
    assert tab.page.evaluate("sessionStorage.length") == 0


def test_signing_out_ends_the_session_on_the_server_too(app: App, tab: Visit) -> None:
    before = len(app.supabase.sessions)
    tab.page.get_by_role("button", name="Sign out").click()
    expect(tab.page.get_by_label("E-mail address")).to_be_visible()
    expect(tab.page.get_by_role("navigation")).to_be_hidden()
    assert tab.page.evaluate("sessionStorage.length") == 0
    deadline = time.monotonic() + 5
    while len(app.supabase.sessions) == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_token_can_be_pasted_instead(app: App, tabs: Callable[..., Visit]) -> None:
    tab = tabs()
    tab.open()
    tab.page.get_by_role("button", name="Use an access token instead").click()
    tab.page.get_by_label("Access token").fill("no token")
    tab.page.get_by_role("button", name="Use this token").click()
    expect(tab.page.get_by_role("alert")).to_contain_text("This is not an access token")
    tab.page.get_by_label("Access token").fill(f"Bearer {app.token('viewer')}")
    tab.page.get_by_role("button", name="Use this token").click()
    expect(tab.page.get_by_role("heading", name="Services", exact=True)).to_be_visible()
    expect(tab.page.locator("#who")).to_contain_text("viewer")
    expect(tab.page.get_by_role("link", name="Deploy", exact=True)).to_have_count(0)
    assert tab.wrong() == []
