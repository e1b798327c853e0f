"""A real step-ca on loopback, made by the real `step`, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from karst.errors import KarstError
from karst.toolchain import record, tools
from tests.support.kit import ROOT, free_ports

PASSWORD = "correct horse battery staple"


@dataclass
class StepCaServer:
    """The running CA.

    Attributes:
        url: where it listens.
        root: file with its root certificate.
        fingerprint: the root's SHA-256, as `step` prints it.
        password_file: password of its provisioner `karst`.
    """

    url: str
    root: Path
    fingerprint: str
    password_file: Path

    def environment(self, **more: str) -> dict[str, str]:
        """The kit's settings for it; the CA's own limit is 24 hours."""
        return {
            "KARST_ISSUER": "step-ca",
            "KARST_CERT_LIFETIME": "24h",
            "KARST_STEP_CA_URL": self.url,
            "KARST_STEP_CA_FINGERPRINT": self.fingerprint,
            "KARST_STEP_CA_PROVISIONER": "karst",
            "KARST_STEP_CA_PASSWORD_FILE": str(self.password_file),
            **more,
        }


def _tool(name: str) -> str:
    try:
        tools.get(name)
    except KarstError as err:
        pytest.skip(f"{name} cannot be had: {err.message}")
    return str(record.load().get("tools", {}).get(name) or name)


@contextlib.contextmanager
def step_ca(folder: Path) -> Iterator[StepCaServer]:
    """Make a CA with root, intermediate and the template of the docs, and run it."""
    step, server = _tool("step"), _tool("step-ca")
    [port] = free_ports(1)
    password = folder / "password"
    password.write_text(PASSWORD + "\n")
    env = {**os.environ, "STEPPATH": str(folder / "ca")}
    command = [step, "ca", "init", "--name", "Test", "--dns", "127.0.0.1", "--address", f"127.0.0.1:{port}"]
    command += ["--provisioner", "karst", "--deployment-type", "standalone"]
    command += ["--password-file", str(password), "--provisioner-password-file", str(password)]
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=60)
    config = folder / "ca" / "config" / "ca.json"
    settings = json.loads(config.read_text())
    [provisioner] = settings["authority"]["provisioners"]
    provisioner["options"] = {"x509": {"templateFile": str(ROOT / "docs" / "step-ca" / "leaf.tpl")}}
    config.write_text(json.dumps(settings))
    root = folder / "ca" / "certs" / "root_ca.crt"
    fingerprint = subprocess.run(
        [step, "certificate", "fingerprint", str(root)], check=True, capture_output=True, text=True, timeout=20
    ).stdout.strip()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [server, str(config), "--password-file", str(password)], env=env, stdout=log, stderr=log
        )
    try:
        _await(f"https://127.0.0.1:{port}/health", root, process, folder / "log")
        yield StepCaServer(f"https://127.0.0.1:{port}", root, fingerprint, password)
    finally:
        process.terminate()
        process.wait(20)


def _await(url: str, root: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 30
    while True:
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, verify=str(root), timeout=2).ok:
                return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)
