"""Tracing lent to an app never changes what the app does. Each conflict that has broken somebody's app is one test."""

from __future__ import annotations

import shutil
import textwrap
import zipapp
from pathlib import Path
from typing import Any

import pytest

# Each starts Python with the whole SDK, a dozen seconds in all: too much for `make test`.
pytestmark = pytest.mark.slow

FLASK = """
    import flask
    app = flask.Flask("app")
    @app.get("/hello")
    def hello(): return "hi"
    print(app.test_client().get("/hello").text)
"""
SEE = """
    import sys
    print([m for m in sys.modules if m.startswith("opentelemetry")], [p for p in sys.path if p.endswith("/lib")])
"""


def test_a_request_becomes_a_span_of_the_service(run: Any) -> None:
    done = run(FLASK, spans=1)
    assert (done.code, done.out, done.err, done.names) == (0, "hi\n", "", ["flask: GET /hello"])
    resource = done.spans[0]["resource"]
    assert (resource["service.name"], resource["service.version"], resource["karst.stack"]) == ("web", "r1", "test")


def test_the_standard_variables_have_the_last_word_on_who_we_are(run: Any) -> None:
    env = {"OTEL_SERVICE_NAME": "mine", "OTEL_RESOURCE_ATTRIBUTES": "karst.stack=other,team=a"}
    resource = run(FLASK, spans=1, **env).spans[0]["resource"]
    assert (resource["service.name"], resource["karst.stack"], resource["team"]) == ("mine", "other", "a")


@pytest.mark.parametrize(
    "env",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"KARST_OTEL_SOCKET": ""},
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "flask"},
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"},
        {"OTEL_TRACES_SAMPLER": "always_off"},
    ],
)
def test_tracing_can_be_switched_off(run: Any, env: dict[str, str]) -> None:
    done = run(FLASK, **env)
    assert (done.out, done.err, done.spans) == ("hi\n", "", [])


def test_a_program_that_uses_nothing_we_trace_never_meets_us(run: Any) -> None:
    assert run("import json, logging, asyncio, sqlite3, urllib.request", SEE).out == "[] []\n"


def test_looking_for_a_library_is_not_importing_it(run: Any) -> None:
    look = "import importlib.util as u; u.find_spec('flask'); print(u.find_spec('opentelemetry'))"
    done = run(look, FLASK, spans=1)
    assert (done.out, len(done.spans)) == ("None\nhi\n", 1)


def test_an_app_with_its_own_sdk_keeps_it_to_itself(run: Any, package: Any) -> None:
    own = package("opentelemetry-sdk==1.20.0", "setuptools<80")
    done = run(
        FLASK + """
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    import opentelemetry.sdk.version as version
    trace.set_tracer_provider(TracerProvider())
    print(type(trace.get_tracer_provider()).__name__, version.__version__, type(app).__name__)
    """,
        path=[own],
    )
    assert (done.out, done.err, done.spans) == ("hi\nTracerProvider 1.20.0 Flask\n", "", [])


def test_an_app_with_an_old_api_gets_its_own_api_and_no_spans(run: Any, package: Any) -> None:
    own = package("opentelemetry-api==1.20.0", "setuptools<80")
    done = run(
        FLASK + """
    import opentelemetry.trace, importlib.util, sys
    from opentelemetry.version import __version__
    print(__version__, importlib.util.find_spec("opentelemetry.sdk"), [p for p in sys.path if p.endswith("/lib")])
    with opentelemetry.trace.get_tracer("x").start_as_current_span("s") as span: print(span.is_recording())
    """,
        path=[own],
    )
    assert (done.out, done.err, done.spans) == ("hi\n1.20.0 None []\nFalse\n", "", [])


def test_an_app_that_uses_the_same_api_gets_its_own_spans_recorded(run: Any, package: Any, lent: Path) -> None:
    version = next((lent / "lib").glob("opentelemetry_api-*")).name.split("-")[1].removesuffix(".dist")
    done = run(
        FLASK.replace(
            'def hello(): return "hi"',
            """def hello():
        from opentelemetry import trace
        with trace.get_tracer("mine").start_as_current_span("inner"): return "hi"
            """,
        ),
        spans=2,
        path=[package(f"opentelemetry-api=={version}")],
    )
    assert done.names == ["mine: inner", "flask: GET /hello"]
    assert done.spans[0]["parentSpanId"] == done.spans[1]["spanId"]


def test_an_app_with_its_own_protobuf_never_meets_another(run: Any, package: Any) -> None:
    done = run(
        FLASK,
        "import sys; print([m for m in sys.modules if m.startswith('google')])",
        "import google.protobuf; print(google.protobuf.__version__)",
        spans=1,
        path=[package("protobuf==3.20.3")],
    )
    assert (done.out, done.err, len(done.spans)) == ("hi\n[]\n3.20.3\n", "", 1)


def test_a_dependency_of_ours_that_the_app_has_in_an_old_version_only_costs_the_traces(
    run: Any, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "typing_extensions.py").write_text("OLD = True\n")
    done = run(FLASK, SEE, "import typing_extensions; print(typing_extensions.OLD)", path=[old])
    assert (done.out, done.err, done.spans) == ("hi\n[] []\nTrue\n", "", [])


