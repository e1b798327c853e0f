"""Writes what an environment holds as CycloneDX JSON: `sbom.py NAME SITE_PACKAGES OUTPUT`.

Deterministic: sorted, no time stamp, and the serial number follows from the content.
"""

import importlib.metadata
import json
import pathlib
import sys
import uuid

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL


def main(name, site_packages, output):
    bom = Bom()
    bom.metadata.timestamp = None
    bom.metadata.component = root = Component(name=name, type=ComponentType.APPLICATION, bom_ref=name)
    found = sorted(
        importlib.metadata.distributions(path=[site_packages]), key=lambda item: (item.metadata["Name"] or "").lower()
    )
    components = []
    for item in found:
        purl = PackageURL("pypi", name=item.metadata["Name"].lower().replace("_", "-"), version=item.version)
        component = Component(
            name=item.metadata["Name"],
            version=item.version,
            type=ComponentType.LIBRARY,
            purl=purl,
            bom_ref=str(purl),
            licenses=[DisjunctiveLicense(name=text)] if (text := license_of(item)) else None,
        )
        components.append(component)
        bom.components.add(component)
    bom.register_dependency(root, components)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    document.pop("serialNumber", None)
    document["metadata"].pop("timestamp", None)
    body = json.dumps(document, sort_keys=True)
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, body).urn
    pathlib.Path(output).write_text(json.dumps(document, sort_keys=True, indent=1) + "\n")


def license_of(item):
    """The license as its author wrote it, when it is a name and not a whole text."""
    text = item.metadata.get("License-Expression") or item.metadata.get("License") or ""
    return text if 0 < len(text) <= 80 and "\n" not in text else ""


if __name__ == "__main__":
    main(*sys.argv[1:4])
