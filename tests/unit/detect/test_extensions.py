"""The careful extensions, which speak only where the brief's order is silent."""

# ruff: noqa: E501 - each little tree stays on its line
from __future__ import annotations

GUARD = "\nif __name__ == '__main__':\n    "
FLASK = "from flask import Flask\napp = Flask(__name__)\n"
MANAGE = (
    "import os\ndef main():\n    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site1.settings')\n"
    "    from django.core.management import execute_from_command_line\n" + GUARD + "main()\n"
)
WSGI = "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n"


def test_django_is_served_by_gunicorn(ask) -> None:
    found = ask({"manage.py": MANAGE, "site1/__init__.py": "", "site1/settings.py": "", "site1/wsgi.py": WSGI})
    assert found.rule == "django"
    assert found.argv[0] == "gunicorn"
    assert found.argv[-1] == "site1.wsgi:application"
    assert found.evidence == "site1/wsgi.py:2"
    assert found.packages == ("gunicorn",)


def test_django_follows_the_settings_to_its_application(ask) -> None:
    settings = "WSGI_APPLICATION = 'site1.web.application'\n"
    found = ask({"manage.py": MANAGE, "site1/settings.py": settings, "site1/web.py": WSGI})
    assert found.argv[-1] == "site1.web:application"


def test_django_below_a_folder_gets_its_import_path(ask) -> None:
    found = ask(
        {"requirements.txt": "django", "src/manage.py": MANAGE, "src/site1/settings.py": "", "src/site1/wsgi.py": WSGI}
    )
    assert found.argv[-1] == "site1.wsgi:application"
    assert found.env == {"PYTHONPATH": "/app/src"}


def test_two_django_projects_are_ambiguous(refused) -> None:
    files = {"requirements.txt": "", "a/manage.py": MANAGE, "b/manage.py": MANAGE}
    assert refused(files).candidates == ("a/manage.py", "b/manage.py")


def test_a_manage_py_of_something_else_is_no_django(ask) -> None:
    found = ask({"manage.py": "import flask_script\n" + GUARD + "pass\n", "wsgi.py": FLASK})
    assert found.rule == "root-named"
    assert found.argv[-1] == "wsgi:app"


def test_well_known_names_at_the_root(ask) -> None:
    assert ask({"run.py": "from web import app\n" + GUARD + "app.run()\n", "web.py": FLASK, "tasks.py": ""}).argv == (
        "python",
        "/app/run.py",
    )


def test_the_file_named_like_the_project(ask) -> None:
    files = {"microblog.py": "from app import create_app\napp = create_app()\n",
             "app/__init__.py": "from flask import Flask\ndef create_app(c=None):\n    app = Flask(__name__)\n    return app\n"}  # fmt: skip
    assert ask(files, dist_hint="microblog").argv[-1] == "microblog:app"


def test_the_dockerfile_of_the_repository_is_followed(ask) -> None:
    files = {"requirements.txt": "", "svc/one.py": FLASK, "svc/two.py": FLASK,
             "Dockerfile": 'FROM python:3.11\nCOPY svc /code/svc\nCMD ["gunicorn", "svc.two:app", "-b", "0.0.0.0:80"]\n'}  # fmt: skip
    found = ask(files)
    assert (found.rule, found.argv[-1], found.evidence) == ("dockerfile", "svc.two:app", "Dockerfile:3")


def test_only_the_last_stage_of_a_dockerfile_counts(ask) -> None:
    files = {"requirements.txt": "", "a/one.py": FLASK, "b/two.py": FLASK,
             "Dockerfile": "FROM x AS build\nCMD python a/one.py\nFROM y\nENV A=1\nCMD uvicorn a.one:app\n"}  # fmt: skip
    assert ask(files).argv[-1] == "a.one:app"


def test_the_one_module_that_serves(ask) -> None:
    files = {"requirements.txt": "", "service/web.py": FLASK + GUARD + "app.run()\n", "service/db.py": "X = 1\n"}
    found = ask(files)
    assert (found.rule, found.argv) == ("server-module", ("python", "/app/service/web.py"))


