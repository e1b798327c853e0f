"""Tables: which class makes an application object, which call serves, and what each framework needs to run."""

from __future__ import annotations

from dataclasses import dataclass

from karst.detect.wordset import wordset


@dataclass(frozen=True)
class Framework:
    """How an object of one framework is served when its file does not serve it itself."""

    name: str
    interface: str  # asgi, wsgi, or the framework's own runner
    port: int = 8000


ASGI, WSGI = "asgi", "wsgi"

_FLASK = Framework("Flask", WSGI, 5000)
_FASTAPI = Framework("FastAPI", ASGI)
_STARLETTE = Framework("Starlette", ASGI)
_LITESTAR = Framework("Litestar", ASGI)
_QUART = Framework("Quart", ASGI, 5000)
_FALCON = Framework("Falcon", WSGI)
_DASH = Framework("Dash", "dash", 8050)
_SANIC = Framework("Sanic", "sanic")
_AIOHTTP = Framework("aiohttp", "aiohttp", 8080)
_BOTTLE = Framework("Bottle", WSGI, 8080)
_CONNEXION = Framework("Connexion", ASGI, 8080)
_DJANGO_WSGI = Framework("Django", WSGI)
_DJANGO_ASGI = Framework("Django", ASGI)
_PLAIN_ASGI = Framework("ASGI", ASGI)
_PLAIN_WSGI = Framework("WSGI", WSGI)

# What a module-level name is when it is assigned from a call of this.
APP_CLASSES: dict[str, Framework] = {
    "fastapi.FastAPI": _FASTAPI,
    "fastapi.applications.FastAPI": _FASTAPI,
    "fastapi_offline.FastAPIOffline": _FASTAPI,
    "starlette.applications.Starlette": _STARLETTE,
    "litestar.Litestar": _LITESTAR,
    "litestar.app.Litestar": _LITESTAR,
    "starlite.Starlite": _LITESTAR,
    "quart.Quart": _QUART,
    "quart_trio.QuartTrio": _QUART,
    "blacksheep.Application": Framework("BlackSheep", ASGI),
    "blacksheep.server.Application": Framework("BlackSheep", ASGI),
    "falcon.App": _FALCON,
    "falcon.API": _FALCON,
    "falcon.asgi.App": Framework("Falcon", ASGI),
    "flask.Flask": _FLASK,
    "apiflask.APIFlask": _FLASK,
    "flask_openapi3.OpenAPI": _FLASK,
    "eve.Eve": _FLASK,
    "bottle.Bottle": _BOTTLE,
    "bottle.default_app": _BOTTLE,
    "bottle.app": _BOTTLE,
    "dash.Dash": _DASH,
    "dash_extensions.enrich.DashProxy": _DASH,
    "sanic.Sanic": _SANIC,
    "sanic.app.Sanic": _SANIC,
    "aiohttp.web.Application": _AIOHTTP,
    "connexion.App": _CONNEXION,
    "connexion.FlaskApp": _CONNEXION,
    "connexion.AsyncApp": _CONNEXION,
    "connexion.FlaskApi": _CONNEXION,
    "django.core.wsgi.get_wsgi_application": _DJANGO_WSGI,
    "django.core.asgi.get_asgi_application": _DJANGO_ASGI,
    "channels.routing.ProtocolTypeRouter": _DJANGO_ASGI,
    "socketio.ASGIApp": _PLAIN_ASGI,
    "engineio.ASGIApp": _PLAIN_ASGI,
    "socketio.WSGIApp": _PLAIN_WSGI,
    "socketio.Middleware": _PLAIN_WSGI,
    "engineio.WSGIApp": _PLAIN_WSGI,
    "shiny.App": Framework("Shiny", ASGI),
    "responder.API": Framework("Responder", ASGI),
    "ariadne.asgi.GraphQL": _PLAIN_ASGI,
    "strawberry.asgi.GraphQL": _PLAIN_ASGI,
    "asgiref.wsgi.WsgiToAsgi": _PLAIN_ASGI,
    "a2wsgi.WSGIMiddleware": _PLAIN_ASGI,
    "a2wsgi.ASGIMiddleware": _PLAIN_WSGI,
    "starlette.middleware.cors.CORSMiddleware": _PLAIN_ASGI,
    "uvicorn.middleware.proxy_headers.ProxyHeadersMiddleware": _PLAIN_ASGI,
    "werkzeug.middleware.dispatcher.DispatcherMiddleware": _PLAIN_WSGI,
    "werkzeug.wsgi.DispatcherMiddleware": _PLAIN_WSGI,
    "werkzeug.middleware.proxy_fix.ProxyFix": _PLAIN_WSGI,
    "whitenoise.WhiteNoise": _PLAIN_WSGI,
    "cherrypy.Application": _PLAIN_WSGI,
    "cherrypy.tree.mount": _PLAIN_WSGI,
    "spyne.server.wsgi.WsgiApplication": _PLAIN_WSGI,
    "molten.App": _PLAIN_WSGI,
    "morepath.App": _PLAIN_WSGI,
    "fasthtml.common.FastHTML": _STARLETTE,
    "robyn.Robyn": Framework("Robyn", "robyn", 8080),
}
# Frameworks whose constructor is told by its last part, after a star import (`from fasthtml.common import *`).
STAR_NAMES: dict[tuple[str, str], Framework] = {
    ("bottle", "Bottle"): _BOTTLE,
    ("bottle", "default_app"): _BOTTLE,
    ("flask", "Flask"): _FLASK,
    ("fastapi", "FastAPI"): _FASTAPI,
    ("fasthtml", "FastHTML"): _STARLETTE,
    ("sanic", "Sanic"): _SANIC,
}
# Methods whose result is an application: config.make_wsgi_app(), app.wsgifunc().
APP_METHODS: dict[str, Framework] = {"make_wsgi_app": _PLAIN_WSGI, "wsgifunc": _PLAIN_WSGI}

