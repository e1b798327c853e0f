"""Dependencies: which files of a repository decide, and how they are installed: ``choose(Request(…))``."""

from __future__ import annotations

from karst.deps.choose import Request, choose
from karst.deps.model import APP, DEPS, VENV, Plan

__all__ = ["APP", "DEPS", "VENV", "Plan", "Request", "choose"]
