"""What the page shows and how it is worked, on a stack and a command that the test makes up."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.page.conftest import PASSWORD
from tests.support.admin_app import App, todo
from tests.support.browser import PHONE, WIDE, Visit, accessibility, overflow
from tests.support.supabase_stub import User

pytestmark = [pytest.mark.page, pytest.mark.slow]

SECTIONS = ["Services", "Graph", "Deploys", "Logs", "Certificates"]
# What an app may print: markup, script, terminal control, and letters that turn text around.
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>\x1b[31mred\x1b[0m \u202egnp.exe'
SHOWN = '<img src=x onerror="document.title=1"><script>document.title=2</script>red \u202egnp.exe'


def _service(name: str, status: str = "SERVING", **more: Any) -> dict[str, Any]:
    return {"service": name, "status": status, "revision": "a" * 40, "reason": "", "created": 1_700_000_000, **more}


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    look: str, app: App, person: User, tabs: Callable[..., Visit]
) -> None:
    """Every section and the editor, with all of axe-core's rules, in both themes and on a phone."""
    ill = _service("mailer-with-a-long-name", "FAILED", reason="exit code 1: " + "very-long-word" * 20)
    app.stack.list_services = lambda: [ill, _service("web")]  # type: ignore[method-assign]
    run = app.start_run(STEPS="3", OUTCOME="failed", CODE="1")
    app.wait_done(run)
    tab = tabs(dark=look == "dark", size=PHONE if look == "phone" else WIDE)
    tab.open()
    expect(tab.page.get_by_label("E-mail address")).to_be_visible()
    # Under this policy, too, the rules do find what is wrong.
    tab.page.evaluate("document.getElementById('main').append(document.createElement('button'))")
    assert any(text.startswith("button-name") for text in accessibility(tab.page))
    tab.page.evaluate("document.getElementById('main').lastElementChild.remove()")
    found = {"sign in": (accessibility(tab.page), overflow(tab.page))}
    tab.sign_in(person.email, PASSWORD)
    for section in SECTIONS:
        tab.go(section)
        tab.page.wait_for_timeout(400)
        found[section] = (accessibility(tab.page), overflow(tab.page))
    for path in (f"/#/deploys/{run}", f"/#/new/{run}"):
        tab.open(path)
        expect(tab.page.locator(".phases li, .entry").first).to_be_visible()
        tab.page.wait_for_timeout(400)
        found[path] = (accessibility(tab.page), overflow(tab.page))
    assert {name: each for name, each in found.items() if each != ([], 0)} == {}
    assert tab.wrong() == []


def test_the_theme_follows_the_system_until_somebody_chooses(tab: Visit) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = tab.page.evaluate(ground)
    tab.page.emulate_media(color_scheme="dark")
    dark = tab.page.evaluate(ground)
    assert dark != light
    tab.page.get_by_role("button", name="Switch to the light theme").click()
    assert tab.page.evaluate(ground) == light
    tab.page.reload()
    assert tab.page.evaluate(ground) == light


def test_hostile_text_is_text_wherever_it_comes_from(app: App, tab: Visit) -> None:
    """Service names, reasons, log lines, run events, problems: shown as they are, without terminal control."""
    app.stack.list_services = lambda: [_service(HOSTILE, "FAILED", reason=HOSTILE)]  # type: ignore[method-assign]
    app.stack.lines = [{"service": HOSTILE, "ts": "2025-01-01T00:00:00.1Z", "msg": HOSTILE}]
    printed = base64.b64encode(json.dumps({"type": "log", "line": HOSTILE}).encode()).decode()
    run = app.start_run(STEPS="1", PRINT=printed)
    app.wait_done(run)
    tab.open("/#/logs")
    expect(tab.page.locator(".log bdi")).to_have_text(SHOWN)
    tab.open("/#/services")
    expect(tab.page.locator(".service h2")).to_have_text(SHOWN)
    expect(tab.page.locator(".service .reason")).to_have_text(SHOWN)
    tab.open(f"/#/deploys/{run}")
    expect(tab.page.locator(".log bdi", has_text="onerror")).to_have_text(SHOWN)
    tab.open("/#/deploys/<img src=x onerror=alert(1)>")
    assert tab.page.locator("main img, main script").count() == 0
    assert tab.page.title() == "Services – KarstKit"


def test_the_policy_is_in_force_in_the_browser(tab: Visit) -> None:
    """Text cannot become code or markup, and nothing leaves for another server: the browser itself refuses."""
    refused = tab.page.evaluate("""async () => {
        const told = [];
        document.addEventListener("securitypolicyviolation", (event) => told.push(event.effectiveDirective));
        const acts = [() => (document.body.innerHTML = "<b>x</b>"), () => setTimeout("1"), () => document.write("x")];
        for (const act of acts) {
            try { act(); told.push("done"); } catch { /* refused */ }
        }
        await fetch("http://127.0.0.1:9/").then(() => told.push("done"), () => {});
        await new Promise((resolve) => setTimeout(resolve, 100));
        return told;
    }""")
    assert "done" not in refused
    assert {"require-trusted-types-for", "connect-src"} <= set(refused)
    tab.complaints.clear()


