"""The second decision: how what was chosen is started."""

from __future__ import annotations

import pytest

GUARD = "\nif __name__ == '__main__':\n    "
U = ("--host", "127.0.0.1", "--port", "${PORT}")
G = ("gunicorn", "--bind", "127.0.0.1:${PORT}", "--workers", "1", "--threads", "4", "--worker-tmp-dir", "/tmp")
STREAMLIT = ("--server.port", "${PORT}", "--server.address", "127.0.0.1", "--server.headless", "true",
             "--browser.gatherUsageStats", "false")  # fmt: skip

CASES = {
    "FastAPI object": ("from fastapi import FastAPI\napp = FastAPI()\n", ("uvicorn", "main:app", *U)),
    "annotated object": ("import fastapi\napi: fastapi.FastAPI = fastapi.FastAPI()\n", ("uvicorn", "main:api", *U)),
    "Starlette object": (
        "from starlette.applications import Starlette\napp = Starlette()\n",
        ("uvicorn", "main:app", *U),
    ),
    "Litestar object": ("from litestar import Litestar\napp = Litestar([])\n", ("uvicorn", "main:app", *U)),
    "Quart object": ("from quart import Quart\napp = Quart(__name__)\n", ("uvicorn", "main:app", *U)),
    "Flask object": ("from flask import Flask\napp = Flask(__name__)\n", (*G, "main:app")),
    "object of a derived class": (
        "from flask import Flask\nclass Mine(Flask):\n    pass\napplication = Mine(__name__)\n",
        (*G, "main:application"),
    ),
    "Falcon object": ("import falcon\napp = falcon.App()\n", (*G, "main:app")),
    "Falcon's ASGI object": ("import falcon.asgi\napp = falcon.asgi.App()\n", ("uvicorn", "main:app", *U)),
    "Bottle object": ("from bottle import Bottle\napp = Bottle()\n", (*G, "main:app")),
    "Bottle by a star import": ("from bottle import *\napp = Bottle()\n", (*G, "main:app")),
    "hug routes": ("import hug\n@hug.get()\ndef hello():\n    return 1\n", (*G, "main:__hug_wsgi__")),
    "a bare ASGI callable": ("async def app(scope, receive, send):\n    pass\n", ("uvicorn", "main:app", *U)),
    "a bare WSGI callable": ("def application(environ, start_response):\n    return []\n", (*G, "main:application")),
    "an ASGI class": (
        "class App:\n    async def __call__(self, scope, receive, send): ...\napp = App()\n",
        ("uvicorn", "main:app", *U),
    ),
    "aiohttp object": (
        "from aiohttp import web\napp = web.Application()\n",
        (
            "gunicorn",
            "--bind",
            "127.0.0.1:${PORT}",
            "--workers",
            "1",
            "--worker-class",
            "aiohttp.GunicornWebWorker",
            "--worker-tmp-dir",
            "/tmp",
            "main:app",
        ),
    ),
    "aiohttp factory": (
        "from aiohttp import web\nasync def create_app():\n    app = web.Application()\n    return app\n",
        (
            "gunicorn",
            "--bind",
            "127.0.0.1:${PORT}",
            "--workers",
            "1",
            "--worker-class",
            "aiohttp.GunicornWebWorker",
            "--worker-tmp-dir",
            "/tmp",
            "main:create_app",
        ),
    ),
    "Sanic object": ("from sanic import Sanic\napp = Sanic('x')\n", ("sanic", "main:app", *U, "--single-process")),
    "FastAPI factory": (
        "from fastapi import FastAPI\ndef create_app() -> FastAPI:\n    return FastAPI()\n",
        ("uvicorn", "--factory", "main:create_app", *U),
    ),
    "Flask factory": (
        "from flask import Flask\ndef create_app(config=None):\n    app = Flask(__name__)\n    return app\n",
        (*G, "main:create_app()"),
    ),
    "object made by a local factory": (
        "from flask import Flask\ndef make():\n    app = Flask(__name__)\n    return app\napp = make()\n",
        (*G, "main:app"),
    ),
    "the outermost of two objects": (
        "import socketio\nfrom fastapi import FastAPI\napp = FastAPI()\nsio = socketio.AsyncServer()\n"
        "socket_app = socketio.ASGIApp(sio, app)\n",
        ("uvicorn", "main:socket_app", *U),
    ),
    "the object that the other one is mounted on": (
        "from fastapi import FastAPI\napi = FastAPI()\nroot = FastAPI()\nroot.mount('/api', api)\n",
        ("uvicorn", "main:root", *U),
    ),
    "a guard that serves": (
        "import uvicorn\nfrom fastapi import FastAPI\napp = FastAPI()\n" + GUARD + "uvicorn.run(app, port=9000)\n",
        ("python", "/app/main.py"),
    ),
    "a guard spelled with in": (
        "from nicegui import ui\nif __name__ in {'__main__', '__mp_main__'}:\n    ui.run()\n",
        ("python", "/app/main.py"),
    ),
    "a guard that only prepares the database": (
        "from flask import Flask\napp = Flask(__name__)\ndef setup(): ...\n" + GUARD + "setup()\n",
        (*G, "main:app"),
    ),
    "a serving call without a guard": (
        "from flask import Flask\napp = Flask(__name__)\napp.run(host='0.0.0.0')\n",
        ("python", "/app/main.py"),
    ),
    "a main that nothing calls": (
        "def main():\n    pass\n",
        ("python", "-c", "import sys; from main import main; sys.exit(main())"),
    ),
    "an async main that nothing calls": (
        "async def main():\n    pass\n",
        ("python", "-c", "import asyncio, sys; from main import main; sys.exit(asyncio.run(main()))"),
    ),
    "a plain script": ("print('hello')\n", ("python", "/app/main.py")),
    "a Streamlit script": ("import streamlit as st\nst.title('x')\n", ("streamlit", "run", "/app/main.py", *STREAMLIT)),
    "a Streamlit script with a guard": (
        "import streamlit as st\ndef main():\n    st.title('x')\n" + GUARD + "main()\n",
        ("streamlit", "run", "/app/main.py", *STREAMLIT),
    ),
    "a Chainlit script": (
        "import chainlit as cl\n@cl.on_message\nasync def on(m): ...\n",
        ("chainlit", "run", "/app/main.py", "--headless", "--host", "127.0.0.1", "--port", "${PORT}"),
    ),
    "a Gradio launch": (
        "import gradio as gr\ndemo = gr.Interface(fn=str, inputs='text', outputs='text')\ndemo.launch()\n",
        ("python", "/app/main.py"),
    ),
    "a Dash object with its server": (
        "import dash\napp = dash.Dash(__name__)\napp.layout = []\nserver = app.server\n",
        (
            "python",
            "-c",
            "import os; from main import app; app.run(host='127.0.0.1', port=int(os.environ.get('PORT', '8050')))",
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_main_py_is_started_as(name: str, ask) -> None:
    source, argv = CASES[name]
    assert ask({"main.py": source}).argv == argv


SERVERS = [
    name
    for name in CASES
    if any(word in name for word in ("object", "factory", "Streamlit", "guard that serves", "Gradio"))
]


@pytest.mark.parametrize("name", SERVERS)
def test_what_serves_is_guessed_to_be_a_server(name: str, ask) -> None:
    assert ask({"main.py": CASES[name][0]}).kind == "server"


def test_the_server_is_supplied_unless_the_repository_names_it(ask, tmp_path) -> None:
    source = "from fastapi import FastAPI\napp = FastAPI()\n"
    assert ask({"main.py": source}).packages == ("uvicorn",)
    assert ask({"main.py": source, "requirements.txt": "uvicorn[standard]==0.30\n"}).packages == ()


def test_a_port_in_the_source_is_told(ask) -> None:
    source = "import uvicorn\n" + GUARD + "uvicorn.run('main:app', port=9000)\n"
    assert ask({"main.py": source}).port == 9000


def test_a_file_that_imports_from_the_folder_above_is_run_as_a_module(ask) -> None:
    found = ask({"app/main.py": "from app.core import run\n" + GUARD + "run()\n", "app/core.py": "def run(): ...\n"})
    assert found.argv == ("python", "-m", "app.main")
    assert not found.env


def test_a_file_that_imports_its_neighbours_is_run_as_a_file(ask) -> None:
    found = ask({"bot/main.py": "import core\n" + GUARD + "core.run()\n", "bot/core.py": "def run(): ...\n"})
    assert found.argv == ("python", "/app/bot/main.py")


def test_an_object_whose_module_imports_its_neighbours_gets_their_folder(ask) -> None:
    found = ask({"server/main.py": "from fastapi import FastAPI\nimport core\napp = FastAPI()\n", "server/core.py": ""})
    assert found.argv[:2] == ("uvicorn", "main:app")
    assert found.env == {"PYTHONPATH": "/app/server"}


def test_an_object_imported_from_a_package_is_found_through_it(ask) -> None:
    found = ask(
        {
            "main.py": "from pkg.web import app\n",
            "pkg/__init__.py": "",
            "pkg/web.py": "from flask import Flask\napp = Flask('x')\n",
        }
    )
    assert found.argv[-1] == "main:app"
    assert found.launch == "gunicorn"
