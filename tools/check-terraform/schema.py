#!/usr/bin/env python3
"""Writes schema.json: the schemas of the resources of deploy/, as Google's provider for Terraform has them.

    npm pack @cdktf/provider-google@16.12.1 && tar xzf cdktf-provider-google-16.12.1.tgz
    tools/check-terraform/schema.py package/

The npm package is made by HashiCorp from the provider's own schemas (version 6.50.0 of hashicorp/google).
"""

import gzip
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
DEPLOY = HERE.parent.parent / "deploy"
PREFIX = "@cdktf/provider-google."
OWN = ("Map", "List", "OutputReference")


def used():
    """Returns the types of resources and of data sources in deploy/."""
    text = "\n".join(path.read_text() for path in DEPLOY.rglob("*.tf"))
    return {kind: sorted(set(re.findall(rf'^{kind} "google_(\w+)"', text, flags=re.M))) for kind in ("resource", "data")}


def camel(words):
    return "".join(word[0].upper() + word[1:] for word in words.split("_"))


def snake(name):
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def primitive(type_):
    """Returns the kind of a type and the kind of its elements, or nothing for a struct."""
    if "union" in type_:
        type_ = next(one for one in type_["union"]["types"] if one.get("fqn") != "cdktf.IResolvable")
    name = {"boolean": "bool", "cdktf.IResolvable": "bool"}
    if "primitive" in type_:
        return name.get(type_["primitive"], type_["primitive"]), ""
    if "collection" in type_:
        kind = "map" if type_["collection"]["kind"] == "map" else "list"
        element = type_["collection"]["elementtype"]
        return (kind, primitive(element)[0]) if "fqn" not in element and primitive(element) else None
    return None


def struct(type_):
    """Returns the name of the struct of a block, and whether there can be one such block alone."""
    for one in type_.get("union", {}).get("types", [type_]):
        if "collection" in one:
            return one["collection"]["elementtype"]["fqn"], False
        if one["fqn"] != "cdktf.IResolvable":
            return one["fqn"], True
    raise ValueError(type_)


def fields(types, name):
    made = {}
    for entry in types[name]["properties"]:
        link = re.search(r"#(\w+) [\w.]+#\w+\}", "\n".join(str(text) for text in entry.get("docs", {}).values()))
        if not link:
            continue  # not of the provider: for_each, lifecycle and the like
        required = not entry.get("optional", False)
        if entry["docs"]["summary"].endswith(" block."):
            fqn, one = struct(entry["type"])
            made[link[1]] = {"type": "block", "required": required, "optional": not required, "one": one, "fields": fields(types, fqn)}
        elif kind := primitive(entry["type"]):
            made[link[1]] = {"type": kind[0], "of": kind[1], "required": required, "optional": not required}
    return made


def attributes(types, name):
    """Adds what the provider computes: the getters of the class, and of the classes of its lists."""
    made = {}
    for entry in types[name].get("properties", []):
        kind, fqn = primitive(entry["type"]), entry["type"].get("fqn", "")
        if entry.get("immutable") and not kind and fqn.startswith(PREFIX) and fqn.endswith("List"):
            made[snake(entry["name"])] = {"type": "block", "computed": True, "fields": computed(types, fqn.removesuffix("List") + "OutputReference")}
        if entry.get("immutable") and not entry.get("static") and not entry["name"].endswith("Input") and kind and kind[0] in ("string", "number", "bool"):
            made[snake(entry["name"])] = {"type": kind[0], "of": ""}
    return made


def computed(types, name):
    """Returns the fields of an element of a computed list."""
    entries = {entry["name"]: entry for entry in types[name]["properties"] if entry["name"] != "internalValue"}
    scalars = {snake(key): primitive(entry["type"]) for key, entry in entries.items()}
    made = {key: {"type": kind[0], "of": kind[1]} for key, kind in scalars.items() if kind}
    return made | {key: value for key, value in attributes(types, name).items() if value["type"] == "block"}


def resource(types, name, data=False):
    class_name = ("DataGoogle" if data else "") + camel(name)
    module = class_name[0].lower() + class_name[1:]
    base = f"{PREFIX}{module}.{class_name}"
    made = attributes(types, base) | fields(types, f"{base}Config")
    # Every resource has an id, and Terraform's library makes the block of time limits itself.
    return {key: value for key, value in made.items() if key not in ("id", "timeouts")}


def main():
    folder = pathlib.Path(sys.argv[1])
    assembly = json.loads((folder / ".jsii").read_text())
    if assembly["schema"] == "jsii/file-redirect":
        assembly = json.loads(gzip.decompress((folder / assembly["filename"]).read_bytes()))
    names = used()
    made = {
        "source": f"@cdktf/provider-google {assembly['version']}",
        "resources": {f"google_{name}": resource(assembly["types"], name) for name in names["resource"]},
        "data": {f"google_{name}": resource(assembly["types"], name, data=True) for name in names["data"]},
    }
    (HERE / "schema.json").write_text(json.dumps(made, separators=(",", ":"), sort_keys=True).replace('"},"google_', '"},\n"google_') + "\n")


main()