def test_everything_can_be_done_with_the_keyboard_alone(app: App, person: User, tabs: Callable[..., Visit]) -> None:
    """Sign in, start a plan, read it, approve it, sign out; the focus can be seen at each step."""
    tab = tabs()
    tab.open()
    expect(tab.page.get_by_label("E-mail address")).to_be_focused()
    tab.page.keyboard.type(person.email)
    tab.tab_to("Password")
    tab.page.keyboard.type(PASSWORD)
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_role("heading", name="Services", exact=True)).to_be_visible()
    tab.page.locator("body").press("Tab")
    assert tab.focused() in ("Skip to content", "Deploy")
    tab.tab_to("Deploys")
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_role("heading", name="Deploys")).to_be_visible()
    expect(tab.page.locator("main")).to_be_focused()
    tab.tab_to("New deploy")
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_label("Repository")).to_be_visible()
    tab.tab_to("Repository")
    tab.page.keyboard.type("gh:acme/web")
    tab.tab_to("Plan")
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_role("button", name="Approve")).to_be_visible()
    tab.tab_to("Approve")
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_role("heading", name="Approved plan")).to_be_visible()
    expect(tab.page.locator(".title .pill")).to_have_text(re.compile("Done"))
    tab.tab_to("Sign out")
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_label("E-mail address")).to_be_visible()
    assert [run.kind for run in app.instance.runs.all()] == ["apply", "plan"]
    assert tab.wrong() == []


def test_what_is_wrong_with_an_entry_is_said_at_the_entry(app: App, tab: Visit) -> None:
    """All wrong ones at once, in the server's own words; a value that cannot be read does not even leave the page."""
    tab.open("/#/new")
    tab.page.get_by_label("Repository").fill("gh:acme/web")
    for slug in ("gh:acme", "gh:acme/api"):
        tab.page.get_by_role("button", name="Add a repository").click()
        tab.page.get_by_label("Repository", exact=True).last.fill(slug)
    last = tab.page.locator("fieldset").nth(2)
    last.get_by_text("Options").click()
    last.get_by_label("Memory").fill("lots")
    tab.page.get_by_role("button", name="Plan").click()
    expect(tab.page.locator("fieldset.wrong")).to_have_count(2)
    expect(tab.page.locator("fieldset").nth(1).get_by_role("alert")).to_contain_text("`gh:acme`")
    expect(last.get_by_role("alert")).to_contain_text("`memory`")
    expect(tab.page.locator("fieldset").nth(1).get_by_label("Repository")).to_be_focused()
    last.get_by_label("Port").fill("eighty")
    tab.page.get_by_role("button", name="Plan").click()
    expect(last.get_by_text("This is a number.")).to_be_visible()
    assert app.instance.runs.all() == []


def test_the_editor_starts_with_the_last_list_and_sends_it_whole(app: App, tab: Visit) -> None:
    """With every option, because the list is the whole stack: what is left off is removed."""
    entries = [
        "gh:acme/web#v1",
        {
            "slug": "gl:acme/deep/api",
            "name": "api",
            "port": 8000,
            "env": {"LEVEL": "debug"},
            "allow": ["web"],
            "otel": False,
        },
    ]
    first = app.call("POST", "/v1/deploys", role="deployer", body={"slugs": entries}).json()["id"]
    app.wait_done(first)
    tab.open("/#/new")
    expect(tab.page.locator("fieldset")).to_have_count(2)
    tab.page.get_by_role("button", name="Plan").click()
    expect(tab.page.get_by_role("heading", name="Plan", exact=True)).to_be_visible()
    latest = app.instance.runs.all()[0]
    assert (latest.kind, json.loads(app.run_file(latest.id, "repos.json").read_text())) == ("plan", entries)


def test_a_deploy_at_once_asks_first(app: App, tab: Visit) -> None:
    tab.open("/#/new")
    tab.page.get_by_label("Repository").fill("gh:acme/web")
    tab.page.get_by_role("button", name="Deploy without looking").click()
    tab.page.get_by_role("button", name="Keep as it is").click()
    assert app.instance.runs.all() == []
    tab.page.get_by_role("button", name="Deploy without looking").click()
    tab.page.get_by_role("button", name="Deploy now").click()
    expect(tab.page.get_by_role("heading", name="Outcome")).to_be_visible()


def test_who_holds_the_stack_is_named_and_can_be_cancelled(app: App, tab: Visit, tmp_path: Path) -> None:
    """A second deploy is refused with the holder; the banner stands above every section."""
    run = app.start_run(WAIT_FOR=str(tmp_path / "go"))
    app.wait_for_event(run)
    banner = tab.page.get_by_role("region", name="Run under way")
    expect(banner).to_contain_text("Deploy under way by")
    tab.open("/#/new")
    tab.page.get_by_label("Repository").first.fill("gh:acme/other")
    tab.page.get_by_role("button", name="Plan").click()
    expect(tab.page.get_by_role("alert").filter(has_text=f"run {run}")).to_be_visible()
    tab.page.get_by_role("button", name="Cancel that run").click()
    tab.page.get_by_role("button", name="Cancel the run").click()
    expect(banner).to_be_hidden()
    assert app.wait_done(run)["outcome"] == "interrupted"


