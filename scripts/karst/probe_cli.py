"""The command line of scripts/health."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from karst.errors import Exit
from karst.probe import Health, parse_address, probe_all


def main(arguments: list[str]) -> int:
    """Print each service's health; returns Exit.UNHEALTHY unless all of them are SERVING or COMPLETED."""
    parser = argparse.ArgumentParser(prog="health", description="Ask services how they are, over mTLS.")
    parser.add_argument("services", nargs="+", metavar="SERVICE")
    parser.add_argument("--address", default="127.0.0.1:15000", help="the edge, HOST:PORT (default: %(default)s)")
    parser.add_argument("--secrets", default="secrets", type=Path, help="the identities' folder (default: %(default)s)")
    parser.add_argument("--sni", help="ask one generation: its pod container's name (with one SERVICE)")
    parser.add_argument("--timeout", default=2.0, type=float, help="seconds for each service (default: %(default)s)")
    parser.add_argument("--trust-domain", default="karst.local", help="of the identities (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    options = parser.parse_args(arguments)
    if options.sni and len(options.services) > 1:
        parser.error("--sni goes with one SERVICE")
    answers = probe_all(
        options.services,
        address=parse_address(options.address),
        secrets_dir=options.secrets,
        sni=options.sni,
        timeout=options.timeout,
        trust_domain=options.trust_domain,
    )
    if options.json:
        print(json.dumps([answer.to_dict() for answer in answers], indent=2))
    else:
        width = max(len(answer.service) for answer in answers)
        for answer in answers:
            print(f"{answer.service:<{width}}  {line(answer)}")
    return int(Exit.OK if all(answer.whole for answer in answers) else Exit.UNHEALTHY)


def line(health: Health) -> str:
    """One service's state in one line, without its name."""
    port = f"port {health.app_port}" if health.app_port else ""
    return "  ".join(part for part in (health.status, health.revision[:12], port, health.reason) if part)
