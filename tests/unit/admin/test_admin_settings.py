"""What the admin app refuses to start with, and what it reads from its settings."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from admin.auth.roles import Role
from admin.settings import DEFAULT_SOCKET, read
from karst.errors import KarstError

ROOT = Path(__file__).resolve().parents[3]


def _jwt(**claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJIUzI1NiJ9.{body}.c2lnbmF0dXJl"


GOOD = {
    "SUPABASE_URL": "https://abcdefghijklmnopqrst.supabase.co/",
    "SUPABASE_SERVICE_ROLE_KEY": _jwt(role="service_role", iss="supabase"),
    "KARST_ADMIN_COMMAND": sys.executable,
}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"SUPABASE_URL": ""}, "missing_setting"),
        ({"SUPABASE_SERVICE_ROLE_KEY": "  "}, "missing_setting"),
        ({"SUPABASE_URL": "https://your-project.supabase.co"}, "sample_setting"),
        ({"SUPABASE_URL": "https://<project>.supabase.co"}, "sample_setting"),
        ({"SUPABASE_URL": "https://xyzcompany.supabase.co"}, "sample_setting"),
        ({"SUPABASE_URL": "https://example.supabase.co"}, "sample_setting"),
        ({"SUPABASE_SERVICE_ROLE_KEY": "your-service-role-key"}, "sample_setting"),
        ({"SUPABASE_SERVICE_ROLE_KEY": "changeme"}, "sample_setting"),
        ({"SUPABASE_SERVICE_ROLE_KEY": "eyJ..."}, "sample_setting"),
        ({"SUPABASE_SERVICE_ROLE_KEY": "sb_secret_xxxxxxxxxxxx"}, "sample_setting"),
        ({"SUPABASE_SERVICE_ROLE_KEY": "justwords"}, "bad_setting"),
        ({"SUPABASE_SERVICE_ROLE_KEY": "sb_publishable_0123456789"}, "bad_setting"),
        ({"SUPABASE_SERVICE_ROLE_KEY": _jwt(role="anon")}, "bad_setting"),
        ({"SUPABASE_SERVICE_ROLE_KEY": _jwt(role="service_role", iss="supabase-demo")}, "sample_setting"),
        ({"SUPABASE_ANON_KEY": "sb_secret_0123456789abcdefghijkl"}, "bad_setting"),
        ({"SUPABASE_ANON_KEY": _jwt(role="service_role", iss="supabase")}, "bad_setting"),
        ({"SUPABASE_ANON_KEY": "justwords"}, "bad_setting"),
        ({"SUPABASE_URL": "abcdef.supabase.co"}, "bad_setting"),
        ({"SUPABASE_URL": "https://user:pass@abc.supabase.co"}, "bad_setting"),
        ({"SUPABASE_URL": "http://auth.internal:9999"}, "insecure_setting"),
        ({"KARST_AUTH_ALLOW_HS256": "1"}, "bad_setting"),
        ({"KARST_AUTH_ALLOW_HS256": "1", "KARST_AUTH_JWT_SECRET": "short"}, "bad_setting"),
        ({"KARST_AUTH_CACHE_SECONDS": "3600"}, "bad_setting"),
        ({"KARST_AUTH_CACHE_SECONDS": "soon"}, "bad_setting"),
        ({"KARST_ADMIN_USERS": "alice@people.test"}, "bad_setting"),
        ({"KARST_ADMIN_USERS": "alice@people.test=deployr"}, "bad_setting"),
        ({"KARST_ADMIN_PEER_UIDS": "no-such-user-here=admin"}, "bad_setting"),
        ({"KARST_ADMIN_HOST": "0.0.0.0"}, "bad_setting"),
        ({"KARST_ADMIN_HOST": "example.org"}, "bad_setting"),
        ({"KARST_ADMIN_PORT": "80a"}, "bad_setting"),
        ({"KARST_ADMIN_PORT": "70000"}, "bad_setting"),
        ({"KARST_ADMIN_GRPC_PORT": "none"}, "bad_setting"),
        ({"KARST_ADMIN_ALLOW": "github.com/owner"}, "bad_setting"),
        ({"KARST_ADMIN_COMMAND": "/no/such/command"}, "no_command"),
    ],
)
def test_settings_that_are_missing_samples_or_unsafe_are_refused(changes: dict[str, str], code: str) -> None:
    """One sentence each; a key is never repeated in it."""
    with pytest.raises(KarstError) as caught:
        read(GOOD | changes)
    assert (caught.value.code, caught.value.exit_code) == (code, 2)
    key = changes.get("SUPABASE_SERVICE_ROLE_KEY", "").strip()
    assert not key or key not in str(caught.value)


def test_good_settings_are_read_and_defaults_are_the_documented_ones() -> None:
    settings = read(GOOD)
    assert settings.auth.base == "https://abcdefghijklmnopqrst.supabase.co/auth/v1"
    assert settings.auth.issuer == settings.auth.base
    assert (settings.host, settings.port, settings.socket) == ("127.0.0.1", 8080, DEFAULT_SOCKET)
    assert (settings.grpc_port, read(GOOD | {"KARST_ADMIN_GRPC_PORT": "off"}).grpc_port) == (50052, None)
    assert (settings.policy.allow, settings.policy.secrets) == (("gh:*", "gl:*", "bb:*"), frozenset())
    assert not settings.auth.hs256_secret
    assert not settings.peers.uids
    assert settings.limits.streams < settings.limits.threads


def test_every_setting_can_be_changed() -> None:
    settings = read(
        GOOD
        | {
            "SUPABASE_URL": "http://127.0.0.1:9999",
            "SUPABASE_SERVICE_ROLE_KEY": _jwt(role="service_role", iss="supabase-demo"),
            "SUPABASE_ANON_KEY": "sb_publishable_0123456789",
            "KARST_AUTH_PREFIX": "/",
            "KARST_AUTH_ISSUER": "https://issuer.test",
            "KARST_AUTH_AUDIENCE": "others",
            "KARST_AUTH_ALLOW_HS256": "1",
            "KARST_AUTH_JWT_SECRET": "s" * 32,
            "KARST_ADMIN_USERS": "Alice@people.test = deployer,\n 7f0f5d6e-0000-4000-8000-000000000000=admin",
            "KARST_ADMIN_PEER_UIDS": "root=admin, 1000=viewer",
            "KARST_ADMIN_PEER_GIDS": "0=deployer",
            "KARST_ADMIN_PORT": "0",
            "KARST_ADMIN_SOCKET": "/tmp/x.sock",
            "KARST_ADMIN_HOSTS": "Karst.Internal",
            "KARST_ADMIN_ALLOW": "gh:us/*, gl:us/tools/*",
            "KARST_ADMIN_SECRETS": "DB_PASSWORD, API_KEY",
        }
    )
    assert settings.auth.base == "http://127.0.0.1:9999"
    assert (settings.auth.issuer, settings.auth.audience) == ("https://issuer.test", "others")
    assert settings.auth.hs256_secret == "s" * 32
    assert settings.auth.public_key == "sb_publishable_0123456789"
    assert settings.auth.users["alice@people.test"] is Role.DEPLOYER
    assert settings.peers.uids == {0: Role.ADMIN, 1000: Role.VIEWER}
    assert settings.peers.gids == {0: Role.DEPLOYER}
    assert "karst.internal" in settings.hosts
    assert settings.policy.secrets == {"DB_PASSWORD", "API_KEY"}


def test_a_random_base64_key_is_not_mistaken_for_a_sample() -> None:
    """JWTs contain any short word now and then."""
    key = _jwt(role="service_role", note="x" * 12, iss="supabase") + "yourEXAMPLExxxxxxxx"
    assert read(GOOD | {"SUPABASE_SERVICE_ROLE_KEY": key}).auth.service_key == key


def test_keys_are_not_in_the_settings_printed_form() -> None:
    """A settings object in a log line or a failed assertion must not tell them."""
    settings = read(GOOD | {"KARST_AUTH_ALLOW_HS256": "1", "KARST_AUTH_JWT_SECRET": "s" * 40})
    assert GOOD["SUPABASE_SERVICE_ROLE_KEY"] not in repr(settings)
    assert "s" * 40 not in repr(settings)


def _start(tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SUPABASE_", "KARST_"))}
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "admin")],
        env=kept | {"KARST_ADMIN_DATA": str(tmp_path / "data"), "KARST_ADMIN_SOCKET": str(tmp_path / "s")} | env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_program_exits_with_one_sentence_and_code_2(tmp_path: Path) -> None:
    """No traceback, nothing made."""
    (tmp_path / ".env").write_text("SUPABASE_URL=\nSUPABASE_SERVICE_ROLE_KEY=\n")
    done = _start(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("SUPABASE_URL is not set\n  hint: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_socket_path_that_is_too_long_is_one_sentence(tmp_path: Path) -> None:
    done = _start(
        tmp_path,
        SUPABASE_URL="http://127.0.0.1:1",
        SUPABASE_SERVICE_ROLE_KEY=GOOD["SUPABASE_SERVICE_ROLE_KEY"],
        KARST_ADMIN_PORT="0",
        KARST_ADMIN_GRPC_PORT="off",
        KARST_ADMIN_SOCKET=str(tmp_path / ("x" * 120)),
    )
    assert done.returncode == 1
    assert "too long" in done.stderr
    assert "Traceback" not in done.stderr
