"""The page on a real stack: a real browser, the real admin app, the kit's own command, Docker, Terraform and Envoy.

Only the auth server is a stub (tests/support/supabase_stub.py): the real one cannot be had through package registries.
The tests are one story and run in this order. Between browser and admin app is a proxy that can be cut.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.integration.conftest import HELLO
from tests.page.conftest import PASSWORD
from tests.support.browser import PHONE, Visit, picture, visit
from tests.support.cuttable import Cuttable
from tests.support.githost import GitHost
from tests.support.kit import ROOT, Kit
from tests.support.supabase_stub import SupabaseStub

pytestmark = [
    pytest.mark.page,
    pytest.mark.slow,
    pytest.mark.docker,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("stack"),
]

# Calls hello all the time, and prints what a terminal or a browser would take for orders.
VISITOR = r"""
import time
import urllib.request


def main():
    count = 0
    while True:
        try:
            body = urllib.request.urlopen("http://hello/", timeout=5).read().decode()
            if count % 20 == 0:
                print(f"visit {count}: <b onmouseover=alert(1)>{body}</b> \x1b[31mred\x1b[0m", flush=True)
            count += 1
        except OSError as err:
            print(f"no visit: {err}", flush=True)
        time.sleep(0.1)


if __name__ == "__main__":
    main()
