"""What a run holds back: services that could not be fetched, understood or built stay at their last good generation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karst import containers, generations, lockfile, manifest
from karst.errors import Exit, KarstError, UsageError
from karst.events import Events
from karst.fetch import rolled_back
from karst.generations import Generation
from karst.plan_reasons import retold, short
from karst.stack import Stack


@dataclass(frozen=True)
class Held:
    """One service that is not deployed as the list wants it.

    Attributes:
        service: its name.
        revision: where it stays, "" for one that is left out: it has never been let through.
        generation: the generation it stays at, or "".
        reason: why, one sentence, and what to do about it.
    """

    service: str
    revision: str
    generation: str
    reason: str
    hint: str = ""

    @property
    def sentence(self) -> str:
        where = f"held at {self.revision}" if self.revision else "left out, it has no generation to be held at"
        return f"{self.service}: {where}: {self.reason}" + (f"\n  hint: {self.hint}" if self.hint else "")


class Holding:
    """The services that a run holds, and the file that tells Terraform's helper scripts of them.

    ``on`` is False for --all-or-nothing: then nothing is ever held. ``pins`` are services that are to stay as they are
    without anything being wrong with them, as in a rollback of another one.
    """

    def __init__(self, stack: Stack, events: Events, *, on: bool = True) -> None:
        self.stack = stack
        self.events = events
        self.on = on
        self.held: dict[str, Held] = {}
        self.pins: dict[str, dict[str, Any] | None] = {}
        self.rolled_back: dict[str, str] = {}

    def file(self) -> Path | None:
        """Write the file for the next plan, and forget what an earlier one said; None when nothing is held."""
        self.stack.failures_file.unlink(missing_ok=True)
        if not self.pins:
            self.stack.held_file.unlink(missing_ok=True)
            return None
        generations.write_held(self.stack.held_file, self.pins)
        return self.stack.held_file

    def carry_rollbacks(self) -> None:
        """Take rollbacks over from the list that was last planned, when this one has no lock file of its own.

        Each run of the admin app has a list of its own. To be called before the stack's variables are written.
        """
        path = lockfile.lock_path(self.stack.list_file)
        before = self.stack.last_list
        if before is None or path.exists():
            return
        entries = lockfile.read(lockfile.lock_path(before))
        listed = manifest.load_file(self.stack.list_file)
        found = {one.name: entries[one.name] for one in listed if rolled_back(one, entries.get(one.name))}
        if found:
            lockfile.save(path, found)

    def tell_rollbacks(self) -> None:
        """Warn of every service that is not where the list says."""
        entries = lockfile.read(lockfile.lock_path(self.stack.list_file))
        for one in manifest.load_file(self.stack.list_file):
            if rolled_back(one, entries.get(one.name)):
                self.rolled_back[one.name] = entries[one.name].revision
                message = (
                    f"{one.name} is rolled back to {entries[one.name].revision}, with its entry of the list of then"
                )
                hint = f"`iac update {one.name}` goes on with what the list says now"
                self.events.emit("diagnostic", severity="warning", message=message, hint=hint)

    def pin_rollbacks(self) -> None:
        """Leave the services that were rolled back as they were then, and say that they are.

        One whose image is there needs neither source nor build; any other goes the usual way, by the lock file.
        """
        self.tell_rollbacks()
        if not self.rolled_back:
            return
        entries = lockfile.read(lockfile.lock_path(self.stack.list_file))
        with containers.engine() as docker:
            for name in self.rolled_back:
                then = generations.find(generations.read(self.stack.history_dir, name), entries[name])
                if then and name not in self.pins and containers.has_image(docker, then.image):
                    self.pins[name] = then.pin(built=True)

    def pin_others(self, service: str) -> None:
        """Leave every service but this one as it is, whatever the list says of it now."""
        with containers.engine() as docker:
            running = {member.service for member in containers.members(docker, self.stack.name)}
            known = {one.name for one in manifest.load_file(self.stack.list_file)}
            for name in sorted((known | set(generations.services(self.stack.history_dir))) - {service}):
                pin, _ = self._pin(docker, name)
                if pin is not None or name not in running:
                    self.pins[name] = pin

    def reported(self) -> dict[str, KarstError]:
        """The services that a helper script of the last plan could not do, and why."""
        try:
            said = json.loads(self.stack.failures_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {name: KarstError(one["message"], hint=one["hint"], code=one["code"]) for name, one in said.items()}

    def take(self, failed: Mapping[str, KarstError]) -> bool:
        """Hold these services from now on; False when that is no way out, and the run has to fail.

        It is none when one of them is held already, or runs without a record of what made it: leaving that one out
        would take it down. And it is none when no service would be left.
        """
        if not self.on or not failed or self.held.keys() & failed.keys():
            return False
        with containers.engine() as docker:
            running = {member.service for member in containers.members(docker, self.stack.name)}
            found = {name: self._pin(docker, name) for name in failed}
        if lost := [name for name, (pin, _) in sorted(found.items()) if pin is None and name in running]:
            message = f"{', '.join(lost)}: running, but not held: there is no record of what made it, or it is gone"
            self.events.emit("diagnostic", severity="warning", message=message, hint="")
            return False
        pins = self.pins | {name: pin for name, (pin, _) in found.items()}
        if sum(pin is None for pin in pins.values()) == len(manifest.load_file(self.stack.list_file)):
            return False
        for name, (pin, good) in sorted(found.items()):
            err = failed[name]
            one = Held(name, good.revision if good else "", good.generation if good else "", err.message, err.hint)
            self.held[name], self.pins[name] = one, pin
            self.tell(one)
        return True

    def _pin(self, docker: Any, name: str) -> tuple[dict[str, Any] | None, Generation | None]:
        good = generations.last_good(generations.read(self.stack.history_dir, name))
        if good is None:
            return None, None
        built = containers.has_image(docker, good.image)
        return (good.pin(built=built), good) if built or good.source.is_dir() else (None, None)

    def tell(self, one: Held) -> None:
        """Say it in the event stream."""
        self.events.emit(
            "service",
            service=one.service,
            step="source",
            action="hold" if one.revision else "leave out",
            state="held",
            revision=one.revision,
            generation=one.generation,
            reason=one.reason,
            hint=one.hint,
        )

    def explain(self, services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """A plan's summary (see karst.plans), with what this run holds or has led back among the reasons."""
        for name, revision in self.rolled_back.items():
            if (entry := services.get(name)) and entry["action"] != "none":
                text = f"rolled back to {short(revision)}"
                entry["reasons"] = retold(entry["reasons"], "rollback", revision, text)
        for one in self.held.values():
            entry = services.setdefault(one.service, {"action": "none", "steps": {}, "reasons": []})
            text = f"held at {short(one.revision)}" if one.revision else "left out"
            entry["reasons"] = retold(entry["reasons"], "held", one.revision, text)
            entry["held"] = vars(one)
        return services

    def notes(self) -> dict[str, Any]:
        """What a saved plan has to remember."""
        return {name: vars(one) for name, one in self.held.items()}

    def recall(self, notes: Mapping[str, Any]) -> None:
        """Take over what the saved plan holds; UsageError when nothing is to be held."""
        if notes and not self.on:
            raise UsageError(
                f"the saved plan holds {', '.join(notes)} at an older generation, and --all-or-nothing is given",
                hint="plan again with --all-or-nothing, or apply without it",
                code="held",
            )
        for name, one in notes.items():
            self.held[name] = Held(**one)
            self.tell(self.held[name])

    def error(self, other: KarstError | None = None) -> KarstError | None:
        """What the run has to end with: ``other``, and a sentence for each held service; None when all is well."""
        if not self.held:
            return other
        sentences = "\n".join(one.sentence for one in self.held.values())
        if other is None:
            return KarstError(sentences, code="held", exit_code=Exit.FAILED)
        return KarstError(f"{other}\n{sentences}", code=other.code, exit_code=other.exit_code)
