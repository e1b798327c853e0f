"""What was tried to make our pair cheaper: each a change of the deployed configuration, measured beside it."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.mesh.stage import Variant

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ANY = "type.googleapis.com/envoy.extensions."
Config = dict[str, Any]


def listener(config: Config, name: str) -> Config:
    return next(one for one in config["static_resources"]["listeners"] if one["name"] == name)


def cluster(config: Config, name: str) -> Config:
    return next(one for one in config["static_resources"]["clusters"] if one["name"] == name)


def manager(config: Config, name: str) -> Config:
    """The HTTP connection manager of a listener."""
    return listener(config, name)["filter_chains"][0]["filters"][0]["typed_config"]  # type: ignore[no-any-return]


def upstream(config: Config, name: str) -> Config:
    return cluster(config, name)["typed_extension_protocol_options"][HTTP_OPTIONS]  # type: ignore[no-any-return]


def without_figures(config: Config) -> None:
    for name in ("inbound", "outbound"):
        del manager(config, name)["access_log"]


def without_small_things(config: Config) -> None:
    """No x-request-id, no idle and header timeouts, no overload manager, no histograms of HTTP/2 streams."""
    for name in ("inbound", "outbound"):
        manager(config, name)["generate_request_id"] = False
        manager(config, name)["stream_idle_timeout"] = "0s"
        del manager(config, name)["request_headers_timeout"]
    del config["overload_manager"]
    guard = {"envoy.reloadable_features.http2_record_histograms": False}
    config["layered_runtime"]["layers"][0]["static_layer"] = guard


def before(config: Config) -> None:
    """As it was: names from metadata each time, patterns for the kit's paths, counters by code."""
    text = json.dumps(config).replace("%REQ(x-karst-upstream)%", "%DYNAMIC_METADATA(karst:service)%:15000")
    config.update(json.loads(text.replace("%REQ(x-karst-host)%", "%DYNAMIC_METADATA(karst:service)%")))
    inbound = manager(config, "inbound")
    pattern = {"safe_regex": {"regex": r"/(\.karst|karst\.v[0-9]+\.[A-Za-z]+)/.*"}}
    policies = inbound["http_filters"][2]["typed_config"]["rules"]["policies"]
    policies["operator"]["permissions"] = [{"url_path": {"path": pattern}}]
    policies["callers"]["permissions"] = [{"not_rule": {"url_path": {"path": pattern}}}]
    routes = inbound["route_config"]["virtual_hosts"][0]["routes"]
    routes[0]["match"] = {"safe_regex": {"regex": r"/(karst\.v[0-9]+\.[A-Za-z]+|grpc\.health\.v1\.Health)/.*"}}
    header = {"key_matcher": {"safe_regex": {"regex": "x[-_]forwarded[-_]client[-_]cert"}}}
    mutation = inbound["early_header_mutation_extensions"][0]["typed_config"]
    mutation["mutations"] = [{"remove_on_match": header}, {"remove": "x-karst-own"}]
    for name in ("inbound", "outbound"):
        manager(config, name)["http_filters"][-1]["typed_config"]["dynamic_stats"] = True


def without_header_work(config: Config) -> None:
    """Inbound believes what it gets: no path made canonical, no identity header."""
    inbound = manager(config, "inbound")
    for name in (
        "early_header_mutation_extensions",
        "normalize_path",
        "merge_slashes",
        "path_with_escaped_slashes_action",
    ):
        del inbound[name]
    inbound["forward_client_cert_details"] = "SANITIZE"
    del inbound["set_current_client_cert_details"]


def without_rules(config: Config) -> None:
    """No health check, no authorization: the router alone, and one route."""
    inbound = manager(config, "inbound")
    inbound["http_filters"] = inbound["http_filters"][-1:]
    host = inbound["route_config"]["virtual_hosts"][0]
    host["routes"] = host["routes"][-2:]


def as_caller(config: Config) -> None:
    """HTTP/1.1 and HTTP/2 between the sidecars, as the caller's app speaks."""
    options = upstream(config, "mesh")
    http2 = options.pop("explicit_http_config")["http2_protocol_options"]
    options["use_downstream_protocol_config"] = {"http_protocol_options": {}, "http2_protocol_options": http2}
    del cluster(config, "mesh")["transport_socket"]["typed_config"]["common_tls_context"]["alpn_protocols"]


def direct_caller(config: Config) -> None:
    """Outbound without the filters, the forward proxy, retries and checks: one destination, known beforehand."""
    outbound, mesh = manager(config, "outbound"), cluster(config, "mesh")
    outbound["http_filters"] = outbound["http_filters"][-1:]
    clusters = config["static_resources"]["clusters"]
    clusters.remove(mesh)
    routes = []
    for name in ("api", "rpc"):
        service = f"{name}{config['node']['id'].removeprefix('web')}"
        one = {
            key: value
            for key, value in mesh.items()
            if key not in ("cluster_type", "lb_policy", "health_checks", "outlier_detection")
        }
        address = {"socket_address": {"address": service, "port_value": 15000}}
        endpoint = {"lb_endpoints": [{"endpoint": {"address": address}}]}
        one |= {"name": name, "type": "STRICT_DNS", "load_assignment": {"cluster_name": name, "endpoints": [endpoint]}}
        clusters.append(one)
        header = {"name": ":authority", "string_match": {"exact": service}}
        routes.append({"match": {"prefix": "/", "headers": [header]}, "route": {"cluster": name, "timeout": "0s"}})
    outbound["route_config"]["virtual_hosts"][0]["routes"] = routes


