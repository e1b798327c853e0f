"""An entry with ``dockerfile:``: what is read of it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from karst.detect import DetectError
from karst.detect.command import handle
from karst.detect.own_image import own_image

from .conftest import write_tree


def port(tmp_path: Path, text: str) -> int | None:
    return own_image(write_tree(tmp_path, {"Dockerfile": text}), "Dockerfile").port


def test_the_image_is_a_server_that_is_started_as_it_says(tmp_path: Path) -> None:
    source = write_tree(tmp_path, {"docker/api.Dockerfile": 'ARG V=1\nFROM a AS b\nRUN x\nFROM scratch\nCMD ["y"]\n'})
    found = own_image(source, "docker/api.Dockerfile")
    assert (found.argv, found.kind, found.rule, found.evidence) == (
        (),
        "server",
        "dockerfile",
        "docker/api.Dockerfile:4",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nEXPOSE 80 443/tcp\n", 80),
        ("FROM a\nEXPOSE 53/udp 8080/tcp\n", 8080),
        ("FROM a\nEXPOSE 1\nFROM b\nEXPOSE $PORT 9000-9010\n", None),
        ("FROM a\nEXPOSE 50051\nEXPOSE 99999 3000\n", 3000),
        ("FROM a\n", None),
    ],
)
def test_the_first_port_that_the_last_stage_exposes_is_the_one_to_expect(
    tmp_path: Path, text: str, expected: int | None
) -> None:
    assert port(tmp_path, text) == expected


def test_a_dockerfile_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    source = write_tree(
        tmp_path, {"docker/api.Dockerfile": "FROM a", "x/Dockerfile": "FROM a", "node_modules/Dockerfile": ""}
    )
    with pytest.raises(DetectError) as caught:
        own_image(source, "Dockerfile")
    assert caught.value.message == "there is no file `Dockerfile` in the repository"
    assert caught.value.hint == "it has docker/api.Dockerfile and x/Dockerfile"


def test_a_folder_a_link_out_of_the_tree_and_a_file_that_is_none_are_refused(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "repo", {"folder/x": "", "text": "hello\n"})
    (tmp_path / "outside").write_text("FROM scratch\n")
    (source / "link").symlink_to("../outside")
    (source / "bytes").write_bytes(b"FROM \xff\xfe\n")
    for name, words in (
        ("folder", "there is no file"),
        ("link", "leaves the repository"),
        ("text", "it has no FROM"),
        ("bytes", "not text"),
    ):
        with pytest.raises(DetectError, match=words) as caught:
            own_image(source, name)
        assert caught.value.code == "bad_dockerfile"


def test_neither_the_rules_nor_the_variable_entrypoint_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTRYPOINT", "nowhere:main")
    source = write_tree(tmp_path, {"Dockerfile": "FROM a\n", "go.mod": ""})
    query = json.dumps({"web": {"source": str(source), "tree": "aa", "dockerfile": "Dockerfile"}})
    found = json.loads(handle({"services": query})["services"])
    assert found["web"]["launch"] == "image"
