"""A member of the mesh that attacks: with a good certificate, by frames that no honest client sends."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.security.conftest import Record
from tests.support.mesh import Mesh


def attack(mesh: Mesh, kind: str) -> dict[str, Any]:
    """Run it in the neighbour container; return what became of it."""
    command = ["docker", "exec", mesh.name("neighbour"), "python3", "/standins/attacker.py", kind, "api", "web.pem"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def still_serves(mesh: Mesh) -> None:
    """The one that was attacked answers, and gets out."""
    assert mesh.knock("web.pem", "api")["status"] == 200
    assert mesh.call("api", "http://web/")["status"] == 200


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("nothing", "200"),
        ("many headers", "431"),
        ("large headers", "431"),
        ("slow headers", "408"),
        ("slow handshake", "closed"),
    ],
)
def test_headers_and_slow_clients_are_bounded(mesh: Mesh, record: Record, kind: str, answer: str) -> None:
    said = attack(mesh, kind)
    if kind != "nothing":
        record(kind, "neighbour, good certificate", "attacker.py", f"{said['answer']} after {said['seconds']:.0f} s")
    assert said["answer"] == answer
    still_serves(mesh)


@pytest.mark.parametrize(
    ("kind", "offered"),
    [
        ("rapid reset", 20_000),
        ("settings flood", 200_000),
        ("ping flood", 200_000),
        ("empty frames", 50_000),
        ("priority flood", 50_000),
        ("window flood", 50_000),
        ("endless headers", 5_000),
    ],
)
def test_a_flood_of_frames_costs_the_attacker_the_connection(
    mesh: Mesh, record: Record, kind: str, offered: int
) -> None:
    said = attack(mesh, kind)
    record(f"HTTP/2 {kind}", "neighbour, good certificate", "attacker.py", f"{said['answer']} by Envoy before the end")
    assert said["answer"] != "still open"
    assert said["sent"] < offered, "it was not stopped"
    still_serves(mesh)


def test_streams_beyond_the_limit_of_a_connection_are_refused(mesh: Mesh, record: Record) -> None:
    """256 at once reach the app; the connection goes on, as an honest client may have miscounted."""
    said = attack(mesh, "many streams")
    assert 0 < said["open"] <= 256, said
    assert said["open"] + said["refused"] == said["tried"] == 2000, said
    record("2,000 HTTP/2 streams at once", "neighbour, good certificate", "attacker.py", f"{said['refused']} refused")
    still_serves(mesh)


def test_a_crowd_at_the_door_leaves_the_app_its_way_out(mesh: Mesh, record: Record) -> None:
    """1500 of the 2000 connections may come from outside."""
    command = ["docker", "exec", mesh.name("neighbour"), "python3", "/standins/attacker.py"]
    with subprocess.Popen([*command, "many connections", "api", "web.pem"], stdout=subprocess.PIPE, text=True) as crowd:
        out = [mesh.call("api", "http://web/")["status"] for _ in range(5)]
        said = json.loads(crowd.communicate(timeout=60)[0])
    assert out == [200] * 5
    assert said["alive"] <= 1500 < said["tried"]
    record("1,800 connections at once", "neighbour", "attacker.py", f"{said['alive']} kept; the app's calls go on")
    still_serves(mesh)