"""
BROKEN = 'raise RuntimeError("no <database> to talk to")\n'
DEPLOY = 240_000  # ms that a deploy may take here


@dataclass
class Story:
    """The stack, its git host, and one tab that stays open."""

    kit: Kit
    host: GitHost
    proxy: Cuttable
    tab: Visit
    commits: dict[str, str]

    @property
    def page(self) -> Any:
        return self.tab.page

    def plan(self, *slugs: str) -> None:
        """Write the list into the editor and press Plan."""
        self.tab.open("/#/new")
        expect(self.page.get_by_label("Repository").first).to_be_visible()
        have = self.page.get_by_label("Repository").count()
        for _ in range(len(slugs) - have):
            self.page.get_by_role("button", name="Add a repository").click()
        for number, slug in enumerate(slugs):
            self.page.get_by_label("Repository").nth(number).fill(slug)
        self.page.get_by_role("button", name="Plan").click()
        expect(self.page.get_by_role("button", name="Approve")).to_be_visible(timeout=DEPLOY)

    def ended(self, word: str) -> None:
        expect(self.page.locator(".title .pill").first).to_have_text(re.compile(word), timeout=DEPLOY)


@pytest.fixture(scope="module")
def story(browser: Any, supabase: SupabaseStub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    home = tmp_path_factory.mktemp("story")
    person = supabase.add_user("deployer", email="grace@people.test", password=PASSWORD)
    with GitHost(home / "githost") as host:
        commits = {
            name: host.create(f"gh:acme/{name}", {"main.py": text})
            for name, text in (("hello", HELLO), ("visitor", VISITOR))
        }
        kit = Kit(home / "stack", stack=f"demo-{secrets.token_hex(2)}", env=host.environment())
        process, port = _start(kit, supabase)
        proxy = Cuttable(port)
        try:
            with visit(browser, f"http://127.0.0.1:{proxy.port}") as tab:
                tab.open()
                tab.sign_in(person.email, PASSWORD)
                yield Story(kit, host, proxy, tab, commits)
                assert tab.wrong() == []
        finally:
            proxy.close()
            process.terminate()
            process.communicate(timeout=30)
            kit.write_list(["gh:acme/hello"])
            kit.iac("destroy", "--yes", check=None)


def _start(kit: Kit, stub: SupabaseStub) -> tuple[subprocess.Popen[str], int]:
    """`scripts/admin` as `make admin` starts it, on a free port."""
    env = {
        **os.environ,
        **kit.env,
        "KARST_GATE_TIMEOUT": "40",
        "SUPABASE_URL": stub.url,
        "SUPABASE_SERVICE_ROLE_KEY": stub.service_role_key,
        "SUPABASE_ANON_KEY": stub.anon_key,
        "KARST_ADMIN_PORT": "0",
        "KARST_ADMIN_GRPC_PORT": "0",
        "KARST_ADMIN_SOCKET": str(kit.home / "s"),
        "KARST_ADMIN_DATA": str(kit.home / "admin"),
    }
    with (kit.home / "log").open("w") as log:
        process = subprocess.Popen(
            [ROOT / "scripts" / "admin"], cwd=kit.home, env=env, stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    found = re.match(r"admin: http://127\.0\.0\.1:(\d+) and ", process.stdout.readline())
    assert found, (kit.home / "log").read_text()
    return process, int(found[1])


def test_a_plan_is_approved_and_its_log_goes_on_over_a_cut_and_a_reload(story: Story) -> None:
    """From an empty stack to two services, with the connection cut in the middle: no line is missing, none is twice."""
    page = story.page
    expect(page.get_by_text("Nothing is deployed on this stack yet.")).to_be_visible()
    story.plan("gh:acme/hello", "gh:acme/visitor")
    plan = page.get_by_role("table", name="What would change")
    for name in ("hello", "visitor"):
        expect(plan.get_by_role("row").filter(has_text=f"gh:acme/{name}")).to_contain_text("New")
    assert story.kit.containers() == []
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading", name="Approved plan")).to_be_visible()
    expect(page.locator(".phases .active")).to_be_visible(timeout=DEPLOY)
    assert story.proxy.cut() > 0
    expect(page.get_by_text("Connection lost.")).to_be_visible()
    page.wait_for_timeout(1500)
    story.proxy.mend()
    expect(page.locator(".connection.live")).to_be_visible()
    expect(page.locator(".log p").filter(has_text="hello: app").first).to_be_visible(timeout=DEPLOY)
    picture(page, "deploy")
    page.reload()
    expect(page.get_by_role("heading", name="Approved plan")).to_be_visible()
    story.ended("Done")
    outcome = page.get_by_role("table", name="Services after the run")
    for name in ("hello", "visitor"):
        expect(outcome.get_by_role("row").filter(has_text=name)).to_contain_text("Serving")
    run = page.url.rpartition("/")[2]
    written = (story.kit.home / "admin" / "runs" / run / "events.ndjson").read_text().count("\n")
    expect(page.locator(".log p")).to_have_count(written)


def test_what_runs_is_shown_with_health_revision_and_certificate(story: Story) -> None:
    page = story.page
    story.tab.go("Services")
    for name in ("hello", "visitor"):
        card = page.locator(".service").filter(has=page.get_by_role("heading", name=name))
        expect(card).to_contain_text("Serving")
        expect(card).to_contain_text(story.commits[name][:8])
        expect(card).to_contain_text("ends in 6 d")
        expect(card).not_to_contain_text("no answer")
    story.tab.go("Certificates")
    expect(page.get_by_role("row").filter(has_text="hello")).to_contain_text("In use")


def test_the_graph_shows_who_calls_whom_by_envoys_own_figures(story: Story) -> None:
    page = story.page
    story.tab.go("Graph")
    row = page.get_by_role("row").filter(has_text="visitor → hello")
    expect(row).to_contain_text("Well")
    expect(row.get_by_role("cell").nth(2)).to_have_text(re.compile(r"^[1-9]"))
    expect(row.get_by_role("cell").nth(5)).to_have_text(re.compile(r"ms$"))
    picture(page, "graph")


def test_logs_of_a_real_service_are_live_and_harmless(story: Story) -> None:
    """Markup stays text, terminal control is gone, spans are left out, and lines keep coming after a cut."""
    page = story.page
    story.tab.go("Logs")
    lines = page.locator(".log p")
    expect(lines.filter(has_text="visit 0: <b onmouseover=alert(1)>version one</b> red")).to_have_count(1)
    assert page.locator(".log b").count() == 0
    expect(lines.filter(has_text="resourceSpans")).to_have_count(0)
    before = lines.count()
    story.proxy.cut()
    expect(page.get_by_text("Connection lost.")).to_be_visible()
    story.proxy.mend()
    expect(page.locator(".connection.live")).to_be_visible()
    expect(lines.filter(has_text="visit 0:")).to_have_count(1)
    page.wait_for_function("count => document.querySelectorAll('.log p').length > count", arg=before)
    picture(page, "logs")


def test_a_version_that_does_not_start_fails_with_its_reason_and_the_old_one_serves_on(story: Story) -> None:
    story.host.commit("gh:acme/hello", {"main.py": BROKEN})
    page = story.page
    story.plan("gh:acme/hello", "gh:acme/visitor")
    expect(
        page.get_by_role("table", name="What would change").get_by_role("row").filter(has_text="hello")
    ).to_contain_text("commit")
    expect(page.get_by_role("region", name="Run under way")).to_be_hidden()
    picture(page, "plan")
    page.get_by_role("button", name="Approve").click()
    story.ended("Unhealthy|Failed")
    expect(page.locator(".problem")).to_contain_text("hello")
    expect(page.locator(".problem")).to_contain_text("no <database> to talk to")
    expect(page.get_by_role("region", name="Run under way")).to_be_hidden()
    picture(page, "failed")
    story.tab.go("Services")
    card = page.locator(".service").filter(has=page.get_by_role("heading", name="hello"))
    expect(card).to_contain_text("Serving")
    expect(card).to_contain_text("an older generation serves")


def test_a_run_that_is_cancelled_is_interrupted_and_leaves_no_lock(story: Story) -> None:
    story.host.commit("gh:acme/hello", {"main.py": HELLO.replace("version one", "version two")})
    page = story.page
    story.plan("gh:acme/hello", "gh:acme/visitor")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".log p").filter(has_text="hello:").first).to_be_visible(timeout=DEPLOY)
    page.get_by_role("button", name="Cancel this run").click()
    page.get_by_role("button", name="Cancel the run").click()
    story.ended("Interrupted")
    assert not list((story.kit.home / "state").rglob("*.lock.info"))


def test_the_next_deploy_puts_everything_right(story: Story) -> None:
    """Without looking at a plan; the pictures of the docs are taken of what runs then."""
    page = story.page
    story.tab.open("/#/new")
    expect(page.get_by_label("Repository")).to_have_count(2)
    page.get_by_role("button", name="Deploy without looking").click()
    page.get_by_role("button", name="Deploy now").click()
    story.ended("Done")
    story.tab.go("Services")
    expect(page.locator(".service .pill.good")).to_have_count(2)
    expect(page.locator(".service").first).to_contain_text("Certificate")
    picture(page, "services")
    page.get_by_role("button", name="Switch to the dark theme").click()
    picture(page, "services-dark")
    page.get_by_role("button", name="Switch to the light theme").click()
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    picture(page, "services-phone")
