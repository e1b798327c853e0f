"""The steps of bootstrap: what each looks for first, what it falls back to, and that it says so."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from karst.errors import KarstError
from karst.toolchain import apt, base_image, doctor, engine, go, link, providers, record, terraform, tools

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, a PATH with nothing but what the test puts there, and files outside the checkout."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    monkeypatch.setenv("KARST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(bin_folder))
    for name in ("TF_CLI_CONFIG_FILE", "DOCKER_HOST", "KARST_TERRAFORM", "KARST_BUILD_CA"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "envs" / "local").mkdir(parents=True)
    (tmp_path / "envs" / "local" / "main.tf").touch()
    monkeypatch.setattr(base_image, "ENVS", tmp_path / "envs")
    monkeypatch.setattr(providers, "_local", lambda: tmp_path / "terraform.d" / "plugins")
    return bin_folder


@pytest.fixture
def program(bare_machine: Path) -> Callable[[str, str], Path]:
    def make(name: str, script: str) -> Path:
        path = bare_machine / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


Program = Callable[[str, str], Path]


class TestEngine:
    def test_an_engine_that_answers_is_used(self, program: Program, capsys: pytest.CaptureFixture[str]) -> None:
        program("docker", "echo 27.1")
        assert engine.main() == 0
        assert "is there: Docker 27.1" in capsys.readouterr().out

    def test_an_empty_version_is_no_answer(self, program: Program) -> None:
        """Some clients exit with 0 although no server answered."""
        program("docker", "echo")
        assert engine.version_or_none() is None

    def test_without_root_nothing_is_started(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        program("docker", "exit 1")
        program("dockerd", f"touch {os.environ['KARST_CACHE']}/started")
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setattr(engine, "SOCKET", Path("/nowhere/docker.sock"))
        with pytest.raises(KarstError, match="no Docker engine is running") as caught:
            engine.main()
        assert "systemctl start docker" in caught.value.hint

    def test_a_socket_that_is_not_ours_is_told_apart(
        self, program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        program("docker", "exit 1")
        socket = tmp_path / "docker.sock"
        socket.touch()
        monkeypatch.setattr(engine, "SOCKET", socket)
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(KarstError, match="you may not use it") as caught:
            engine.refuse_what_is_not_ours()
        assert "usermod" in caught.value.hint

    def test_an_engine_elsewhere_is_never_replaced_by_one_here(
        self, program: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program("docker", "echo 'cannot connect' >&2; exit 1")
        monkeypatch.setenv("DOCKER_HOST", "ssh://far")
        with pytest.raises(KarstError, match="DOCKER_HOST=ssh://far"):
            engine.main()


class TestBaseImage:
    @pytest.fixture
    def made(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        calls: list[str] = []

        def make() -> tuple[str, str]:
            calls.append("made")
            return base_image.LOCAL, "made from Debian packages"

        monkeypatch.setattr(base_image, "_make", make)
        return calls

    def test_the_official_image_is_pulled_by_digest(self, program: Program, made: list[str]) -> None:
        program("docker", '[ "$1" = pull ] && echo Pulling')
        base_image.main()
        assert not made
        assert record.load()["base_image"]["name"] == base_image.OFFICIAL
        assert "@sha256:" in base_image.OFFICIAL

    def test_a_registry_that_refuses_leads_to_debian(
        self, program: Program, made: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        program("docker", "echo 'Error response from daemon: no such host'; exit 1")
        base_image.main()
        assert made
        assert "cannot be pulled (no such host): making one from Debian packages" in capsys.readouterr().out

    def test_a_registry_that_is_silent_is_not_waited_for(
        self, program: Program, made: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(base_image, "FIRST_WORD_SECONDS", 0.3)
        program("docker", '[ "$1" = pull ] && exec /bin/sleep 30; exit 1')
        base_image.main()
        assert made

    def test_an_image_of_an_older_recipe_is_made_anew(self, program: Program, made: list[str]) -> None:
        program("docker", '[ "$1 $3" = "image -f" ] && echo an-older-recipe && exit 0; exit 1')
        base_image.main()
        assert made

    def test_an_image_of_this_recipe_is_used(self, program: Program, made: list[str]) -> None:
        program("docker", f'[ "$1 $3" = "image -f" ] && echo {base_image.recipe()} && exit 0; exit 1')
        base_image.main()
        assert not made
        assert json.loads((base_image.ENVS / "local" / base_image.TFVARS).read_text())["base_image"] == base_image.LOCAL

    def test_without_root_and_without_registry_one_sentence_says_so(
        self, program: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program("docker", "exit 1")
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(KarstError, match="neither pulled nor made"):
            base_image.main()

    def test_builds_get_the_bundle_that_the_machine_is_told_to_use(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        bundle = tmp_path / "ca.crt"
        bundle.touch()
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.crt")
        monkeypatch.setenv("PIP_CERT", str(bundle))
        assert base_image.build_ca_file() == str(bundle)


class TestTerraform:
    def test_terraform_on_path_comes_first(self, program: Program) -> None:
        found = program("terraform", 'echo \'{"terraform_version": "1.11.4"}\'')
        program("tofu", 'echo \'{"terraform_version": "1.9.0"}\'')
        assert terraform.find() == (str(found), "is there")

    def test_one_that_is_too_old_does_not_count(self, program: Program) -> None:
        program("terraform", 'echo \'{"terraform_version": "1.5.7"}\'')
        tofu = program("tofu", 'echo \'{"terraform_version": "1.9.0"}\'')
        assert terraform.find() == (str(tofu), "is there")

    def test_without_any_and_without_go_it_says_where_to_get_one(self) -> None:
        with pytest.raises(KarstError, match=r"no terraform or tofu 1\.7 or newer"):
            terraform.main()


class TestProviders:
    @pytest.fixture(autouse=True)
    def silent_registry(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        program("terraform", 'case "$*" in *init*) exit "${INIT:-1}" ;; *) echo "Terraform v1.11" ;; esac')
        built: list[str] = []

        def build(recipe: Path, package: str, target: Path, *flags: str) -> None:
            built.append(recipe.name)
            target.parent.mkdir(parents=True)
            target.write_text("binary")

        monkeypatch.setattr(go, "build_tool", build)
        monkeypatch.setattr(providers, "answers", lambda url: False)
        return built

    def test_without_a_registry_both_are_built_and_terraform_is_told(self, silent_registry: list[str]) -> None:
        assert providers.main() == 0
        assert silent_registry == ["docker", "external"]
        config = record.terraform_environment({"TF_CLI_CONFIG_FILE": "/nowhere"})["TF_CLI_CONFIG_FILE"]
        assert str(providers.mirror()) in Path(config).read_text()

    def test_a_second_time_nothing_is_built(self, silent_registry: list[str]) -> None:
        providers.main()
        providers.main()
        assert len(silent_registry) == 2

    def test_a_registry_that_hands_them_out_is_all_there_is_to_it(
        self, silent_registry: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(providers, "answers", lambda url: True)
        monkeypatch.setenv("INIT", "0")
        providers.main()
        assert silent_registry == []
        assert record.load()["provider_source"] == "registry"
        assert "TF_CLI_CONFIG_FILE" not in record.terraform_environment({})

    def test_a_configuration_of_your_own_keeps_its_other_settings(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        own = tmp_path / "own.tfrc"
        own.write_text('plugin_cache_dir = "/some/where"\n')
        monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(own))
        providers.main()
        assert 'plugin_cache_dir = "/some/where"' in Path(record.load()["provider_config"]).read_text()

    def test_what_is_built_satisfies_what_the_modules_ask_for(self) -> None:
        for provider in providers.PROVIDERS:
            major = int(provider.built.split(".")[0])
            assert major < int(provider.constraint.split("< ")[1])
            assert provider.package in (provider.recipe / "go.mod").read_text()
            for versions in ROOT.glob("modules/*/versions.tf"):
                text = versions.read_text()
                assert provider.source not in text or provider.constraint in text

    def test_a_setting_that_names_a_missing_file_is_taken_out(self) -> None:
        """Terraform would warn about it in every call."""
        assert "TF_CLI_CONFIG_FILE" not in record.terraform_environment({"TF_CLI_CONFIG_FILE": "/nowhere"})


class TestTools:
    def test_without_go_an_optional_tool_is_said_and_no_failure(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.argv", ["tool", "--optional", "grpcurl"])
        assert tools.main() == 0
        assert "cannot be had: grpcurl-v1.9.4 has to be built, and there is no Go compiler" in capsys.readouterr().out

    def test_a_tool_on_path_is_used(self, program: Program) -> None:
        path = program("grpcurl", "")
        assert tools.get("grpcurl") == f"is there: {path}"
        assert record.tool("grpcurl") == str(path)


class TestLink:
    def test_iac_is_linked_into_a_writable_folder_on_path(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        folder = tmp_path / "home" / ".local" / "bin"
        folder.mkdir(parents=True)
        monkeypatch.setenv("PATH", str(folder))
        link.main()
        assert (folder / "iac").resolve() == ROOT / "admin" / "iac"
        assert link.state()[0]

    def test_without_such_a_folder_it_says_what_to_type(self, capsys: pytest.CaptureFixture[str]) -> None:
        link.main()
        assert "export PATH=" in capsys.readouterr().out

    def test_an_iac_of_somebody_else_stays(self, program: Program, capsys: pytest.CaptureFixture[str]) -> None:
        other = program("iac", "")
        link.main()
        assert not other.is_symlink()
        assert "another one" in capsys.readouterr().out


class TestRecord:
    def test_a_damaged_record_counts_as_none(self) -> None:
        record.save(terraform="x")
        record.path().write_text("{")
        assert record.load() == {}

    def test_entries_are_added_to_what_is_there(self) -> None:
        record.save(one=1)
        record.save(two=2)
        assert record.load() == {"one": 1, "two": 2}


class TestApt:
    def test_packages_are_installed_by_root_only(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        program("apt-get", "")
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert not apt.usable()


class TestDoctor:
    def test_it_changes_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a machine with nothing but a shell it lists everything, and no file is made anywhere it could make one."""
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        for name in ("HOME", "KARST_CACHE"):
            Path(os.environ[name]).mkdir(exist_ok=True)
        before = _files(tmp_path) | _files(ROOT / "envs")
        done = subprocess.run([ROOT / "scripts/toolchain/doctor"], capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        for part in ("git", "environment", "engine", "terraform", "providers", "base image", "iac", "hooks"):
            assert f"\n  {part}" in f"\n{done.stdout}"
        assert _files(tmp_path) | _files(ROOT / "envs") == before

    def test_what_cannot_be_got_makes_it_fail(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        findings = [doctor.Finding("git", doctor.MISSING, "install git"), doctor.Finding("make", doctor.OK, "")]
        monkeypatch.setattr(doctor, "examine", lambda: iter(findings))
        assert doctor.main() == 1
        assert "1 missing" in capsys.readouterr().out


def _files(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if "__pycache__" not in path.parts}
