#!/usr/bin/env python3
"""Writes gcloud-flags.json: the flags of the commands that the stand-in for gcloud knows.

    tools/stand-ins/flags.py [--check] [.../google-cloud-sdk]

They come from Google's own table of commands in the Google Cloud CLI (data/cli/gcloud_completions.py), which has the same flags as
https://cloud.google.com/sdk/gcloud/reference. `--check` compares instead of writing. Each command of the stand-in has to be in the table.
"""

import json
import pathlib
import runpy
import sys

HERE = pathlib.Path(__file__).resolve().parent
TABLE = HERE / "gcloud-flags.json"
SDK = pathlib.Path("/usr/lib/google-cloud-sdk")
COMMANDS = [
    "alpha monitoring policies create",
    "alpha monitoring policies list",
    "artifacts docker images describe",
    "artifacts repositories create",
    "artifacts repositories describe",
    "auth configure-docker",
    "billing budgets create",
    "billing budgets list",
    "beta monitoring channels create",
    "beta monitoring channels list",
    "compute networks create",
    "compute networks describe",
    "compute networks subnets create",
    "compute networks subnets describe",
    "compute networks subnets update",
    "config set",
    "iam service-accounts create",
    "iam service-accounts describe",
    "projects add-iam-policy-binding",
    "projects describe",
    "run deploy",
    "run services add-iam-policy-binding",
    "run services describe",
    "run services replace",
    "run services update",
    "secrets add-iam-policy-binding",
    "secrets create",
    "secrets describe",
    "secrets versions add",
    "services enable",
]


def table(sdk):
    tree = runpy.run_path(str(sdk / "data/cli/gcloud_completions.py"))["STATIC_COMPLETION_CLI_TREE"]
    commands = {}
    for command in COMMANDS:
        node = tree
        for word in command.split():
            node = node["commands"][word]
        # A flag takes a value, is a switch, or takes one of a list of values.
        commands[command] = {flag: kind if kind == "bool" or isinstance(kind, list) else "value" for flag, kind in sorted(node["flags"].items())}
    version = (sdk / "VERSION").read_text().strip()
    flags = {flag: kind if kind == "bool" or isinstance(kind, list) else "value" for flag, kind in sorted(tree["flags"].items())}
    return {"version": version, "everywhere": flags, "commands": commands}


def main():
    check = "--check" in sys.argv[1:]
    folders = [word for word in sys.argv[1:] if word != "--check"]
    new = table(pathlib.Path(folders[0]) if folders else SDK)
    if not check:
        TABLE.write_text(json.dumps(new, indent=1) + "\n")
        return
    old = json.loads(TABLE.read_text())
    assert sorted(old["commands"]) == sorted(COMMANDS), "gcloud-flags.json has other commands: run tools/stand-ins/flags.py"
    # A later gcloud has more flags. What the table has and gcloud has not would be a mistake of the table.
    for command, flags in old["commands"].items():
        gone = flags.keys() - new["commands"][command].keys()
        assert not gone, f"gcloud {new['version']} does not have {', '.join(sorted(gone))} of `gcloud {command}`"
    print(f"{len(COMMANDS)} commands: each flag of the table is one of gcloud {new['version']}")


main()
