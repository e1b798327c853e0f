"""Asks `http://hello` on every request. Nothing here knows of certificates: the sidecar adds them on the way out."""

import os

import requests
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index() -> str:
    """Pass on what the hello service says."""
    answer = requests.get("http://hello/", timeout=5)
    answer.raise_for_status()
    return f"shop heard: {answer.text}"


def main() -> None:
    """Serve on the port that the kit names."""
    app.run(host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ.get("PORT", "8000")))
