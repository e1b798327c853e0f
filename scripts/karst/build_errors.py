"""From the log of a failed image build to one sentence: which package, what is missing, what to write in the list.

Pure: a text in, an explanation out. The patterns are the words that compilers, build backends, uv and apt print; each
was taken from a real failure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from karst.build_packages import COMPILER, DISTRIBUTIONS, HEADERS, PKG_CONFIG, TOOLS


@dataclass(frozen=True)
class Explanation:
    """Why a build failed.

    Attributes:
        code: a stable machine word (``missing_compiler``, ``missing_header``, ``no_solution`` …, ``build_failed``).
        message: one sentence: the package and what it misses.
        hint: what to do.
        apt: the packages to add to ``apt:``.
        package: the Python package that failed, "" when the log does not say.
    """

    code: str
    message: str
    hint: str
    apt: tuple[str, ...] = field(default=())
    package: str = ""


_Answer = Callable[[re.Match[str], str], Explanation | None]
_Rule = tuple[re.Pattern[str], _Answer]


def plain(log: str) -> list[str]:
    """The log's lines without colours and BuildKit's ``#10 0.846`` prefixes."""
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", log).replace("\r\n", "\n").split("\n")
    return [re.sub(r"^#\d+ (\d+\.\d+ )?", "", line).rstrip() for line in lines]


def own_lines(log: str) -> list[str]:
    """The failing step's own output: BuildKit mixes steps, and repeats the Dockerfile and the command at the end."""
    raw = log.replace("\r\n", "\n").split("\n")
    step = next((match.group(1) for line in raw if (match := re.match(r"(#\d+) ERROR: ", line))), "")
    if step:
        return [
            line
            for line in plain("\n".join(line for line in raw if re.match(rf"{step} \d+\.\d+ ", line)))
            if line.strip()
        ]
    lines = plain(log)
    ends = (i for i, line in enumerate(lines) if re.match(r"ERROR: |-{6}$|executor failed running|The command '", line))
    return [line for line in lines[: next(ends, len(lines))] if line.strip()]


def last_lines(log: str, count: int = 15) -> list[str]:
    """The last of them, for a person."""
    return own_lines(log)[-count:]


def explain(log: str) -> Explanation:
    """The explanation for a failed build's log; code ``build_failed`` when nothing known is in it."""
    text = "\n".join(own_lines(log))
    package = _package(text)
    for pattern, answer in _RULES:
        match = pattern.search(text)
        if match:
            found = answer(match, package)
            if found is not None:
                return found
    return _unknown(text, package)


def _unknown(text: str, package: str) -> Explanation:
    """What the step says last in the form of an error; a package that fails so is mostly older than the Python."""
    errors = re.findall(r"^\s*((?:[\w.]*(?:Error|Exception)|error|E): [^\n]{3,200})$", text, re.M)
    compiled = re.findall(r"^\s*\S+\.(?:c|cc|cpp|cxx|h|hpp|rs|pyx):\d+:\d+: (error: [^\n]{3,200})$", text, re.M)
    own = compiled[:1] or [line for line in errors if "Failed to build" not in line]
    why = f": {own[-1]}" if own else ""
    hint = "the step's last lines say why"
    if package and "==" in package:
        hint = f"{package} has no wheel for this Python: pin a newer version in the repository"
    return Explanation("build_failed", f"{_who(package)} could not be built{why}", hint, (), package)


def _package(text: str) -> str:
    """The package that uv says it failed on."""
    for pattern in (
        r"Failed to build `?([A-Za-z0-9][\w.-]*(?:==[\w.!+-]+)?)",
        r"Failed to (?:download and )?build(?: distribution)? `?([A-Za-z0-9][\w.-]*(?:==[\w.!+-]+)?)",
        r"Building wheel for ([A-Za-z0-9][\w.-]*).*(?:error|failed)",
    ):
        match = re.search(pattern, text)
        if match:
            return match.group(1)
    return ""


def _who(package: str) -> str:
    return package if package else "an image"


def _apt(packages: tuple[str, ...]) -> str:
    unique = tuple(dict.fromkeys(packages))
    return f"add `apt: [{', '.join(unique)}]` to this entry of the list"


def _missing(code: str, message: str, packages: tuple[str, ...], package: str) -> Explanation:
    unique = tuple(dict.fromkeys(DISTRIBUTIONS.get(package.split("==")[0].lower(), packages)))
    wheel = f", or pin a version of {package.split('==')[0]} that has a wheel for this Python" if package else ""
    return Explanation(code, message, _apt(unique) + wheel, unique, package)


def _word(match: re.Match[str]) -> str:
    """The one group that matched: rules put alternatives side by side."""
    return next((str(group) for group in match.groups() if group), "")


