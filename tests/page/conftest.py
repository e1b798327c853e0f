"""A browser for all tests of this folder. Without its driver (`make test-page` has it) nothing here is collected."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.admin_app import App, running
from tests.support.supabase_stub import SupabaseStub, User

if TYPE_CHECKING:
    from tests.support.browser import Visit

if importlib.util.find_spec("playwright") is None:
    collect_ignore_glob = ["test_*.py"]

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from tests.support.browser import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def supabase() -> Iterator[SupabaseStub]:
    """The stub: the real auth server cannot be had through package registries (tests/support/supabase_stub.py)."""
    stub = SupabaseStub()
    yield stub
    stub.close()


@pytest.fixture
def app(supabase: SupabaseStub, tmp_path: Path) -> Iterator[App]:
    """An admin app whose stack and command are the test's own."""
    app = running(supabase, tmp_path)
    yield app
    app.stop()


@pytest.fixture
def person(supabase: SupabaseStub) -> User:
    return supabase.add_user("admin", email="ada@people.test", password=PASSWORD)


@pytest.fixture
def tab(browser: Any, app: App, person: User) -> Iterator[Visit]:
    """A tab that is signed in. At its end the console must be clean and the policy never broken."""
    from tests.support.browser import visit

    with visit(browser, f"http://127.0.0.1:{app.port}") as tab:
        tab.open()
        tab.sign_in(person.email, PASSWORD)
        yield tab
        assert tab.wrong() == []


@pytest.fixture
def tabs(browser: Any, app: App) -> Iterator[Callable[..., Visit]]:
    """Opens more tabs, not signed in."""
    import contextlib

    from tests.support.browser import visit

    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(visit(browser, f"http://127.0.0.1:{app.port}", **options))
