"""Starts the real runner on this machine: `python drive.py OVERRIDES COMMAND…`; the overrides are a JSON object."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "modules" / "karst_service" / "image" / "runner"))

from karst_runner.__main__ import run
from karst_runner.settings import Settings

overrides = json.loads(sys.argv[1])
if "sidecar_ports" in overrides:
    overrides["sidecar_ports"] = frozenset(overrides["sidecar_ports"])
settings = replace(Settings.from_environment(sys.argv[2:], os.environ), **overrides)
os._exit(run(settings, otel_dir=os.environ.get("TEST_OTEL_DIR", "")))
