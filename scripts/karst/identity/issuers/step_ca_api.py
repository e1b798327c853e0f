"""step-ca on the wire: its HTTP API, the provisioner's encrypted key, and the one-time token signed with it."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
import time
import urllib.error
import urllib.request
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from karst.errors import KarstError, UsageError, did_you_mean

TIMEOUT = 15
TOKEN_SECONDS = 300
# RFC 7518, 4.8: the hash of the key derivation, and the length in bytes of the key that unwraps.
_DERIVATIONS = {
    "PBES2-HS256+A128KW": (hashes.SHA256(), 16),
    "PBES2-HS384+A192KW": (hashes.SHA384(), 24),
    "PBES2-HS512+A256KW": (hashes.SHA512(), 32),
}
_MAX_ITERATIONS = 10_000_000  # some seconds: a wrong server must not keep us for hours


class Api:
    """Requests to one CA. ``context`` says whom to trust and who we are; None trusts nobody, for ``root`` alone."""

    def __init__(self, url: str, context: ssl.SSLContext | None) -> None:
        self.url = url
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))

    def root(self, fingerprint: str) -> x509.Certificate:
        """The root with this SHA-256, which proves it, whoever sent it."""
        answer = self._ask(f"/root/{fingerprint}", None, "the root certificate")
        try:
            root = x509.load_pem_x509_certificate(str(answer["ca"]).encode())
        except (KeyError, TypeError, ValueError):
            raise self._strange("the root certificate") from None
        if root.fingerprint(hashes.SHA256()).hex() != fingerprint:
            raise KarstError(
                f"{self.url} sent a root whose fingerprint is not the one in KARST_STEP_CA_FINGERPRINT",
                hint="`step certificate fingerprint root_ca.crt` on the CA's machine prints the right one",
                code="step_ca_fingerprint",
            )
        return root

    def provisioner(self, name: str) -> dict[str, Any]:
        """The JWK provisioner called ``name``."""
        found: dict[str, dict[str, Any]] = {}
        cursor = ""
        while True:
            answer = self._ask(f"/provisioners?limit=100&cursor={cursor}", None, "its provisioners")
            try:
                found |= {one["name"]: one for one in answer["provisioners"] if one["type"] == "JWK"}
                cursor = answer.get("nextCursor") or ""
            except (KeyError, TypeError, AttributeError):
                raise self._strange("its provisioners") from None
            if not cursor or name in found:
                break
        if name not in found:
            raise UsageError(
                f"{self.url} has no JWK provisioner `{name}`",
                hint=did_you_mean(name, found) or f"it has: {', '.join(sorted(found)) or 'none'}",
                code="step_ca_provisioner",
            )
        return found[name]

    def certify(self, path: str, body: dict[str, str], name: str) -> list[x509.Certificate]:
        """Ask for a certificate; return it and its intermediates."""
        answer = self._ask(path, body, f"a certificate for `{name}`")
        try:
            texts = answer.get("certChain") or [answer["crt"], answer["ca"]]
            return [x509.load_pem_x509_certificate(str(text).encode()) for text in texts]
        except (KeyError, TypeError, ValueError):
            raise self._strange(f"a certificate for `{name}`") from None

    def _ask(self, path: str, body: dict[str, str] | None, what: str) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - https, see StepCa
            self.url + path, data=data, headers={"Content-Type": "application/json"}
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as err:
            raise self._refused(err, what) from None
        except urllib.error.URLError as err:
            raise KarstError(
                f"{self.url} cannot be asked for {what}: {_reason(err.reason)}",
                hint="is step-ca running there, and is KARST_STEP_CA_URL right?",
                code="step_ca_unreachable",
            ) from None
        except (OSError, ValueError):
            raise self._strange(what) from None
        if not isinstance(answer, dict):
            raise self._strange(what)
        return answer

    def _refused(self, err: urllib.error.HTTPError, what: str) -> KarstError:
        try:
            said = str(json.loads(err.read())["message"])
        except (OSError, ValueError, KeyError, TypeError):
            said = f"HTTP {err.code}"
        return KarstError(f"{self.url} refused {what}: {said.strip().rstrip('.')}", hint=_hint(said), code="step_ca_no")

    def _strange(self, what: str) -> KarstError:
        return KarstError(
            f"{self.url} gave no readable answer when asked for {what}",
            hint="does KARST_STEP_CA_URL name a step-ca?",
            code="step_ca_answer",
        )


def _hint(said: str) -> str:
    """What to do about step-ca's own words."""
    if "duration" in said:
        return "ask for less (KARST_CERT_LIFETIME=24h), or raise the provisioner's `maxTLSCertDuration`"
    if "template" in said:
        return "the provisioner's template does not allow these names (docs/step-ca/leaf.tpl is one that does)"
    if "renew" in said or "expired" in said:
        return "set KARST_STEP_CA_PASSWORD_FILE: with it a new certificate is issued instead of a renewed one"
    return "its log says more; the provisioner's policy or claims may not allow these names"


