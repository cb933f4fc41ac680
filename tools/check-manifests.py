#!/usr/bin/env python3
"""Checks the manifests of deploy/gke/ against the schemas of Kubernetes, or prints the configuration in them.

    pip install -r tools/check-manifests.requirements.txt
    tools/check-manifests.py
    tools/check-manifests.py --config | spansieve validate -
"""

import pathlib
import sys

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "deploy" / "gke").glob("*.yaml"))
VERSION = "1.33"
# Resources of Google's own, which Kubernetes has no schema of.
FOREIGN = {"PodMonitoring"}


def documents():
    for path in FILES:
        for document in yaml.safe_load_all(path.read_text()):
            yield path.relative_to(ROOT), document


def main():
    if sys.argv[1:] == ["--config"]:
        texts = [document["data"]["config.yaml"] for _, document in documents() if document["kind"] == "ConfigMap"]
        assert len(texts) == 1, "deploy/gke/ has one ConfigMap"
        print(texts[0].replace("PROJECT", "my-project"), end="")
        return
    problems, checked = [], 0
    for path, document in documents():
        if document["kind"] in FOREIGN:
            continue
        try:
            kubernetes_validate.validate(document, VERSION, strict=True)
            checked += 1
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{path}: {document['kind']}: {error.message}")
    if problems or not checked:
        sys.exit("\n".join(problems) or "deploy/gke/ has no manifests")
    print(f"{checked} manifests fit the schemas of Kubernetes {VERSION}")


main()
