"""The app that is measured, and the Dockerfile and Compose file that a careful person would write for it."""

from __future__ import annotations

from pathlib import Path

MAIN = '''\
"""Answers with its version."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def version() -> dict[str, str]:
    return {"version": "VERSION"}
'''
REQUIREMENTS = """\
fastapi==0.115.6
httpx==0.28.1
jinja2==3.1.5
sqlalchemy==2.0.36
uvicorn==0.34.0
"""
# Dependencies before the source, a cache mount, nothing but the environment in the last stage, no root. Only what a
# private certificate needs is unusual. The tool is copied from an image, as uv's own documentation has it.
DOCKERFILE = """\
FROM {base} AS build
{tool}
RUN python3 -m venv {pip}/opt/venv
COPY requirements.txt /requirements.txt
RUN --mount=type=cache,id={cache},target=/cache --mount=type=secret,id=ca \\
    if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca PIP_CERT=/run/secrets/ca; fi; \\
    {install}

FROM {base}
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY main.py /app/main.py
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1
USER 10001:10001
HEALTHCHECK --interval=1s --timeout=2s --retries=30 CMD ["python3", "-c", \\
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/').read()"]
CMD ["uvicorn", "main:app", "--host", "0.0.0.0", "--port", "8000"]
"""
UV = (
    "VIRTUAL_ENV=/opt/venv UV_CACHE_DIR=/cache UV_LINK_MODE=copy "
    "uv pip install --compile-bytecode -r /requirements.txt"
)
PIP = "/opt/venv/bin/pip install --cache-dir /cache --disable-pip-version-check -r /requirements.txt"


def source(folder: Path, version: str = "one") -> None:
    """Write the app itself."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_text(MAIN.replace("VERSION", version))
    (folder / "requirements.txt").write_text(REQUIREMENTS)


def change(folder: Path, version: str) -> None:
    """Change one line of it."""
    (folder / "main.py").write_text(MAIN.replace("VERSION", version))


def dockerfile(folder: Path, *, base: str, builder: str, installer: str, cache: str) -> None:
    """Write the Dockerfile with ``installer`` (uv or pip) and the package cache ``cache``."""
    uv = installer == "uv"
    tool = f"COPY --from={builder} /opt/karst/build/venv/bin/uv /usr/local/bin/uv" if uv else ""
    text = DOCKERFILE.format(
        base=base, tool=tool, pip="--without-pip " if uv else "", cache=cache, install=UV if uv else PIP
    )
    (folder / "Dockerfile").write_text(text)


def compose(folder: Path, *, project: str, port: int, ca: str) -> None:
    """Write the Compose file: the service alone, published on ``port`` of 127.0.0.1."""
    secrets = f"secrets:\n  ca: {{file: {ca}}}\n" if ca else ""
    (folder / "compose.yaml").write_text(
        f"name: {project}\nservices:\n  web:\n    init: true\n    ports: ['127.0.0.1:{port}:8000']\n"
        f"    build: {{context: ., labels: {{karst.test: bench}}{', secrets: [ca]' if ca else ''}}}\n{secrets}"
    )
