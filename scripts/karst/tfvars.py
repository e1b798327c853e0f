"""Reading a ``.tfvars`` file with python-hcl2, which keeps every string in its quotes.

That is used, not fought: a value that begins with a quote is a literal, and any other string is an expression
(``${var.x}``), which a tfvars file may not hold anyway.
"""

from __future__ import annotations

import re
from typing import Any

from karst.errors import UsageError

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
# developer.hashicorp.com/terraform/language/expressions/strings: the escapes HCL knows, and its two doubled signs.
_ESCAPE = re.compile(r'\\(?:([nrt"\\])|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.?))|([$%])\5\{|[$%]\{', re.DOTALL)


def parse_tfvars(text: str, where: str) -> dict[str, Any]:
    """The variables of a tfvars file as plain values; UsageError (``bad_tfvars``) when it is not one."""
    import hcl2
    from hcl2 import SerializationOptions
    from lark.exceptions import LarkError

    try:
        raw = hcl2.loads(
            text if text.endswith("\n") else text + "\n",
            serialization_options=SerializationOptions(
                with_comments=False, explicit_blocks=False, preserve_heredocs=False
            ),
        )
    except LarkError as err:
        line = getattr(err, "line", None)
        at = f", line {line}" if isinstance(line, int) and line > 0 else ""
        raise UsageError(f"{where}{at}: this is not a tfvars file", code="bad_tfvars") from None
    except RecursionError:
        raise UsageError(f"{where} is nested too deeply", code="bad_tfvars") from None
    except Exception as err:  # the parser's own slips must not become our traceback
        raise UsageError(f"{where} is not a tfvars file ({type(err).__name__})", code="bad_tfvars") from err
    plain = _plain(raw, where)
    if not isinstance(plain, dict):
        raise UsageError(f"{where} is not a tfvars file", code="bad_tfvars")
    return plain


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {_key(str(key), where): _plain(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, where) for item in value]
    if isinstance(value, str):
        if len(value) >= 2 and value.startswith('"') and value.endswith('"'):
            return _unquote(value[1:-1], where)
        number = re.fullmatch(r"\$\{(-?[0-9.]+(?:[eE][-+]?[0-9]{1,3})?)\}", value)
        if number:  # python-hcl2 hands 1e3 on as an expression
            return float(number[1])
        raise UsageError(
            f"{where}: `{value[:60]}` is an expression, and a tfvars file holds plain values only", code="bad_tfvars"
        )
    return value


def _key(key: str, where: str) -> str:
    if len(key) >= 2 and key.startswith('"') and key.endswith('"'):
        return _unquote(key[1:-1], where)
    return key


def _unquote(body: str, where: str) -> str:
    def one(match: re.Match[str]) -> str:
        simple, short, long, unknown, doubled = match.groups()
        if simple:
            return _ESCAPES[simple]
        if short or long:
            code = int(short or long, 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise UsageError(f"{where}: {match[0]} is no character", code="bad_tfvars")
            return chr(code)
        if doubled:
            return f"{doubled}{{"
        if unknown is not None:
            raise UsageError(f"{where}: {match[0]} is no escape that HCL knows", code="bad_tfvars")
        raise UsageError(
            f"{where}: a string holds {match[0]}…}}, and a tfvars file holds plain values only",
            hint="write $${ for the two characters themselves",
            code="bad_tfvars",
        )

    return _ESCAPE.sub(one, body)
