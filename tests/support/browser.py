"""A real browser for tests of the page: Chromium, driven by Playwright, with everything it complains about kept."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from karst.toolchain.browser import find

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
WIDE, PHONE = (1180, 760), (360, 740)
# What the browser says of an answer that is no 2xx, or of a broken connection: tests that want those look elsewhere.
NETWORK = "Failed to load resource"

expect.set_options(timeout=15_000)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a profile of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """One tab in a profile of its own, and what its console said."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def wrong(self) -> list[str]:
        """Errors in scripts, and everything that the content security policy refused."""
        return [text for text in self.complaints if not text.startswith(NETWORK)]

    def open(self, path: str = "/") -> None:
        self.page.goto(self.url + path)

    def sign_in(self, email: str, password: str) -> None:
        """As a person does, and wait until the services are there."""
        self.page.get_by_label("E-mail address").fill(email)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("heading", name="Services", exact=True)).to_be_visible()

    def go(self, section: str) -> None:
        self.page.get_by_role("navigation").get_by_role("link", name=section).click()
        expect(self.page.locator("h1")).to_contain_text(section)

    def focused(self) -> str:
        """Name of what the keyboard is on."""
        return str(self.page.evaluate("""() => {
            const one = document.activeElement;
            const label = one.labels?.[0]?.textContent ?? one.getAttribute("aria-label") ?? one.textContent;
            return label.trim().slice(0, 60);
        }"""))

    def tab_to(self, name: str, *, most: int = 60) -> None:
        """Press Tab until the thing called ``name`` has the focus; whatever has it on the way shows that."""
        for _ in range(most):
            self.page.keyboard.press("Tab")
            shown = self.page.evaluate("""() => {
                const style = getComputedStyle(document.activeElement);
                const seen = style.outlineStyle !== "none" || style.boxShadow !== "none";
                return seen || document.activeElement === document.body;
            }""")
            assert shown, f"the focus cannot be seen on {self.focused()!r}"
            if self.focused().startswith(name):
                return
        raise AssertionError(f"Tab does not lead to {name!r}")


@contextlib.contextmanager
def visit(browser: Browser, url: str, *, dark: bool = False, size: tuple[int, int] = WIDE) -> Iterator[Visit]:
    """A tab with nothing stored."""
    scheme: Any = "dark" if dark else "light"
    context = browser.new_context(color_scheme=scheme, viewport={"width": size[0], "height": size[1]})
    page = context.new_page()
    tab = Visit(page, url)
    page.on("console", lambda message: tab.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    try:
        yield tab
    finally:
        print("the browser's console:", tab.complaints)
        context.close()


def accessibility(page: Page) -> list[str]:
    """What axe-core finds, with all its rules: rule, element, and why."""
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['html'][:160]} {node['failureSummary']}" for rule in found for node in rule["nodes"]]


def overflow(page: Page) -> int:
    """Pixels by which the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def picture(page: Page, name: str) -> None:
    """Keep a picture where KARST_TEST_IMAGES says (`make test-page` with docs/images), else nowhere."""
    folder = os.environ.get("KARST_TEST_IMAGES")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", animations="disabled", caret="hide")
