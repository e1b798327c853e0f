"""How the command speaks: events and tables for a person, JSON for a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from karst.events import Event, Sink

if TYPE_CHECKING:
    from karst.probe import Health

_COLORS = {
    "SERVING": "green",
    "COMPLETED": "green",
    "STARTING": "yellow",
    "create": "green",
    "replace": "yellow",
    "update": "yellow",
    "destroy": "red",
}


def console(*, stderr: bool = False) -> Any:
    """A rich console: colours on a terminal unless NO_COLOR is set, plain lines elsewhere."""
    from rich.console import Console

    screen = Console(stderr=stderr, highlight=False, soft_wrap=True, emoji=False)
    # In a file or a pipe nothing is to be cut or broken to 80 columns.
    return screen if screen.is_terminal else Console(stderr=stderr, highlight=False, emoji=False, width=500)


def print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def health_rows(answers: Sequence[Health]) -> list[dict[str, Any]]:
    """Health answers as plain objects, at least {service, status, revision, reason}."""
    return [answer.to_dict() for answer in answers]


def health_table(answers: Sequence[Health]) -> None:
    """A table of health answers on stdout."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("SERVICE", "STATUS", "REVISION", "PORT", "REASON"):
        table.add_column(column, no_wrap=column != "REASON")
    for answer in answers:
        table.add_row(
            answer.service,
            Text(answer.status, style=_COLORS.get(answer.status, "red")),
            answer.revision[:16],
            str(answer.app_port or ""),
            Text(answer.reason),
        )
    _print_table(table)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table of text on stdout; what is a number in its first row stands at the right."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for position, header in enumerate(headers):
        number = bool(rows) and rows[0][position].replace(".", "").removesuffix(" MiB").isdigit()
        shown.add_column(header, no_wrap=True, justify="right" if number or header.startswith("P") else "left")
    for row in rows:
        shown.add_row(*map(Text, row))
    _print_table(shown)


def _print_table(table: Any) -> None:
    screen = console()
    if screen.is_terminal:
        screen.print(table)
        return
    with screen.capture() as text:
        screen.print(table)
    print("\n".join(line.rstrip() for line in text.get().splitlines()))


def human(stream: TextIO | None = None) -> Sink:
    """A sink that tells a person, one line an event, what is going on; errors are left to whoever raises them."""
    screen = console(stderr=True) if stream is None else None

    def write(event: Event) -> None:
        line = _line(event)
        if line is None:
            return
        if screen is None:
            print(line, file=stream, flush=True)
        else:
            screen.print(line, markup=False)

    return write


def result_only(event: Event) -> None:
    """A sink that prints the last event of a run as JSON on stdout, and nothing else."""
    if event["type"] == "result":
        print_json(event)


def _line(event: Event) -> str | None:
    kind = event["type"]
    if kind == "phase":
        return {
            "start": f"── {event['phase']}",
            "done": f"   {event['phase']} done in {event.get('seconds', 0):.1f} s",
        }.get(event["state"])
    if kind == "service":
        return _service_line(event)
    if kind == "log":
        return f"   {event['line']}"
    if kind == "diagnostic" and event["severity"] != "error":  # errors come last, from whoever raises them
        hint = f"\n  hint: {event['hint']}" if event.get("hint") else ""
        return f"{event['severity']}: {event['message']}{hint}"
    if kind == "plan":
        return "\n".join(_plan_lines(event["services"]))
    return None


def _service_line(event: Event) -> str | None:
    if event["state"] == "held":
        where = f"held at {event['revision'][:16]}" if event["revision"] else "left out"
        return f"   {event['service']}: {where}: {event['reason'].splitlines()[0]}"
    name = event["service"] if event["service"] not in ("", "builder", "runner", "sidecar") else "stack"
    if event["state"] == "start":
        return (
            f"   {name}: building {event['step']}" if "image" in event["step"] and event["action"] == "create" else None
        )
    if event["action"] == "delete" and "image" in event["step"]:
        return None  # it leaves the state; the image itself stays for a rollback
    did = {"create": "ready", "delete": "removed", "update": "changed", "reuse": "of then is used"}.get(
        event["action"], event["action"]
    )
    if event["state"] == "failed":
        did = "failed"
    return f"   {name}: {event['step']} {did} ({event.get('seconds', 0):.0f} s)"


_SIGNS = {"create": "+", "replace": "~", "update": "~", "destroy": "-", "none": "="}


def _plan_lines(services: dict[str, dict[str, Any]]) -> list[str]:
    """One line a service that changes, with why; then those that stay as they are."""
    told = {name: entry for name, entry in services.items() if entry["action"] != "none" or entry["reasons"]}
    width = max((len(name or _SHARED) for name in told), default=0)
    lines = []
    for name, entry in told.items():
        action = "untouched" if entry["action"] == "none" else entry["action"]
        why = "; ".join(reason["text"] for reason in entry["reasons"])
        why = why or ", ".join(f"{step} {done}" for step, done in entry["steps"].items())
        lines.append(f"   {_SIGNS[entry['action']]} {name or _SHARED:{width}}  {action:9}  {why}")
    untouched = [name for name in services if name and name not in told]
    if not told:
        return ["   nothing to change"]
    if untouched:
        lines.append(f"   = untouched: {', '.join(untouched)}")
    return lines


_SHARED = "(shared)"