def test_an_application_at_a_usual_place_of_a_package(ask) -> None:
    files = {"requirements.txt": "", "app/__init__.py": "", "app/main.py": FLASK, "other/x.py": FLASK}
    found = ask(files)
    assert (found.rule, found.argv[-1]) == ("package-app", "app.main:app")


def test_a_factory_in_a_package(ask) -> None:
    files = {
        "requirements.txt": "",
        "app/__init__.py": "from flask import Flask\ndef create_app():\n    a = Flask('x')\n    return a\n",
    }
    assert ask(files).argv[-1] == "app:create_app()"


def test_the_scan_prefers_depth_then_server_then_name(ask) -> None:
    plain = "def main(): ...\n" + GUARD + "main()\n"
    assert ask({"deep/er/main.py": plain, "cli.py": plain}).argv == ("python", "/app/cli.py")
    assert ask({"cli.py": plain, "zoo.py": plain}, dist_hint="x").argv == ("python", "/app/cli.py")


def test_a_name_that_says_nothing_is_no_start_beside_others(refused) -> None:
    plain = "def main(): ...\n" + GUARD + "main()\n"
    assert refused({"deep/er/main.py": plain, "snake.py": plain}).candidates == ("snake.py", "deep/er/main.py")


def test_one_step_of_a_training_repository_is_not_picked_among_others(refused) -> None:
    plain = "def main(): ...\n" + GUARD + "main()\n"
    assert refused({"train.py": plain, "lib/model.py": plain}).code == "ambiguous"


def test_a_committed_virtual_environment_is_not_looked_into(refused) -> None:
    plain = "def main(): ...\n" + GUARD + "main()\n"
    error = refused(
        {"requirements.txt": "", "myenv/pyvenv.cfg": "", "myenv/lib/tool.py": plain, "old/site-packages/x.py": plain}
    )
    assert error.code == "no_entrypoint"


def test_the_readme_breaks_a_tie(ask) -> None:
    plain = "def main(): ...\n" + GUARD + "main()\n"
    found = ask({"one.py": plain, "two.py": plain, "README.md": "# Hi\n```\npython3 two.py\n```\n"})
    assert found.argv == ("python", "/app/two.py")
    assert "README.md:3" in found.reason


def test_a_readme_that_starts_several_breaks_no_tie(refused) -> None:
    plain = "def main(): ...\n" + GUARD + "main()\n"
    files = {"one.py": plain, "two.py": plain, "README.md": "python one.py\npython two.py\n"}
    assert refused(files).code == "ambiguous"


def test_a_conventional_name_gives_way_to_the_dockerfile_of_the_repository(ask) -> None:
    files = {"main.py": "print(1)\n" + GUARD + "pass\n", "entry.py": FLASK + GUARD + "app.run()\n", "requirements.txt": "",
             "Dockerfile": "FROM x\nCMD python entry.py\n"}  # fmt: skip
    assert ask(files).argv == ("python", "/app/entry.py")


def test_a_conventional_name_stays_when_it_starts_the_same_application(ask) -> None:
    files = {"main.py": "import uvicorn\n" + GUARD + "uvicorn.run('app.web:app')\n", "requirements.txt": "",
             "app/web.py": "from fastapi import FastAPI\napp = FastAPI()\n",
             "Dockerfile": "FROM x\nCMD uvicorn app.web:app --host 0.0.0.0\n"}  # fmt: skip
    assert ask(files).argv == ("python", "/app/main.py")


def test_the_import_root_is_where_the_whole_program_finds_its_modules(ask) -> None:
    files = {"requirements.txt": "", "src/web/main.py": "from .routes import x\nfrom flask import Flask\napp = Flask('x')\n",
             "src/web/routes.py": "from domain.thing import x\n", "src/domain/thing.py": "x = 1\n"}  # fmt: skip
    found = ask(files)
    assert found.argv[-1] == "web.main:app"
    assert found.env == {"PYTHONPATH": "/app/src"}


