"""Runs Terraform (or OpenTofu) for one stack and turns what it says into events.

The child is the leader of its own process group. An interrupt reaches that group exactly once: Terraform then finishes
what is under way, saves its state and frees its lock. A second SIGINT would make it drop both.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from karst import exhausted
from karst.errors import Exit, KarstError
from karst.events import Events
from karst.external import FAILURES
from karst.files import write_atomic
from karst.replicas import service_of
from karst.stack import DEFAULT_STACK, Stack
from karst.toolchain import record

_INSTANCE = re.compile(r'(?P<type>docker_\w+|terraform_data)\.(?P<name>\w+)(?:\[(?:"(?P<key>[^"]+)"|0)\])?$')
_POLL = 0.05
_HOOKS = {"apply_start": "start", "apply_complete": "done", "apply_errored": "failed"}
# Warnings of a plan with `only`, and of its apply, that are no news to who asked for it.
_OF_PARTS = ("Resource targeting is in effect", "Applied changes may be incomplete")
# What the external provider puts around a script's own words, newer wording first, and Terraform around a module's.
_WRAPPED = (
    re.compile(r"Error Message: (?P<words>.*?)(?:\n+State: exit status \d+.*)?$", re.S),
    re.compile(r'failed to execute "[^"]*": (?P<words>.*)$', re.S),
    re.compile(r"running command '.*?':\s+exit status \d+\.\s+Output: (?P<words>.*)$", re.S),
    re.compile(r"^(?:Resource|Module output value) precondition failed: (?P<words>.*)$", re.S),
)


@dataclass
class Outcome:
    """How one Terraform command ended."""

    exit_code: int
    interrupted: bool = False
    errors: list[str] = field(default_factory=list)
    unbuilt: list[str] = field(default_factory=list)  # services whose image could not be built
    passed: list[str] = field(default_factory=list)  # services whose gate let them through
    refused: list[str] = field(default_factory=list)  # services whose gate did not
    untold: list[dict[str, str]] = field(default_factory=list)  # errors that a quiet command keeps for its caller
    quiet: bool = False

    @property
    def locked(self) -> bool:
        """Whether somebody else holds the state, and nothing was done."""
        return any(error.startswith("Error acquiring the state lock") for error in self.errors)

    @property
    def stale(self) -> bool:
        """Whether somebody else changed the state after the plan was made, and nothing was done."""
        return any(error.startswith("Saved plan is stale") for error in self.errors)

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.interrupted


class Terraform:
    """Terraform commands on one stack. The caller holds the stack's lock."""

    def __init__(self, stack: Stack, events: Events, *, wait: float = 0) -> None:
        """``wait``: seconds to wait for somebody else's lock on a state that is kept elsewhere."""
        self.stack = stack
        self._lock_timeout = f"-lock-timeout={int(wait)}s"
        self.events = events
        self._retained: Collection[str] = ()
        self._binary = record.terraform_command()
        self._env = {
            **record.terraform_environment(),
            "TF_DATA_DIR": str(stack.data_dir),
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "CHECKPOINT_DISABLE": "1",
            # Terraform lives for seconds: collecting its garbage more seldom saves a fifth of its processor time.
            "GOGC": os.environ.get("GOGC", "400"),
            FAILURES: str(stack.failures_file),
            **_own_environment(),
        }

    def init(self) -> None:
        """Fetch modules and providers where this has not been done for these files; raise KarstError when it fails."""
        marker = self.stack.data_dir / "karst-init"
        wanted = self._init_key()
        if marker.exists() and marker.read_text() == wanted and (self.stack.data_dir / "modules").exists():
            return
        self.stack.state_file.parent.mkdir(parents=True, exist_ok=True)
        done = self._ask("init", "-no-color", "-reconfigure", *self._backend_config())
        if done.returncode != 0:
            for line in (done.stdout + done.stderr).splitlines():
                self.events.emit("log", line=line)
            raise KarstError(
                "terraform init failed: " + _last_error(done.stderr or done.stdout),
                hint=_init_hint(done.stdout + done.stderr),
                code="init_failed",
            )
        write_atomic(marker, wanted)
        write_atomic(self.stack.env_file, f"{self.stack.env}\n", mode=0o600)

    def _backend_config(self) -> list[str]:
        """What tells the states of several stacks apart in one root."""
        name = self.stack.name
        own = {
            "local": f"path={self.stack.state_file}",
            "pg": f"schema_name={'karst' if name == DEFAULT_STACK else 'karst_' + name.replace('-', '_')}",
        }.get(self.stack.backend)
        return [f"-backend-config={own}"] if own else []

    def state_pull(self) -> str:
        """The state from its backend; "" when there is none yet. Raises KarstError."""
        self.init()
        done = self._ask("state", "pull", "-no-color")
        if done.returncode != 0:
            raise _state_error("read", done)
        return done.stdout.strip()

    def state_push(self, path: Path) -> None:
        """Make the file's content the state in its backend; raises KarstError."""
        self.init()
        done = self._ask("state", "push", "-no-color", str(path))
        if done.returncode != 0:
            raise _state_error("written", done)

    def plan(
        self,
        *,
        destroy: bool = False,
        quiet: bool = False,
        refresh: bool = True,
        only: Collection[str] = (),
        replace: Collection[str] = (),
    ) -> Outcome:
        """Write the plan file from the stack's variables file; exit code 2 means that it has changes.

        ``refresh`` False is for who knows that the engine is as the state says. ``quiet`` keeps errors in the outcome's
        ``untold`` instead of sending them: the caller may know a way round. ``only``: these resources, and what came
        from them. ``replace``: what is to be made anew although nothing of it has changed.
        """
        arguments = [
            "-detailed-exitcode",
            self._lock_timeout,
            f"-var-file={self.stack.variables_file}",
            f"-out={self.stack.plan_file}",
            *(f"-target={address}" for address in only),
        ]
        if destroy:
            # Without a refresh no external program runs, so that a broken repository cannot block a destroy.
            arguments += ["-destroy", "-refresh=false"]
        elif not refresh:
            arguments += ["-refresh=false"]
        arguments += [f"-replace={address}" for address in replace]
        outcome = self._run("plan", *arguments, quiet=quiet)
        with contextlib.suppress(FileNotFoundError):
            os.chmod(self.stack.plan_file, 0o600)
        return outcome

    def show_plan(self) -> dict[str, Any]:
        """The saved plan as Terraform's JSON."""
        done = self._ask("show", "-json", str(self.stack.plan_file))
        if done.returncode != 0:
            raise KarstError(
                "the saved plan cannot be read: " + _last_error(done.stderr),
                hint="make a new one with `iac plan`",
                code="plan_unreadable",
            )
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def apply(self, retained: Collection[str] = ()) -> Outcome:
        """Apply exactly the saved plan. ``retained``: services whose image is there, so that none is built."""
        self._retained = retained
        unfinished = self.stack.unfinished_file
        begun = not unfinished.exists()
        if begun:  # else an earlier one was killed, too, and what it left still counts
            write_atomic(unfinished, str(time.time()))
        outcome = self._run("apply", self._lock_timeout, str(self.stack.plan_file))
        if outcome.ok or (begun and (outcome.locked or outcome.stale)):
            unfinished.unlink(missing_ok=True)
        return outcome

    def _command(self, verb: str) -> list[str]:
        return [self._binary, f"-chdir={self.stack.root_module}", verb]

    def _ask(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command that changes no infrastructure, to its end."""
        return subprocess.run(
            [*self._command(verb), *arguments], env=self._env, capture_output=True, text=True, check=False
        )

    def _init_key(self) -> str:
        files = sorted(self.stack.root_module.glob("*.tf")) + sorted(
            self.stack.root_module.glob("../../modules/*/*.tf")
        )
        newest = max(path.stat().st_mtime_ns for path in files)
        where = f"{self.stack.env} {self.stack.state_file}"
        return f"{self._binary} {where} {len(files)} {newest} {self._env.get('TF_CLI_CONFIG_FILE', '')}"

    def _run(self, verb: str, *arguments: str, quiet: bool = False) -> Outcome:
        outcome = Outcome(exit_code=int(Exit.FAILED), quiet=quiet)
        # A file, not a pipe: a Terraform that outlives its `iac` would die of its next word into a broken pipe, in the
        # middle of an apply, with its state unsaved.
        said = self.stack.home / "terraform.log"
        write_atomic(said, "", mode=0o600)
        with _interrupts(outcome) as started, said.open("ab") as sink:
            process = subprocess.Popen(
                [*self._command(verb), "-json", *arguments],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A state has the values of `env:` in it, from its first byte on. The programs that only a plan starts
                # make files for images: those keep their modes.
                umask=0o077 if verb == "apply" else -1,
            )
            write_atomic(self.stack.terraform_pid_file, str(process.pid))
            started(process)
            for line in _follow(process, said):
                self._relay(line, outcome)
            outcome.exit_code = process.wait()
        self._close_state()
        if outcome.exit_code >= 0:  # one that was killed leaves its providers behind, and this file to find them by
            self.stack.terraform_pid_file.unlink(missing_ok=True)
        return outcome

    def _close_state(self) -> None:
        """A Terraform that somebody started by hand makes its state readable by everybody."""
        for path in self.stack.state_file.parent.glob(f"{self.stack.state_file.name}*"):
            with contextlib.suppress(OSError):
                path.chmod(0o600)

    def _relay(self, line: str, outcome: Outcome) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            self.events.emit("log", line=line)
            return
        kind = message.get("type", "")
        hook = message.get("hook", {})
        if kind == "diagnostic":
            self._diagnostic(message.get("diagnostic", {}), outcome)
        elif kind in _HOOKS:
            found = _INSTANCE.search(hook.get("resource", {}).get("addr", ""))
            if found and found["name"] == "app" and found["type"] == "docker_image" and kind == "apply_errored":
                outcome.unbuilt.append(found["key"])
            if found and found["name"] == "gate" and hook.get("action") == "create":
                verdicts = {"apply_complete": outcome.passed, "apply_errored": outcome.refused}
                verdicts.get(kind, []).append(found["key"])
            if found and hook.get("action") != "read":
                part = step(found["type"], found["name"], found["key"])
                done = hook.get("action", "")
                self.events.emit(
                    "service",
                    service=service_of(found["key"] or ""),
                    step=part,
                    action="reuse" if (part, done) == ("image", "create") and found["key"] in self._retained else done,
                    state=_HOOKS[kind],
                    seconds=hook.get("elapsed_seconds", 0),
                )
        elif kind == "provision_progress" and _said(hook.get("output", "")):
            self.events.emit("log", line=hook["output"].rstrip())

    def _diagnostic(self, diagnostic: dict[str, Any], outcome: Outcome) -> None:
        if diagnostic.get("summary", "") in _OF_PARTS:
            return
        text, hint = sentence(diagnostic.get("summary", ""), diagnostic.get("detail", ""))
        severity = diagnostic.get("severity", "error")
        if severity == "error":
            reason = text
            # Of a gate the text has an app's own lines in it.
            short = exhausted.told(text) if "docker_" in diagnostic.get("address", "") else None
            if short:  # with the engine's words for the first that had to do without
                reason, text, hint = short.message, f"{short.message} ({text.strip()})", short.hint
            if any(told.startswith(reason) for told in outcome.errors):  # one reason stops many resources
                return
            outcome.errors.append(f"{text}\n  hint: {hint}" if hint else text)
            if outcome.quiet:
                outcome.untold.append({"severity": severity, "message": text, "hint": hint})
                return
        self.events.emit("diagnostic", severity=severity, message=text, hint=hint)


def _own_environment() -> dict[str, str]:
    """Tells the kit's programs which Python environment they start in, which they would ask for one by one."""
    return {"KARST_VENV": sys.prefix} if "KARST_VENV" not in os.environ and sys.prefix != sys.base_prefix else {}


def _follow(process: subprocess.Popen[bytes], path: Path) -> Iterator[str]:
    """The lines that the process writes into the file, until it has ended."""
    rest = b""
    with path.open("rb") as source:
        while True:
            ended = process.poll() is not None  # asked before the read: what came in between is read, too
            *lines, rest = (rest + source.read()).split(b"\n")
            for line in lines:
                yield line.decode("utf-8", "replace")
            if ended:
                break
            time.sleep(_POLL)
    if rest:
        yield rest.decode("utf-8", "replace")


def sentence(summary: str, detail: str) -> tuple[str, str]:
    """A diagnostic's message and hint: a helper's own words without what the provider puts around them."""
    whole = ": ".join(part for part in (summary, detail) if part)
    words = next((found["words"] for pattern in _WRAPPED if (found := pattern.search(whole))), whole)
    text, _, hint = words.strip().partition("\n  hint: ")
    return text, hint.strip()


def _said(output: str) -> bool:
    """Whether a provisioner said something of its own: Terraform's note that it starts one is no news."""
    return bool(output.strip()) and not output.startswith("local-exec: Executing")


def step(resource_type: str, name: str, key: str | None) -> str:
    """The word for a resource in the language of services: image, pod, app, sidecar, gate, network, edge."""
    if resource_type == "docker_image":
        return f"{key} image" if name == "infra" else ("edge image" if name == "edge" else "image")
    return "network" if resource_type == "docker_network" else name


@contextlib.contextmanager
def _interrupts(outcome: Outcome) -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """While the child runs, pass the first SIGINT or SIGTERM on to its process group as one SIGINT.

    Gives the function to call with the child. A signal that comes before that is passed on then: in between nobody
    would have told Terraform, and it would go on alone.
    """
    child: list[subprocess.Popen[bytes]] = []

    def interrupt() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child[0].pid, signal.SIGINT)

    def forward(_signum: int, _frame: object) -> None:
        if not outcome.interrupted:
            outcome.interrupted = True
            if child:
                interrupt()

    def started(process: subprocess.Popen[bytes]) -> None:
        child.append(process)
        if outcome.interrupted:
            interrupt()

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield started
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _init_hint(said: str) -> str:
    if "dial tcp" in said or "pq:" in said:
        return (
            "the state is kept in Postgres: PG_CONN_STR says where, for example postgres://karst@db.example.org/karst"
        )
    return "`make bootstrap` sets up the providers; docs/air-gapped.md says how without the registry"


def _state_error(what: str, done: subprocess.CompletedProcess[str]) -> KarstError:
    return KarstError(
        f"the state could not be {what}: {_last_error(done.stderr or done.stdout)}",
        hint=_init_hint(done.stderr),
        code="bad_state",
    )


def _last_error(text: str) -> str:
    lines = [line.strip(" │╷╵") for line in text.splitlines()]
    lines = [line for line in lines if line]
    start = next((index for index, line in enumerate(lines) if line.startswith("Error:")), max(0, len(lines) - 3))
    return " ".join(lines[start : start + 4]).removeprefix("Error: ") or "no reason given"


def variables_file(stack: Stack, held_file: Path | None = None) -> Path:
    """Write the variables that Terraform is given, readable by the owner alone, and return the path."""
    held = {"held_file": str(held_file)} if held_file else {}
    write_atomic(stack.variables_file, json.dumps(stack.variables() | held, indent=2) + "\n", mode=0o600)
    return stack.variables_file
