"""The two Terraform providers: from the registry as ever, else built from their Go modules into a local mirror.

Usage: scripts/toolchain/providers [--env]: --env prints the line for a shell that calls terraform by hand.

Terraform keeps hashes of the providers in .terraform.lock.hcl, and those of a provider built here are not those of the
registry: the lock file is therefore not committed.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from karst.errors import Exit, KarstError
from karst.files import cache_dir, locked, write_atomic
from karst.toolchain import go, record
from karst.toolchain.process import ROOT, answers, report, run
from karst.toolchain.terraform import is_tofu

REGISTRIES = ("registry.terraform.io", "registry.opentofu.org")
INIT_SECONDS = 300


class Provider(NamedTuple):
    """One provider: its address, what the modules accept, and what is built where there is no registry.

    ``built`` is the version that the mirror shows to Terraform; it satisfies ``constraint``.
    """

    source: str
    constraint: str
    built: str
    package: str
    flags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.source.split("/")[1]

    @property
    def recipe(self) -> Path:
        return ROOT / "scripts" / "toolchain" / "go" / self.name


PROVIDERS = (
    # The commit in the recipe's go.mod follows 4.5.0; without Compose support it builds in half the time.
    Provider(
        "kreuzwerker/docker",
        ">= 3.6, < 5",
        "4.5.0",
        "github.com/terraform-providers/terraform-provider-docker",
        ("-tags", "no_compose"),
    ),
    # The newest one that the module proxy has under a path that matches its own go.mod.
    Provider(
        "hashicorp/external", ">= 1.2, < 3", "1.2.0", "github.com/terraform-providers/terraform-provider-external"
    ),
)


def main() -> int:
    if sys.argv[1:] == ["--env"]:
        config = record.load().get("provider_config", "")
        print(f"export {record.CONFIG_VARIABLE}='{config}'" if config else "# nothing to set: the registry is used")
        return int(Exit.OK)
    with locked(cache_dir() / "providers.lock"):
        source = _there() or _registry() or _build()
    report("providers", source)
    return int(Exit.OK)


def mirror() -> Path:
    return cache_dir() / "providers" / "mirror"


def _there() -> str | None:
    """Return the source when an earlier run settled it and nothing it rests on has changed."""
    known = record.load()
    if known.get("provider_source") == "registry" and known.get("provider_key") == _key():
        return "the registry has them"
    if known.get("provider_source") == "mirror" and complete() and Path(known.get("provider_config", "")).is_file():
        _link()
        return f"are there, built from Go modules: {mirror()}"
    return None


def _registry() -> str | None:
    """Let Terraform itself try; None when the registry does not hand the providers out."""
    command = record.terraform_command()
    host = REGISTRIES[1] if is_tofu(command) else REGISTRIES[0]
    own = _own_configuration()
    # Without this question Terraform would ask, retry and wait for half a minute before it gives up.
    if "provider_installation" not in own and not answers(f"https://{host}/.well-known/terraform.json"):
        report("providers", f"{host} does not answer: building them from their Go modules, which takes minutes")
        return None
    parent = cache_dir() / "providers"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=".trial-"))
    try:
        (folder / "main.tf").write_text(_requirements())
        env = {"TF_DATA_DIR": str(folder / "data"), "CHECKPOINT_DISABLE": "1"}
        if not own:
            env[record.CONFIG_VARIABLE] = os.devnull
        command_line = [command, f"-chdir={folder}", "init", "-backend=false", "-input=false", "-no-color"]
        run(command_line, what="fetch the providers", timeout=INIT_SECONDS, env=env)
    except KarstError as err:
        report("providers", f"{err.message}: building them from their Go modules, which takes minutes")
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    record.save(provider_source="registry", provider_key=_key(), provider_config="")
    _unlink()
    return f"{host} has them" if not own else "your Terraform configuration has them"


def _build() -> str:
    """Build what the mirror lacks and write the configuration that makes Terraform look there."""
    for provider in PROVIDERS:
        target = _binary(provider, REGISTRIES[0])
        if not target.exists():
            report("providers", f"building {provider.source} {provider.built} …")
            go.build_tool(provider.recipe, provider.package, target, *provider.flags)
        for host in REGISTRIES[1:]:
            other = _binary(provider, host)
            if not other.exists():
                other.parent.mkdir(parents=True, exist_ok=True)
                os.link(target, other)
    config = cache_dir() / "providers" / "mirror.tfrc"
    write_atomic(config, _configuration())
    record.save(provider_source="mirror", provider_key=_key(), provider_config=str(config))
    _link()
    return f"built from Go modules: {mirror()}"


def complete() -> bool:
    return all(_binary(provider, host).exists() for provider in PROVIDERS for host in REGISTRIES)


def _binary(provider: Provider, host: str) -> Path:
    """Return where Terraform looks for an unpacked provider in a file system mirror."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"terraform-provider-{provider.name}_v{provider.built}"
    return mirror() / host / provider.source / provider.built / f"{platform.system().lower()}_{machine}" / name


def _configuration() -> str:
    """The caller's own settings, where they can be kept, and the mirror for our two providers only."""
    names = ", ".join(f'"{host}/{provider.source}"' for host in REGISTRIES for provider in PROVIDERS)
    own = _own_configuration()
    keep = own if own and "provider_installation" not in own else ""
    return f"""{keep}
provider_installation {{
  filesystem_mirror {{
    path    = "{mirror()}"
    include = [{names}]
  }}
  direct {{
    exclude = [{names}]
  }}
}}
""".lstrip()


def _own_configuration() -> str:
    """Return the text of the caller's own CLI configuration; "" when there is none or it is the one made here."""
    path = Path(os.environ.get(record.CONFIG_VARIABLE) or Path.home() / ".terraformrc")
    if path == cache_dir() / "providers" / "mirror.tfrc" or not path.is_file():
        return ""
    return path.read_text(errors="replace")


def _requirements() -> str:
    lines = [f'{p.name} = {{ source = "{p.source}", version = "{p.constraint}" }}' for p in PROVIDERS]
    return "terraform {\n  required_providers {\n    " + "\n    ".join(lines) + "\n  }\n}\n"


def _key() -> str:
    """What a settled source rests on: the constraints, the command, and the caller's own configuration."""
    own = re.sub(r"\s+", " ", _own_configuration())
    return " | ".join([*(f"{p.source} {p.constraint}" for p in PROVIDERS), record.terraform_command(), own])


def _local() -> Path:
    """A folder where Terraform looks for providers without being told, for whoever calls it in envs/local by hand."""
    return ROOT / "envs" / "local" / "terraform.d" / "plugins"


def _link() -> None:
    local = _local()
    if not local.is_symlink() or os.readlink(local) != str(mirror()):
        _unlink()
        local.parent.mkdir(parents=True, exist_ok=True)
        local.symlink_to(mirror())


def _unlink() -> None:
    if _local().is_symlink():
        _local().unlink()
