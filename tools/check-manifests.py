#!/usr/bin/env python3
"""Checks the manifests of deploy/ against the schemas of Kubernetes and of Knative, or prints the configuration in them.

    pip install -r tools/check-manifests.requirements.txt
    tools/check-manifests.py
    tools/check-manifests.py --config | spansieve validate -

Knative's schema is in its Go module, so that Go is needed; without it, that is said, and is no failure.
"""

import json
import pathlib
import shutil
import subprocess
import sys

import jsonschema
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "deploy" / "gke").glob("*.yaml"))
VERSION = "1.33"
# Resources of Google's own, which Kubernetes has no schema of.
FOREIGN = {"PodMonitoring"}
SERVICE = ROOT / "deploy" / "cloud-run" / "service.yaml"
KNATIVE = "knative.dev/serving@v0.46.6"
# The annotations of https://cloud.google.com/run/docs/reference/yaml/v1 that are in use here.
ANNOTATIONS = {
    "run.googleapis.com/ingress": {"all", "internal", "internal-and-cloud-load-balancing"},
    "run.googleapis.com/invoker-iam-disabled": {"true", "false"},
    "run.googleapis.com/scalingMode": {"automatic", "manual"},
    "run.googleapis.com/manualInstanceCount": {str(count) for count in range(101)},
}
TEMPLATE_ANNOTATIONS = {
    "run.googleapis.com/execution-environment": {"gen1", "gen2"},
    "run.googleapis.com/cpu-throttling": {"true", "false"},
    "run.googleapis.com/startup-cpu-boost": {"true", "false"},
    "run.googleapis.com/container-dependencies": {'{"metrics":["spansieve"]}'},
}


def documents():
    for path in FILES:
        for document in yaml.safe_load_all(path.read_text()):
            yield path.relative_to(ROOT), document


def kubernetes():
    """Yields what does not fit Kubernetes, and prints how many manifests were looked at."""
    checked = 0
    for path, document in documents():
        if document["kind"] in FOREIGN:
            continue
        checked += 1
        try:
            kubernetes_validate.validate(document, VERSION, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{path}: {document['kind']}: {error.message}"
    print(f"{checked} manifests looked at with the schemas of Kubernetes {VERSION}")
    if not checked:
        yield "deploy/gke/ has no manifests"


def strict(schema):
    """Refuses keys that the schema does not have, where it does not say that others are welcome."""
    if isinstance(schema, dict):
        schema = {key: strict(value) for key, value in schema.items()}
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
    return [strict(value) for value in schema] if isinstance(schema, list) else schema


def knative_schema():
    answer = json.loads(subprocess.run(["go", "mod", "download", "-json", KNATIVE], check=True, capture_output=True, text=True).stdout)
    definition = yaml.safe_load((pathlib.Path(answer["Dir"]) / "config/core/300-resources/service.yaml").read_text())
    return strict(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def with_sidecar(text):
    """The service with the lines of the sidecar, which are comments in the file."""
    assert text.count("#metrics: ") == 2, "service.yaml has two lines for the sidecar"
    return text.replace("#metrics: ", "").replace("SIDECAR", "example.com/sidecar")


def cloud_run():
    """Yields what does not fit Knative's Service, or Cloud Run's annotations of it."""
    if shutil.which("go") is None:
        print("check-manifests: THE SERVICE OF CLOUD RUN WAS NOT CHECKED: Knative's schema needs Go")
        return
    validator = jsonschema.Draft7Validator(knative_schema())
    for text in (SERVICE.read_text(), with_sidecar(SERVICE.read_text())):
        service = yaml.safe_load(text)
        for error in validator.iter_errors(service):
            yield f"service.yaml: {'.'.join(map(str, error.absolute_path))}: {error.message}"
        for place, known in ((service["metadata"], ANNOTATIONS), (service["spec"]["template"]["metadata"], TEMPLATE_ANNOTATIONS)):
            for key, value in place["annotations"].items():
                if value not in known.get(key, ()):
                    yield f"service.yaml: the annotation {key}: {value}"
    print(f"{SERVICE.name} looked at with the schema of {KNATIVE}, with and without the sidecar")


def main():
    if sys.argv[1:] == ["--config"]:
        texts = [document["data"]["config.yaml"] for _, document in documents() if document["kind"] == "ConfigMap"]
        assert len(texts) == 1, "deploy/gke/ has one ConfigMap"
        print(texts[0].replace("PROJECT", "my-project"), end="")
        return
    problems = [*kubernetes(), *cloud_run()]
    if problems:
        sys.exit("\n".join(problems))


main()
