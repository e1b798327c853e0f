"""What the repository's own texts start: a start found by its name that they contradict is refused."""

from __future__ import annotations

import pytest

GUARD = "\nif __name__ == '__main__':\n    "
MAIN = "def main(): ...\n" + GUARD + "main()\n"
FLASK = "from flask import Flask\napp = Flask(__name__)\n"
SERVER = FLASK + GUARD + "app.run()\n"
CHORE = "def main(): ...\n" + GUARD + "main()\n"

TEXTS = {
    "the README": {"README.md": "# Hi\n\n    python3 shop.py\n"},
    "the README, by a server": {"README.md": "Run `gunicorn shop:app`.\n"},
    "a Procfile's other processes": {"Procfile": "\n\nworker: python shop.py\n"},
    "a compose file": {"compose.yaml": "services:\n  x:\n    command: python shop.py\n"},
    "a Makefile": {"Makefile": "run:\n\n\tpython shop.py\n"},
    "a start script": {"start.sh": "#!/bin/sh\n\nexec python shop.py\n"},
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_conventional_file_that_a_text_contradicts_is_refused(text: str, refused) -> None:
    error = refused({"requirements.txt": "", "main.py": MAIN, "shop.py": SERVER, **TEXTS[text]})
    assert error.code == "ambiguous"
    assert error.candidates == ("main.py", "shop.py")
    name = next(iter(TEXTS[text]))
    assert error.evidence.partition(":")[0] == name
    assert f"{error.evidence} starts shop.py" in error.message
    assert "`entrypoint: shop.py`" in error.hint


def test_a_text_that_starts_the_file_as_well_confirms_it(ask) -> None:
    found = ask({"main.py": MAIN, "shop.py": SERVER, "README.md": "python main.py --port 80\n\npython shop.py\n"})
    assert found.argv == ("python", "/app/main.py")


def test_a_set_up_script_does_not_contradict_a_server(ask) -> None:
    found = ask({"app.py": SERVER, "fill.py": CHORE, "README.md": "python fill.py\n"})
    assert found.argv == ("python", "/app/app.py")


def test_a_file_that_serves_the_found_application_does_not_contradict_it(ask) -> None:
    files = {"app.py": FLASK, "go.py": "from app import app\n" + GUARD + "app.run()\n", "README.md": "python go.py\n"}
    assert ask(files).argv[-1] == "app:app"


def test_a_file_below_a_folder_is_found_through_the_cd_before_it(refused) -> None:
    files = {
        "main.py": MAIN,
        "api/web.py": SERVER,
        "old/web.py": SERVER,
        "README.md": "cd api\npip install x\npython web.py\n",
    }
    assert refused(files).candidates == ("main.py", "api/web.py")


def test_what_somebody_declared_is_not_doubted(ask) -> None:
    project = (
        '[build-system]\nrequires = ["setuptools"]\n[project]\nname = "pkg"\n[project.scripts]\npkg = "main:main"\n'
    )
    assert ask(
        {"pyproject.toml": project, "main.py": MAIN, "shop.py": SERVER, "README.md": "python shop.py\n"}
    ).argv == ("pkg",)


def test_several_packages_with_a_main_are_ambiguous_until_a_text_names_one(ask, refused) -> None:
    files = {"beta/__main__.py": MAIN, "alpha/__main__.py": MAIN}
    error = refused(files)
    assert (error.code, error.candidates) == ("ambiguous", ("alpha/__main__.py", "beta/__main__.py"))
    assert ask({**files, "README.md": "python -m beta\n"}).argv == ("python", "-m", "beta")


def test_a_server_beside_an_application_that_it_does_not_serve_is_not_the_one(refused) -> None:
    hook = "from http.server import HTTPServer\n" + GUARD + "HTTPServer(('', 1), None).serve_forever()\n"
    error = refused({"requirements.txt": "", "lib/hook.py": hook, "shop/site.py": FLASK})
    assert error.code == "ambiguous"
    assert set(error.candidates) == {"lib/hook.py", "shop/site.py"}


def test_what_stands_in_for_a_real_server_is_not_started(ask) -> None:
    found = ask({"requirements.txt": "", "shop/site.py": SERVER, "shop/mock_bank.py": SERVER})
    assert found.argv[-1] in ("/app/shop/site.py", "shop.site")


STUBS = (
    "def main():\n    print('Hello from shop!')\n" + GUARD + "main()\n",
    "def print_hi(name):\n    print(name)\n" + GUARD + "print_hi('PyCharm')\n",
)


@pytest.mark.parametrize("stub", STUBS)
def test_a_new_projects_first_file_does_not_stand_in_for_the_program(stub: str, ask) -> None:
    assert ask({"main.py": stub, "server.py": SERVER}).argv == ("python", "/app/server.py")


def test_a_file_that_completes_the_found_application_contradicts_it(refused) -> None:
    routes = "from app import app\n@app.get('/')\ndef home(): ...\n" + GUARD + "app.run()\n"
    error = refused({"app.py": FLASK, "pages.py": routes, "README.md": "python pages.py\n"})
    assert error.candidates == ("app.py", "pages.py")


def test_a_dash_application_without_a_layout_is_left_to_the_module_that_gives_it_one(ask) -> None:
    bare = "from dash import Dash\napp = Dash()\nserver = app.server\n"
    whole = "from app import app\napp.layout = []\n" + GUARD + "app.run()\n"
    assert ask({"requirements.txt": "", "app.py": bare, "index.py": whole}).argv == ("python", "/app/index.py")


def test_the_only_guarded_file_of_a_collection_of_scripts_is_not_its_start(refused) -> None:
    scripts = {f"{day}.py": "print('hello')\n" for day in ("one", "two", "three")}
    assert refused({"week/four.py": MAIN, **scripts}).code == "ambiguous"


def test_a_batch_file_breaks_a_tie_between_servers(ask) -> None:
    files = {"requirements.txt": "", "shop.py": SERVER, "old_shop.py": SERVER, "go.bat": "python shop.py\r\n"}
    assert ask(files).argv == ("python", "/app/shop.py")


def test_projects_in_folders_give_way_to_the_one_file_that_the_texts_start(ask) -> None:
    files = {
        "src/web.py": SERVER,
        "tool/setup.py": "from setuptools import setup\nsetup(name='t')\n",
        "tool/t.py": MAIN,
    }
    assert ask({**files, "README.md": "python src/web.py\n"}).argv[-1] == "/app/src/web.py"


@pytest.mark.parametrize("other", ["scripts/run_it.py", "lib/setup.py"])
def test_a_name_that_says_nothing_is_no_start_beside_helpers_or_projects(other: str, refused) -> None:
    error = refused({"requirements.txt": "", "fill-data.py": MAIN, other: MAIN, "lib/x.py": ""})
    assert error.code == "ambiguous"
    assert error.candidates == ("fill-data.py", other.removesuffix("/setup.py"))


def test_a_file_without_a_guard_that_the_readme_starts_is_the_start(ask, refused) -> None:
    files = {"requirements.txt": "", "code/main.py": "print('hello')\n", "code/parts.py": "x = 1\n"}
    assert refused(files).code == "no_entrypoint"
    assert ask({**files, "README.md": "python main.py\n"}).argv == ("python", "/app/code/main.py")
