"""Smallstep's step-ca as the issuer, by its HTTP API: a JWK provisioner's one-time tokens, or renewal over mTLS.

Settings come from the environment, never from a command line or Terraform, whose state would keep them:
  KARST_STEP_CA_URL            https://ca.example.org
  KARST_STEP_CA_ROOT           file with the root certificates, or
  KARST_STEP_CA_FINGERPRINT    SHA-256 of the root, which is then fetched once
  KARST_STEP_CA_PROVISIONER    name of a JWK provisioner
  KARST_STEP_CA_PASSWORD_FILE  file with the password of its key, or KARST_STEP_CA_PASSWORD, the password; without
                               either, certificates that are still valid are renewed, and none are issued
API: https://github.com/smallstep/certificates/blob/v0.30.2/api/api.go
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import os
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from karst.errors import KarstError, UsageError
from karst.identity.authority import BACKDATE, issued, pem_key
from karst.identity.issuers.step_ca_api import Api, key_of, token
from karst.identity.leaf import Leaf, alt_names, names_only, pem
from karst.identity.names import Identity

PREFIX = "KARST_STEP_CA_"


class StepCa:
    """One step-ca, which is asked nothing before a certificate is needed: a plan without one needs no network."""

    def __init__(self, trusted: list[x509.Certificate], environ: Mapping[str, str] | None = None) -> None:
        """Read the settings; ``trusted`` is what the mesh trusts already. UsageError names what is missing."""
        self._environ = os.environ if environ is None else environ
        url = self._setting("URL", "the address of the CA, for example https://ca.example.org:9000").rstrip("/")
        if not url.startswith("https://"):
            raise UsageError(f"{PREFIX}URL is `{url[:80]}`, and step-ca speaks https", code="bad_step_ca_url")
        self._provisioner = self._setting("PROVISIONER", "the name of a JWK provisioner of the CA")
        self._url = url
        self._trusted = trusted

    @functools.cached_property
    def roots(self) -> list[x509.Certificate]:
        """The CA's own roots: from the file, from what is trusted already, or from the CA, checked by fingerprint."""
        if path := self._environ.get(f"{PREFIX}ROOT"):
            return _certificates(Path(path))
        wanted = self._setting("FINGERPRINT", f"the root's SHA-256 (or set {PREFIX}ROOT to a file with the root)")
        wanted = wanted.replace(":", "").lower()
        known = [one for one in self._trusted if one.fingerprint(hashes.SHA256()).hex() == wanted]
        return known or [Api(self._url, None).root(wanted)]

    @functools.cached_property
    def bundle(self) -> bytes:
        """What is trusted already, and the roots: who is to be trusted no more is taken out of `ca.pem`."""
        missing = [one for one in self.roots if one not in self._trusted]
        return pem(*missing, *self._trusted)

    @property
    def fingerprint(self) -> str:
        return self.roots[0].fingerprint(hashes.SHA256()).hex()

    def why_not_mine(self, leaf: Leaf) -> str:
        chain = x509.load_pem_x509_certificates(leaf.chain)
        return "" if _leads_to(chain, self.roots) else "another authority issued it"

    def issue(self, identity: Identity, now: dt.datetime, lifetime: dt.timedelta, previous: Leaf | None) -> Leaf:
        """Have a new key certified: with a token, or, where there is no password, with the certificate so far."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.name)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(name)
        request = builder.add_extension(alt_names(identity), critical=False).sign(key, hashes.SHA256())
        csr = request.public_bytes(serialization.Encoding.PEM).decode()
        if self._signer is not None:
            sans, to = [*identity.dns, identity.uri], f"{self._url}/1.0/sign"
            ott = token(self._signer, self._provisioner, audience=to, name=identity.name, sans=sans)
            end = (now + lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
            body = {"csr": csr, "ott": ott, "notAfter": end}
            answer = Api(self._url, self._context()).certify("/1.0/sign", body, identity.name)
        elif previous is not None and self._renewable(previous, now, lifetime):
            answer = Api(self._url, self._context(previous)).certify("/1.0/rekey", {"csr": csr}, identity.name)
        else:
            raise UsageError(
                f"`{identity.name}` needs a certificate from {self._url}, and there is no password for it",
                hint=f"set {PREFIX}PASSWORD_FILE (or {PREFIX}PASSWORD) to that of `{self._provisioner}`'s key",
                code="step_ca_password",
            )
        return self._checked(identity, key, answer)

    @functools.cached_property
    def _signer(self) -> dict[str, Any] | None:
        """The provisioner's key, opened once for all: that takes some tenths of a second. None without a password."""
        password = self._password()
        if password is None:
            return None
        return key_of(Api(self._url, self._context()).provisioner(self._provisioner), password, self._provisioner)

    def _checked(self, identity: Identity, key: ec.EllipticCurvePrivateKey, chain: list[x509.Certificate]) -> Leaf:
        """The answer as a leaf; KarstError when it is not what was asked for."""
        if chain[0].public_key() != key.public_key() or not names_only(chain[0], identity):
            raise KarstError(
                f"{self._url} answered with a certificate that is not for `{identity.name}` alone",
                hint="its provisioner's template changes the names: docs/step-ca/leaf.tpl is one that does not",
                code="step_ca_names",
            )
        if not _leads_to(chain, self.roots):
            raise KarstError(
                f"{self._url} answered with a certificate that none of its roots vouches for",
                hint=f"check {PREFIX}ROOT or {PREFIX}FINGERPRINT",
                code="step_ca_chain",
            )
        chain = [one for one in chain if one not in self.roots]
        return Leaf(identity, chain[0], pem(*chain), pem_key(key))

    def _renewable(self, leaf: Leaf, now: dt.datetime, lifetime: dt.timedelta) -> bool:
        """A renewed certificate has the names and the lifetime of the one before."""
        begin, end = leaf.certificate.not_valid_before_utc, leaf.certificate.not_valid_after_utc
        fits = end - begin <= lifetime + 2 * BACKDATE and begin <= now < end
        return fits and names_only(leaf.certificate, leaf.identity) and not self.why_not_mine(leaf)

    def _context(self, leaf: Leaf | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=pem(*self.roots).decode())
        if leaf is not None:
            with tempfile.NamedTemporaryFile(prefix="karst-") as file:  # 0600; OpenSSL reads keys from files only
                file.write(leaf.svid)
                file.flush()
                context.load_cert_chain(file.name)
        return context

    def _password(self) -> bytes | None:
        if path := self._environ.get(f"{PREFIX}PASSWORD_FILE"):
            try:
                return Path(path).read_bytes().rstrip(b"\r\n")
            except OSError as err:
                raise UsageError(f"{PREFIX}PASSWORD_FILE: cannot read {path}: {err.strerror}", code="no_file") from None
        password = self._environ.get(f"{PREFIX}PASSWORD")
        return password.encode() if password else None

    def _setting(self, name: str, what: str) -> str:
        value = self._environ.get(PREFIX + name, "")
        if not value:
            raise UsageError(f"KARST_ISSUER is step-ca, and {PREFIX}{name} is not set: {what}", code="step_ca_setting")
        return value


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as err:
        raise UsageError(f"{PREFIX}ROOT: cannot read {path}: {err.strerror}", code="no_file") from None
    except ValueError:
        raise UsageError(f"{PREFIX}ROOT: {path} holds no PEM certificate", code="bad_step_ca_root") from None


def _leads_to(chain: list[x509.Certificate], roots: list[x509.Certificate]) -> bool:
    """Whether each of ``chain`` is issued by the next one, and the last by one of ``roots`` (or is one)."""
    for child, parent in itertools.pairwise(chain):
        if not issued(parent, child):
            return False
    return any(chain[-1] == root or issued(root, chain[-1]) for root in roots)
