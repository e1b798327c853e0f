"""Where a stack's settings come from, and in which order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from karst.errors import UsageError
from karst.stack import ROOT, resolve


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KARST_STACK", "KARST_NETWORK", "KARST_SECRETS_DIR", "KARST_EDGE_PORT", "KARST_METRICS_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KARST_STATE_DIR", str(tmp_path))


def test_the_default_stack_shares_its_state_with_a_plain_terraform(monkeypatch: pytest.MonkeyPatch) -> None:
    """`terraform apply` in envs/local and `make apply` work on the same state."""
    monkeypatch.delenv("KARST_STATE_DIR")
    stack = resolve()
    assert stack.state_file == ROOT / "envs" / "local" / "karst.tfstate"
    assert stack.secrets_dir == ROOT / "secrets"
    assert stack.network == "iacnet"
    assert stack.ports["edge"] == 15000


def test_another_stack_has_everything_of_its_own(tmp_path: Path) -> None:
    """State, secrets and network differ, so that both can run on one host."""
    stack = resolve(name="team-a")
    assert stack.network == "iacnet-team-a"
    assert stack.state_file == tmp_path / "team-a" / "terraform.tfstate"
    assert stack.secrets_dir == tmp_path / "team-a" / "secrets"


def test_an_option_wins_over_the_environment_and_that_over_the_last_deploy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last deploy's variables file is what `iac health` goes by when nothing else is said."""
    home = tmp_path / "team-a"
    home.mkdir()
    (home / "karst.tfvars.json").write_text(json.dumps({"ports": {"edge": 25000}, "network_name": "old"}))
    assert resolve(name="team-a").ports["edge"] == 25000
    monkeypatch.setenv("KARST_EDGE_PORT", "26000")
    assert resolve(name="team-a").ports["edge"] == 26000
    assert resolve(name="team-a", edge_port=27000).ports["edge"] == 27000


@pytest.mark.parametrize("name", ["A", "a", "-a", "a_b", "a" * 21, "a/b", "a b"])
def test_a_bad_stack_name_is_a_usage_error(name: str) -> None:
    """The name is part of labels, images and folders."""
    with pytest.raises(UsageError, match="is not a stack name"):
        resolve(name=name)


@pytest.mark.parametrize("port", ["x", "0", "70000", "-1"])
def test_a_bad_port_is_a_usage_error(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the variable."""
    monkeypatch.setenv("KARST_EDGE_PORT", port)
    with pytest.raises(UsageError, match="KARST_EDGE_PORT"):
        resolve(name="team-a")


def test_a_damaged_variables_file_is_as_good_as_none(tmp_path: Path) -> None:
    """An interrupted write of an older version must not stop a deploy."""
    home = tmp_path / "team-a"
    home.mkdir()
    (home / "karst.tfvars.json").write_text("{")
    assert resolve(name="team-a").ports["edge"] == 15000


def test_the_root_is_chosen_and_then_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the option or the environment the first time; a backend that is not here leaves no state file here."""
    assert (resolve(name="team-a").env, resolve(name="team-a").remote_state) == ("local", False)
    monkeypatch.setenv("KARST_ENV", "production")
    chosen = resolve(name="team-a")
    assert (chosen.root_module.name, chosen.backend, chosen.remote_state) == ("production", "pg", True)
    chosen.home.mkdir()
    chosen.env_file.write_text("production\n")
    monkeypatch.delenv("KARST_ENV")
    assert resolve(name="team-a").env == "production"
    monkeypatch.setenv("KARST_ENV", "produktion")
    with pytest.raises(UsageError, match="there is no root `produktion`") as caught:
        resolve(name="team-a")
    assert caught.value.hint == "did you mean `production`?"


@pytest.mark.parametrize(
    ("host", "env", "delivery"),
    [
        ("", "local", None),
        ("ssh://deploy@far", "local", "memory"),
        ("ssh://deploy@far", "production", None),  # that is its default, and a file beside the root may say otherwise
    ],
)
def test_keys_are_sent_where_the_engine_is_elsewhere(
    host: str, env: str, delivery: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KARST_ENV", env)
    monkeypatch.setenv("DOCKER_HOST", host)
    stack = resolve(name="team-a")
    assert stack.variables().get("identity_delivery") == delivery
    assert stack.uploads is bool(host)
    monkeypatch.setenv("KARST_IDENTITY_DELIVERY", "disk")
    assert stack.variables()["identity_delivery"] == "disk"
