"""``scripts/detect``: Terraform's protocol, the command by hand, and what it remembers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from karst.detect import command, explain
from karst.detect.rules import RULES
from karst.errors import KarstError

from .conftest import Plant, write_tree

MAIN = "if __name__ == '__main__':\n    print(1)\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KARST_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ENTRYPOINT", raising=False)
    return tmp_path / "cache" / "detect"


def ask(services: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(command.handle({"services": json.dumps(services)})["services"])
    return answer


def test_every_service_gets_its_detection(tmp_path: Path) -> None:
    one = write_tree(tmp_path / "one", {"main.py": MAIN})
    two = write_tree(tmp_path / "two", {"app.py": MAIN, "x.py": MAIN})
    services = {
        "one": {"source": str(one), "args": ["-v"], "tree": "a" * 64},
        "two": {"source": str(two), "entrypoint": "x.py", "tree": "b" * 64},
    }
    found = ask(services)
    assert found["one"]["argv"] == ["python", "/app/main.py", "-v"]
    assert found["two"]["argv"] == ["python", "/app/x.py"]
    assert set(found["one"]) == {
        "argv", "kind", "rule", "reason", "evidence", "alternatives", "launch", "port", "env", "packages", "python",
        "install", "confidence",
    }  # fmt: skip


def test_all_failing_services_are_named_in_one_error(tmp_path: Path) -> None:
    good = write_tree(tmp_path / "good", {"main.py": MAIN})
    bad = write_tree(tmp_path / "bad", {"go.mod": ""})
    worse = write_tree(tmp_path / "worse", {"main.py": "def ("})
    services = {"good": {"source": str(good)}, "bad": {"source": str(bad)}, "worse": {"source": str(worse)}}
    with pytest.raises(KarstError) as caught:
        ask(services)
    lines = caught.value.message.splitlines()
    assert [line.split(":")[0] for line in lines] == ["bad", "worse"]


def test_one_failing_service_keeps_its_code_and_hint(tmp_path: Path) -> None:
    bad = write_tree(tmp_path / "bad", {"go.mod": ""})
    with pytest.raises(KarstError) as caught:
        ask({"svc": {"source": str(bad)}})
    assert caught.value.code == "not_python"
    assert caught.value.message.startswith("svc: ")
    assert caught.value.hint


def test_an_unchanged_tree_is_answered_from_the_cache(tmp_path: Path, cache: Path) -> None:
    root = write_tree(tmp_path / "one", {"main.py": MAIN})
    service = {"source": str(root), "tree": "c" * 64}
    first = ask({"one": service})
    (root / "main.py").unlink()
    assert ask({"one": service}) == first
    assert len(list(cache.iterdir())) == 1
    with pytest.raises(KarstError):
        ask({"one": {**service, "tree": "d" * 64}})


def test_a_broken_cache_entry_is_made_again(tmp_path: Path, cache: Path) -> None:
    service = {"source": str(write_tree(tmp_path / "one", {"main.py": MAIN})), "tree": "c" * 64}
    first = ask({"one": service})
    for kept in cache.iterdir():
        kept.write_text("{")
    assert ask({"one": service}) == first


def test_the_variable_in_the_list_beats_the_one_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path / "one", {"a.py": MAIN, "b.py": MAIN})
    monkeypatch.setenv("ENTRYPOINT", "a.py")
    found = ask({"x": {"source": str(root)}, "y": {"source": str(root), "env": {"ENTRYPOINT": "b.py"}}})
    assert found["x"]["argv"][-1] == "/app/a.py"
    assert found["y"]["argv"][-1] == "/app/b.py"
    assert "env:" in found["y"]["reason"]


def test_the_python_of_the_list_is_the_one_that_must_fit(tmp_path: Path) -> None:
    project = '[project]\nname = "x"\nrequires-python = ">=3.12"\n'
    root = write_tree(tmp_path / "one", {"main.py": MAIN, "pyproject.toml": project})
    assert ask({"x": {"source": str(root), "python": "3.12"}})
    with pytest.raises(KarstError, match="asks for Python"):
        ask({"x": {"source": str(root)}})


def test_by_hand_prints_one_json_object(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    root = plant({"main.py": MAIN})
    assert command.main([str(root), "--json", "--", "-x"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["argv"] == ["python", "/app/main.py", "-x"]
    assert body["evidence"] == "main.py:1"


def test_by_hand_prints_the_refusal_as_json_and_exits_1(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(plant({"x.go": ""})), "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "not_python"
    assert error["message"]
    assert error["hint"]


def test_by_hand_refuses_what_is_neither_folder_nor_slug(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["/nowhere/at/all"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "no_source"


def test_explain_shows_every_rule_in_order(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    root = plant({"main.py": MAIN})
    steps = explain(root)
    assert [step[0] for step in steps] == [*(rule.name for rule in RULES), "doubt"]
    assert {step[1] for step in steps} <= {"hit", "miss", "refusal", "skipped"}
    assert all(step[2] for step in steps)
    assert command.main([str(root), "--explain"]) == 0
    text = capsys.readouterr().out
    assert all(rule.name in text for rule in RULES)
    assert "starts   python /app/main.py" in text


def test_explain_never_raises_for_a_refusal(plant: Plant) -> None:
    steps = explain(plant({"x.go": ""}))
    assert ("not-python", "refusal") in [step[:2] for step in steps]


def test_the_program_starts_lean(plant: Plant) -> None:
    root = plant({"main.py": MAIN})
    code = (
        "import sys; from karst.detect.command import main; main(sys.argv[1:]); "
        "heavy = {'requests', 'grpc', 'cryptography', 'yaml', 'jinja2', 'docker', 'pydantic'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    scripts = Path(command.__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(scripts)}
    done = subprocess.run(["python3", "-c", code, str(root)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", ["c", "../elsewhere", "a/x.py"])
def test_path_names_a_folder_of_the_repository(folder: str, plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    root = plant({"a/x.py": "", "b/y.py": "", "../elsewhere/z.py": ""})
    assert command.main([str(root), "--path", folder]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["hint"]) == ("no_source", "it has a and b")


def test_a_slug_by_hand_is_no_entry_of_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["gh:owner"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["message"].startswith("`gh:owner` is not a slug")


def test_explain_says_where_a_refusal_was_seen(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    root = plant({"a/requirements.txt": "", "a/x.py": "", "b/setup.py": "", "b/y.py": ""})
    assert command.main([str(root), "--explain"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "seen in  a/requirements.txt:1",
        "hint     set `path:` to the one to deploy, `path: a` for example",
    ]


def test_a_version_that_is_none_is_a_usage_error(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main([str(plant({"main.py": ""})), "--python", "3.x"])
    assert caught.value.code == 2
    assert "'3.x' is no version like 3.12" in capsys.readouterr().err
