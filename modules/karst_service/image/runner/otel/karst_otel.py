"""Traces of the app, as OTLP/JSON, to the runner: imported by sitecustomize when the first traced library is there.

A span is sent when it ends, by one system call that never blocks. So there is no thread to start, nothing to flush, no
lock that a fork could copy while it is held, and no HTTP or gRPC client inside the app; the runner does the sending.
"""

import contextlib
import json
import os
import socket
import sys

from opentelemetry.sdk.version import __version__
from opentelemetry.version import __version__ as api_version

if [int(part) for part in api_version.split(".")[:2]] < [int(part) for part in __version__.split(".")[:2]]:
    raise ImportError("the app brings opentelemetry-api " + api_version + ", which is too old for our SDK")

from opentelemetry import trace
from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator


class Pipe:
    """A connection to the runner, one message a call; what cannot be sent at once is counted and forgotten."""

    def __init__(self, name):
        self._address = "\0" + name
        self._socket = None
        self._identity = None
        self._lost = 0

    def send(self, text):
        try:
            self._connection().send(b"%d\n%s" % (self._lost, text.encode()))
            self._lost = 0
        except OSError:
            self._lost += 1

    def _connection(self):
        """The socket, if it is still ours: an app may close descriptors that it does not know, and reuse the number."""
        if self._socket is not None:
            try:
                if self._identity == identity(self._socket.fileno()):
                    return self._socket
            except OSError:
                pass
            self._socket.detach()
            self._socket = None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.setblocking(False)
        connection.connect(self._address)
        self._identity = identity(connection.fileno())
        self._socket = connection
        return connection


def identity(descriptor):
    info = os.fstat(descriptor)
    return info.st_dev, info.st_ino


class ToRunner(SpanProcessor):
    """Encodes and sends each sampled span as it ends."""

    def __init__(self, pipe):
        self._pipe = pipe

    def on_end(self, span):
        # Two spans for the messages of each ASGI answer tell nobody anything.
        if not span.context.trace_flags.sampled or "asgi.event.type" in (span.attributes or ()):
            return
        with contextlib.suppress(Exception):  # a span that cannot be told is lost, not the request that made it
            self._pipe.send(json.dumps(encode_spans((span,)).to_dict(), separators=(",", ":")))


class Ids(IdGenerator):
    """Ids from the kernel: the default takes them from `random`, which an app may have seeded, and a fork copies."""

    def generate_span_id(self):
        return int.from_bytes(os.urandom(8), "big") or 1

    def generate_trace_id(self):
        return int.from_bytes(os.urandom(16), "big") or 1


def resource():
    """Who we are: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, with what the kit knows where they say nothing."""
    attributes = {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": __version__,
    }
    for name, variable in (
        ("service.name", "KARST_SERVICE"),
        ("service.version", "KARST_REVISION"),
        ("karst.stack", "KARST_STACK"),
    ):
        if os.environ.get(variable):
            attributes[name] = os.environ[variable]
    return Resource(attributes).merge(OTELResourceDetector().detect())


def start():
    import logging

    # Its warnings (a library in a version that it does not know) would be the app's first words on stderr.
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    provider = TracerProvider(resource=resource(), id_generator=Ids(), shutdown_on_exit=False)
    provider.add_span_processor(ToRunner(Pipe(os.environ["KARST_OTEL_SOCKET"])))
    trace.set_tracer_provider(provider)


start()


def instrument(name, package, *classes):
    """Put the instrumentors of ``package`` to work. One that fails is left out; the rest go on."""
    with contextlib.suppress(Exception):
        if name == "django":
            after_setup(lambda: apply(package, classes))
        elif name != "starlette.applications" or not installed("fastapi"):
            # FastAPI is a Starlette: with both at work, every request would be two spans.
            apply(package, classes)


def apply(package, classes):
    from importlib import import_module

    with contextlib.suppress(Exception):
        module = import_module("opentelemetry.instrumentation." + package)
        for name in classes:
            getattr(module, name)().instrument()


def after_setup(then):
    """Django's middleware is a setting, and settings are there only once the app has called `django.setup()`."""
    from functools import wraps

    import django

    setup = django.setup

    @wraps(setup)
    def traced_setup(*args, **kwargs):
        django.setup = setup
        setup(*args, **kwargs)
        then()

    django.setup = traced_setup


def installed(name):
    from importlib.util import find_spec

    return name in sys.modules or find_spec(name) is not None
