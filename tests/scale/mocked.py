"""The module alone in a folder of its own, with every provider mocked: what is left is what Terraform itself does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from karst.toolchain import record
from tests.support.kit import ROOT, Kit

TEST = """
mock_provider "docker" {{}}
mock_provider "external" {{}}

variables {{
  slugs_file  = "{list}"
  network     = "mesh"
  secrets_dir = "{secrets}"
}}

{overrides}

run "plan" {{
  command = plan
}}
"""

OVERRIDE = """
override_data {{
  target = data.external.{name}
  values = {{ result = {result} }}
}}
"""


def prepare(folder: Path, kit: Kit, answers: Mapping[str, Mapping[str, str]]) -> tuple[list[str], dict[str, str]]:
    """Make the folder anew, with these answers of the helper programs; return the command that plans it, and where."""
    shutil.rmtree(folder, ignore_errors=True)
    module = folder / "modules" / "karst_service"
    shutil.copytree(ROOT / "modules" / "karst_service", module, ignore=shutil.ignore_patterns("tests", ".terraform*"))
    (folder / "scripts").symlink_to(ROOT / "scripts")  # looked for, and not called
    (module / "tests").mkdir()
    overrides = "\n".join(
        OVERRIDE.format(name=name, result=json.dumps(_escaped(answer))) for name, answer in answers.items()
    )
    text = TEST.format(list=kit.list_file, secrets=kit.secrets_dir, overrides=overrides)
    (module / "tests" / "scale.tftest.hcl").write_text(text)
    env = {**os.environ, **record.terraform_environment()}
    terraform = [record.terraform_command(), f"-chdir={module}"]
    subprocess.run([*terraform, "init", "-input=false"], env=env, capture_output=True, check=True)
    return [*terraform, "test", "-json"], env


def _escaped(answer: Mapping[str, str]) -> dict[str, str]:
    """As a literal of Terraform's, which would take `${` and `%{` for its own."""
    return {key: value.replace("${", "$${").replace("%{", "%%{") for key, value in answer.items()}