def _compiler(match: re.Match[str], package: str) -> Explanation:
    program = _word(match)
    more = ("g++", *COMPILER) if program.endswith(("++", "g++")) else COMPILER
    more = ("gfortran", *COMPILER) if "fortran" in program else more
    return _missing(
        "missing_compiler",
        f"{_who(package)} has no wheel for this Python and needs a compiler ({program})",
        more,
        package,
    )


def _header(match: re.Match[str], package: str) -> Explanation:
    header = _word(match)
    found = HEADERS.get(header) or HEADERS.get(header.split("/")[-1])
    if found is None:
        return Explanation(
            "missing_header",
            f"{_who(package)} needs the header {header}",
            f"add the Debian package that holds {header} to `apt:` (https://packages.debian.org can search for it)",
            (),
            package,
        )
    return _missing("missing_header", f"{_who(package)} needs the header {header}", (found, *COMPILER), package)


def _library(match: re.Match[str], package: str) -> Explanation:
    name = _word(match)
    known = {
        "z": "zlib1g-dev",
        "crypto": "libssl-dev",
        "ssl": "libssl-dev",
        "python3.11": "python3-dev",
        "xslt": "libxslt1-dev",
    }
    return _missing(
        "missing_library",
        f"{_who(package)} needs the library {name}",
        (known.get(name, f"lib{name}-dev"), *COMPILER),
        package,
    )


def _pkg_config(match: re.Match[str], package: str) -> Explanation:
    name = _word(match).lower()
    found = PKG_CONFIG.get(name, f"lib{name.removeprefix('lib')}-dev")
    return _missing(
        "missing_library", f"{_who(package)} needs the library {name}", (found, "pkg-config", *COMPILER), package
    )


def _tool(match: re.Match[str], package: str) -> Explanation | None:
    name = _word(match).lower()
    packages = TOOLS.get(name)
    return (
        _missing("missing_tool", f"{_who(package)} needs {name} to be built", packages, package) if packages else None
    )


def _rust(match: re.Match[str], package: str) -> Explanation:
    return _missing(
        "missing_compiler",
        f"{_who(package)} has no wheel for this Python and needs Rust",
        ("cargo", *COMPILER),
        package,
    )


def _says(code: str, message: str, hint: str) -> Callable[[re.Match[str], str], Explanation]:
    def answer(match: re.Match[str], package: str) -> Explanation:
        words = {"who": _who(package), "one": _word(match).strip()}
        return Explanation(code, message.format(**words), hint.format(**words), (), package)

    return answer


def _no_network(match: re.Match[str], package: str) -> Explanation:
    host = _word(match) or "the network"
    return Explanation(
        "no_network",
        f"the build cannot reach {host}",
        f"check that containers can reach {host}; behind a proxy set HTTPS_PROXY for the Docker engine",
        (),
        package,
    )


def _no_solution(match: re.Match[str], package: str) -> Explanation:
    reason = " ".join(_word(match).split())
    return Explanation(
        "no_solution",
        f"the requirements cannot be met together: {reason[:400]}",
        "fix the requirement in the repository, or deploy a ref that has a lock file",
        (),
        package,
    )


_CC = r"((?:[\w.-]*-)?(?:gcc|cc|g\+\+|c\+\+|clang(?:\+\+)?|gfortran)(?:-[\d.]+)?)"
_CONFIG = (
    r"(pg_config|mysql_config|mariadb_config|curl-config|xslt-config|xml2-config|krb5-config|gdal-config|geos-config)"
)
_NO_INSTALL = "or set `entrypoint:` to a file, which needs no installation"


def _rule(patterns: list[str], answer: _Answer) -> _Rule:
    return re.compile("|".join(patterns), re.S), answer


