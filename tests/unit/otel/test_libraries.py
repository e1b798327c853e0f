"""Each library that is traced, really used: the spans hang together, and the app says what it would say without us."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow

SERVE = """
import threading, wsgiref.simple_server
class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_): pass
seen = []
def plain(environ, start):
    seen.append(environ.get("HTTP_TRACEPARENT", "none"))
    start("200 OK", []); return [b"ok"]
server = wsgiref.simple_server.make_server("127.0.0.1", 0, plain, handler_class=Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = "http://127.0.0.1:%d/" % server.server_port
"""

PROGRAMS = {
    "fastapi": """
        import fastapi, fastapi.testclient
        app = fastapi.FastAPI()
        @app.get("/a/{n}")
        async def a(n: int): return n
        print(fastapi.testclient.TestClient(app).get("/a/1").json())
        """,
    "django": """
        from django.core.wsgi import get_wsgi_application
        from django.conf import settings
        settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=[])
        from django.http import HttpResponse
        from django.urls import path
        urlpatterns = [path("a/<int:n>", lambda request, n: HttpResponse(str(n)))]
        get_wsgi_application()
        from django.test import Client
        print(Client().get("/a/1").content.decode())
        """,
    "aiohttp": """
        import asyncio
        from aiohttp import web, ClientSession
        async def main():
            async def a(request): return web.Response(text="1")
            app = web.Application(); app.add_routes([web.get("/a/{n}", a)])
            runner = web.AppRunner(app); await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0); await site.start()
            port = site._server.sockets[0].getsockname()[1]
            async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/a/1") as answer:
                print(await answer.text())
            await runner.cleanup()
        asyncio.run(main())
        """,
    "tornado": """
        import asyncio, tornado.web, tornado.httpclient, tornado.httpserver, tornado.netutil
        class A(tornado.web.RequestHandler):
            def get(self, n): self.write(n)
        async def main():
            server = tornado.httpserver.HTTPServer(tornado.web.Application([("/a/(?P<n>.*)", A)]))
            sockets = tornado.netutil.bind_sockets(0, "127.0.0.1"); server.add_sockets(sockets)
            url = "http://127.0.0.1:%d/a/1" % sockets[0].getsockname()[1]
            print((await tornado.httpclient.AsyncHTTPClient().fetch(url)).body.decode())
        asyncio.run(main())
        """,
    "falcon": """
        import falcon, falcon.testing
        class A:
            def on_get(self, request, response, n): response.text = n
        app = falcon.App(); app.add_route("/a/{n}", A())
        print(falcon.testing.TestClient(app).simulate_get("/a/1").text)
        """,
    "sqlalchemy": """
        import sqlalchemy
        with sqlalchemy.create_engine("sqlite://").connect() as connection:
            print(connection.execute(sqlalchemy.text("select 1")).scalar())
        """,
}


@pytest.mark.parametrize(
    ("library", "names"),
    [
        ("fastapi", ["fastapi: GET /a/{n}"]),
        ("django", ["django: GET a/<int:n>"]),
        ("aiohttp", ["aiohttp_server: GET /a/{n}", "aiohttp_client: GET"]),
        ("tornado", ["tornado: GET /a/{n}", "tornado: GET"]),
        ("falcon", ["falcon: GET /a/{n}"]),
        ("sqlalchemy", ["sqlalchemy: connect", "sqlalchemy: select"]),
    ],
)
def test_a_library_is_traced_and_the_app_says_what_it_said_before(run: Any, library: str, names: list[str]) -> None:
    done = run(PROGRAMS[library], spans=len(names))
    assert (done.code, done.out, done.err) == (0, "1\n", "")
    assert done.names == names
    with_parent = [span for span in done.spans if span.get("parentSpanId")]
    for span in with_parent:
        assert any(span["parentSpanId"] == other["spanId"] for other in done.spans)


@pytest.mark.parametrize(
    ("scope", "call"),
    [
        ("requests", "import requests; requests.get(url)"),
        ("httpx", "import httpx; httpx.get(url)"),
        ("urllib", "import urllib.request; urllib.request.urlopen(url).read()"),
        ("urllib3", "import urllib3; urllib3.PoolManager().request('GET', url)"),
    ],
)
def test_a_client_hands_its_trace_on_and_makes_one_span_of_a_request(run: Any, scope: str, call: str) -> None:
    done = run(f"{SERVE}{call}\nprint(seen[0])", spans=1, NO_PROXY="*")
    assert done.err == ""
    assert done.names == [f"{scope}: GET"]
    assert done.out.strip() == f"00-{done.spans[0]['traceId']}-{done.spans[0]['spanId']}-01"


def test_gevent_may_patch_before_we_import_anything(run: Any) -> None:
    done = run(
        "from gevent import monkey; monkey.patch_all()\n"
        f"{SERVE}import requests, gevent\ngevent.spawn(requests.get, url).join()\nprint(len(seen))",
        spans=1,
        NO_PROXY="*",
    )
    assert (done.out, done.err, done.names) == ("1\n", "", ["requests: GET"])


@pytest.mark.parametrize("preload", [True, False])
def test_gunicorns_workers_are_traced_forked_before_or_after_the_import(
    run: Any, apps: Any, tmp_path: Any, preload: bool
) -> None:
    (tmp_path / "shop.py").write_text("""
import flask
app = flask.Flask("shop")
@app.get("/a/<n>")
def a(n): return n
""")
    (tmp_path / "conf.py").write_text(f"""
bind = "127.0.0.1:0"; workers = 2; preload_app = {preload}; loglevel = "critical"
def post_worker_init(worker):
    import threading, urllib3.util  # not a traced client
    def ask():
        import http.client, os, signal, time
        port = worker.sockets[0].getsockname()[1]
        for _ in range(50):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port); connection.request("GET", "/a/1")
                connection.getresponse().read(); break
            except OSError: time.sleep(0.05)
        time.sleep(0.2); os.kill(os.getppid(), signal.SIGTERM)
    threading.Thread(target=ask, daemon=True).start()
""")
    done = run([str(apps), "-m", "gunicorn", "-c", "conf.py", "shop:app"], spans=1)
    assert done.err == ""
    assert done.names[0] == "flask: GET /a/<n>"