def test_an_older_plan_cannot_be_approved_any_more(app: App, tab: Visit) -> None:
    plan = app.call("POST", "/v1/deploys", role="deployer", body={**todo(), "dry_run": True}).json()["id"]
    app.wait_done(plan)
    tab.open(f"/#/deploys/{plan}")
    expect(tab.page.get_by_role("button", name="Approve")).to_be_visible()
    app.wait_done(app.start_run(STEPS="1"))
    tab.page.get_by_role("button", name="Approve").click()
    expect(tab.page.get_by_role("alert")).to_contain_text("is not the latest successful plan")
    expect(tab.page.get_by_role("link", name="Plan again")).to_be_visible()


def test_what_a_plan_says_besides_is_shown_as_it_came(app: App, tab: Visit) -> None:
    """A later kit may say more about a service than this page knows, and it may say hostile things."""
    web = {"action": "replace", "reasons": [{"text": "a new commit"}], "drain_seconds": 3, "steps": {"pod": "replace"}}
    said = {"web": web, "gone": {"action": "destroy"}, "odd": {"action": "rewire", "note": HOSTILE}, "broken": 5}
    body = {**todo(STEPS="1", PLAN=json.dumps(said)), "dry_run": True}
    plan = app.call("POST", "/v1/deploys", role="deployer", body=body).json()["id"]
    app.wait_done(plan)
    tab.open(f"/#/deploys/{plan}")
    rows = tab.page.get_by_role("table", name="What would change").get_by_role("row")
    expect(rows).to_have_count(4)
    expect(rows.nth(1)).to_contain_text("gone")
    expect(rows.nth(1)).to_contain_text("Removed")
    for text in ("Replaced", "a new commit", "drain seconds: 3", "replace: pod"):
        expect(rows.filter(has_text="web")).to_contain_text(text)
    expect(rows.filter(has_text="odd")).to_contain_text("rewire")
    expect(rows.filter(has_text="odd")).to_contain_text(f"note: {SHOWN}")


def test_logs_are_filtered_paused_and_saved(app: App, tab: Visit) -> None:
    """The filter works on what is there, a pause collects, and the file has what the filter shows."""
    app.stack.lines = [
        {
            "service": "web",
            "ts": f"2025-01-01T00:00:{n:02}.000000001Z",
            "msg": f"{'error' if n % 5 == 0 else 'fine'} {n}",
        }
        for n in range(40)
    ]
    tab.open("/#/logs")
    lines = tab.page.locator(".log p")
    expect(lines).to_have_count(40)
    tab.page.get_by_label("Filter").fill("ERROR")
    expect(lines).to_have_count(8)
    expect(tab.page.get_by_text("8 lines of 40")).to_be_visible()
    with tab.page.expect_download() as saved:
        tab.page.get_by_role("button", name="Download").click()
    text = Path(saved.value.path()).read_text()
    assert saved.value.suggested_filename == "all-services.log"
    assert [line.split()[-1] for line in text.splitlines()] == [str(n) for n in range(0, 40, 5)]
    pause = tab.page.get_by_role("button", name="Pause")
    pause.click()
    expect(tab.page.get_by_text("Paused, 0 new lines")).to_be_visible()
    tab.page.get_by_role("button", name="Resume").click()
    tab.page.get_by_label("Filter").fill("")
    expect(lines).to_have_count(40)


def test_the_graph_has_its_figures_as_a_table_too(app: App, tab: Visit) -> None:
    tab.go("Graph")
    row = tab.page.get_by_role("row").filter(has_text="edge → web")
    expect(row).to_contain_text("1.5")
    expect(row).to_contain_text("4 ms")
    expect(tab.page.get_by_role("img", name=re.compile("Graph of 2 nodes"))).to_be_visible()


def test_an_admin_app_that_is_away_is_said_and_its_return_is_noticed(app: App, tab: Visit) -> None:
    app.stack.list_services = lambda: [_service("web")]  # type: ignore[method-assign]
    expect(tab.page.locator(".service")).to_have_count(1)
    tab.page.context.set_offline(True)
    expect(tab.page.get_by_role("alert")).to_contain_text("The admin app cannot be reached.")
    tab.page.context.set_offline(False)
    expect(tab.page.get_by_role("alert")).to_have_count(0)


def test_a_script_that_does_not_arrive_is_said(tabs: Callable[..., Visit]) -> None:
    """Not an empty page."""
    tab = tabs()
    tab.page.route("**/page/graph.js", lambda route: route.abort())
    tab.open()
    expect(tab.page.get_by_role("alert")).to_have_text("This page could not be loaded whole. Reload it.")
