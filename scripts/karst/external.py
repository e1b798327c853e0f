"""The protocol of Terraform's ``external`` data source, once for all scripts.

Terraform writes one JSON object of strings to stdin and expects one JSON object of strings on stdout; anything on
stderr of a failed program is shown to the user as it is. Source of the rules: the provider's documentation of
``data.external``. A JSON null would silently become "", so a non-string result is a bug here, not a guess.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from karst.errors import Exit, KarstError, UsageError
from karst.files import write_atomic

FAILURES = "KARST_FAILURES"
"""Environment variable: the file in which a failing program tells, as JSON, which services failed and why."""

Handler = Callable[[dict[str, str]], Mapping[str, str]]


def read_query(text: str) -> dict[str, str]:
    """Parse what Terraform sends; raise UsageError for anything but an object of strings."""
    try:
        query = json.loads(text or "{}")
    except ValueError as err:
        raise UsageError(f"the query on stdin is not JSON ({err})", code="bad_query") from err
    if not isinstance(query, dict) or not all(isinstance(v, str) for v in query.values()):
        raise UsageError("the query on stdin must be one JSON object whose values are strings", code="bad_query")
    return query


def json_field(query: Mapping[str, str], key: str, default: Any = None) -> Any:
    """Decode the JSON text in ``query[key]``; ``default`` when it is absent or empty."""
    text = query.get(key, "")
    if not text:
        return default
    try:
        return json.loads(text)
    except ValueError as err:
        raise UsageError(f"`{key}` in the query is not JSON ({err})", code="bad_query") from err


def serve(handler: Handler) -> int:
    """Answer one query from stdin on stdout; the return value is the process's exit code."""
    return guarded(lambda: _answer(handler))


def guarded(body: Callable[[], int]) -> int:
    """Run ``body``; an error becomes its sentence on stderr and its exit code, never a traceback.

    What is no KarstError is a fault of the kit: it is named as one, and KARST_DEBUG=1 shows the traceback.
    """
    try:
        return body()
    except KarstError as err:
        _report(err)
        print(err, file=sys.stderr)
        return int(err.exit_code)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:
        return int(Exit.FAILED)
    except Exception as err:
        if os.environ.get("KARST_DEBUG"):
            raise
        print(internal_error(err), file=sys.stderr)
        return int(Exit.FAILED)


def _report(err: KarstError) -> None:
    """Leave word of which services failed: `iac` holds them and plans again, and Terraform passes on text only."""
    path = os.environ.get(FAILURES)
    if path and err.parts:
        write_atomic(Path(path), json.dumps({name: one.to_dict() for name, one in err.parts.items()}), mode=0o600)


def internal_error(err: Exception) -> KarstError:
    """The sentence for an exception that should not have been possible: what, and where in the kit."""
    trace = err.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
    return KarstError(
        f"the kit itself failed{where}: {type(err).__name__}: {err}",
        hint="this is a fault of the kit, please report it; KARST_DEBUG=1 shows the whole way to it",
        code="internal",
    )


def _answer(handler: Handler) -> int:
    result = handler(read_query(sys.stdin.read()))
    for key, value in result.items():
        if not isinstance(value, str):
            raise TypeError(f"result `{key}` is {type(value).__name__}, and Terraform takes strings only")
    json.dump(dict(result), sys.stdout, sort_keys=True)
    sys.stdout.write("\n")
    return int(Exit.OK)
