"""A stack into an encrypted file and back, on files alone; test_production.py does it to a real one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from karst import generations
from karst.backup import sealed
from karst.backup.collect import collect
from karst.backup.restore import PARTS, Backup
from karst.errors import KarstError, UsageError
from karst.fetch import store
from karst.fetch.store import Checkout
from karst.files import tree_hash, write_atomic
from karst.generations import OK, Generation
from karst.stack import Stack, resolve

PASSPHRASE = "correct horse battery"
STATE = json.dumps({"version": 4, "serial": 3, "lineage": "one", "resources": [{"type": "docker_network"}]})


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "_COST", 2**4)


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """One with keys, a secret, a state, and a service that was deployed from a local folder."""
    monkeypatch.setenv("KARST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KARST_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "main.py").write_text("print(1)\n")
    (tmp_path / "web" / "run").write_text("#!/bin/sh\n")
    (tmp_path / "web" / "run").chmod(0o755)
    (tmp_path / "web" / "link").symlink_to("main.py")
    (tmp_path / "repos.yaml").write_text("- dir:web\n")
    (tmp_path / "repos.lock.yaml").write_text("{}\n")
    found = resolve(name="saved", list_file=str(tmp_path / "repos.yaml"), secrets_dir=str(tmp_path / "secrets"))
    write_atomic(found.state_file, STATE)
    write_atomic(found.variables_file, json.dumps(found.variables()), mode=0o600)
    for name, mode in {"ca.key": 0o600, "mesh/web/svid.pem": 0o600, "app/web/TOKEN": 0o444, ".lock": 0o600}.items():
        write_atomic(found.secrets_dir / name, f"content of {name}", mode=mode)
    (found.secrets_dir / "mesh").chmod(0o700)
    tree = tree_hash(tmp_path / "web")
    with store.workplace() as work:
        shutil.copytree(tmp_path / "web", work / "tree", symlinks=True)
        checkout = store.add(
            "dir", f"{tree[:2]}/{tree[:12]}", work / "tree", Checkout(Path(), tree, 3, 20, via="folder")
        )
    made = Generation("web", generations.now(), OK, "g1", f"dir-{tree[:12]}", fetched={"source": str(checkout.root)})
    generations.append(found.history_dir, made)
    return found


def _files(root: Path) -> dict[str, tuple[int, bytes]]:
    paths = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(root)): (path.lstat().st_mode & 0o777, path.read_bytes()) for path in paths}


def test_what_was_lost_is_back_byte_for_byte_with_its_modes(stack: Stack, tmp_path: Path) -> None:
    content = collect(stack).archive
    places = (tmp_path / "web", stack.secrets_dir, stack.history_dir, tmp_path / "cache" / "src" / "dir")
    before = [_files(place) for place in places]
    for place in (*places, stack.home):
        shutil.rmtree(place, ignore_errors=True)
    (tmp_path / "repos.yaml").unlink()
    backup = Backup(content, "it")
    again = resolve(name="saved", list_file=str(backup.list_file(stack)), secrets_dir=str(backup.secrets_dir(stack)))
    backup.put_back(again, backup.items(again, PARTS))
    backup.push_state(again)
    assert [_files(place) for place in places] == before
    assert (tmp_path / "web" / "link").is_symlink()
    assert (stack.secrets_dir / "mesh").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "repos.yaml").read_text() == "- dir:web\n"
    assert json.loads(stack.state_file.read_text()) == json.loads(STATE)
    assert backup.app_secrets() == {"TOKEN": "content of app/web/TOKEN"}


def test_on_another_machine_what_lay_in_the_stacks_folder_lies_in_that_ones(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = replace(stack, secrets_dir=stack.home / "secrets")
    shutil.move(stack.secrets_dir, inside.secrets_dir)
    backup = Backup(collect(inside).archive, "it")
    monkeypatch.setenv("KARST_STATE_DIR", str(tmp_path / "elsewhere"))
    there = resolve(name="saved")
    assert backup.secrets_dir(there) == tmp_path / "elsewhere" / "saved" / "secrets"
    there = replace(there, secrets_dir=backup.secrets_dir(there), list_file=tmp_path / "other" / "repos.yaml")
    backup.put_back(there, backup.items(there, ["history", "secrets", "list"]))
    settings = json.loads(there.variables_file.read_text())
    assert settings["secrets_dir"] == str(tmp_path / "elsewhere" / "saved" / "secrets")
    assert settings["slugs_file"] == str(tmp_path / "other" / "repos.yaml")


def test_what_is_there_and_differs_is_named_and_what_is_the_same_is_not(stack: Stack) -> None:
    backup = Backup(collect(stack).archive, "it")
    assert backup.differing(backup.items(stack, PARTS)) == []
    (stack.secrets_dir / "ca.key").write_text("another")
    assert backup.differing(backup.items(stack, PARTS)) == [stack.secrets_dir / "ca.key"]
    assert backup.differing(backup.items(stack, ["history"])) == []


def test_a_state_of_another_stack_is_not_replaced(stack: Stack) -> None:
    backup = Backup(collect(stack).archive, "it")
    backup.push_state(stack)  # its own
    stack.state_file.write_text(STATE.replace("one", "two"))
    with pytest.raises(KarstError, match="has another state already"):
        backup.push_state(stack)


def test_without_state_and_identities_there_is_nothing_to_back_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KARST_STATE_DIR", str(tmp_path))
    with pytest.raises(UsageError, match="nothing to back up"):
        collect(resolve(name="empty"))


def test_only_the_passphrase_opens_it_and_every_changed_byte_is_noticed() -> None:
    content = b"the authority's key " * 20
    whole = sealed.seal(content, PASSPHRASE)
    assert sealed.unseal(whole, PASSPHRASE, "f") == content
    assert content[:12] not in whole
    with pytest.raises(KarstError, match="the passphrase is another one"):
        sealed.unseal(whole, PASSPHRASE + ".", "f")
    for at in range(len(sealed.FORM), len(whole), 7):
        broken = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        with pytest.raises(KarstError):
            sealed.unseal(broken, PASSPHRASE, "f")
    for length in range(0, len(whole), 11):
        with pytest.raises(KarstError):
            sealed.unseal(whole[:length], PASSPHRASE, "f")


def test_the_same_content_is_another_file_each_time() -> None:
    assert sealed.seal(b"same", PASSPHRASE) != sealed.seal(b"same", PASSPHRASE)


def test_a_passphrase_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(UsageError, match="has 6 characters"):
        sealed.seal(b"content", "secret")


@pytest.mark.slow
def test_the_docs_ten_lines_open_it_without_the_kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has lost the kit has not lost the keys."""
    monkeypatch.setattr(sealed, "_COST", 2**17)
    page = (Path(__file__).resolve().parents[2] / "docs" / "production.md").read_text()
    program = page.split("```python\n")[1].split("```")[0]
    (tmp_path / "backup.karst").write_bytes(sealed.seal(b"an archive", PASSPHRASE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("getpass.getpass", lambda *_: PASSPHRASE)
    exec(compile(program, "docs/production.md", "exec"), {})
    assert (tmp_path / "backup.tar.gz").read_bytes() == b"an archive"
