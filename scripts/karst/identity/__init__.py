"""Who is who in the mesh: the certificate authority, one short-lived certificate per service, and app secrets.

``handle`` answers Terraform's ``external`` data source; ``main`` is the same by hand (`scripts/identity`).
Nothing here ever prints or returns a key or a secret: only paths, fingerprints and dates.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from karst.errors import UsageError
from karst.external import json_field

TRUST_DOMAIN = "karst.local"
NETWORK = "iacnet"


def handle(query: dict[str, str]) -> dict[str, str]:
    """Issue what is absent, wrong or about to expire; return where everything is.

    In: ``secrets_dir``; ``services``, a JSON list of service names, ``ops/edge`` and ``ops/operator``; ``network`` and
    ``trust_domain`` (defaults ``iacnet``, ``karst.local``); ``lifetime`` of a new certificate (settings.py);
    ``app_secrets``, JSON {service: [environment variables]}; ``own_images``, JSON list of the services whose image has
    a user of its own.
    Out: ``services``, JSON {name: {dir, fingerprint, not_after, uri, app_secrets, app_secrets_digest}};
    ``ca_fingerprint``; ``bundle_fingerprint``, of all that is trusted; ``uid`` and ``gid``, the numeric owner of the
    key files.

    Raises KarstError: an authority that cannot issue, a folder that cannot be written, a secret that is not set.
    """
    from karst.identity.app_secrets import hand_over
    from karst.identity.names import Identity
    from karst.identity.settings import lifetime
    from karst.identity.store import Store

    if not query.get("secrets_dir"):
        raise UsageError("the query names no `secrets_dir`", code="bad_query")
    names = json_field(query, "services", [])
    wanted = json_field(query, "app_secrets", {})
    foreign = json_field(query, "own_images", [])
    if not isinstance(names, list) or not isinstance(wanted, dict) or not isinstance(foreign, list):
        raise UsageError(
            "`services` and `own_images` must be JSON lists, and `app_secrets` a JSON object", code="bad_query"
        )
    network, trust_domain = query.get("network") or NETWORK, query.get("trust_domain") or TRUST_DOMAIN
    identities = [Identity.parse(name, network=network, trust_domain=trust_domain) for name in dict.fromkeys(names)]

    store = Store(Path(query["secrets_dir"]).expanduser().absolute(), lifetime=lifetime(query.get("lifetime", "")))
    with store.locked():
        issued = store.ensure(identities)
        app = hand_over(store, {identity.name: wanted.get(identity.name) or [] for identity in identities}, foreign)
    services: dict[str, Any] = {leaf.identity.name: {**leaf.to_dict(), **app[leaf.identity.name]} for leaf in issued}
    return {
        "services": json.dumps(services, sort_keys=True),
        "ca_fingerprint": store.authority_fingerprint,
        "bundle_fingerprint": store.bundle_fingerprint,
        "uid": str(store.owner[0]),
        "gid": str(store.owner[1]),
    }


def renew(secrets_dir: Path) -> list[dict[str, str]]:
    """Bring every identity that the folder knows up to date, and say what it has: for a timer, beside no deploy."""
    from karst.identity.settings import lifetime
    from karst.identity.store import Store

    store = Store(secrets_dir.expanduser().absolute(), lifetime=lifetime())
    if not (store.root / "mesh").is_dir():
        raise UsageError(
            f"{store.root} holds no identities to renew", hint="name the folder: --secrets-dir", code="no_identities"
        )
    with store.locked():
        return [{"name": leaf.identity.name, **leaf.to_dict()} for leaf in store.ensure(store.known())]


def main(argv: list[str]) -> int:
    """By hand: ``scripts/identity [--secrets-dir DIR] [--network N] [--trust-domain D] NAME…|--renew`` prints JSON."""
    import argparse

    parser = argparse.ArgumentParser(prog="identity", description="Issue and renew the mesh's certificates.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a service, `ops/edge` or `ops/operator`")
    parser.add_argument("--renew", action="store_true", help="all that the folder knows, with the names they have")
    parser.add_argument("--secrets-dir", default="secrets", type=Path)
    parser.add_argument("--network", default=NETWORK)
    parser.add_argument("--trust-domain", default=TRUST_DOMAIN)
    args = parser.parse_args(argv)
    if args.renew == bool(args.names):
        parser.error("give names, or --renew for all that are there")
    if args.renew:
        answer: Any = renew(args.secrets_dir)
    else:
        query = {"secrets_dir": str(args.secrets_dir), "network": args.network, "trust_domain": args.trust_domain}
        answer = dict(handle({**query, "services": json.dumps(args.names)}))
        answer["services"] = json.loads(answer["services"])
    print(json.dumps(answer, indent=2, sort_keys=True))
    return 0
