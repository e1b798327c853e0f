"""Slugs: the one-line addresses of repositories, and the only place that decides which are well formed.

``gh:owner/repo[#ref]``, ``gl:group/sub/repo[#ref]``, ``bb:owner/repo[#ref]`` and ``dir:path``. Everything is checked
against an allow-list before it reaches a URL, a file name or git, and nothing is ever cleaned up: a slug that is not
well formed is refused with one sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from karst.errors import UsageError, did_you_mean

HOSTS = {"gh": "github.com", "gl": "gitlab.com", "bb": "bitbucket.org"}
"""Prefix → the host it means unless ``KARST_GH_URL``, ``KARST_GL_URL`` or ``KARST_BB_URL`` replace it."""

_ALIASES = {
    "github": "gh",
    "github.com": "gh",
    "git": "gh",
    "gitlab": "gl",
    "gitlab.com": "gl",
    "bitbucket": "bb",
    "bitbucket.org": "bb",
    "file": "dir",
    "path": "dir",
    "local": "dir",
    "folder": "dir",
}
_MAX = 400
_SEGMENT = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*", re.ASCII)
_REF = re.compile(r"[A-Za-z0-9_./@+=,-]+", re.ASCII)
_FOLDER = re.compile(r"[\w ./@+=,~()\[\]-]+")
_FULL_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_SHORT_SHA = re.compile(r"[0-9a-f]{4,63}", re.ASCII)
_FORMS = "gh:owner/repo[#ref], gl:group/repo[#ref], bb:owner/repo[#ref] or dir:path"


@dataclass(frozen=True)
class Slug:
    """A well-formed slug.

    Attributes:
        kind: ``gh``, ``gl``, ``bb`` or ``dir``.
        path: ``owner/repo`` (more segments for ``gl``), or the folder as written for ``dir``.
        ref: branch, tag, full ref name or commit; None means the default branch.
    """

    kind: str
    path: str
    ref: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}#{self.ref}" if self.ref else f"{self.kind}:{self.path}"

    @property
    def is_local(self) -> bool:
        """True for ``dir:``: read from this machine, never locked to a commit."""
        return self.kind == "dir"

    @property
    def repo(self) -> str:
        """The last segment: ``repo`` of ``owner/repo``."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def is_commit(self) -> bool:
        """True when the ref is a whole commit id, which needs no resolving."""
        return self.ref is not None and is_full_sha(self.ref)


def is_full_sha(text: str) -> bool:
    """True for the 40 (SHA-1) or 64 (SHA-256) lower-case hex digits of a whole commit id."""
    return _FULL_SHA.fullmatch(text) is not None


def is_short_sha(text: str) -> bool:
    """True for text that looks like the beginning of a commit id."""
    return _SHORT_SHA.fullmatch(text) is not None and not is_full_sha(text)


def parse(text: str) -> Slug:
    """Return the slug that ``text`` spells; raise UsageError (codes ``bad_slug``, ``unknown_host``, ``bad_ref``)."""
    if not isinstance(text, str):
        raise UsageError(f"a slug is text, and this is {type(text).__name__}", hint=f"write {_FORMS}", code="bad_slug")
    if not text.strip():
        raise _bad(text, "it is empty")
    if len(text) > _MAX:
        raise _bad(text[:40] + "…", f"it is longer than {_MAX} characters")
    if text.startswith("-"):
        raise _bad(text, "it begins with a dash")
    _refuse_urls(text)
    kind, colon, rest = text.partition(":")
    if not colon:
        raise _bad(text, "it has no host prefix", hint=_prefix_hint(text))
    if kind == "dir":
        return _parse_dir(text, rest)
    if kind not in HOSTS:
        raise _unknown_host(text, kind, rest)
    path, hash_, ref = rest.partition("#")
    _check_path(text, kind, path)
    if hash_:
        check_ref(ref, text)
    return Slug(kind, path, ref or None)


def check_ref(ref: str, where: str) -> None:
    """Raise UsageError (``bad_ref``) unless git would accept ``ref`` and no shell could misread it.

    The rules are those of git-check-ref-format(1), numbered as there, on top of a narrower allow-list of characters.
    Rule 2 (at least one slash) is waived as by ``--allow-onelevel``: a slug names a branch or tag by its short name.
    """
    parts = ref.split("/")
    problem = ""
    if not ref:
        problem = "is empty"
    elif ref.startswith("-"):  # git itself would read it as an option
        problem = "begins with a dash"
    elif not _REF.fullmatch(ref):  # rules 4, 5 and 10, and everything a shell gives a meaning to
        odd = next(char for char in ref if not _REF.fullmatch(char))
        problem = f"holds the character {odd!r}"
    elif any(part.startswith(".") or part.endswith(".lock") for part in parts):  # rule 1
        problem = "has a part that begins with a dot or ends with .lock"
    elif ".." in ref:  # rule 3
        problem = "holds two dots in a row"
    elif "" in parts:  # rule 6
        problem = "begins or ends with a slash, or has two in a row"
    elif ref.endswith("."):  # rule 7
        problem = "ends with a dot"
    elif "@{" in ref or ref == "@":  # rules 8 and 9
        problem = "is @"
    if problem:
        raise UsageError(
            f"the ref {ref!r} of `{shown(where)}` {problem}",
            hint="a ref is a branch, a tag or a whole commit id, of letters, digits and . _ - / @ + = ,",
            code="bad_ref",
        )


