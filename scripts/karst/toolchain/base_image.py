"""The image that everything in a pod is built from: Python 3.11 on a slim Debian.

Usage: scripts/toolchain/base-image

Normal source: the official ``python:3.11-slim``, by digest. Where no registry can be reached: a Debian made with
debootstrap and imported under the name of `LOCAL`, labelled as what it is. Either way the name goes to
<cache>/toolchain.json and to toolchain.auto.tfvars.json in each folder of envs/.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from karst.errors import Exit, KarstError
from karst.files import cache_dir, disk_errors, locked, write_atomic
from karst.toolchain import apt, record
from karst.toolchain.process import ROOT, answers, last_line, report, run, works

# The multi-platform index of python:3.11-slim of August 2026.
OFFICIAL = "python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7"
LOCAL = "karst/python-base:3.11"
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = "python3,python3-venv,ca-certificates"
RECIPE_LABEL = "karst.base.recipe"

FIRST_WORD_SECONDS = 15
PULL_SECONDS = 900
DEBOOTSTRAP_SECONDS = 1800

ENVS = ROOT / "envs"
TFVARS = "toolchain.auto.tfvars.json"

# Left out of packages that are installed later on, too; the copyright files stay, as their licences ask.
SLIM = """\
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/lintian/*
"""
APT = """\
Acquire::Languages "none";
APT::Install-Recommends "0";
APT::Install-Suggests "0";
"""


def main() -> int:
    with locked(cache_dir() / "base-image.lock"):
        image, source = find() or _pull() or _make()
    record.save(base_image={"name": image, "source": source})
    write_tfvars(image)
    report("base image", f"{source}: {image}")
    return int(Exit.OK)


def write_tfvars(image: str) -> None:
    """Tell each root which image to build from and which CA bundle its builds need."""
    text = json.dumps({"base_image": image, "build_ca_file": build_ca_file()}, indent=2) + "\n"
    for root in ENVS.glob("*/main.tf"):
        path = root.with_name(TFVARS)
        if not path.exists() or path.read_text() != text:
            write_atomic(path, text)


