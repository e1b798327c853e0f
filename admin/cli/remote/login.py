"""`iac login` and `iac logout`: a token for an admin app, from the auth server or pasted; never on the command line."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click

from admin.cli.remote import sessions
from admin.cli.remote.client import Bearer, Client
from admin.cli.remote.target import DEFAULT_URL, Target, check_url
from karst.errors import UsageError


def login(target: Target | None, *, email: str | None, paste: bool) -> int:
    """Sign in, ask the admin app who one is there, and keep the token; return the exit code."""
    target = target or Target(url=DEFAULT_URL)
    session = _pasted(target) if paste else _signed_in(target, email)
    me = Client(target, session.token).get("/v1/me")
    sessions.save(session)
    until = f"until {datetime.fromtimestamp(session.expires, UTC):%Y-%m-%d %H:%M} UTC" if session.expires else ""
    how = "renewed as needed" if session.refresh else until
    click.echo(
        f"signed in at {target.name} as {me['name'] or me['subject']}, {me['role']}; {how}".rstrip("; "), err=True
    )
    return 0


def logout(target: Target | None) -> int:
    """End the session at the auth server, when that answers, and forget the token in any case."""
    target = target or Target(url=DEFAULT_URL)
    session = sessions.load(target.name)
    sessions.forget(target.name)
    if session is None:
        click.echo(f"not signed in at {target.name}", err=True)
        return 0
    ended = bool(session.auth) and _end(session)
    told = "" if ended or not session.auth else "; the auth server did not answer, so the token works until it ends"
    click.echo(f"signed out at {target.name}{told}", err=True)
    return 0


def _signed_in(target: Target, email: str | None) -> sessions.Session:
    where = Client(target, "").get("/v1/sign-in")
    if not where.get("url") or not where.get("key"):
        raise UsageError(
            f"{target.name} does not say where people sign in",
            hint="set SUPABASE_ANON_KEY there, or paste a token: `iac login --token`",
            code="no_sign_in",
        )
    auth, key = check_url(str(where["url"]), "the auth server"), str(where["key"])
    email = email or _read("E-mail", hidden=False)
    answer = sessions.ask(auth, key, "password", {"email": email, "password": _read("Password", hidden=True)})
    return sessions.from_answer(target.name, auth, key, answer)


def _pasted(target: Target) -> sessions.Session:
    token = _read("Token", hidden=True).removeprefix("Bearer ").strip()
    if not token or any(character.isspace() for character in token):
        raise UsageError("that is no token", hint="paste an access token, one line", code="no_token")
    return sessions.Session(target.name, token, sessions.expiry(token))


def _read(what: str, *, hidden: bool) -> str:
    """From a prompt on a terminal, else one line of stdin."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=hidden, err=True))
    line = sys.stdin.readline()
    if not line.strip():
        raise UsageError(f"stdin has no line for: {what.lower()}", code="no_input")
    return line.rstrip("\r\n")


def _end(session: sessions.Session) -> bool:
    import requests

    try:
        with Target(url=session.auth).connect() as connection:
            answer = connection.post(
                f"{session.auth}/logout",
                params={"scope": "local"},
                headers={"apikey": session.key},
                auth=Bearer(session.token),
                timeout=sessions.TIMEOUT,
                allow_redirects=False,
            )
    except requests.RequestException:
        return False
    return answer.status_code < 500
