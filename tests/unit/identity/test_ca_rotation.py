"""The change of an authority as a state machine: killed anywhere, a deploy in between, brought along. No Docker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from karst import files
from karst.errors import BusyError, KarstError, UsageError
from karst.files import locked
from karst.identity import ca_rotation, handle, served
from karst.identity.ca_rotation import Rotation
from karst.identity.store import Store, pending
from karst.stack import Stack, resolve
from tests.support import certificates as forge

AFTER = {"trust": "issue", "issue": "drop", "drop": "clean"}
NAMES = ("web", "ops/edge", "ops/operator")


class Killed(BaseException):
    """Nobody catches it, as nobody catches SIGKILL."""


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "running", lambda stack: [])
    monkeypatch.setattr(served, "others", lambda stack: [])


def deploy(secrets: Path) -> None:
    handle({"secrets_dir": str(secrets), "services": json.dumps(NAMES)})


def rotation(secrets: Path) -> Rotation:
    stack: Stack = resolve(name="team-a", secrets_dir=str(secrets))
    return Rotation(stack, Store(secrets), say=lambda line: None, timeout=1)


def bundle(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def check_consistent(secrets: Path) -> None:
    """Whatever has happened: each leaf is trusted by everybody, and the key belongs to a trusted certificate."""
    leaves = [bundle(path)[0] for path in (secrets / "mesh").glob("*/svid.pem")]
    assert len(leaves) == len(NAMES)
    for trusted in (secrets / "mesh").glob("*/ca.pem"):
        names = {one.subject for one in bundle(trusted)}
        assert {leaf.issuer for leaf in leaves} <= names


def test_afterwards_only_the_new_authority_counts(tmp_path: Path) -> None:
    deploy(tmp_path)
    [old], key = bundle(tmp_path / "ca.pem"), (tmp_path / "ca.key").read_bytes()
    rotation(tmp_path).run()
    [new] = bundle(tmp_path / "ca.pem")
    assert new != old
    assert (tmp_path / "ca.key").read_bytes() != key
    for folder in (tmp_path / "mesh").iterdir():
        bundle(folder / "svid.pem")[0].verify_directly_issued_by(new)
        assert bundle(folder / "ca.pem") == [new]
    assert not (tmp_path / "rotation").exists()


def test_killed_while_it_waits_it_goes_on_and_a_deploy_in_between_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(tmp_path)
    [old], old_key = bundle(tmp_path / "ca.pem"), (tmp_path / "ca.key").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(ca_rotation, "await_in_step", _kill)
        for step in ("trust", "issue", "drop"):
            with pytest.raises(Killed):
                rotation(tmp_path).run()
            assert pending(tmp_path) == step
            assert (tmp_path / "rotation" / "old.key").read_bytes() == old_key
            deploy(tmp_path)
            check_consistent(tmp_path)
            # As if the wait had succeeded and the kill come right after it.
            (tmp_path / "rotation" / "state.json").write_text(json.dumps({"step": AFTER[step]}))
    rotation(tmp_path).run()
    assert old not in bundle(tmp_path / "ca.pem")
    assert not (tmp_path / "rotation").exists()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_killed_between_any_two_writes_it_goes_on_and_a_deploy_in_between_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file that is written is once the last one before the kill."""
    write, kills = files.write_atomic, 0
    while True:
        secrets, left = tmp_path / str(kills), kills
        deploy(secrets)
        [old], old_key = bundle(secrets / "ca.pem"), (secrets / "ca.key").read_bytes()

        def dying(path: Path, data: bytes, **more: Any) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            write(path, data, **more)

        with monkeypatch.context() as patch:
            patch.setattr(files, "write_atomic", dying)
            try:
                rotation(secrets).run()
                break
            except Killed:
                pass
        check_consistent(secrets)
        assert old_key in [path.read_bytes() for path in (secrets / "ca.key", *secrets.glob("rotation/old.key"))]
        deploy(secrets)
        check_consistent(secrets)
        rotation(secrets).run()
        check_consistent(secrets)
        assert old not in bundle(secrets / "ca.pem")
        assert not (secrets / "rotation").exists()
        kills += 1
    assert kills > 20


