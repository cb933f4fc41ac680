#!/usr/bin/env python3
"""Checks the Terraform files of deploy/: their format, and with `terraform validate` every resource, argument, reference and variable.

    tools/check-terraform.py

Google's provider comes from a registry that not every machine reaches. tools/check-terraform/ stands in for it: it has the provider's
schemas, and can do nothing. So values are not checked (such as a role that does not exist), nor what Google would answer.
It needs terraform and Go.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
WORK = ROOT / "target" / "check-terraform"


def run(*command, **options):
    return subprocess.run([str(word) for word in command], text=True, capture_output=True, **options)


def build():
    WORK.mkdir(parents=True, exist_ok=True)
    done = run("go", "build", "-o", WORK / "terraform-provider-google", ".", cwd=ROOT / "tools/check-terraform")
    if done.returncode:
        sys.exit(f"check-terraform: {done.stderr}")


def problems(folder, environment):
    """Validates one folder in a copy of deploy/, so that Terraform's own files stay out of the tree."""
    # Modules are linked, and not installed: no registry is asked.
    done = run("terraform", "get", cwd=folder, env=environment)
    if done.returncode:
        return [done.stderr or done.stdout]
    done = run("terraform", "validate", "-json", cwd=folder, env=environment)
    answer = json.loads(done.stdout)
    return [
        f"{entry.get('range', {}).get('filename')}:{entry.get('range', {}).get('start', {}).get('line')}: {entry['summary']}: {entry['detail']}"
        for entry in answer["diagnostics"]
        if entry["severity"] == "error"
    ] or ([] if answer["valid"] else [done.stdout])


def check_configurations(environment, copy):
    """The module makes the same configuration as the function of deploy/gcloud/common.sh."""
    folder = pathlib.Path(copy) / "configurations"
    folder.mkdir()
    examples = ("documents", "api-backend", "languages")
    modules = [f'module "{name}" {{\n  source = "../deploy/terraform/cloud-config"\n  file = "../examples/{name}/spansieve.yaml"\n}}' for name in examples]
    outputs = [f'output "{name}" {{\n  value = module.{name}.text\n}}' for name in examples]
    (folder / "main.tf").write_text("\n".join(modules + outputs))
    for command in (["init", "-input=false"], ["apply", "-auto-approve"]):
        done = run("terraform", *command, cwd=folder, env=environment)
        if done.returncode:
            sys.exit(f"check-terraform: {done.stderr}")
    made = json.loads(run("terraform", "output", "-json", cwd=folder, env=environment).stdout)
    for name in examples:
        script = f"source deploy/gcloud/common.sh; cloud_config examples/{name}/spansieve.yaml"
        other = run("bash", "-c", script, cwd=ROOT, env=os.environ | {"PROJECT": "my-project"}).stdout
        if not other or made[name]["value"] != other:
            sys.exit(f"check-terraform: the configurations of {name} differ:\n{made[name]['value']}\n{other}")
    print(f"the modules and the scripts make the same configurations of {len(examples)} examples")


def check_preconditions(environment, copy):
    """A Memorystore without a subnetwork is refused before anything is made."""
    folder = pathlib.Path(copy) / "deploy/terraform"
    variables = {"project": "my-project", "region": "europe-west1", "image": "image", "memorystore": '{url="rediss://10.0.0.3:6379",ca="ca"}'}
    text = "memorystore needs subnetwork"
    for subnetwork, is_refused in (("", True), ("subnetwork", False)):
        options = [f"-var={name}={value}" for name, value in (variables | {"subnetwork": subnetwork}).items()]
        # The stand-in cannot plan all of it, so the plan may fail all the same.
        done = run("terraform", "plan", "-input=false", "-no-color", *options, cwd=folder, env=environment)
        if (text in done.stderr) != is_refused:
            sys.exit(f"check-terraform: with subnetwork={subnetwork!r}: {done.stdout}{done.stderr}")
    print("a Memorystore without a subnetwork is refused")


def main():
    if not (shutil.which("terraform") and shutil.which("go")):
        print("check-terraform: THE TERRAFORM FILES WERE NOT CHECKED: that needs terraform and Go")
        return
    done = run("terraform", "fmt", "-check", "-recursive", DEPLOY)
    if done.returncode:
        sys.exit(f"check-terraform: not formatted as `terraform fmt` does: {done.stdout}")
    build()
    found, folders = [], sorted(path.parent.relative_to(ROOT) for path in DEPLOY.rglob("main.tf"))
    with tempfile.TemporaryDirectory() as copy:
        for part in ("deploy", "examples"):
            shutil.copytree(ROOT / part, pathlib.Path(copy) / part, ignore=shutil.ignore_patterns(".work", ".terraform"))
        settings = pathlib.Path(copy) / "terraform.rc"
        settings.write_text(f'provider_installation {{\n  dev_overrides {{ "hashicorp/google" = "{WORK}" }}\n  direct {{}}\n}}\n')
        environment = os.environ | {"TF_CLI_CONFIG_FILE": str(settings), "CHECKPOINT_DISABLE": "1"}
        for folder in folders:
            found += [f"{folder}: {problem}" for problem in problems(pathlib.Path(copy) / folder, environment)]
        check_configurations(environment, copy)
        check_preconditions(environment, copy)
    if found or len(folders) < 6:
        sys.exit("\n".join(["check-terraform:", *found]) or "check-terraform: deploy/ has no Terraform")
    print(f"{len(folders)} folders of Terraform are formatted and valid")


main()