def _reason(reason: object) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted by the configured root ({reason.verify_message})"
    return str(getattr(reason, "strerror", None) or reason)


def key_of(provisioner: dict[str, Any], password: bytes, name: str) -> dict[str, Any]:
    """Decrypt the provisioner's private JWK (a compact JWE: RFC 7516, PBES2 and AES-GCM)."""
    encrypted = provisioner.get("encryptedKey")
    if not isinstance(encrypted, str) or not encrypted:
        raise UsageError(
            f"the CA does not hand out the key of provisioner `{name}`",
            hint="add it with `step ca provisioner add NAME --create`, which stores the encrypted key",
            code="step_ca_key",
        )
    try:
        head, wrapped, iv, sealed, tag = encrypted.split(".")
        header = json.loads(_decode(head))
        algorithm, length = _DERIVATIONS[header["alg"]]
        if header["enc"] not in ("A128GCM", "A192GCM", "A256GCM") or not 0 < header["p2c"] <= _MAX_ITERATIONS:
            raise ValueError
        salt = header["alg"].encode() + b"\0" + _decode(header["p2s"])
        unwrap = PBKDF2HMAC(algorithm, length, salt, header["p2c"]).derive(password)
        content_key = aes_key_unwrap(unwrap, _decode(wrapped))
        jwk = json.loads(AESGCM(content_key).decrypt(_decode(iv), _decode(sealed) + _decode(tag), head.encode()))
    except (InvalidUnwrap, InvalidTag):
        raise UsageError(
            f"the password does not open the key of provisioner `{name}`",
            hint="KARST_STEP_CA_PASSWORD_FILE has to name the file with that provisioner's own password",
            code="step_ca_password",
        ) from None
    except (ValueError, KeyError, TypeError):
        raise KarstError(
            f"the key of provisioner `{name}` is encrypted in a way that the kit does not know", code="step_ca_key"
        ) from None
    return {**jwk, "kid": provisioner["key"]["kid"], "alg": provisioner["key"].get("alg") or "ES256"}


def token(jwk: dict[str, Any], provisioner: str, *, audience: str, name: str, sans: list[str]) -> str:
    """A one-time token: for five minutes, the holder may have ``name`` certified with exactly ``sans``."""
    import jwt

    now = int(time.time())
    claims = {
        "aud": audience,
        "iss": provisioner,
        "sub": name,
        "sans": sans,
        "iat": now,
        "nbf": now - 30,
        "exp": now + TOKEN_SECONDS,
        "jti": hashlib.sha256(secrets.token_bytes(32)).hexdigest(),
    }
    key = jwt.PyJWK.from_dict(jwk, algorithm=jwk["alg"])
    return jwt.encode(claims, key.key, algorithm=jwk["alg"], headers={"kid": jwk["kid"]})


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
