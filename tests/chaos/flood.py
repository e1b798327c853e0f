"""More requests than the machine can answer, each sent when it is due, by a program that costs little itself: vegeta.

The senders of `load` check every answer and so take as much of the machine as what they ask; a flood only counts.
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karst.toolchain import record, tools
from tests.chaos.stage import Stage

TIMEOUT = 10  # seconds that a request may take
AT_MOST = 1500  # requests of one flood under way; more connections than that are another test (`make security`)
MESSAGE = b"flood 1"
UNAVAILABLE = "14"  # of gRPC: what a 503 is there


@dataclass(frozen=True)
class Flood:
    """Requests of one kind through one door.

    Attributes:
        door: ``caller`` (the caller's own sidecar) or ``edge`` (the front door).
        url, host: where to connect to, and whom to ask for there.
        grpc: a unary call over h2c instead of a GET.
        prefix: goes before the command, to send from another network namespace.
    """

    door: str
    url: str
    host: str
    grpc: bool = False
    prefix: tuple[str, ...] = ()

    def target(self) -> dict[str, Any]:
        """The one request, as vegeta reads it."""
        header = {"Host": [self.host]}
        if not self.grpc:
            return {"method": "GET", "url": f"{self.url}/1", "header": header}
        body = base64.b64encode(b"\0" + len(MESSAGE).to_bytes(4, "big") + MESSAGE).decode()
        header |= {"Content-Type": ["application/grpc"], "TE": ["trailers"]}
        return {"method": "POST", "url": f"{self.url}/chaos.Echo/Say", "header": header, "body": body}


def floods(stage: Stage) -> list[Flood]:
    """HTTP through both doors, gRPC through the caller's sidecar."""
    inside = ("nsenter", f"--net=/proc/{stage.container('caller', 'pod')['State']['Pid']}/ns/net")
    out = "http://127.0.0.1:15001"
    return [
        Flood("caller", out, "web", prefix=inside),
        Flood("caller", out, "rpc", grpc=True, prefix=inside),
        Flood("edge", f"http://127.0.0.1:{stage.kit.ports['front_door']}", "web.localhost"),
    ]


def program() -> str:
    """vegeta, built if need be."""
    tools.get("vegeta")
    return record.tool("vegeta") or "vegeta"


@contextlib.contextmanager
def flooding(chosen: list[Flood], rate: float, seconds: float) -> Iterator[list[dict[str, Any]]]:
    """Send ``rate`` requests a second in all; the list is filled with what became of them when the block ends."""
    vegeta, found = program(), []
    with tempfile.TemporaryDirectory(prefix="karst-flood-") as name, contextlib.ExitStack() as stack:
        running = []
        for index, flood in enumerate(chosen):
            targets, output = Path(name) / f"{index}.target", Path(name) / f"{index}.bin"
            targets.write_text(json.dumps(flood.target()) + "\n")
            options = ["-format=json", f"-targets={targets}", f"-output={output}", f"-duration={seconds:g}s"]
            options += [f"-rate={round(rate / len(chosen))}/1s", f"-timeout={TIMEOUT}s", f"-max-workers={AT_MOST}"]
            options += ["-max-body=0", *(["-h2c"] if flood.grpc else [])]
            process = subprocess.Popen([*flood.prefix, vegeta, "attack", *options])
            stack.callback(process.wait)
            stack.callback(process.kill)
            running.append((flood, process, output))
        yield found
        for flood, process, output in running:
            if process.wait(seconds + 4 * TIMEOUT):
                raise RuntimeError(f"vegeta ended with {process.returncode}")
            found.append({"door": flood.door, "grpc": flood.grpc, **counted(vegeta, output)})


def counted(vegeta: str, output: Path) -> dict[str, Any]:
    """What became of one flood: how many were answered, refused, and failed in another way, and how fast."""
    took: dict[str, list[float]] = {"answered": [], "refused": [], "broken": []}
    errors: Counter[str] = Counter()
    with subprocess.Popen([vegeta, "encode", "--to=json", str(output)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            one = json.loads(line)
            kind, error = fate(one)
            took[kind].append(one["latency"] / 1e6)
            if error:
                errors[error] += 1
    return {
        **{kind: len(times) for kind, times in took.items()},
        **{f"{kind}_ms": percentiles(times) for kind, times in took.items() if times},
        "errors": dict(errors.most_common(10)),
    }


def fate(one: dict[str, Any]) -> tuple[str, str]:
    """What became of one request, and the error if there was one.

    gRPC says an early refusal in its headers; with the status at the end, where it belongs, the call was answered.
    """
    headers = {key.lower(): values for key, values in (one.get("headers") or {}).items()}
    status = (headers.get("grpc-status") or ["0"])[0]
    if one["code"] == 200 and status == "0":
        return "answered", ""
    if one["code"] == 503 or (one["code"] == 200 and status == UNAVAILABLE):
        return "refused", f"gRPC status {status}" if one["code"] == 200 else "status 503"
    return "broken", str(one["error"] or f"status {one['code']}, gRPC {status}")[:90]


def percentiles(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {f"p{share}": round(ordered[int(len(ordered) * share / 100)], 1) for share in (50, 99)}
