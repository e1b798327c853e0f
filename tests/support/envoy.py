"""The sidecar's image and configurations, made as the modules make them: docker build, Terraform's templatefile()."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from karst.toolchain import record
from tests.support import images

ROOT = Path(__file__).resolve().parents[2]
SIDECAR = ROOT / "modules" / "karst_service" / "templates" / "envoy.yaml.tmpl"
EDGE = ROOT / "modules" / "karst_mesh" / "templates" / "edge.yaml.tmpl"

# A module without providers: it needs no init and no network.
RENDERER = """
variable "cases" { type = any }
output "rendered" { value = { for name, case in var.cases : name => templatefile(case.template, case.variables) } }
"""


def sidecar_variables(service: str, **changes: Any) -> dict[str, Any]:
    """Every variable of envoy.yaml.tmpl, with the module's defaults."""
    return {
        "service": service,
        "stack": "karst",
        "trust_domain": "karst.local",
        "callers": None,
        "expose": False,
        "health": "",
        "runner": True,
        "several_hosts": False,
        "spans": None,
        **changes,
    }


def edge_variables(**changes: Any) -> dict[str, Any]:
    """Every variable of edge.yaml.tmpl, with the module's defaults."""
    return {"stack": "karst", "trust_domain": "karst.local", "network": "iacnet", "several_hosts": False, **changes}


def render(cases: Mapping[str, tuple[Path, Mapping[str, Any]]]) -> dict[str, str]:
    """Render all templates by one run of the real Terraform: {name: (template, variables)} → {name: text}."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "main.tf").write_text(RENDERER)
        given = {name: {"template": str(path), "variables": dict(values)} for name, (path, values) in cases.items()}
        (Path(folder) / "cases.auto.tfvars.json").write_text(json.dumps({"cases": given}))
        done = subprocess.run(
            [record.terraform_command(), "apply", "-auto-approve", "-json"],
            cwd=folder,
            env={**record.terraform_environment(), "TF_IN_AUTOMATION": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    said = [event["outputs"]["rendered"] for event in events if event["type"] == "outputs"]  # of the plan, of the apply
    rendered: dict[str, str] = said[-1]["value"]
    return rendered


base = images.base


def sidecar_image() -> str:
    """Build the sidecar's image, unless this very one is there, and return its name."""
    return images.build("sidecar")


def validate(configurations: Mapping[str, str]) -> dict[str, str]:
    """Ask the real Envoy about each configuration: {name: ""} when it takes it, else what it said."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for number, text in enumerate(configurations.values()):
            (Path(folder) / f"{number}.yaml").write_text(text)
        # The edge's start script fills in the gateway; the sidecar's writes the app's address.
        script = (
            "echo '{\"resources\":[]}' >/run/karst/app.eds.json; cd /tmp; for f in /c/*.yaml; do"
            " sed s/__GATEWAY__/10.0.0.1/ $f >/tmp/c.yaml;"
            " /opt/karst/envoy --mode validate --log-level error --skip-deprecated-logs -c /tmp/c.yaml"
            " >/tmp/said 2>&1 && echo $f ok || { echo $f; cat /tmp/said; }; done"
        )
        command = ["docker", "run", "--rm", "--network", "none", "--tmpfs", "/run/karst:mode=1777", "--tmpfs", "/tmp"]
        command += ["--volume", f"{folder}:/c:ro", "--entrypoint", "sh", sidecar_image(), "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    verdicts = dict.fromkeys(configurations, "")
    names = list(configurations)
    current = ""
    for line in done.stdout.splitlines():
        if line.startswith("/c/"):
            path, _, verdict = line.partition(" ")
            current = "" if verdict == "ok" else names[int(Path(path).stem)]
        elif current:
            verdicts[current] += line + "\n"
    assert done.stdout.count("/c/") >= len(configurations), done.stdout + done.stderr
    return verdicts