def floor_caller(config: Config) -> None:
    for change in (direct_caller, without_figures, without_small_things):
        change(config)


def floor_called(config: Config) -> None:
    for change in (without_figures, without_small_things, without_header_work, without_rules):
        change(config)


def codec(config: Config, value: bool) -> None:
    for options in (
        manager(config, "inbound")["http2_protocol_options"],
        manager(config, "outbound")["http2_protocol_options"],
        upstream(config, "mesh")["explicit_http_config"]["http2_protocol_options"],
        upstream(config, "app_grpc")["explicit_http_config"]["http2_protocol_options"],
    ):
        options["use_oghttp2_codec"] = value


def buffers(config: Config, limit: int, window: int) -> None:
    for name in ("inbound", "outbound"):
        listener(config, name)["per_connection_buffer_limit_bytes"] = limit
    windows = {"initial_stream_window_size": window, "initial_connection_window_size": max(window, 1 << 20)}
    manager(config, "inbound")["http2_protocol_options"] |= windows
    manager(config, "outbound")["http2_protocol_options"] |= windows
    upstream(config, "mesh")["explicit_http_config"]["http2_protocol_options"] |= windows


def plain_caller(config: Config) -> None:
    mesh = cluster(config, "mesh")
    del mesh["transport_socket"]
    mesh["cluster_type"]["typed_config"]["allow_insecure_cluster_options"] = True
    upstream(config, "mesh")["upstream_http_protocol_options"] = {}


def plain_called(config: Config) -> None:
    del listener(config, "inbound")["filter_chains"][0]["transport_socket"]
    without_rules(config)


def tcp_caller(config: Config) -> None:
    """For a called side that passes bytes on: speaks as the app behind it does; health checks have an ALPN name."""
    as_caller(config)
    cluster(config, "mesh")["health_checks"][0]["tls_options"] = {"alpn_protocols": ["karst"]}


def tcp_called(config: Config) -> None:
    """Inbound ends TLS, checks who calls, and passes the bytes to the app; the kit's own paths are at ALPN `karst`."""
    inbound = listener(config, "inbound")
    kit = inbound["filter_chains"][0]
    context = kit["transport_socket"]["typed_config"]["common_tls_context"]
    context["alpn_protocols"] = ["karst", "h2", "http/1.1"]
    rules = manager(config, "inbound")["http_filters"][2]["typed_config"]["rules"]["policies"]["callers"]["principals"]
    chains = []
    for protocol, target in (("http/1.1", "app"), ("h2", "app_grpc")):
        check = {
            "@type": ANY + "filters.network.rbac.v3.RBAC",
            "stat_prefix": "inbound_",
            "rules": {
                "action": "ALLOW",
                "policies": {"callers": {"permissions": [{"any": True}], "principals": rules}},
            },
        }
        proxy = {"@type": ANY + "filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "app", "cluster": target}
        chains.append(
            {
                **kit,
                "filter_chain_match": {"application_protocols": [protocol]},
                "filters": [
                    {"name": "envoy.filters.network.rbac", "typed_config": check},
                    {"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy},
                ],
            }
        )
    inbound["listener_filters"] = [
        {
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": {"@type": ANY + "filters.listener.tls_inspector.v3.TlsInspector"},
        }
    ]
    kit["filter_chain_match"] = {"application_protocols": ["karst"]}
    inbound["filter_chains"] = [kit, *chains]


def without_retries(config: Config) -> None:
    for route in manager(config, "outbound")["route_config"]["virtual_hosts"][0]["routes"][:2]:
        del route["route"]["retry_policy"]


def without_checks(config: Config) -> None:
    del cluster(config, "mesh")["health_checks"]
    del cluster(config, "mesh")["outlier_detection"]


VARIANTS = [
    Variant("before", "before these measurements: more patterns, more counters", before, before),
    Variant("figures", "without the counts and times by caller and destination", without_figures, without_figures),
    Variant("small", "without x-request-id, timeouts, overload manager", without_small_things, without_small_things),
    Variant("headers", "inbound without canonical paths and identity header", None, without_header_work),
    Variant("rules", "inbound without health check, authorization and its routes", None, without_rules),
    Variant("retries", "outbound without retries", without_retries, None),
    Variant("checks", "outbound without health checks and outlier detection", without_checks, None),
    Variant("static", "outbound with one fixed destination, no checks, no retries", direct_caller, None),
    Variant("floor", "all of these: Envoy's HTTP stack with TLS and nothing else", floor_caller, floor_called),
    Variant("plain", "no TLS between the sidecars, so no identity either", plain_caller, plain_called),
    Variant("tcp", "inbound passes TCP on after TLS and the identity check", tcp_caller, tcp_called),
    Variant("ascaller", "HTTP/1.1 between the sidecars where the app speaks it", as_caller, None),
    Variant("oghttp2", "HTTP/2 by oghttp2", lambda c: codec(c, True), lambda c: codec(c, True)),
    Variant("nghttp2", "HTTP/2 by nghttp2", lambda c: codec(c, False), lambda c: codec(c, False)),
    Variant("mebibyte", "buffers and windows of 1 MiB", *2 * (lambda c: buffers(c, 1 << 20, 1 << 20),)),
    Variant("quarter", "buffers and windows of 256 KiB", *2 * (lambda c: buffers(c, 256 << 10, 256 << 10),)),
    Variant("workers", "two workers", program={"--concurrency 1": "--concurrency 2"}),
    Variant("rseq", "the allocator's caches per core", environment={"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}),
]
BY_NAME = {variant.name: variant for variant in VARIANTS}
