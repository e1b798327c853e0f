"""The list of services: every key, and one sentence for each mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karst.errors import KarstError, UsageError
from karst.manifest import KEYS, NAME, Service, load_file, parse_list

HERE = Path("/srv/stack")


def one(**keys: Any) -> Service:
    """The service of a list with this one entry."""
    return parse_list([{"slug": "gh:o/app", **keys}], HERE)[0]


def sentence(entries: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse_list(entries, HERE)
    assert "\n" not in caught.value.message
    return caught.value


def test_an_entry_is_a_slug_or_a_mapping_with_all_the_keys() -> None:
    plain, full = parse_list(
        [
            "gh:o/hello_world.py#v1",
            {
                "slug": "gl:g/s/mono",
                "name": "shop",
                "path": "services/shop/",
                "entrypoint": "shop.main:run",
                "args": ["--port", 8000, True, 0.5],
                "port": 8000,
                "env": {"B": 1, "A": True, "C": "x", "D": 0.5, "E": ""},
                "secrets": ["DB_URL", "API_KEY"],
                "allow": ["hello-world-py", "edge"],
                "expose": True,
                "memory": "256M",
                "cpus": 1,
                "health": "/healthz?full=1",
                "otel": False,
                "replicas": 3,
                "apt": ["libpq-dev"],
                "python": "3.12",
            },
        ],
        HERE,
    )
    assert plain == Service("hello-world-py", "gh:o/hello_world.py#v1")
    assert full == Service(
        "shop",
        "gl:g/s/mono",
        path="services/shop",
        entrypoint="shop.main:run",
        args=("--port", "8000", "true", "0.5"),
        port=8000,
        env={"A": "true", "B": "1", "C": "x", "D": "0.5", "E": ""},
        secrets=("API_KEY", "DB_URL"),
        allow=("edge", "hello-world-py"),
        expose=True,
        memory="256m",
        cpus=1.0,
        health="/healthz?full=1",
        otel=False,
        replicas=3,
        apt=("libpq-dev",),
        python="3.12",
    )
    assert Service.from_dict(json.loads(json.dumps(full.to_dict()))) == full


def test_a_service_read_back_from_fetch_ignores_what_fetch_added() -> None:
    service = one()
    assert Service.from_dict({**service.to_dict(), "revision": "abc", "source": "/x"}) == service


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("gh:o/My_App.js", "my-app-js"),
        ({"slug": "gh:o/mono", "path": "services/Web_Shop"}, "web-shop"),
        ("dir:.", "stack"),
        ("dir:../other", "other"),
        ("dir:/a/b c/", "b-c"),
    ],
)
def test_the_name_comes_from_the_last_segment(entry: Any, name: str) -> None:
    assert parse_list([entry], HERE)[0].name == name


@pytest.mark.parametrize("entry", ["gh:o/x", "gh:o/3d-app", "gh:o/" + "x" * 41, "dir:/", "gh:o/_a_"])
def test_a_slug_that_makes_no_name_asks_for_one(entry: str) -> None:
    error = sentence([entry])
    assert error.code == "bad_name"
    assert "name:" in error.hint


@pytest.mark.parametrize("value", [None, {}, {"slugs": []}, "gh:o/app", 3, True])
def test_a_list_that_is_no_list_is_refused(value: Any) -> None:
    assert sentence(value).code == "not_a_list"


def test_a_mapping_around_the_list_is_pointed_out() -> None:
    assert "drop `services:`" in sentence({"services": ["gh:o/app"]}).hint


def test_an_empty_list_and_odd_entries_are_refused() -> None:
    assert sentence([]).code == "empty_list"
    assert "entry 2" in sentence(["gh:o/app", 7]).message
    assert "nothing" in sentence([None]).message
    assert sentence([{"name": "app"}]).code == "no_slug"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("prot", "`port`"),
        ("entry_point", "`entrypoint`"),
        ("Slug", "`slug`"),
        ("environment", "`env`"),
        ("branch", "#ref"),
        ("subdir", "`path`"),
        ("cmd", "`entrypoint`"),
        ("ports", "`port`"),
        ("cpu", "`cpus`"),
    ],
)
def test_an_unknown_key_names_the_one_that_was_meant(wrong: str, right: str) -> None:
    error = sentence([{"slug": "gh:o/app", wrong: 1}])
    assert error.code == "unknown_key"
    assert f"`{wrong}`" in error.message
    assert right in error.hint


def test_an_unknown_key_without_a_near_one_lists_them_all() -> None:
    hint = sentence([{"slug": "gh:o/app", "zzz": 1}]).hint
    assert all(key in hint for key in KEYS)


def test_two_services_of_one_name_name_both_entries() -> None:
    error = sentence(["gh:o/app", "gh:o/two", {"slug": "gl:g/app"}])
    assert error.code == "duplicate_name"
    assert "entries 1 (gh:o/app) and 3 (gl:g/app)" in error.message
    assert "`app`" in error.message


def test_a_caller_that_is_no_service_is_refused_with_a_suggestion() -> None:
    error = sentence(["gh:o/front", {"slug": "gh:o/back", "allow": ["frond"]}])
    assert error.code == "unknown_caller"
    assert "`front`" in error.hint


def test_an_empty_allow_means_nobody_and_none_means_everybody() -> None:
    assert one(allow=[]).allow == ()
    assert one().allow is None


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("slug", 5, "wanted text, got a number"),
        ("name", True, "wanted text, got a boolean (true)"),
        ("name", 12, "wanted text, got a number (12)"),
        ("name", "Shop", "`Shop` is no name"),
        ("name", "a", "no name"),
        ("name", "shop-", "no name"),
        ("name", "operator", "taken by the kit"),
        ("name", "", "empty"),
        ("path", "/etc", "not relative"),
        ("path", "a/../../b", "leaves the repository"),
        ("path", "-x", "not a folder"),
        ("path", "a;b", "not a folder"),
        ("path", ".git/hooks", "not a folder"),
        ("path", ["a"], "got a list"),
        ("entrypoint", "-m app", "begins with a dash"),
        ("entrypoint", "a\nb", "control character"),
        ("args", "--x", "wanted a list, got text"),
        ("args", [None], "has no value"),
        ("args", [["x"]], "got a list"),
        ("port", "8000", "got text"),
        ("port", True, "got a boolean"),
        ("port", 80.5, "got a number"),
        ("port", 0, "not a port"),
        ("port", 65536, "not a port"),
        ("port", 15000, "taken in every pod"),
        ("port", 15001, "taken in every pod"),
        ("port", 9901, "taken in every pod"),
        ("port", 50051, "taken in every pod"),
        ("env", ["A=1"], "wanted a mapping"),
        ("env", {"1A": "x"}, "no name of a variable"),
        ("env", {True: "x"}, "no name of a variable"),
        ("env", {"A": None}, "has no value"),
        ("env", {"A": {"b": 1}}, "got a mapping"),
        ("env", {"A": "\0"}, "NUL"),
        ("env", {"A": float("inf")}, "not a number that can be written"),
        ("env", {"KARST_PORT": "1"}, "kit's own"),
        ("secrets", ["db_url"], "`db_url` is not allowed"),
        ("secrets", ["A", "A"], "twice"),
        ("secrets", [True], "booleans"),
        ("secrets", "A", "wanted a list"),
        ("allow", ["Bad Name"], "not allowed"),
        ("expose", "yes", "wanted true or false"),
        ("otel", 1, "wanted true or false"),
        ("replicas", "3", "got text"),
        ("replicas", True, "got a boolean"),
        ("replicas", 2.0, "got a number"),
        ("replicas", 0, "is not a number from 1 to 32"),
        ("replicas", 33, "is not a number from 1 to 32"),
        ("memory", 256, "wanted text such as 256m"),
        ("memory", "256MB", "no amount"),
        ("memory", "512Mi", "no amount"),
        ("memory", "1k", "less than"),
        ("memory", "0m", "no amount"),
        ("cpus", "0.5", "got text"),
        ("cpus", 0, "not a number of cores"),
        ("cpus", -1, "not a number of cores"),
        ("cpus", float("nan"), "not a number of cores"),
        ("cpus", True, "got a boolean"),
        ("health", "healthz", "no path"),
        ("health", "http://x/", "no path"),
        ("apt", ["Lib"], "not allowed"),
        ("apt", ["-y"], "not allowed"),
        ("python", 3.1, "may have been 3.10"),
        ("python", "2.7", "no version of Python 3"),
        ("python", "3.12.1", "no version of Python 3"),
        ("python", 3, "wanted text"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_type(key: str, value: Any, words: str) -> None:
    error = sentence([{"slug": "gh:o/app", key: value}])
    assert words in error.message
    assert f"`{key}`" in error.message
    assert "entry 1" in error.message


def test_a_variable_cannot_be_secret_and_public() -> None:
    assert "both in env and in secrets" in sentence([{"slug": "gh:o/app", "env": {"A": "1"}, "secrets": ["A"]}]).message


def test_a_bad_slug_in_a_list_names_its_entry_and_keeps_the_hint() -> None:
    error = sentence(["gh:o/app", "github:o/x"])
    assert "entry 2" in error.message
    assert "gh:o/x" in error.hint
    assert error.code == "unknown_host"


def test_python_as_a_number_is_taken_when_no_zero_can_be_lost() -> None:
    assert one(python=3.12).python == "3.12"


def test_null_means_that_the_key_is_not_there() -> None:
    assert one(**{key: None for key in KEYS if key not in ("slug", "env")}) == one()


def test_an_own_dockerfile_is_a_path_below_the_project_and_has_a_user_and_folders() -> None:
    service = one(path="services/api", dockerfile="./docker//api.Dockerfile", user=101, writable=["/var/cache/nginx/"])
    assert (service.dockerfile, service.user, service.writable) == (
        "docker/api.Dockerfile",
        "101",
        ("/var/cache/nginx",),
    )
    assert one(dockerfile="Dockerfile", user="101:0", writable=["/"], args=["-v"]).user == "101:0"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"dockerfile": "../Dockerfile"}, "`../Dockerfile` leaves the repository"),
        ({"dockerfile": "/etc/Dockerfile"}, "is not relative"),
        ({"dockerfile": True}, "wanted a path, got true"),
        ({"dockerfile": "Dockerfile", "entrypoint": "app:main"}, "`entrypoint`: it has no meaning beside `dockerfile`"),
        ({"dockerfile": "Dockerfile", "apt": ["curl"]}, "`apt`: it has no meaning"),
        ({"dockerfile": "Dockerfile", "python": "3.12"}, "`python`: it has no meaning"),
        ({"user": "101"}, "`user`: it is for an entry with `dockerfile`"),
        ({"writable": ["/data"]}, "`writable`: it is for an entry with `dockerfile`"),
        ({"dockerfile": "Dockerfile", "user": "nginx"}, "`nginx` is no numeric user"),
        ({"dockerfile": "Dockerfile", "user": 0}, "0 is root"),
        ({"dockerfile": "Dockerfile", "user": True}, "`True` is no numeric user"),
        ({"dockerfile": "Dockerfile", "writable": ["cache"]}, "`cache` is not allowed here"),
        ({"dockerfile": "Dockerfile", "writable": ["/a/../etc"]}, "is not to be had"),
        ({"dockerfile": "Dockerfile", "writable": ["/run"]}, "`/run` is not to be had"),
        ({"dockerfile": "Dockerfile", "writable": ["/", "/data"]}, "`/` is everything"),
    ],
)
def test_what_an_own_dockerfile_cannot_be_combined_with_is_one_sentence(keys: dict[str, Any], words: str) -> None:
    assert words in sentence([{"slug": "gh:o/app", **keys}]).message


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("gh:o/app"),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=6) | st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
@settings(deadline=None, max_examples=300)
def test_whatever_the_list_holds_the_answer_is_services_or_one_error(value: Any) -> None:
    try:
        services = parse_list(value, HERE)
    except KarstError:
        return
    assert all(NAME.fullmatch(service.name) for service in services)
    assert [Service.from_dict(service.to_dict()) for service in services] == services


@given(st.dictionaries(st.sampled_from([key for key in KEYS if key != "slug"]), VALUES, max_size=4))
@settings(deadline=None, max_examples=300)
def test_whatever_a_key_holds_the_answer_is_a_service_or_one_error(keys: dict[str, Any]) -> None:
    try:
        service = one(**keys)
    except KarstError:
        return
    assert Service.from_dict(json.loads(json.dumps(service.to_dict()))) == service


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_yaml_and_a_json_file_give_the_same(tmp_path: Path) -> None:
    entries = ["gh:o/app#v1", {"slug": "dir:web", "port": 80, "env": {"A": "1"}}]
    as_json = write(tmp_path, "list.json", json.dumps(entries))
    as_yaml = write(tmp_path, "list.yaml", "- gh:o/app#v1\n- slug: dir:web\n  port: 80\n  env:\n    A: 1\n")
    no_suffix = write(tmp_path, "list", json.dumps(entries))
    assert load_file(as_json) == load_file(as_yaml) == load_file(no_suffix)


def test_names_of_folders_are_relative_to_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "some-stack"
    folder.mkdir()
    assert load_file(write(folder, "repos.yaml", "- dir:.\n"))[0].name == "some-stack"


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"repos\.yaml"):
        load_file(write(tmp_path, "repos.yaml", "- gh:o/app\n- gh:o/app\n"))


def test_tfvars_give_their_variable_slugs(tmp_path: Path) -> None:
    text = 'stack = "x"\nslugs = ["gh:o/app", { slug = "gl:g/b2", env = { A = "1" }, port = 80, expose = true }]\n'
    services = load_file(write(tmp_path, "my.tfvars", text))
    assert [service.name for service in services] == ["app", "b2"]
    assert services[1].env == {"A": "1"}
    same = {"slugs": ["gh:o/app", {"slug": "gl:g/b2", "env": {"A": "1"}, "port": 80, "expose": True}]}
    assert load_file(write(tmp_path, "my.tfvars.json", json.dumps(same))) == services


def test_tfvars_without_slugs_say_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no variable `slugs`"):
        load_file(write(tmp_path, "my.tfvars", 'stack = "x"\n'))
