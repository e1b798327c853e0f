"""What the Envoy templates say, and that the real Envoy takes it, whatever the service is called."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.support import envoy
from tests.support.envoy import EDGE, SIDECAR, edge_variables, sidecar_variables

# One worker renders them all: starting Terraform is what takes the time.
pytestmark = pytest.mark.xdist_group("envoy templates")

# YAML reads these as booleans, null or numbers unless they are quoted.
HOSTILE = ["no", "on", "off", "yes", "null", "true", "nan", "a" + "-" * 38 + "b"]
CALLERS = ["spiffe://karst.local/svc/no", "spiffe://karst.local/ops/operator"]

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    **{f"named {name}": (SIDECAR, sidecar_variables(name)) for name in HOSTILE},
    "everybody": (SIDECAR, sidecar_variables("web")),
    "two callers": (SIDECAR, sidecar_variables("web", callers=CALLERS)),
    "nobody": (SIDECAR, sidecar_variables("web", callers=[])),
    "exposed to nobody else": (SIDECAR, sidecar_variables("web", callers=[], expose=True)),
    "health": (SIDECAR, sidecar_variables("web", health='/he"al: th?x=#1')),
    "several hosts": (SIDECAR, sidecar_variables("web", several_hosts=True)),
    "edge of several hosts": (EDGE, edge_variables(several_hosts=True)),
    "no runner": (SIDECAR, sidecar_variables("web", runner=False, health="/ready")),
    "hostile stack": (SIDECAR, sidecar_variables("web", stack='"] }\nadmin: {', trust_domain="a.b-c.d")),
    "spans by gRPC": (
        SIDECAR,
        sidecar_variables(
            "web", spans={"host": "otel", "port": 4317, "tls": False, "grpc": True, "uri": "http://otel:4317/v1/traces"}
        ),
    ),
    "spans by HTTPS": (
        SIDECAR,
        sidecar_variables(
            "web",
            spans={"host": "o.example", "port": 443, "tls": True, "grpc": False, "uri": "https://o.example/v1/traces"},
        ),
    ),
    "edge": (EDGE, edge_variables()),
    "edge of a hostile stack": (EDGE, edge_variables(stack='no: "x', trust_domain="a.b", network="no")),
}


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    return envoy.render(CASES)


@pytest.fixture(scope="module")
def parsed(rendered: dict[str, str]) -> dict[str, Any]:
    return {name: yaml.safe_load(text) for name, text in rendered.items()}


def listener(config: Any, name: str) -> Any:
    return next(one for one in config["static_resources"]["listeners"] if one["name"] == name)


def manager(config: Any, name: str) -> Any:
    """The HTTP connection manager of a listener."""
    return listener(config, name)["filter_chains"][0]["filters"][-1]["typed_config"]


def policies(config: Any) -> Any:
    """The inbound rules that let somebody in."""
    filters = manager(config, "inbound")["http_filters"]
    rules = [one["typed_config"]["rules"] for one in filters if one["name"] == "envoy.filters.http.rbac"]
    return next(one["policies"] for one in rules if one["action"] == "ALLOW")


@pytest.mark.docker
def test_the_real_envoy_takes_every_configuration(rendered: dict[str, str]) -> None:
    assert {name: said for name, said in envoy.validate(rendered).items() if said} == {}


@pytest.mark.docker
def test_the_check_by_the_real_envoy_can_fail() -> None:
    assert "has unknown fields" in envoy.validate({"wrong": "nonsense: 1"})["wrong"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_service_keeps_its_name_in_yaml(parsed: dict[str, Any], name: str) -> None:
    assert parsed[f"named {name}"]["node"]["id"] == name


def test_values_cannot_leave_their_place(parsed: dict[str, Any]) -> None:
    """A value with quotes, colons and line ends stays one value."""
    config = parsed["hostile stack"]
    assert config["node"]["cluster"] == '"] }\nadmin: {'
    known = {"node", "admin", "overload_manager", "layered_runtime", "stats_config", "static_resources"}
    assert set(config) == known
    app = next(one for one in parsed["health"]["static_resources"]["clusters"] if one["name"] == "app")
    assert app["health_checks"][0]["http_health_check"]["path"] == '/he"al: th?x=#1'


def test_a_sidecar_names_no_other_service_but_its_callers(rendered: dict[str, str]) -> None:
    """So a new service changes no other service's sidecar."""
    assert rendered["everybody"].count("svc/") == rendered["named no"].count("svc/")
    assert rendered["everybody"].replace('"web"', '"no"') == rendered["named no"]