PLAIN_ASGI, PLAIN_WSGI = _PLAIN_ASGI, _PLAIN_WSGI

# Calls that serve until the end of the process.
SERVE_CALLS: dict[str, int] = {
    "uvicorn.run": 8000,
    "uvicorn.main": 8000,
    "uvicorn.Server": 8000,
    "uvicorn.Config": 8000,
    "hypercorn.asyncio.serve": 8000,
    "hypercorn.trio.serve": 8000,
    "hypercorn.run.run": 8000,
    "granian.Granian": 8000,
    "daphne.server.Server": 8000,
    "waitress.serve": 8080,
    "aiohttp.web.run_app": 8080,
    "aiohttp.web.TCPSite": 8080,
    "werkzeug.serving.run_simple": 5000,
    "wsgiref.simple_server.make_server": 8000,
    "http.server.HTTPServer": 8000,
    "http.server.ThreadingHTTPServer": 8000,
    "socketserver.TCPServer": 0,
    "socketserver.ThreadingTCPServer": 0,
    "xmlrpc.server.SimpleXMLRPCServer": 8000,
    "grpc.server": 50051,
    "grpc.aio.server": 50051,
    "asyncio.start_server": 0,
    "tornado.httpserver.HTTPServer": 8888,
    "tornado.ioloop.IOLoop.current": 8888,
    "tornado.ioloop.IOLoop.instance": 8888,
    "bottle.run": 8080,
    "cherrypy.quickstart": 8080,
    "cherrypy.engine.start": 8080,
    "cheroot.wsgi.Server": 8080,
    "eventlet.wsgi.server": 0,
    "gevent.pywsgi.WSGIServer": 0,
    "gevent.wsgi.WSGIServer": 0,
    "websockets.serve": 8765,
    "websockets.server.serve": 8765,
    "websockets.asyncio.server.serve": 8765,
    "nicegui.ui.run": 8080,
    "flet.app": 0,
    "flet.run": 0,
    "fasthtml.common.serve": 5001,
    "meinheld.server.run": 8000,
    "bjoern.run": 0,
    "paste.httpserver.serve": 8080,
    "remi.start": 0,
    "pywebio.start_server": 8080,
    "pywebio.platform.tornado.start_server": 8080,
    "justpy.justpy": 8000,
    "streamlit.web.cli.main": 8501,
    "streamlit.web.bootstrap.run": 8501,
    "gunicorn.app.wsgiapp.run": 8000,
    "wsgiserver.WSGIServer": 8080,
    "rpyc.utils.server.ThreadedServer": 18861,
    "pymodbus.server.StartTcpServer": 5020,
}
# obj.run(...) and the like serve when obj is an application of the module, or was made by one of these.
SERVE_METHODS = frozenset({"run", "run_server", "serve_forever", "serve", "launch", "start_server", "run_forever"})
SERVE_OWNERS = wordset("""
    flask_socketio.SocketIO gradio.Interface gradio.Blocks gradio.ChatInterface gradio.TabbedInterface mesop
    mcp.server.fastmcp.FastMCP fastmcp.FastMCP robyn.Robyn taipy.gui.Gui taipy.Gui spyne
    rpyc.utils.server.ThreadedServer http.server.HTTPServer http.server.ThreadingHTTPServer
    wsgiref.simple_server.make_server socketserver.TCPServer socketserver.ThreadingTCPServer
    xmlrpc.server.SimpleXMLRPCServer gevent.pywsgi.WSGIServer slack_bolt.App connexion.App connexion.FlaskApp
    connexion.AsyncApp dash.Dash nicegui.ui pyrogram.Client
    """)
# Long-running programs without a listener: bots and consumers.
LONG_OWNERS = wordset("""
    discord.Client discord.Bot discord.ext.commands.Bot disnake.Client disnake.ext.commands.Bot nextcord.Client
    interactions.Client telebot.TeleBot telegram.ext.Updater telegram.ext.ApplicationBuilder aiogram.Dispatcher
    aiogram.Bot twitchio.ext.commands.Bot pyrogram.Client telethon.TelegramClient hikari.GatewayBot
    apscheduler.schedulers.blocking.BlockingScheduler pika.BlockingConnection
    """)

# Applications that are a script for a command of the framework: module → how it is started.
SCRIPT_RUNNERS = ("streamlit", "chainlit", "panel", "shiny.express", "solara", "mesop")

# Releases of a framework that exclude Pythons by themselves: name → [(first version, first Python)].
IMPLIED_PYTHON: dict[str, list[tuple[str, str]]] = {
    "django": [("6.0", "3.12"), ("5.0", "3.10")],
    "homeassistant": [("2025.2", "3.13"), ("2024.4", "3.12")],
}

FACTORY_NAMES = (
    "create_app",
    "make_app",
    "get_app",
    "build_app",
    "app_factory",
    "create_application",
    "make_application",
    "get_application",
    "build_application",
    "create_api",
    "application_factory",
    "init_app",
    "setup_app",
    "web_app",
    "create_server",
)
APP_NAMES = ("app", "application", "api", "server", "asgi_app", "wsgi_app", "asgi", "wsgi", "web_app", "main_app")
