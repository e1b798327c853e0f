"""Makes a Python environment from a locked requirements file; started by scripts/toolchain/environment.

Takes the action (make, uv), the environment's path and the requirements file. uv installs when there is one or one can
be had from the package index (seconds), else pip (half a minute).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

from karst.errors import Exit, KarstError
from karst.external import guarded
from karst.files import cache_dir, disk_errors, locked
from karst.toolchain import apt
from karst.toolchain.process import ROOT, report, run

INSTALL_SECONDS = 900
UV_LOCK = ROOT / "scripts" / "toolchain" / "uv.txt"


def main() -> int:
    action, environment, requirements = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if action == "uv":
        print(uv())
    else:
        make(environment, requirements)
    return int(Exit.OK)


def make(environment: Path, requirements: Path) -> None:
    """Make ``environment`` hold what ``requirements`` lists; one process makes it, all others wait for that one.

    The folder is made under a name of its own and a link to it appears last, in one step: whoever sees
    ``environment`` sees it whole. (A rename instead would break the scripts in bin/, which hold their folder's path.)
    """
    if os.environ.get("KARST_VENV") == str(environment):
        raise KarstError(
            f"KARST_VENV is {environment}, and there is no Python environment",
            hint="install requirements.txt into one there, or unset KARST_VENV",
            code="no_environment",
        )
    with disk_errors(environment), locked(environment.with_name(f"{environment.name}.lock")):
        if (environment / "bin" / "python").exists():
            return
        folder = Path(tempfile.mkdtemp(dir=environment.parent, prefix=f"{environment.name}."))
        try:
            installer = _install(folder, requirements)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        previous = Path(os.path.realpath(environment)) if environment.is_symlink() else None
        link = folder.with_suffix(".link")
        link.symlink_to(folder.name)
        os.replace(link, environment)
        if previous is not None:
            shutil.rmtree(previous, ignore_errors=True)
    version = ".".join(map(str, sys.version_info[:3]))
    report("environment", f"made with Python {version} and {installer} from {requirements.name}: {environment}")


def uv() -> Path:
    """Return a uv: the one on PATH, else one from the package index, kept in the cache."""
    found = shutil.which("uv")
    if found:
        return Path(found)
    lock = UV_LOCK.read_bytes().split(b"\n", 1)[0].split()[0].decode().replace("==", "-")
    environment = cache_dir() / "tools" / lock
    with locked(environment.with_name(f"{lock}.lock")):
        if not (environment / "bin" / "uv").exists():
            shutil.rmtree(environment, ignore_errors=True)
            try:
                _pip(environment, UV_LOCK)
            except BaseException:
                shutil.rmtree(environment, ignore_errors=True)
                raise
    return environment / "bin" / "uv"


def _install(folder: Path, requirements: Path) -> str:
    """Fill ``folder`` and return the installer's name."""
    tool = None
    with contextlib.suppress(KarstError):  # no uv to be had: pip does the same, slower
        tool = uv()
    if tool is None:
        _pip(folder, requirements)
        return "pip"
    run(
        [sys.executable, "-m", "venv", "--without-pip", folder],
        what="make a Python environment",
        timeout=60,
    )
    options = ["--quiet", "--require-hashes", "--compile-bytecode", "--python", str(folder / "bin" / "python")]
    run(
        [tool, "pip", "install", *options, "--requirements", requirements],
        what=f"install the packages of {requirements.name}",
        hint="is the package index reachable? Behind a proxy: PIP_INDEX_URL, HTTPS_PROXY and SSL_CERT_FILE are heeded",
        timeout=INSTALL_SECONDS,
        env=_uv_settings(),
    )
    return "uv"


def _uv_settings() -> dict[str, str]:
    """What uv needs to follow the settings that people make for pip."""
    settings = {"UV_NO_CONFIG": "1", "VIRTUAL_ENV": ""}
    for name, counterpart in (("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), ("PIP_EXTRA_INDEX_URL", "UV_INDEX")):
        if os.environ.get(name) and not os.environ.get(counterpart):
            settings[counterpart] = os.environ[name]
    bundle = os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE")
    if bundle and not os.environ.get("SSL_CERT_FILE"):
        settings["SSL_CERT_FILE"] = bundle
    return settings


def _pip(folder: Path, requirements: Path) -> None:
    """Make an environment with pip in it and let pip install ``requirements``."""
    # Debian and Ubuntu split ensurepip off into a package of its own.
    if importlib.util.find_spec("ensurepip") is None:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        if not apt.usable():
            raise KarstError(
                f"{sys.executable} comes without `ensurepip`, which makes Python environments",
                hint=f"`sudo apt-get install {package}`, or install uv",
                code="no_venv",
            )
        apt.install(package)
    run([sys.executable, "-m", "venv", folder], what="make a Python environment", timeout=120)
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes"]
    run(
        [folder / "bin" / "python", "-m", "pip", "install", *options, "--requirement", requirements],
        what=f"install the packages of {requirements.name}",
        hint="is the package index reachable? Behind a proxy: PIP_INDEX_URL, HTTPS_PROXY and PIP_CERT are heeded",
        timeout=INSTALL_SECONDS,
    )


if __name__ == "__main__":
    sys.exit(guarded(main))