def test_only_the_mtls_port_is_open_to_the_network(parsed: dict[str, Any]) -> None:
    addresses = {
        one["name"]: (one["address"]["socket_address"]["address"], one["address"]["socket_address"]["port_value"])
        for one in parsed["everybody"]["static_resources"]["listeners"]
    }
    assert addresses == {
        "inbound": ("0.0.0.0", 15000),
        "outbound": ("127.0.0.1", 15001),
        "metrics": ("127.0.0.1", 9901),
    }
    assert "pipe" in parsed["everybody"]["admin"]["address"]


def test_both_ends_speak_tls_1_3_only_and_show_a_certificate(parsed: dict[str, Any]) -> None:
    config = parsed["everybody"]
    inbound = listener(config, "inbound")["filter_chains"][0]["transport_socket"]["typed_config"]
    assert inbound["require_client_certificate"] is True
    mesh = next(one for one in config["static_resources"]["clusters"] if one["name"] == "mesh")
    for side in (inbound, mesh["transport_socket"]["typed_config"]):
        limits = side["common_tls_context"]["tls_params"]
        assert set(limits.values()) == {"TLSv1_3"}
        assert side["common_tls_context"]["tls_certificate_sds_secret_configs"][0]["name"] == "svid"


def test_the_dots_of_a_trust_domain_are_dots(parsed: dict[str, Any]) -> None:
    """`karstxlocal` is another domain than `karst.local`."""
    context = listener(parsed["everybody"], "inbound")["filter_chains"][0]["transport_socket"]["typed_config"]
    names = context["common_tls_context"]["combined_validation_context"]["default_validation_context"]
    [matcher] = names["match_typed_subject_alt_names"]
    assert matcher["matcher"]["safe_regex"]["regex"].startswith(r"spiffe://karst\.local/")


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("everybody", [{"prefix": "spiffe://karst.local/svc/"}]),
        ("two callers", [{"exact": uri} for uri in CALLERS]),
        ("nobody", None),
        ("exposed to nobody else", [{"exact": "spiffe://karst.local/ops/edge"}]),
    ],
)
def test_the_callers_that_were_allowed_may_call_the_app(
    parsed: dict[str, Any], case: str, expected: list[Any] | None
) -> None:
    callers = policies(parsed[case]).get("callers")
    found = callers and [one["authenticated"]["principal_name"] for one in callers["principals"]]
    assert found == expected


def test_the_app_is_probed_by_http_where_a_path_was_given_and_by_connecting_elsewhere(parsed: dict[str, Any]) -> None:
    def check(case: str) -> Any:
        clusters = parsed[case]["static_resources"]["clusters"]
        return next(one for one in clusters if one["name"] == "app")["health_checks"][0]

    assert "http_health_check" in check("health")
    assert "tcp_health_check" in check("everybody")


def test_the_edge_listens_to_its_host_only(parsed: dict[str, Any]) -> None:
    """Each of its doors asks for the gateway's or the loopback address before anything else."""
    doors = [one for one in parsed["edge"]["static_resources"]["listeners"] if "address" in one]
    assert {one["address"]["socket_address"]["port_value"] for one in doors} == {15000, 9901, 8088}
    for one in doors:
        first = one["filter_chains"][0]["filters"][0]
        assert first["name"] == "envoy.filters.network.rbac", one["name"]
        [policy] = first["typed_config"]["rules"]["policies"].values()
        addresses = [principal["direct_remote_ip"]["address_prefix"] for principal in policy["principals"]]
        assert addresses == ["__GATEWAY__", "127.0.0.1"], one["name"]


@pytest.mark.parametrize(
    ("config", "several", "clusters"),
    [("everybody", "several hosts", {"mesh"}), ("edge", "edge of several hosts", {"passthrough", "front", "figures"})],
)
def test_only_with_several_hosts_does_a_connection_end_that_nobody_acknowledges(
    parsed: dict[str, Any], config: str, several: str, clusters: set[str]
) -> None:
    """TCP_USER_TIMEOUT also ends a connection whose reader takes nothing for a while, as one host's may."""

    def timed(name: str) -> set[str]:
        return {one["name"] for one in parsed[name]["static_resources"]["clusters"] if "upstream_bind_config" in one}

    assert timed(several) == clusters
    assert timed(config) == set()