def test_a_step_that_is_not_seen_in_use_is_not_followed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(tmp_path)
    key = (tmp_path / "ca.key").read_bytes()

    def never(*_: object, **__: object) -> None:
        raise KarstError("web does not use its new files", code="not_in_step")

    with monkeypatch.context() as patch:
        patch.setattr(ca_rotation, "await_in_step", never)
        for _ in range(2):
            with pytest.raises(KarstError, match="does not use its new files"):
                rotation(tmp_path).run()
            assert pending(tmp_path) == "trust"
            assert (tmp_path / "ca.key").read_bytes() == key, "nothing is issued from it yet"
            assert len(bundle(tmp_path / "ca.pem")) == 2, "going on makes no third authority"
    rotation(tmp_path).run()
    assert pending(tmp_path) == ""


def test_each_step_puts_another_certificate_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Envoy shows the first one only: that is how a bundle is seen to be in use."""
    deploy(tmp_path)
    firsts = [bundle(tmp_path / "ca.pem")[0]]
    monkeypatch.setattr(
        ca_rotation, "await_in_step", lambda *_, **__: firsts.append(bundle(tmp_path / "mesh" / "web" / "ca.pem")[0])
    )
    rotation(tmp_path).run()
    old, trust, issue, drop = firsts
    assert (issue, drop) == (old, trust)
    assert trust != old


def test_an_authority_of_ones_own_has_to_be_brought(tmp_path: Path) -> None:
    key, next_key, root_key = forge.new_key(), forge.new_key(), forge.new_key("rsa")
    (tmp_path / "ca.pem").write_bytes(forge.pem(forge.authority("ours", key)))
    (tmp_path / "ca.key").write_bytes(forge.pem(key))
    deploy(tmp_path)
    with pytest.raises(UsageError, match="you brought along"):
        rotation(tmp_path).run()
    assert pending(tmp_path) == ""

    root = forge.authority("root", root_key)
    issuing = forge.authority("issuing", next_key, issuer=root, issuer_key=root_key)
    given = (tmp_path / "next.pem", tmp_path / "next.key")
    given[0].write_bytes(forge.pem(issuing, root))
    given[1].write_bytes(forge.pem(next_key))
    rotation(tmp_path).run(given)
    assert bundle(tmp_path / "ca.pem") == [issuing, root]
    assert bundle(tmp_path / "mesh" / "web" / "svid.pem")[1:] == [issuing]
    with pytest.raises(UsageError, match="in use already"):
        rotation(tmp_path).run(given)


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_new_authority_that_is_none_is_refused_before_anything_changes(tmp_path: Path, content: bytes) -> None:
    deploy(tmp_path)
    before = (tmp_path / "ca.pem").read_bytes()
    given = (tmp_path / "next.pem", tmp_path / "next.key")
    given[0].write_bytes(content)
    given[1].write_bytes(forge.pem(forge.new_key()))
    with pytest.raises(KarstError, match=r"next\.pem holds no"):
        rotation(tmp_path).run(given)
    assert (tmp_path / "ca.pem").read_bytes() == before
    assert pending(tmp_path) == ""


def test_another_authority_cannot_be_slipped_in_halfway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(ca_rotation, "await_in_step", _kill)
        with pytest.raises(Killed):
            rotation(tmp_path).run()
    key = forge.new_key()
    given = (tmp_path / "next.pem", tmp_path / "next.key")
    given[0].write_bytes(forge.pem(forge.authority("third", key)))
    given[1].write_bytes(forge.pem(key))
    with pytest.raises(UsageError, match="not finished"):
        rotation(tmp_path).run(given)


def test_a_key_that_somebody_changed_halfway_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(ca_rotation, "await_in_step", _kill)
        with pytest.raises(Killed):
            rotation(tmp_path).run()
    strange = forge.pem(forge.new_key())
    (tmp_path / "ca.key").write_bytes(strange)
    with pytest.raises(KarstError, match="somebody changed it meanwhile"):
        rotation(tmp_path).run()
    assert (tmp_path / "ca.key").read_bytes() == strange


def test_two_at_once_do_not_meet(tmp_path: Path) -> None:
    deploy(tmp_path)
    with locked(tmp_path / ".rotation.lock"), pytest.raises(BusyError, match="is at work in"):
        rotation(tmp_path).run()


def test_a_folder_that_another_stack_uses_too_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Envoys would be asked by nobody."""
    deploy(tmp_path)
    monkeypatch.setattr(served, "others", lambda stack: ["team-b"])
    with pytest.raises(KarstError, match="stack `team-b` shares"):
        rotation(tmp_path).run()
    assert pending(tmp_path) == ""


def _kill(*_: object, **__: object) -> None:
    raise Killed