def test_a_manage_py_of_flask_is_served(ask) -> None:
    files = {"manage.py": "from flask_script import Manager\nfrom web import make\napp = make()\nManager(app)\n" + GUARD + "pass\n",
             "web/__init__.py": "from flask import Flask\ndef make():\n    app = Flask('x')\n    return app\n",
             "web/extra.py": FLASK + GUARD + "pass\n", "requirements.txt": ""}  # fmt: skip
    assert ask(files).argv[-1] == "manage:app"


def test_one_of_several_servers_is_not_picked_because_it_has_a_guard(refused) -> None:
    files = {"requirements.txt": "", "x/one.py": FLASK + GUARD + "pass\n", "y/two.py": FLASK}
    assert refused(files).code == "ambiguous"


def test_a_readme_command_with_arguments_breaks_no_tie(refused) -> None:
    plain = "def main(): ...\n" + GUARD + "main()\n"
    assert refused({"one.py": plain, "two.py": plain, "README.md": "`python one.py job.json`\n"}).code == "ambiguous"


def test_an_example_at_the_root_of_a_library_is_not_its_start(refused) -> None:
    files = {"setup.py": "from setuptools import setup\nsetup(name='pkg', packages=['pkg'])\n", "pkg/__init__.py": "",
             "example.py": FLASK + "app.run()\n"}  # fmt: skip
    assert refused(files).code == "library"


def test_an_object_that_a_function_with_parameters_completes_is_not_served_bare(refused) -> None:
    source = (
        "from aiohttp import web\napp = web.Application()\ndef setup_app(path):\n    app['x'] = path\n    return app\n"
    )
    assert refused({"requirements.txt": "", "app/web/app.py": source}).code == "no_entrypoint"


def test_a_guard_in_a_part_of_the_program_loses_against_a_start(ask) -> None:
    plain = "def main(): ...\n" + GUARD + "main()\n"
    assert ask({"game/log.py": plain, "game/startserver.py": plain}).argv[-1].endswith("startserver.py")


def test_an_unknown_name_at_the_root_does_not_beat_servers_below(refused) -> None:
    plain = "def main(): ...\n" + GUARD + "main()\n"
    files = {"count.py": plain, "a/one.py": FLASK + GUARD + "app.run()\n", "b/two.py": FLASK + GUARD + "app.run()\n"}
    assert refused(files).code == "ambiguous"


def test_django_beside_another_server_is_ambiguous(refused) -> None:
    django = {
        "requirements.txt": "",
        "site/manage.py": MANAGE,
        "site/site1/settings.py": "",
        "site/site1/wsgi.py": WSGI,
    }
    error = refused({**django, "hook/main.py": FLASK})
    assert (error.code, error.candidates) == ("ambiguous", ("site", "hook/main.py"))
    assert "`path: site`" in error.hint


def test_django_in_a_folder_beside_projects_is_a_monorepo(refused) -> None:
    django = {"api/manage.py": MANAGE, "api/site1/settings.py": "", "api/site1/wsgi.py": WSGI}
    error = refused({**django, "pyproject.toml": "[project]\nname = 'x'\n", "lib/setup.py": "", "lib/x.py": ""})
    assert (error.code, error.candidates) == ("monorepo", ("api", "lib"))


def test_an_application_under_a_second_name_is_served_by_its_first(ask) -> None:
    views = "from blog import app\n@app.route('/')\ndef home(): ...\n"
    found = ask({"requirements.txt": "", "blog/__init__.py": FLASK + "import blog.views\n", "blog/views.py": views})
    assert found.argv[-1] == "blog:app"


def test_streamlit_pages_belong_to_the_script_above_them(ask) -> None:
    page = "import streamlit as st\nst.write('x')\n" + GUARD + "st.write('y')\n"
    found = ask({"requirements.txt": "", "1_Traffic.py": page, "pages/2_Speed.py": page, "pages/3_Load.py": page})
    assert found.argv[:3] == ("streamlit", "run", "/app/1_Traffic.py")
