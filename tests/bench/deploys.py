"""Plans, deploys and removals as services grow in number: the kit, bare Terraform resources, Docker Compose v2."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench import Options, svg
from tests.bench.contenders import MANY, Contender, Cost, Failed, Karst
from tests.bench.peers import Bare, Compose
from tests.support import reports
from tests.support.kit import Kit

PEERS = (Bare, Compose)
LABELS = tuple(one.label for one in (Karst, *PEERS))
OPERATIONS = {
    "plan": "Nothing to do: the plan",
    "told": "Nothing to do: `iac plan`, which also saves it and tells it service by service",
    "again": "Nothing to do: the deploy",
    "answer": "One changed service, until its new version answers",
    "change": "One changed service, until the command has ended",
    "create": "Creation with images there, until every service answers",
    "cold": "Creation with images to be built, until every service answers",
    "destroy": "Removal",
}
# Up to so many services; as in Rounds. More than MANY are made once, with their images built before.
ROUNDS = {1: (3, 3, 3), MANY: (3, 3, 2), 50: (1, 3, 2)}
PATIENCE = 270.0  # seconds for one number of services, after which nothing is done another time
# (operation, peer, how many times its seconds at most, at how many services; 0: at each)
AIMS = (("plan", "bare Terraform", 1.15, 50), ("again", "Compose", 2.5, 50), ("create", "bare Terraform", 1.2, 50))


@dataclass(frozen=True)
class Rounds:
    """How often things are done with ``count`` services: made and removed, looked at, changed."""

    cycles: int
    looks: int
    changes: int

    @classmethod
    def of(cls, count: int, most: int) -> Rounds:
        """For ``count`` services, at most ``most`` of each (0: as many as there are)."""
        found = next((times for limit, times in ROUNDS.items() if count <= limit), (1, 1, 1))
        return cls(*(min(most or number, number) for number in found))


def run(options: Options) -> Iterator[dict[str, Any]]:
    """For each number of services, one result for each contender."""
    for count in options.sizes:
        with tempfile.TemporaryDirectory(prefix="karst-bench-") as folder:
            wanted = [label for label in LABELS if options.only in _name(count, label)]
            if wanted:
                yield from Stage(Path(folder), count, wanted, options.rounds).measure()


class Stage:
    """All contenders with the same number of services, one up at a time, on the same ports."""

    def __init__(self, folder: Path, count: int, wanted: list[str], most: int) -> None:
        self.folder, self.count, self.wanted = folder, count, wanted
        self.rounds = Rounds.of(count, most)
        self.end = time.monotonic() + PATIENCE
        kit = Kit(folder / "kit", env={"KARST_DRAIN_SECONDS": "20"})  # the module's default, not the tests' short one
        self.kit = kit
        self.contenders: list[Contender] = []
        self.results = {
            label: {"name": _name(count, label), "services": count, "contender": label, "costs": {}} for label in LABELS
        }

    def measure(self) -> Iterator[dict[str, Any]]:
        """Turn by turn, so that a slow minute of the machine hits all of them; what failed is left out from then on."""
        try:
            for number in self._times(self.rounds.cycles):
                if number == 0:
                    self._first()
                else:
                    for contender in self.contenders:
                        self._try(contender, lambda one: self._cycle(one, "create", look=False))
        finally:
            for contender in reversed(self.contenders):
                contender.close()
        yield from (self.results[label] for label in LABELS if label in self.wanted)

    def _first(self) -> None:
        """The kit first: what the others run is read from its containers."""
        karst = Karst(self.folder / "kit", self.kit, self.count)
        self.contenders.append(karst)
        self._try(karst, lambda one: one.build(shared=True))
        facts: dict[str, Any] = {}
        self._try(karst, lambda one: self._cycle(one, "", look=True, facts=facts))
        for kind in PEERS:
            if facts and kind.label in self.wanted:
                try:
                    peer = kind(self.folder / kind.label.replace(" ", "-"), self.kit, self.count, facts)
                except Exception as err:
                    self._failed(kind.label, err)
                    continue
                self.contenders.append(peer)
                self._try(peer, lambda one: self._cycle(one, "", look=True))
            elif not facts:
                self._failed(kind.label, Failed("not measured: it takes the kit's containers as its model"))

    def _try(self, contender: Contender, work: Any) -> None:
        if "error" in self.results[contender.label]:
            return
        try:
            work(contender)
        except Exception as err:  # a row that failed says so, and does not lose the others
            self._failed(contender.label, err)
            contender.close()

    def _failed(self, label: str, err: Exception) -> None:
        words = str(err) if isinstance(err, Failed) else f"{type(err).__name__}: {err}"
        self.results[label]["error"] = words[:400]

    def _cycle(self, one: Contender, kind: str, *, look: bool, facts: dict[str, Any] | None = None) -> None:
        """Create, look, change and destroy; ``kind`` is create or cold, "" what the first time is."""
        if not kind and self.count > MANY:
            one.build()
        self._note(one, kind or ("create" if self.count > MANY else "cold"), self._created(one))
        if facts is not None and isinstance(one, Karst):
            facts.update(one.facts())
        if look:
            for _ in self._times(self.rounds.looks):
                for name, operation in one.looks().items():
                    self._note(one, name, operation())
            for number in self._times(self.rounds.changes):
                self._change(one, f"{one.label} {number}")
        self._note(one, "destroy", one.destroy())

    def _times(self, most: int) -> Iterator[int]:
        """Once, and again up to ``most`` times while there is time."""
        for number in range(most):
            if number == 0 or time.monotonic() < self.end:
                yield number

    def _created(self, one: Contender) -> Cost:
        begin = time.monotonic()
        cost = one.create()
        if not one.awaits:
            one.wait()
        return Cost(round(time.monotonic() - begin, 3), cost.cpu, cost.processes)

    def _change(self, one: Contender, version: str) -> None:
        """Seconds until the new version answers, and until the command has ended."""
        service = one.services[-1]
        one.write(service, version)
        seen: list[float] = []
        over = threading.Event()
        begin = time.monotonic()

        def watch() -> None:
            while not seen and not over.wait(0.03):
                if one.answers(service, version):
                    seen.append(round(time.monotonic() - begin, 3))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            cost = one.change()
            watcher.join(30)
        finally:
            over.set()
            watcher.join()
        if not seen:
            raise Failed(f"{one.label}: the new version of {service} does not answer")
        self._note(one, "change", cost)
        self._note(one, "answer", Cost(seen[0], cost.cpu, cost.processes))

    def _note(self, one: Contender, operation: str, cost: Cost) -> None:
        print(f"  {self.count} {one.label}: {operation} {cost.seconds:.2f} s, {cost.cpu:.2f} s CPU", flush=True)
        self.results[one.label]["costs"].setdefault(operation, []).append(asdict(cost))


def _name(count: int, label: str) -> str:
    return f"{count} services: {label}"


# ------------------------------------------------------------------------------------------------- what becomes of it
class Figures:
    """Medians by operation, contender and number of services; None where there is none."""

    def __init__(self, results: list[dict[str, Any]]) -> None:
        self._found = {(one["contender"], one["services"]): one for one in results}
        self.sizes = sorted({one["services"] for one in results})

    def of(self, operation: str, label: str, size: int, what: str = "seconds") -> float | None:
        rows = self._found.get((label, size), {}).get("costs", {}).get(operation, [])
        values = [row[what] for row in rows if row[what] is not None]
        return statistics.median(values) if values else None

    def times(self, operation: str, label: str, size: int) -> float | None:
        """How many times the seconds of ``label`` the kit takes."""
        ours, theirs = self.of(operation, LABELS[0], size), self.of(operation, label, size)
        return ours / theirs if ours and theirs else None

    def runs(self, operation: str, size: int) -> int:
        return max(
            (len(one["costs"].get(operation, [])) for one in self._found.values() if one["services"] == size), default=0
        )

    def errors(self) -> list[str]:
        return [f"{one['name']}: {one['error']}" for one in self._found.values() if "error" in one]


def tables(results: list[dict[str, Any]]) -> str:
    """The aims, then a table for each operation."""
    figures = Figures(results)
    parts = [_aims(figures)]
    for operation, title in OPERATIONS.items():
        peers = [label for label in LABELS[1:] if any(figures.of(operation, label, n) for n in figures.sizes)]
        labels = [LABELS[0], *peers]
        rows = [
            [
                size,
                *(_seconds(figures.of(operation, label, size)) for label in labels),
                *(_times(figures.times(operation, label, size)) for label in peers),
                " / ".join(_seconds(figures.of(operation, label, size, "cpu")) for label in labels),
                " / ".join(_count(figures.of(operation, label, size, "processes")) for label in labels),
                figures.runs(operation, size),
            ]
            for size in figures.sizes
            if any(figures.of(operation, label, size) for label in labels)
        ]
        if rows:
            head = ["services", *(f"{label}, s" for label in labels), *(f"× {label}" for label in peers)]
            parts.append(f"**{title}**\n\n{reports.table([*head, 'CPU, s', 'processes', 'runs'], rows)}")
    parts += [f"Not measured: {error}" for error in figures.errors()]
    return "\n\n".join(parts)


def _aims(figures: Figures) -> str:
    rows = []
    for operation, peer, most, size in AIMS:
        found = figures.times(operation, peer, size)
        verdict = "–" if found is None else "met" if found <= most else "missed"
        title = f"{OPERATIONS[operation]}, {size} services"
        rows.append([title, f"{most:g} × {peer}", _times(found), verdict])
    return reports.table(["aim", "at most", "measured", ""], rows)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _times(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} ×"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def pictures(results: list[dict[str, Any]]) -> dict[str, str]:
    """How seconds grow with the number of services, and how processes do."""
    figures = Figures(results)
    if len(figures.sizes) < 2:
        return {}
    panels = [
        svg.Panel(
            title,
            figures.sizes,
            {label: [figures.of(operation, label, size, what) for size in figures.sizes] for label in LABELS},
        )
        for title, operation, what in (
            ("plan, nothing to do, s", "plan", "seconds"),
            ("deploy, nothing to do, s", "again", "seconds"),
            ("one changed service answers, s", "answer", "seconds"),
            ("creation until all answer, s", "create", "seconds"),
            ("removal, s", "destroy", "seconds"),
            ("processes of a plan, nothing to do", "plan", "processes"),
        )
    ]
    return {"bench-deploys.svg": svg.lines("Deploys as services grow in number", panels, x_title="services")}
