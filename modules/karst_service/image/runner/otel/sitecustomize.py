"""Tracing for the app, without touching the app: Python imports this file at every start (see PYTHONPATH).

It watches for the import of a library that it can trace, and does nothing else. Only when the first of these has been
imported is `lib/` (OpenTelemetry, and karst_otel beside it) *appended* to sys.path: whatever the app brings itself
wins, a program that uses none of these libraries never meets us, and nothing is imported earlier than the app does it
(gevent must patch before anybody imports ssl). Nothing here may raise, print, or slow a start down.

Written for any Python 3: an app may come with an interpreter of its own.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
LIB = os.path.join(HERE, "lib")

# When this module has been imported, that instrumentor is put to work. `django` is special: see karst_otel.
TARGETS = {
    "aiohttp": ("aiohttp_client", "AioHttpClientInstrumentor"),
    "aiohttp.web": ("aiohttp_server", "AioHttpServerInstrumentor"),
    "asyncpg": ("asyncpg", "AsyncPGInstrumentor"),
    "django": ("django", "DjangoInstrumentor"),
    "falcon": ("falcon", "FalconInstrumentor"),
    "fastapi": ("fastapi", "FastAPIInstrumentor"),
    "flask": ("flask", "FlaskInstrumentor"),
    "grpc": ("grpc", "GrpcInstrumentorServer", "GrpcInstrumentorClient"),
    "grpc.aio": ("grpc", "GrpcAioInstrumentorServer", "GrpcAioInstrumentorClient"),
    "httpx": ("httpx", "HTTPXClientInstrumentor"),
    "psycopg": ("psycopg", "PsycopgInstrumentor"),
    "psycopg2": ("psycopg2", "Psycopg2Instrumentor"),
    "pymongo": ("pymongo", "PymongoInstrumentor"),
    "pymysql": ("pymysql", "PyMySQLInstrumentor"),
    "pyramid.config": ("pyramid", "PyramidInstrumentor"),
    "redis": ("redis", "RedisInstrumentor"),
    "requests": ("requests", "RequestsInstrumentor"),
    "sqlalchemy": ("sqlalchemy", "SQLAlchemyInstrumentor"),
    "starlette.applications": ("starlette", "StarletteInstrumentor"),
    "tornado.web": ("tornado", "TornadoInstrumentor"),
    "urllib.request": ("urllib", "URLLibInstrumentor"),
    "urllib3": ("urllib3", "URLLib3Instrumentor"),
}


class _Watch:
    """A finder that finds nothing: it lets the others find, and asks to be told when the module has run."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in TARGETS:
            return None
        for finder in sys.meta_path:
            find = None if isinstance(finder, _Watch) else getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find else None
            if spec is not None:
                _tell(name, spec.loader)
                return spec
        return None


def _tell(name, loader):
    """Have ``imported`` called after the module's own code, if its loader is an ordinary one."""
    from importlib.machinery import SourceFileLoader, SourcelessFileLoader

    if type(loader) not in (SourceFileLoader, SourcelessFileLoader):
        return
    run = loader.exec_module

    def exec_module(module):
        loader.__dict__.pop("exec_module", None)
        run(module)
        imported(name)

    loader.exec_module = exec_module


def imported(name):
    """A library that we can trace is there."""
    if name == "urllib.request":
        # Half the world imports it and never uses it: OpenTelemetry's 0.1 s is spent at the first request.
        _at_first_use(sys.modules[name].OpenerDirector, "open", name)
    else:
        trace(name)


def _at_first_use(owner, attribute, name):
    from functools import wraps

    original = getattr(owner, attribute)

    @wraps(original)
    def first(*args, **kwargs):
        setattr(owner, attribute, original)
        trace(name)
        return getattr(owner, attribute)(*args, **kwargs)

    setattr(owner, attribute, first)


def trace(name):
    """Have a library traced. Whatever goes wrong here is ours, and must not become the app's."""
    instrumentor = TARGETS.pop(name, None)
    if instrumentor is None:
        return
    try:
        if LIB not in sys.path:
            _check(sys.modules)
            sys.path.append(LIB)
        import karst_otel
    except Exception:  # the app goes on without traces
        _withdraw()
    else:
        karst_otel.instrument(name, *instrumentor)


# Tracers that wrap the same functions as ours would: one of them is enough.
OTHERS = ("opentelemetry.sdk", "opentelemetry.instrumentation", "ddtrace", "newrelic", "elasticapm", "logfire")


class _StayOut(Exception):
    """The app is traced by somebody else already, or brings parts that ours do not fit."""


def _check(modules):
    from importlib.util import find_spec

    for other in OTHERS:
        try:
            if other in modules or find_spec(other) is not None:
                raise _StayOut(other)
        except ImportError:  # its parent is not there
            pass


def _withdraw():
    """Leave everything as it would be without us."""
    TARGETS.clear()
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Watch)]
    if LIB in sys.path:
        ours = [name for name, module in list(sys.modules.items()) if _is_ours(module)]
        sys.path.remove(LIB)
        sys.path_importer_cache.pop(LIB, None)
        for name in ours:
            sys.modules.pop(name, None)


def _is_ours(module):
    """Whether it was imported from ``lib/``; a namespace package is ours when all of it is."""
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", None) or ())
    return bool(places) and all(str(place).startswith(LIB) for place in places)


def _begin():
    wanted = os.environ.get("KARST_OTEL_SOCKET") and os.environ.get("OTEL_TRACES_EXPORTER") != "none"
    if wanted and os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true":
        for name in os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(","):
            for target in [key for key, value in TARGETS.items() if name.strip() in (value[0], "*")]:
                del TARGETS[target]
        sys.meta_path.insert(0, _Watch())
        for name in [name for name in TARGETS if name in sys.modules]:  # a .pth file was earlier
            imported(name)


def _chain():
    """Run the sitecustomize that this one hides, if there is one; what it raises is Python's to report."""
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec("sitecustomize", [path for path in sys.path if os.path.abspath(path) != HERE])
    if spec is not None and spec.loader is not None:
        from importlib.util import module_from_spec

        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


try:
    _begin()
except Exception:
    _withdraw()
_chain()
