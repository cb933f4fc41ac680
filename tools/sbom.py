#!/usr/bin/env python3
"""Prints an SBOM of the program in CycloneDX's JSON: each package that is linked into `spansieve`, with licence and checksum.

    tools/sbom.py > spansieve.cdx.json
    tools/sbom.py --check     compares with Cargo.lock, and validates against CycloneDX's schema (tools/sbom.requirements.txt)

The same commit gives the same bytes. `cargo metadata` knows what is linked on Linux; development dependencies are left out.
"""

import datetime
import json
import pathlib
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = "x86_64-unknown-linux-gnu"
MINIMUM = 100  # The program has more packages. With fewer, this script no longer understands cargo's answer.


def output(*command):
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def linked(metadata):
    """Returns the ids of the packages that the program needs, build scripts included, and what each depends on."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = next(package["id"] for package in metadata["packages"] if package["name"] == "spansieve")
    found, waiting = {}, [root]
    while waiting:
        package = waiting.pop()
        if package not in found:
            found[package] = sorted({dep["pkg"] for dep in nodes[package]["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])})
            waiting += found[package]
    return root, found


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums):
    kind = "application" if package["name"] == "spansieve" else "library"
    made = {"type": kind, "bom-ref": purl(package), "name": package["name"], "version": package["version"], "purl": purl(package)}
    if package["license"]:
        made["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := checksums.get((package["name"], package["version"])):
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return made


def locked():
    """The checksums of Cargo.lock, by name and version; packages of this workspace have none."""
    packages = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    return {(package["name"], package["version"]): package.get("checksum") for package in packages}


def sbom():
    metadata = json.loads(output("cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={TARGET}"))
    packages, checksums = {package["id"]: package for package in metadata["packages"]}, locked()
    root, found = linked(metadata)
    commit = output("git", "rev-parse", "HEAD").strip()
    moment = datetime.datetime.fromtimestamp(int(output("git", "log", "-1", "--format=%ct")), datetime.timezone.utc)
    libraries = sorted((packages[id] for id in found if id != root), key=purl)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'spansieve:{commit}')}",
        "version": 1,
        "metadata": {"timestamp": moment.isoformat(), "component": component(packages[root], checksums)},
        "components": [component(package, checksums) for package in libraries],
        "dependencies": [
            {"ref": purl(packages[id]), "dependsOn": sorted(purl(packages[dep]) for dep in found[id])}
            for id in sorted(found, key=lambda id: purl(packages[id]))
        ],
    }  # fmt: skip


def check(made):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(made)):
        sys.exit(f"sbom: {error}")
    known, components = locked(), made["components"]
    missing = [entry["purl"] for entry in components if (entry["name"], entry["version"]) not in known]
    unsigned = [entry["purl"] for entry in components if "hashes" not in entry and not entry["name"].startswith("spansieve-")]
    unlicensed = [entry["purl"] for entry in components if "licenses" not in entry]
    if len(components) < MINIMUM or missing or unsigned or unlicensed:
        sys.exit(f"sbom: {len(components)} packages; not in Cargo.lock: {missing}; without checksum: {unsigned}; without licence: {unlicensed}")
    print(f"{len(components)} packages are linked into the program, each with its licence and checksum")


if sys.argv[1:] == ["--check"]:
    check(sbom())
else:
    json.dump(sbom(), sys.stdout, indent=1)
    print()
