"""From a failed build's log to a sentence. The excerpts are from real failures on a bare Debian image."""

from __future__ import annotations

import pytest

from karst.build_errors import explain, last_lines

FAILED = "error: Failed to build `{}`\n  cause: The build backend returned an error\n         [stderr]\n         {}\n"
COMPILER = ("gcc", "libc6-dev", "python3-dev")


@pytest.mark.parametrize(
    ("package", "line", "code", "apt"),
    [
        (
            "misaka==2.1.1",
            "error: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'",
            "missing_compiler",
            COMPILER,
        ),
        (
            "greenlet==3.5.3",
            "error: command 'x86_64-linux-gnu-g++' failed: No such file",
            "missing_compiler",
            ("g++", *COMPILER),
        ),
        ("a==1", "unable to execute 'gcc': No such file or directory", "missing_compiler", COMPILER),
        ("a==1", "ERROR: Unknown compiler(s): [['cc'], ['gcc'], ['clang']]", "missing_compiler", COMPILER),
        (
            "uwsgi==2.0.24",
            "Exception: you need a C compiler to build uWSGI",
            "missing_compiler",
            ("libc6-dev", "gcc", "python3-dev"),
        ),
        ("tokenizers==0.10.0", "error: can't find Rust compiler", "missing_compiler", ("cargo", *COMPILER)),
        ("psycopg2==2.9.9", "Error: pg_config executable not found.", "missing_tool", ("libpq-dev", *COMPILER)),
        (
            "pycurl==7.45.2",
            "Could not run curl-config: [Errno 2] No such file",
            "missing_tool",
            ("libcurl4-openssl-dev", "libssl-dev", *COMPILER),
        ),
        (
            "mysqlclient==2.2.4",
            "/bin/sh: 1: pkg-config: not found",
            "missing_tool",
            ("default-libmysqlclient-dev", "pkg-config", *COMPILER),
        ),
        ("pycairo==1.26.0", "'pkg-config' not found.", "missing_tool", ("libcairo2-dev", "pkg-config", *COMPILER)),
        (
            "x==1",
            "CMake must be installed to build the following extensions",
            "missing_tool",
            ("cmake", "make", "g++", *COMPILER),
        ),
        (
            "lxml==4.6.0",
            "Error: Please make sure the libxml2 and libxslt development packages are installed.",
            "missing_library",
            ("libxml2-dev", "libxslt1-dev", *COMPILER),
        ),
        (
            "x==1",
            "src/x.c:1:10: fatal error: Python.h: No such file or directory",
            "missing_header",
            ("python3-dev", "gcc", "libc6-dev"),
        ),
        (
            "x==1",
            "x.c:9:10: fatal error: openssl/ssl.h: No such file or directory",
            "missing_header",
            ("libssl-dev", *COMPILER),
        ),
        ("x==1", "x.c:9:10: fatal error: rare/thing.h: No such file or directory", "missing_header", ()),
        (
            "x==1",
            "/usr/bin/ld: cannot find -lsnappy: No such file or directory",
            "missing_library",
            ("libsnappy-dev", *COMPILER),
        ),
        (
            "x==1",
            "Package 'libsystemd', required by 'virtual:world', not found",
            "missing_library",
            ("libsystemd-dev", "pkg-config", *COMPILER),
        ),
        (
            "x==1",
            'ERROR: Dependency "openblas" not found, tried pkgconfig',
            "missing_library",
            ("libopenblas-dev", "pkg-config", *COMPILER),
        ),
        ("functools32==3.2.3", "This backport is for Python 2.7 only.", "old_package", ()),
        ("cryptography==3.2", "ModuleNotFoundError: No module named 'pkg_resources'", "old_package", ()),
        (
            "a @ file:///app",
            "error: Multiple top-level packages discovered in a flat-layout: ['web', 'jobs'].",
            "packaging",
            (),
        ),
        ("a @ file:///app", "LookupError: setuptools-scm was unable to detect version for /app.", "packaging", ()),
        ("a @ file:///app", "ValueError: No file/folder found for package shop", "packaging", ()),
    ],
)
def test_a_failed_package_is_named_with_what_it_misses(
    package: str, line: str, code: str, apt: tuple[str, ...]
) -> None:
    found = explain(FAILED.format(package, line))
    assert (found.code, found.apt) == (code, apt)
    assert found.package == package.split(" ")[0]
    assert "\n" not in found.message
    assert found.hint
    assert all(name in found.hint for name in apt)


