"""A: what somebody says outright beats every rule, and is never half followed."""

from __future__ import annotations

import pytest

MAIN = "def main():\n    pass\n\nif __name__ == '__main__':\n    main()\n"
TREE = {
    "main.py": MAIN,
    "pkg/__init__.py": "",
    "pkg/__main__.py": "print(1)\n",
    "pkg/cli.py": MAIN + "\ndef needs(x): ...\n",
    "pkg/web.py": "from flask import Flask\napp = Flask(__name__)\ndef create_app():\n    return Flask('x')\n",
    "run.sh!": "#!/bin/sh\n",
}
G = ("gunicorn", "--bind", "127.0.0.1:${PORT}", "--workers", "1", "--threads", "4", "--worker-tmp-dir", "/tmp")

FORMS = {
    "pkg.cli:main": ("python", "-c", "import sys; from pkg.cli import main; sys.exit(main())"),
    "pkg": ("python", "-m", "pkg"),
    "pkg.cli": ("python", "-m", "pkg.cli"),
    "pkg/cli.py": ("python", "-m", "pkg.cli"),
    "pkg.web:app": (*G, "pkg.web:app"),
    "pkg.web:create_app": (*G, "pkg.web:create_app()"),
    "pkg.web:create_app()": (*G, "pkg.web:create_app()"),
    "python -m pkg.cli --fast": ("python", "-m", "pkg.cli", "--fast"),
    "python3 pkg/cli.py $PORT": ("python", "/app/pkg/cli.py", "${PORT}"),
    "gunicorn pkg.web:app -b 0.0.0.0:${PORT:-80}": ("gunicorn", "pkg.web:app", "-b", "0.0.0.0:${PORT}"),
    "run.sh": ("/app/run.sh",),
    "http.server": ("python", "-m", "http.server"),
}


@pytest.mark.parametrize("text", FORMS)
def test_an_entrypoint_can_be_written_as(text: str, ask) -> None:
    found = ask(TREE, entrypoint=text)
    assert (found.argv, found.rule, found.confidence) == (FORMS[text], "entrypoint", "certain")


def test_an_entrypoint_can_be_a_list_of_words(ask) -> None:
    assert ask(TREE, entrypoint=["python", "pkg/cli.py", "a b"]).argv == ("python", "/app/pkg/cli.py", "a b")


WRONG = {
    "pkg.clii:main": "did you mean `pkg.cli`?",
    "pkg.cli:man": "did you mean `main`?",
    "pkg.cli:needs": "takes none",
    "pkg/gone.py": "",
    "gone": "",
    "main.py | tee": "script",
    "python main.py > log": "script",
    "cd pkg && python cli.py": "one plain command",
    "npm start": "entrypoint",
}


@pytest.mark.parametrize("text", WRONG)
def test_an_entrypoint_that_leads_nowhere_is_refused_with_a_hint(text: str, refused) -> None:
    error = refused(TREE, entrypoint=text)
    assert error.code in ("bad_entrypoint", "not_python")
    assert WRONG[text] in error.hint


def test_the_list_beats_the_variable_and_the_variable_beats_the_label(ask) -> None:
    files = {**TREE, "Dockerfile": 'FROM x\nLABEL ENTRYPOINT="pkg.cli:main"\n'}
    assert ask(files, entrypoint="pkg", variable="main").rule == "entrypoint"
    assert ask(files, variable="pkg", variable_source="the `env:` of a").argv == ("python", "-m", "pkg")
    assert ask(files).rule == "label"


LABELS = [
    'LABEL ENTRYPOINT="pkg.cli:main"',
    "LABEL ENTRYPOINT=pkg.cli:main",
    'label a=b \\\n  ENTRYPOINT="pkg.cli:main" c="d e"',
    "LABEL ENTRYPOINT pkg.cli:main",
]


@pytest.mark.parametrize("label", LABELS)
def test_a_label_of_the_dockerfile_is_read_statically(label: str, ask) -> None:
    found = ask({**TREE, "Dockerfile": f"FROM python:3.11\nRUN <<EOF\nLABEL ENTRYPOINT=no:no\nEOF\n{label}\n"})
    assert found.argv[-1] == "import sys; from pkg.cli import main; sys.exit(main())"
    assert found.evidence == "Dockerfile:5"


def test_a_label_with_a_build_argument_is_refused(refused) -> None:
    assert refused({**TREE, "Dockerfile": "FROM x\nLABEL ENTRYPOINT=$WHAT\n"}).evidence == "Dockerfile:2"


PROCFILES = {
    "web: gunicorn pkg.web:app": ("gunicorn", "pkg.web:app"),
    "worker: x\nweb: python main.py --port $PORT": ("python", "/app/main.py", "--port", "${PORT}"),
    "web: exec env A=1 gunicorn -b 0.0.0.0:${PORT} pkg.web:app": ("gunicorn", "-b", "0.0.0.0:${PORT}", "pkg.web:app"),
    "web: pipenv run python -m pkg": ("python", "-m", "pkg"),
    "web: python -m pkg migrate && gunicorn pkg.web:app --log-file=-": ("gunicorn", "pkg.web:app", "--log-file=-"),
    "web: gunicorn 'pkg.web:create_app(\"a|b\")'": ("gunicorn", 'pkg.web:create_app("a|b")'),
}


@pytest.mark.parametrize("text", PROCFILES)
def test_the_web_process_of_a_procfile_is_started_without_a_shell(text: str, ask) -> None:
    found = ask({**TREE, "Procfile": text + "\n"})
    assert (found.rule, found.argv, found.kind) == ("procfile", PROCFILES[text], "server")


def test_steps_before_the_web_process_are_named_as_left_out(ask) -> None:
    found = ask({**TREE, "Procfile": "web: python -m pkg migrate && gunicorn pkg.web:app\n"})
    assert "left out" in found.reason
    assert "python -m pkg migrate" in found.reason


@pytest.mark.parametrize(
    "text",
    [
        "web: a | b",
        "web: x > y",
        "web: gunicorn $(cat app)",
        "web: run `x`",
        "web: a || b",
        "web: a &",
        "web: echo $HOME",
    ],
)
def test_a_procfile_that_needs_a_shell_is_refused(text: str, refused) -> None:
    error = refused({**TREE, "Procfile": text})
    assert error.code == "bad_entrypoint"
    assert error.evidence == "Procfile:1"
    assert "shell" in error.message


def test_a_folder_in_front_of_the_web_process_becomes_its_import_path(ask) -> None:
    found = ask(
        {"Procfile": "web: cd srv && gunicorn web:app\n", "srv/web.py": "from flask import Flask\napp = Flask('x')\n"}
    )
    assert found.argv == ("gunicorn", "web:app")
    assert found.env == {"PYTHONPATH": "/app/srv"}