# First match wins: what stops everything (network, certificates, disk) comes before what a compiler says.
_RULES: tuple[_Rule, ...] = (
    _rule(
        [
            r"invalid peer certificate|certificate verify failed|self[- ]signed certificate|UnknownIssuer",
            r"server certificate verification failed",
        ],
        _says(
            "tls",
            "a server's certificate is not trusted inside the build",
            "behind a proxy with a CA of its own, set `build_ca_file` to its bundle (docs/build.md)",
        ),
    ),
    _rule(
        [
            r"(?:HTTP status client error \(|status code:? |HTTP )(?:401|403)\b",
            r"Missing credentials for",
            r"lack of valid authentication credentials",
        ],
        _says(
            "index_auth",
            "the package index refuses the build's credentials",
            "give them as the build secret `netrc` or `pip_conf` (docs/build.md)",
        ),
    ),
    _rule(
        [r"No space left on device"],
        _says(
            "disk_full", "the disk of the Docker host is full", "free some space; `docker system df` says what takes it"
        ),
    ),
    _rule(
        [
            r"(?:Could not resolve host|Temporary failure resolving|failed to lookup address)(?:: '?([\w.-]+\w))?",
            r"dns error|Temporary failure in name resolution|Network is unreachable",
        ],
        _no_network,
    ),
    _rule(
        [r"Hash mismatch for `?([^`\n]+)"],
        _says(
            "hash_mismatch",
            "{one} is not the file that the lock pins",
            "the index serves another file than when the lock was made: lock again, or look into it",
        ),
    ),
    _rule(
        [r"E: Unable to locate package (\S+)", r"E: Package '(\S+)' has no installation candidate"],
        _says(
            "no_apt_package",
            "there is no Debian package {one}",
            "correct `apt:` (https://packages.debian.org has the names)",
        ),
    ),
    _rule(
        [
            r"(?i:can't|cannot|could not) find (?:a )?Rust compiler|Rust toolchain|Rust not found",
            r"Cargo, the Rust package manager, is not installed",
        ],
        _rust,
    ),
    _rule(
        [
            rf"{_CONFIG}\b[^\n]{{0,60}}(?:not found|No such file)",
            rf"(?:Could not find|Unable to find|Could not run) (?:required )?{_CONFIG}",
        ],
        _tool,
    ),
    _rule(
        [
            r"make sure the development packages of libxml2 and libxslt",
            r"make sure the libxml2 and libxslt development packages",
        ],
        lambda match, package: _missing(
            "missing_library",
            f"{_who(package)} needs libxml2 and libxslt",
            ("libxml2-dev", "libxslt1-dev", *COMPILER),
            package,
        ),
    ),
    _rule([r"fatal error: ([\w./+-]+\.h(?:pp)?): No such file"], _header),
    _rule(
        [
            r"Package '?([\w.+-]+)'?,? (?:required by '[^']*', )?(?:was )?not found",
            r"No package '([\w.+-]+)' found",
            r'Dependency "([\w.+-]+)" not found',
        ],
        _pkg_config,
    ),
    _rule([r"cannot find -l([\w.+-]+)"], _library),
    _rule(
        [
            rf"(?:command|execute|Unknown compiler\(s\): \[\[)\s*'{_CC}'",
            rf"No such file or directory: '(?:/usr/bin/)?{_CC}'",
            rf"\b{_CC}: (?:command )?not found",
            r"you need a (C compiler)",
        ],
        _compiler,
    ),
    _rule(
        [
            r"(CMake) must be installed|Problem with the (CMake) installation",
            r"No such file or directory: '(cmake|ninja|make|swig|cargo|rustc|git|node|npm)'",
            r"\b(cmake|make|ninja|swig|pkg-config|git|node|npm): (?:command )?not found",
            r"'(pkg-config|cmake|make|swig)' not found",
            r"(?:unable to execute|command) '(swig|cargo|make)'",
        ],
        _tool,
    ),
    _rule(
        [r"Multiple top-level packages discovered in a flat-layout: (\[[^\]]*\])"],
        _says(
            "packaging",
            "the repository's packaging does not say what to install: setuptools sees {one}",
            f"list the packages in its pyproject.toml, {_NO_INSTALL}",
        ),
    ),
    _rule(
        [r"No file/folder found for package (\S+)", r"Unable to determine which files to ship inside the (wheel)"],
        _says(
            "packaging",
            "the repository's packaging names files that are not there ({one})",
            f"fix it in the repository, {_NO_INSTALL}",
        ),
    ),
    _rule(
        [
            r"unable to detect version for|setuptools-scm was unable",
            r"Error getting the version from source `vcs`",
        ],
        _says(
            "packaging",
            "the project takes its version from git, which a source archive does not have",
            "deploy a tag, or give the project a written version",
        ),
    ),
    _rule(
        [r"No module named '(distutils|imp|pkg_resources|setuptools|numpy|Cython|pip|wheel|six)'"],
        _says(
            "old_package",
            "building {who} needs {one}, which it does not ask for",
            "pin a newer version of it in the repository",
        ),
    ),
    _rule(
        [
            r"use_2to3 is invalid|Missing parentheses in call to 'print'",
            r"error in \S+ setup command: '?install_requires",
            r"is for Python 2(?:\.7)? only",
        ],
        _says(
            "old_package",
            "{who} is written for an older Python or setuptools",
            "pin a newer version of it in the repository",
        ),
    ),
    _rule(
        [r"No solution found when resolving[^\n]*\n\s*(?:cause:|╰─▶)?\s*(.*?)(?:\n\s*\n|\nhint|\Z)"],
        _no_solution,
    ),
    _rule(
        [r"requested Python version|does not satisfy [^\n]*Python|requires Python\W*>=?[\d.]+"],
        _says(
            "python",
            "the repository asks for another Python than the image has",
            "set `python:` to a version for which there is a base image",
        ),
    ),
    _rule(
        [r"signal: 9|exit code: 137|Killed\b|Cannot allocate memory"],
        _says(
            "out_of_memory",
            "{who} ran out of memory while it was built",
            "give the Docker host more memory, or pin a version that has a wheel",
        ),
    ),
)