@pytest.mark.parametrize(
    ("log", "code", "words"),
    [
        ("  cause: invalid peer certificate: UnknownIssuer", "tls", "build_ca_file"),
        ("error: HTTP status client error (401 Unauthorized) for url (https://i/simple/x/)", "index_auth", "netrc"),
        (
            "hint: An index URL could not be queried due to a lack of valid authentication credentials",
            "index_auth",
            "netrc",
        ),
        ("OSError: [Errno 28] No space left on device", "disk_full", "disk"),
        ("  cause: failed to lookup address information: Temporary failure", "no_network", "the network"),
        ("Couldn't resolve host name (Could not resolve host: github.com); class=Net", "no_network", "github.com"),
        ("E: Unable to locate package libfoo-dev", "no_apt_package", "libfoo-dev"),
        ("  cause: Hash mismatch for `flask==3.0.0`\n", "hash_mismatch", "flask==3.0.0"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "out_of_memory", "memory"),
        (
            "  cause: No solution found when resolving dependencies:\n"
            "  cause: Because flask==99 is not there, no.\n\nhint: x",
            "no_solution",
            "Because flask==99 is not there, no.",
        ),
    ],
)
def test_what_stops_every_package_is_told_as_what_it_is(log: str, code: str, words: str) -> None:
    found = explain(log)
    assert found.code == code
    assert words in found.message + found.hint


def test_an_unknown_failure_repeats_the_last_error(caplog: pytest.LogCaptureFixture) -> None:
    found = explain(FAILED.format("numpy==1.19.0", "ModuleNotFoundError: No module named 'distutils.msvccompiler'"))
    assert found.code == "build_failed"
    assert found.message == (
        "numpy==1.19.0 could not be built: ModuleNotFoundError: No module named 'distutils.msvccompiler'"
    )
    assert "pin a newer version" in found.hint


def test_an_empty_log_is_no_crash() -> None:
    assert explain("").message == "an image could not be built"


LOG = """\
#1 [internal] load build definition from Dockerfile
#9 [build 2/2] COPY [src/, /app/]
#10 [dependencies 3/3] RUN --mount=type=cache [karst-build uv pip install]
#10 0.204 Using Python 3.11.2 environment at: /opt/venv
#11 [stage-2 2/5] WORKDIR /app
#11 0.300 fatal error: other.h: No such file
#10 1.643 \x1b[31merror\x1b[0m: Failed to build `x==1`
#10 1.644          src/x.c:1:10: fatal error: zlib.h: No such file or directory
#10 ERROR: executor failed running [karst-build]: exit code: 1
------
 > [dependencies 3/3] RUN --mount=type=cache [karst-build uv pip install]:
------
executor failed running [karst-build]: exit code: 1
"""


def test_only_the_failing_step_counts_however_the_steps_are_mixed() -> None:
    assert last_lines(LOG) == [
        "Using Python 3.11.2 environment at: /opt/venv",
        "error: Failed to build `x==1`",
        "         src/x.c:1:10: fatal error: zlib.h: No such file or directory",
    ]
    assert explain(LOG).apt[0] == "zlib1g-dev"
    assert last_lines(LOG, 1)[0].endswith("zlib.h: No such file or directory")


def test_a_log_without_buildkits_marks_is_cut_before_the_repeated_command() -> None:
    assert last_lines("a\nb\nThe command '/bin/sh -c x' returned a non-zero code: 1\n") == ["a", "b"]
