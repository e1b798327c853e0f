"""From a ref to a commit: git's smart-HTTP advertisement, read without a clone.

Format: gitprotocol-http(5), "Smart Clients" of the reference discovery, and gitprotocol-common(5) for pkt-lines.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field

from karst.errors import KarstError
from karst.fetch import web
from karst.fetch.hosts import Remote
from karst.fetch.limits import Budget
from karst.slug import Slug, is_full_sha, is_short_sha

_MAX_ADVERTISEMENT = 64 << 20  # half a million refs
_HASH = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Advertisement:
    """What a repository says it has.

    Attributes:
        refs: full name → commit (annotated tags already peeled).
        head: full name of the default branch, or "".
    """

    refs: dict[str, str] = field(default_factory=dict)
    head: str = ""


class BadAdvertisement(KarstError):
    """The answer is not git's."""


def parse_advertisement(data: bytes) -> Advertisement:
    """Read the body of ``info/refs?service=git-upload-pack`` (protocol 0 or 1); BadAdvertisement when it is not one."""
    lines = iter(_pkt_lines(data))
    first = next(lines, None)
    if first is None or not first.startswith(b"# service=git-upload-pack"):
        raise BadAdvertisement("the answer is not git's smart HTTP", code="not_git")
    refs: dict[str, str] = {}
    peeled: dict[str, str] = {}
    capabilities = b""
    for line in lines:
        line = line.rstrip(b"\n")
        if line == b"version 1" or line.startswith((b"shallow ", b"# service=")):
            continue
        if line.startswith(b"ERR "):
            raise BadAdvertisement(f"the host says: {line[4:].decode(errors='replace')}", code="not_git")
        entry, nul, rest = line.partition(b"\0")
        if nul:
            capabilities = rest
        value, space, raw_name = entry.partition(b" ")
        if not space or not _HASH.fullmatch(value):
            raise BadAdvertisement("the answer is not git's smart HTTP", code="not_git")
        name = raw_name.decode(errors="surrogateescape")
        if name == "capabilities^{}":
            continue
        if name.endswith("^{}"):
            peeled[name[:-3]] = value.decode()
        else:
            refs[name] = value.decode()
    refs.update({name: value for name, value in peeled.items() if name in refs})
    return Advertisement(refs, _head(capabilities, refs))


def _head(capabilities: bytes, refs: dict[str, str]) -> str:
    for word in capabilities.split():
        if word.startswith(b"symref=HEAD:"):
            return word.removeprefix(b"symref=HEAD:").decode(errors="surrogateescape")
    if "HEAD" in refs:  # an old server: the branch is the one of the same commit, main and master first
        same = sorted(name for name, value in refs.items() if name.startswith("refs/heads/") and value == refs["HEAD"])
        for name in ("refs/heads/main", "refs/heads/master", *same):
            if name in same:
                return name
        return "HEAD"
    return ""


def _pkt_lines(data: bytes) -> list[bytes]:
    """Split into pkt-lines, flush packets left out; BadAdvertisement for a length that is no length."""
    lines: list[bytes] = []
    position = 0
    while position < len(data):
        prefix = data[position : position + 4]
        if not re.fullmatch(rb"[0-9a-fA-F]{4}", prefix):
            raise BadAdvertisement("the answer is not git's smart HTTP", code="not_git")
        size = int(prefix, 16)
        if size in (0, 1, 2):
            position += 4
            continue
        if size < 4 or position + size > len(data):
            raise BadAdvertisement("git's answer is cut short", code="not_git")
        lines.append(data[position + 4 : position + size])
        position += size
    return lines


def choose(advertisement: Advertisement, slug: Slug) -> tuple[str, str]:
    """Full ref name and commit that the slug's ref means; KarstError (``ref_not_found``, ``short_sha``, ``empty``).

    The order is gitrevisions(7)'s: the name as it is, then refs/, then tags, then branches.
    """
    refs = advertisement.refs
    if not refs:
        raise KarstError(f"{slug} is an empty repository", hint="push a commit to it first", code="empty")
    if slug.ref is None:
        head = advertisement.head
        if head in refs:
            return head, refs[head]
        raise KarstError(
            f"{slug} has no default branch" + (f" (`{short(head)}` does not exist)" if head else ""),
            hint=f"name a ref: {slug}#{short(sorted(refs)[0])}",
            code="ref_not_found",
        )
    for name in (slug.ref, f"refs/{slug.ref}", f"refs/tags/{slug.ref}", f"refs/heads/{slug.ref}"):
        if name in refs:
            return name, refs[name]
    raise _not_found(advertisement, slug, slug.ref)