def build_ca_file() -> str:
    """Return the CA bundle that builds in containers need to reach package registries, or "".

    It is needed where TLS is opened on the way (company proxies): the machine then trusts a CA of its own, said either
    in one of the usual variables or by a certificate added to the system's bundle. KARST_BUILD_CA overrides both.
    """
    for name in ("KARST_BUILD_CA", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE"):
        value = os.environ.get(name, "")
        if value and Path(value).is_file():
            return str(Path(value).resolve())
    additions = (
        (Path("/usr/local/share/ca-certificates"), Path("/etc/ssl/certs/ca-certificates.crt")),
        (Path("/etc/pki/ca-trust/source/anchors"), Path("/etc/pki/tls/certs/ca-bundle.crt")),
    )
    for folder, bundle in additions:
        if bundle.is_file() and folder.is_dir() and any(folder.rglob("*.[cp][re][tmr]")):
            return str(bundle)
    return ""


def recipe() -> str:
    """A short hash of everything that decides what debootstrap makes here."""
    parts = (SUITE, PACKAGES, SLIM, APT, "3")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def find() -> tuple[str, str] | None:
    """Return the image when an earlier run had or made it."""
    known = record.load().get("base_image", {})
    wanted = [OFFICIAL, LOCAL]
    if isinstance(known, dict) and known.get("name") == LOCAL:
        wanted.reverse()
    for name in wanted:
        if name == OFFICIAL and works(["docker", "image", "inspect", name], timeout=30):
            return name, "is there"
        if name == LOCAL and _label(name) == recipe():
            return name, "is there, made from Debian packages"
    return None


def _label(image: str) -> str:
    with contextlib.suppress(KarstError):
        query = f'{{{{index .Config.Labels "{RECIPE_LABEL}"}}}}'
        return run(["docker", "image", "inspect", "-f", query, image], what="inspect", timeout=30).strip()
    return ""


def _pull() -> tuple[str, str] | None:
    """Pull the official image; None when no registry answers in time."""
    process = subprocess.Popen(
        ["docker", "pull", OFFICIAL], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    stdout = process.stdout
    if stdout is None:
        raise RuntimeError("a pipe was asked for")
    # The first line comes when the registry has answered. Without an answer the engine may wait for minutes.
    started, said = time.monotonic(), b""
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        while True:
            limit = PULL_SECONDS if said else FIRST_WORD_SECONDS
            left = started + limit - time.monotonic()
            if left <= 0 or not selector.select(left):
                process.kill()
                break
            chunk = os.read(stdout.fileno(), 65536)
            if not chunk:
                break
            said += chunk
    if process.wait() == 0:
        return OFFICIAL, "pulled"
    reason = last_line(said.decode(errors="replace")) if said else f"no answer in {FIRST_WORD_SECONDS} s"
    reason = reason.removeprefix("Error response from daemon: ")
    report("base image", f"{OFFICIAL.split('@')[0]} cannot be pulled ({reason}): making one from Debian packages")
    return None


def _make() -> tuple[str, str]:
    """Make a slim Debian with Python and import it as an image."""
    if os.geteuid() != 0:
        raise KarstError(
            "the base image can be neither pulled nor made here (debootstrap needs root)",
            hint=f"give the engine access to a registry or a mirror, or run `sudo {ROOT}/scripts/toolchain/base-image`",
            code="no_base_image",
        )
    if not shutil.which("debootstrap"):
        if not apt.usable():
            raise KarstError(
                "the base image can be neither pulled nor made here (there is no debootstrap)",
                hint="give the engine access to a registry or a mirror, or install debootstrap",
                code="no_base_image",
            )
        apt.install("debootstrap", "debian-archive-keyring")
    parent = cache_dir() / "base-image"
    with disk_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        folder.chmod(0o755)
        run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, folder, _mirror()],
            what=f"make a Debian {SUITE}",
            hint="is a Debian mirror reachable?",
            timeout=DEBOOTSTRAP_SECONDS,
            env={"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )
        _slim_down(folder)
        image = _import(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    version = run(["docker", "run", "--rm", "--network", "none", image, "python", "-V"], what="try it", timeout=60)
    run(["docker", "tag", image, LOCAL], what=f"name the image {LOCAL}", timeout=30)
    return LOCAL, f"made from Debian {SUITE} packages ({version.strip()})"


def _mirror() -> str:
    """Return the mirror that this machine's own apt uses for the suite, else Debian's."""
    with contextlib.suppress(KarstError):
        wanted = ["Created-By: Packages", f"Codename: {SUITE}", "Component: main"]
        lines = run(
            ["apt-get", "indextargets", "--format", "$(SITE) $(REPO_URI)", *wanted],
            what="read apt's sources",
            timeout=30,
        )
        for line in lines.splitlines():
            uri = line.split()[-1].rstrip("/")
            if uri.startswith(("http://", "https://")) and answers(f"{uri}/dists/{SUITE}/Release"):
                return uri
    return MIRROR


def _slim_down(folder: Path) -> None:
    """Take out what no container needs, and keep later installs from bringing it back."""
    (folder / "etc/dpkg/dpkg.cfg.d/slim").write_text(SLIM)
    (folder / "etc/apt/apt.conf.d/slim").write_text(APT)
    for name in ("man", "info", "locale", "lintian"):
        _empty(folder / "usr/share" / name)
    for path in sorted((folder / "usr/share/doc").rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # not empty: a copyright file is in it
                path.rmdir()
        elif path.name != "copyright":
            path.unlink()
    for name in ("var/cache/apt", "var/lib/apt/lists", "var/log", "var/cache/debconf", "tmp"):
        _empty(folder / name)
    for name in ("etc/machine-id", "etc/resolv.conf", "etc/hostname"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "debootstrap", ignore_errors=True)
    (folder / "usr/bin/python").symlink_to("python3")  # as the official image has it


def _empty(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _import(folder: Path) -> str:
    """Import ``folder`` as an image and return its id."""
    changes = [
        "ENV LANG=C.UTF-8",
        'CMD ["python3"]',
        f"LABEL {RECIPE_LABEL}={recipe()}",
        "LABEL org.opencontainers.image.title=karst-python-base",
        f'LABEL org.opencontainers.image.description="Debian {SUITE} with its own Python, made by debootstrap; '
        'not the official python image"',
    ]
    leave_out = ["--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*"]
    pack = subprocess.Popen(
        ["tar", "-C", str(folder), "--numeric-owner", "--sort=name", *leave_out, "-c", "."], stdout=subprocess.PIPE
    )
    options = [word for change in changes for word in ("--change", change)]
    done = subprocess.run(
        ["docker", "import", *options, "-"], stdin=pack.stdout, capture_output=True, text=True, timeout=300, check=False
    )
    if pack.stdout is not None:
        pack.stdout.close()
    if pack.wait() != 0 or done.returncode != 0:
        raise KarstError(f"cannot import the base image: {last_line(done.stderr)}", code="step_failed")
    return done.stdout.strip()