def test_damage_in_our_own_folder_only_costs_the_traces(run: Any, lent: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(lent, broken, symlinks=True)
    (broken / "lib" / "karst_otel.py").write_text("raise RuntimeError('boom')")
    done = run(FLASK, PYTHONPATH=str(broken))
    assert (done.code, done.out, done.err, done.spans) == (0, "hi\n", "", [])


def test_another_tracer_is_left_alone(run: Any, tmp_path: Path) -> None:
    (tmp_path / "apm" / "ddtrace").mkdir(parents=True)
    (tmp_path / "apm" / "ddtrace" / "__init__.py").touch()
    assert run(FLASK, path=[tmp_path / "apm"]).spans == []


def test_the_apps_own_sitecustomize_runs_once_and_is_what_is_imported(run: Any, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("print('mine'); MINE = 1\n")
    done = run(FLASK, "import sitecustomize; print(sitecustomize.MINE)", path=[own], spans=1)
    assert (done.out, len(done.spans)) == ("mine\nhi\n1\n", 1)


def test_a_broken_sitecustomize_of_the_app_is_reported_as_python_does(run: Any, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("1 / 0\n")
    with_us = run(FLASK, path=[own], spans=1)
    without = run(FLASK, PYTHONPATH=str(own))
    assert (with_us.code, with_us.out) == (0, "hi\n")
    assert "ZeroDivisionError" in without.err
    assert with_us.err == without.err


@pytest.mark.parametrize("flag", ["-S", "-I", "-E"])
def test_an_isolated_interpreter_stays_isolated(run: Any, flag: str) -> None:
    done = run(SEE, flags=(flag,))
    assert (done.code, done.out, done.spans) == (0, "[] []\n", [])


def test_a_sys_path_made_anew_is_no_obstacle(run: Any) -> None:
    anew = "import sys; sys.path[:] = [p for p in sys.path if 'otel' not in p]"
    assert run(anew, FLASK, spans=1).names == ["flask: GET /hello"]


def test_a_zipped_app_is_an_app(run: Any, apps: Path, tmp_path: Path) -> None:
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "__main__.py").write_text(textwrap.dedent(FLASK))
    zipapp.create_archive(tmp_path / "z", tmp_path / "app.pyz")
    assert run([str(apps), str(tmp_path / "app.pyz")], spans=1).names == ["flask: GET /hello"]


def test_what_a_program_prints_for_its_parent_has_no_spans_in_it(run: Any) -> None:
    child = "import flask; app = flask.Flask('a'); app.test_client().get('/'); print('answer')"
    done = run(f"import subprocess, sys; print(subprocess.check_output([sys.executable, '-c', {child!r}]))", spans=1)
    assert (done.out, len(done.spans)) == ("b'answer\\n'\n", 1)


def test_a_seeded_random_stays_as_predictable_as_it_was(run: Any) -> None:
    program = ("import random; random.seed(1)", FLASK, "print(random.random())")
    assert run(*program, spans=1).out == run(*program, OTEL_SDK_DISABLED="true").out


def test_both_sides_of_a_fork_are_traced_under_ids_of_their_own(run: Any) -> None:
    done = run(FLASK, "import os; pid = os.fork(); app.test_client().get('/hello'); pid and os.wait()", spans=3)
    assert done.names == ["flask: GET /hello"] * 3
    assert len({span["spanId"] for span in done.spans}) == 3


def test_a_descriptor_that_the_app_took_over_is_never_written_to(run: Any) -> None:
    """Daemons close every descriptor they do not know; the next socket gets the number that was ours."""
    done = run(
        FLASK + """
    import os, socket
    os.closerange(3, 256)
    pairs = [socket.socketpair() for _ in range(20)]
    app.test_client().get("/hello")
    for one in [end for pair in pairs for end in pair]:
        one.setblocking(False)
        try: print("received", one.recv(100))
        except BlockingIOError: pass
    """,
        spans=2,
    )
    assert (done.out, len(done.spans)) == ("hi\n", 2)


def test_a_runner_that_does_not_read_costs_spans_and_no_time(run: Any) -> None:
    done = run("""
        import os, socket
        name = "karst-test-%d" % os.getpid()
        door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); door.bind(chr(0) + name); door.listen(9)
        os.environ["KARST_OTEL_SOCKET"] = name
        import flask, time
        app = flask.Flask("app")
        client = app.test_client()
        began = time.monotonic()
        for _ in range(1000): client.get("/")
        print(time.monotonic() - began < 5)
        taken = door.accept()[0]; taken.setblocking(False)
        lost = []
        try:
            while True: lost.append(int(taken.recv(1 << 20).split(b"\\n")[0]))
        except BlockingIOError: pass
        client.get("/")
        lost.append(int(taken.recv(1 << 20).split(b"\\n")[0]))
        print(len(lost) + sum(lost))
        """)
    assert done.out == "True\n1001\n", "every span is received or counted"


def test_a_probe_with_an_unsampled_parent_leaves_no_span(run: Any) -> None:
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-00"
    done = run(FLASK, f"app.test_client().get('/hello', headers={{'traceparent': '{parent}'}})", spans=1)
    assert len(done.spans) == 1, "the request without it"