def _not_found(advertisement: Advertisement, slug: Slug, ref: str) -> KarstError:
    bare = f"{slug.kind}:{slug.path}"
    if is_short_sha(ref):
        whole = sorted({value for value in advertisement.refs.values() if value.startswith(ref)})
        return KarstError(
            f"{bare} has no branch or tag `{ref}`, and the beginning of a commit id is not enough",
            hint=f"write {bare}#{whole[0]}" if len(whole) == 1 else "write all 40 characters of the commit id",
            code="short_sha",
        )
    names = {short(name): name for name in sorted(advertisement.refs) if name.startswith(("refs/heads/", "refs/tags/"))}
    near = difflib.get_close_matches(ref, list(names), n=3, cutoff=0.5)
    lower = {name.lower(): name for name in names}
    for guess in (ref.lower(), f"v{ref}".lower(), ref.lower().removeprefix("v")):
        if guess in lower and lower[guess] not in near:
            near.insert(0, lower[guess])
    head = short(advertisement.head)
    hint = "did you mean " + " or ".join(f"`{name}`" for name in near[:3]) + "?" if near else ""
    if not hint and head:
        hint = f"the default branch is `{head}`"
    return KarstError(f"{bare} has no branch, tag or commit `{ref}`", hint=hint, code="ref_not_found")


def short(name: str) -> str:
    """``refs/heads/main`` → ``main``."""
    return re.sub(r"^refs/(heads|tags)/", "", name)


def advertisement(remote: Remote, budget: Budget) -> Advertisement:
    """Ask the host; KarstError (``repo_not_found``, ``forbidden``, ``network``, ``not_git`` …) when it does not tell.

    A token that the host does not take is tried without: an expired one must not lock anybody out of public code.
    """
    status = 0
    for auth in dict.fromkeys((remote.git_auth(), "")):
        url = f"{remote.git_url}/info/refs?service=git-upload-pack"
        with web.get(url, auth, budget, accept="application/x-git-upload-pack-advertisement, */*") as response:
            if response.status_code == 200:
                body = bytearray()
                for chunk in response.iter_content(1 << 16):
                    budget.left()
                    body += chunk
                    if len(body) > _MAX_ADVERTISEMENT:
                        raise KarstError(f"{remote.web_url} lists more than 64 MiB of refs", code="too_large")
                try:
                    return parse_advertisement(bytes(body))
                except BadAdvertisement as err:
                    raise KarstError(
                        f"{remote.web_url} is no git repository: {remote.redact(err.message)}",
                        hint=f"check the slug, and KARST_{remote.slug.kind.upper()}_URL if it is set",
                        code="not_git",
                    ) from None
            status = status or response.status_code
    raise refused(remote, status)


def refused(remote: Remote, status: int) -> KarstError:
    """The sentence for an answer other than 200: hosts say 401, 403 or 404 alike for the absent and the private."""
    name = f"{remote.slug.kind}:{remote.slug.path}"
    if status in (401, 403, 404, 410):
        if remote.token:
            hint = f"check the spelling, and that {remote.token_name} may read it"
        else:
            hint = f"check the spelling; for a private repository set {remote.token_name}"
        return KarstError(
            f"{name} is not at {remote.base}, or is private (HTTP {status})", hint=hint, code="repo_not_found"
        )
    return KarstError(f"{remote.base} answered HTTP {status} for {name}", hint="try again later", code="host_error")


def resolve(remote: Remote, budget: Budget) -> tuple[str, str]:
    """Full ref name and commit of the remote's slug; a whole commit id is taken as it is, without asking anybody."""
    ref = remote.slug.ref
    if ref is not None and is_full_sha(ref):
        return ref, ref
    return choose(advertisement(remote, budget), remote.slug)
