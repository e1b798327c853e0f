"""Fixtures of the admin app's tests: the auth stub, and whole instances on a free port and a temporary socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.admin_app import App, FakeStack, running
from tests.support.supabase_stub import SupabaseStub


@pytest.fixture(scope="session")
def supabase() -> Iterator[SupabaseStub]:
    """One stub for all tests; users and sessions are each test's own."""
    stub = SupabaseStub()
    yield stub
    stub.close()


@pytest.fixture
def start_app(supabase: SupabaseStub, tmp_path: Path) -> Iterator[Callable[..., App]]:
    """Starts admin apps (real servers, real subprocesses) that are stopped after the test."""
    apps: list[App] = []

    def start(**changes: object) -> App:
        app = running(supabase, tmp_path, **changes)
        apps.append(app)
        return app

    yield start
    for app in reversed(apps):
        app.stop()


@pytest.fixture
def app(start_app: Callable[..., App]) -> App:
    return start_app()


@pytest.fixture
def stack(app: App) -> FakeStack:
    return app.stack
