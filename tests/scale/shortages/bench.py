"""One shortage made on purpose: some services serve, something is made scarce, the list grows; then the way past."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.scale import results, services, steps
from tests.support.engine import Engine
from tests.support.kit import IAC, Kit

FEW, MANY = 4, 16
STACK = "scale"  # always the same, so that images are built once
DISK = "scale-engine"
LIMIT = 300.0  # seconds for one deploy
ROLES = ("pod", "app", "sidecar")


@dataclass
class Bench:
    """A stack that grows, and what was seen of it.

    Attributes:
        kit: the stack.
        folder: temporary.
        result: the row of docs/scale.md, as far as it has got.
    """

    kit: Kit
    folder: Path
    result: dict[str, Any]

    @property
    def engine(self) -> Engine:
        assert self.kit.engine, "this shortage is one of the machine itself"
        return self.kit.engine

    def begin(self, count: int = FEW) -> None:
        """Have ``count`` services serve, before anything is scarce."""
        services.write(self.kit, count, allow=False)
        done = self._deploy(self.kit, 2 * LIMIT)  # an engine that is new builds everything
        if done.code != 0:
            raise RuntimeError(f"{count} services cannot be deployed: {sentence(done)}\n{done.err[-2000:]}")

    def short(self, words: str) -> None:
        """Note what was made scarce, and how."""
        self.result["set_to"] = words

    def breaks(self, count: int = MANY) -> None:
        """Grow to ``count`` services; note how far that gets, what the user is told, and whether the first serve on."""
        before = serving(self.kit)
        services.write(self.kit, count, allow=False)
        done = self._deploy(self.kit)
        made, after = running(self.kit), serving(self.kit)
        self.result["services"] = count
        self.result["seconds"]["broken"] = done.seconds
        if done.code == 0:
            self.result |= {"broke": f"nothing: {len(after)} of {count} serve", "sees": "–"}
            return
        counts = (
            ", ".join(f"{made[role]} {role}s" for role in ROLES)
            if made is not None
            else "containers that the engine cannot count"
        )
        kept = f"; {len(before & after)} of the {len(before)} from before serve" if before else ""
        self.result |= {"broke": f"of {count} services run {counts}{kept}", "sees": sentence(done)}

    def second_stack(self, numbers: range) -> Kit:
        """Another stack on the same engine, of the services with these numbers."""
        env = {key: self.kit.env[key] for key in ("KARST_CACHE", "KARST_GATE_TIMEOUT")}
        other = Kit(self.folder / "second", stack=f"{STACK}-b", env=env, engine=self.kit.engine)
        for number in numbers:
            services.write_app(other, number)
        other.write_list([f"dir:{services.name(number)}" for number in numbers])
        return other

    def past(self, words: str, *kits: Kit) -> None:
        """Deploy what is to be there after the way past (default: the stack), and note what serves then."""
        done = [self._deploy(kit) for kit in kits or (self.kit,)]
        stacks = {kit.stack: kit for kit in (self.kit, *kits)}
        wrong = [sentence(one) for one in done if one.code != 0]
        seconds = sum(one.seconds for one in done)
        well = " + ".join(str(len(serving(kit))) for kit in stacks.values())
        self.result |= {"past": words, "after": "; ".join([f"{well} serve, {seconds:.0f} s later", *wrong])}
        self.result["seconds"]["after"] = round(seconds, 1)

    def _deploy(self, kit: Kit, limit: float = LIMIT) -> steps.Step:
        done = steps.run(kit, "deploy", "--file", str(kit.list_file), "--events", limit=limit)
        said = "" if done.code == 0 else f": {sentence(done)}"
        print(f"{self.result['name']}: deploy ended with {done.code} after {done.seconds} s{said}", flush=True)
        return done


@contextlib.contextmanager
def private(name: str, limit: str, options: Sequence[str] = (), program: Path = IAC) -> Iterator[Bench]:
    """A bench on an engine of its own, which nothing else of this machine feels the want on."""
    with Engine.borrowed(DISK, options) as engine, _bench(name, limit, engine, program) as bench:
        yield bench


@contextlib.contextmanager
def shared(name: str, limit: str) -> Iterator[Bench]:
    """A bench on the machine's own engine, for what all of the machine has in common."""
    with _bench(name, limit) as bench:
        try:
            yield bench
        finally:
            steps.clear(bench.kit)


@contextlib.contextmanager
def _bench(name: str, limit: str, engine: Engine | None = None, program: Path = IAC) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="karst-scale-") as folder:
        env = services.cache_of(Path(folder) / "cache") | {"KARST_GATE_TIMEOUT": "30"}
        kit = Kit(Path(folder) / "stack", stack=STACK, env=env, engine=engine, program=program)
        result = {"name": f"shortage {name}", "limit": limit, "services": MANY, **results.stamp(), "seconds": {}}
        yield Bench(kit, Path(folder), result)


def sentence(done: steps.Step) -> str:
    """What the user reads of a run that did not succeed: the first line of it, and the hint."""
    ends = [event for event in done.events if event["type"] == "result"]
    error = ends[-1].get("error", {}) if ends else {}
    if not error:
        return "nothing: it did not end" if done.code is None else (done.err.strip().splitlines() or ["nothing"])[-1]
    text, _, own = error["message"].partition("\n  hint: ")
    hint = error["hint"] or own.splitlines()[0] if error["hint"] or own else ""
    lines = [line for line in text.splitlines() if line.strip()]
    return f"{lines[0][:400]}" + (f" – {hint}" if hint else "")


def serving(kit: Kit) -> set[str]:
    """The services that answer SERVING; none when nobody can be asked."""
    try:
        rows = json.loads(kit.iac("health", "--json", check=None, timeout=120).stdout)
    except (ValueError, subprocess.SubprocessError):
        return set()
    return {row["service"] for row in rows if row["status"] == "SERVING"}


def running(kit: Kit) -> Counter[str] | None:
    """Role → containers that run; None when the engine does not say."""
    try:
        rows = kit.containers()
    except (AssertionError, subprocess.SubprocessError):
        return None
    return Counter(row["Config"]["Labels"]["karst.role"] for row in rows if row["State"]["Running"])
