"""From the last lines of a crashed app to what is missing around it: a library, a program, a place to write.

Pure, like ``build_errors``; None where the lines say nothing that the kit could help with.
"""

from __future__ import annotations

import re

from karst.build_errors import Explanation

# Shared library or its short name → Debian (bookworm) package.
LIBRARIES = {
    "cairo": "libcairo2",
    "espeak": "libespeak1",
    "fontconfig": "libfontconfig1",
    "gl": "libgl1",
    "glib-2.0": "libglib2.0-0",
    "gobject-2.0": "libglib2.0-0",
    "gomp": "libgomp1",
    "gdk_pixbuf-2.0": "libgdk-pixbuf-2.0-0",
    "gthread-2.0": "libglib2.0-0",
    "ldap": "libldap-2.5-0",
    "magic": "libmagic1",
    "mysqlclient": "libmysqlclient21",
    "mariadb": "libmariadb3",
    "odbc": "libodbc2",
    "openblas": "libopenblas0",
    "pango-1.0": "libpango-1.0-0",
    "pangoft2-1.0": "libpangoft2-1.0-0",
    "portaudio": "libportaudio2",
    "pq": "libpq5",
    "proj": "libproj25",
    "geos_c": "libgeos-c1v5",
    "gdal": "libgdal32",
    "sndfile": "libsndfile1",
    "sm": "libsm6",
    "usb-1.0": "libusb-1.0-0",
    "xext": "libxext6",
    "xrender": "libxrender1",
    "zbar": "libzbar0",
}
PROGRAMS = {
    "chromium": "chromium",
    "convert": "imagemagick",
    "curl": "curl",
    "dot": "graphviz",
    "exiftool": "libimage-exiftool-perl",
    "ffmpeg": "ffmpeg",
    "ffprobe": "ffmpeg",
    "git": "git",
    "gs": "ghostscript",
    "java": "default-jre-headless",
    "node": "nodejs",
    "pandoc": "pandoc",
    "pdftoppm": "poppler-utils",
    "pdftotext": "poppler-utils",
    "ps": "procps",
    "ssh": "openssh-client",
    "tesseract": "tesseract-ocr",
    "unzip": "unzip",
    "wget": "wget",
    "wkhtmltopdf": "wkhtmltopdf",
}


def explain_crash(log: str, *, own_image: bool = False) -> Explanation | None:
    """What the app lacks, when its last lines say so. Of an image of the repository's own the kit can only give it a
    place to write.
    """
    if own_image:
        matches = list(_NOT_WRITABLE.finditer(log))
        return _not_writable(next(filter(None, matches[-1].groups()))) if matches else None
    for pattern, answer in (
        (r"(?:ImportError|OSError): lib([\w.+-]+?)\.so[\d.]*: cannot open shared object", _library),
        (r"cannot load library '(?:lib)?([\w.+-]+?)(?:-\d+)?(?:\.so[\d.]*)?'", _library),
        (r"no library called \"(?:lib)?([\w.+-]+?)(?:-\d+)?\" was found", _library),
        (r"\blib(\w+) (?:library )?not found|failed to find lib(\w+)|Unable to find (?:\w+ )?lib(\w+)", _library),
        (r"No such file or directory: '(?:/usr/(?:local/)?bin/)?([\w.-]+)'", _program),
        (r"\b([\w.-]+): (?:command )?not found$", _program),
        (r"Bad (git) executable", _program),
        (r"Read-only file system: '([^'\n]+)'", _read_only),
        (r"unable to (open) database file|attempt to (write) a readonly database", _database),
        (r"ModuleNotFoundError: No module named '([\w.]+)'", _module),
        (r"ZoneInfoNotFoundError|No time zone found with key", _time_zone),
    ):
        matches = list(re.finditer(pattern, log, re.M))
        # A traceback's last line is the one that counts.
        found = answer(next((group for group in matches[-1].groups() if group), "")) if matches else None
        if found is not None:
            return found
    return None


# nginx: mkdir() "/x" failed (30: Read-only file system); sh: cannot create /x: Read-only file system; Python, Node.
_NOT_WRITABLE = re.compile(
    r"[\"'‘](/[^\"'’\n]+)[\"'’][^\n]{0,40}read-only file system"
    r"|(/[^\s:\"']*): read-only file system"
    r"|read-only file system[^\n]{0,40}'([^'\n]+)'",
    re.IGNORECASE,
)


def _not_writable(path: str) -> Explanation:
    folder = path.rstrip("/").rpartition("/")[0] or "/"
    return Explanation(
        "read_only",
        f"it writes to {path}, and the image is read-only when it runs",
        f"add `writable: [{folder}]` to this entry of the list; what it writes there is gone with the container",
    )


def _apt(package: str) -> str:
    return f"add `apt: [{package}]` to this entry of the list"


def _library(name: str) -> Explanation | None:
    package = LIBRARIES.get(name.lower())
    message = f"it needs the system library lib{name}"
    if package is None:
        return Explanation("missing_library", message, "add the Debian package that holds it to `apt:`")
    return Explanation("missing_library", message, _apt(package), (package,))


def _program(name: str) -> Explanation | None:
    package = PROGRAMS.get(name)
    return (
        Explanation("missing_program", f"it needs the program {name}", _apt(package), (package,)) if package else None
    )


def _read_only(path: str) -> Explanation:
    return Explanation(
        "read_only",
        f"it writes to {path}, and the image is read-only when it runs",
        "point it to a folder below /tmp with `args:` or `env:`; what it writes there is gone with the container",
    )


def _database(_: str) -> Explanation:
    return Explanation(
        "read_only",
        "it cannot write its database file: the image is read-only when it runs",
        "point it to a file below /tmp, or to a database server, with `args:` or `env:`",
    )


def _module(name: str) -> Explanation:
    top = name.split(".")[0]
    return Explanation(
        "missing_module",
        f"it imports {top}, which nothing in the repository asks for",
        f"list the package that holds {top} among the repository's requirements",
    )


def _time_zone(_: str) -> Explanation:
    return Explanation("missing_library", "it needs the time zone database", _apt("tzdata"), ("tzdata",))
