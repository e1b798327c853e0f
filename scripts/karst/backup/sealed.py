"""A file that only a passphrase opens: scrypt makes the key, AES-256-GCM encrypts and notices every changed byte.

Form: a line that names the form, 16 bytes of salt, 12 of nonce, the ciphertext with its tag. The first three are
authenticated, too. docs/production.md has the ten lines of Python that open it without the kit.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from karst.errors import KarstError, UsageError

FORM = b"karst-backup-1\n"
_SALT, _NONCE = 16, 12
_COST = 2**17
SHORTEST = 12


def seal(content: bytes, passphrase: str) -> bytes:
    """Encrypt; UsageError for a passphrase that could be guessed in no time."""
    if len(passphrase) < SHORTEST:
        raise UsageError(
            f"the passphrase has {len(passphrase)} characters; it guards every key of the stack and needs {SHORTEST}",
            hint="for example: openssl rand -base64 24 >passphrase && chmod 600 passphrase",
            code="weak_passphrase",
        )
    header = FORM + os.urandom(_SALT) + os.urandom(_NONCE)
    return header + AESGCM(_key(passphrase, header)).encrypt(header[-_NONCE:], content, header)


def unseal(sealed: bytes, passphrase: str, where: str) -> bytes:
    """Decrypt; KarstError for another file, another passphrase, or a single byte that is not as it was."""
    if not sealed.startswith(FORM):
        raise UsageError(f"{where} is no backup that `iac backup` wrote", code="bad_backup")
    header, body = sealed[: len(FORM) + _SALT + _NONCE], sealed[len(FORM) + _SALT + _NONCE :]
    try:
        return AESGCM(_key(passphrase, header)).decrypt(header[-_NONCE:], body, header)
    except (InvalidTag, ValueError):
        raise KarstError(
            f"{where} cannot be opened: the passphrase is another one, or the file was changed or cut off",
            code="not_opened",
        ) from None


def _key(passphrase: str, header: bytes) -> bytes:
    """256 bits. Each guess costs 128 MiB and some tenths of a second."""
    salt = header[len(FORM) : len(FORM) + _SALT]
    return Scrypt(salt=salt, length=32, n=_COST, r=8, p=1).derive(passphrase.encode())