def _parse_dir(text: str, rest: str) -> Slug:
    path, hash_, _ = rest.partition("#")
    if hash_:
        raise _bad(text, "a folder has no #ref", hint="dir: takes the folder as it is on disk; leave the #ref away")
    while len(path) > 1 and path.endswith("/"):
        path = path[:-1]
    if not path.strip():
        raise _bad(text, "the path is empty", hint="write dir:path, relative to the list's own folder")
    if path.startswith("-"):
        raise _bad(text, "the path begins with a dash", hint=f"write dir:./{path}")
    if not _FOLDER.fullmatch(path) or path != path.strip():
        odd = next((char for char in path if not _FOLDER.fullmatch(char)), " ")
        raise _bad(text, f"the path holds the character {odd!r}", hint="rename the folder, or link to it")
    return Slug("dir", path)


def _check_path(text: str, kind: str, path: str) -> None:
    parts = path.split("/")
    wanted = "gl:group/repo or gl:group/subgroup/repo" if kind == "gl" else f"{kind}:owner/repo"
    if len(parts) < 2 or (kind != "gl" and len(parts) > 2) or len(parts) > 20:
        raise _bad(text, f"its path has {len(parts)} part{'s' * (len(parts) != 1)}", hint=f"write {wanted}")
    for part in parts:
        if not part:
            raise _bad(text, "its path has an empty part", hint=f"write {wanted}")
        if part.startswith("-"):
            raise _bad(text, f"the part {part!r} begins with a dash")
        if not _SEGMENT.fullmatch(part):
            odd = next(char for char in part if not re.fullmatch(r"[A-Za-z0-9_.-]", char, re.ASCII))
            raise _bad(text, f"the part {part!r} holds the character {odd!r}")
        if part == "." or ".." in part:
            raise _bad(text, f"the part {part!r} would leave its folder")
        if len(part) > 100:
            raise _bad(text, f"the part {part[:20]!r}… is longer than 100 characters")
        if part.endswith((".lock", ".")):
            raise _bad(text, f"the part {part!r} ends with {'a dot' if part.endswith('.') else '.lock'}")
    if parts[-1].endswith(".git"):
        bare = path.removesuffix(".git")
        raise _bad(text, "it ends with .git", hint=f"write {kind}:{bare}" if bare and not bare.endswith("/") else "")


def _refuse_urls(text: str) -> None:
    """A pasted URL is the commonest slip: answer with the slug for it."""
    match = re.fullmatch(r"(?:ssh://)?git@([\w.-]+)[:/](.+)", text, re.ASCII)
    if match:
        host, path = match[1], match[2]
    elif "://" in text:
        try:
            split = urlsplit(text)
            host, path = split.hostname or "", split.path
        except ValueError:
            host, path = "", ""
    else:
        return
    raise UsageError(f"`{shown(text)}` is a URL, not a slug", hint=_slug_for(host, path), code="bad_slug")


def _slug_for(host: str, path: str) -> str:
    kind = _ALIASES.get(host.removeprefix("www."))
    found = re.fullmatch(
        r"/?([\w./-]+?)(?:\.git)?(?:/(?:-/)?(?:tree|commit|src|commits|releases/tag)/([\w./-]+?))?/?", path, re.ASCII
    )
    if kind and found:
        spelled = f"{kind}:{found[1]}" + (f"#{found[2]}" if found[2] else "")
        try:
            return f"write {parse(spelled)}"
        except UsageError:
            pass
    return f"write {_FORMS}; another host of the same kind is set by KARST_GH_URL, KARST_GL_URL or KARST_BB_URL"


def _unknown_host(text: str, kind: str, rest: str) -> UsageError:
    near = _ALIASES.get(kind.lower(), kind.lower() if kind.lower() in (*HOSTS, "dir") else "")
    hint = f"did you mean `{near}:{shown(rest)}`?" if near else did_you_mean(kind, [*HOSTS, "dir"])
    known = ", ".join(f"{prefix}: ({host})" for prefix, host in HOSTS.items())
    return UsageError(
        f"`{shown(kind)}:` in `{shown(text)}` is not a host this kit knows",
        hint=hint or f"known are {known} and dir:",
        code="unknown_host",
    )


def _prefix_hint(text: str) -> str:
    if re.fullmatch(r"[\w.-]+/[\w.-]+(#\S+)?", text, re.ASCII) and not text.startswith("."):
        return f"did you mean `gh:{text}` (or gl:, bb:, or dir: for a folder)?"
    if text.startswith((".", "/", "~")):
        return f"did you mean `dir:{shown(text)}`?"
    return f"write {_FORMS}"


def shown(text: str) -> str:
    """The text for a message: short, printable (control characters repaint terminals), without a URL's password."""
    safe = "".join(char if char.isprintable() else "�" for char in re.sub(r"//[^/@]*@", "//…@", text))
    return safe if len(safe) <= 120 else safe[:117] + "…"


def _bad(text: str, why: str, *, hint: str = "") -> UsageError:
    return UsageError(f"`{shown(text)}` is not a slug: {why}", hint=hint or f"write {_FORMS}", code="bad_slug")
