#!/usr/bin/env python3
"""Runs the scripts and the documents that deploy to Google Cloud against stand-ins, and compares what they would do.

    tools/check-deploy.py            compare with deploy/transcripts/
    tools/check-deploy.py --write    write deploy/transcripts/

tools/stand-ins/ takes the place of gcloud, docker and kubectl: it knows Google's flags, and fails as the real programs would. Each script runs
twice: the second time everything exists already. If the Google Cloud CLI is installed, its own parser looks at each command line as well.
It needs PyYAML, and shellcheck for the scripts.
"""

import difflib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
STAND_INS = ROOT / "tools" / "stand-ins"
TRANSCRIPTS = ROOT / "deploy" / "transcripts"
SETTINGS = {"PROJECT": "my-project", "CALLER": "user:me@example.com"}
# Of the script `spansieve` alone: the others run it, and would make the same again.
MORE = {
    "EMAIL": "operators@example.com",
    "BILLING_ACCOUNT": "000000-AAAAAA-000000",
    "GMP_SIDECAR_IMAGE": "SIDECAR_IMAGE",
}
SCRIPTS = ["spansieve", "documents", "api-backend", "languages"]
# The sections of documents whose commands are run word for word.
DOCUMENTS = {"deploy-cloud-run.md": ["With gcloud", "Pointing services at it"], "deploy-gke.md": ["Steps"]}
# What the stand-ins must refuse. A stand-in that takes everything would prove nothing.
REFUSED = [
    ("gcloud run deploy x --image=a --regoin=b", "unrecognized arguments: --regoin"),
    ("gcloud run deploy x --image=a --region=b", "NOT_FOUND: image a"),
    ("gcloud run deploy x --ingress=inside", "inside is not one of all, internal"),
    ("gcloud run services describe x --region", "--region needs a value"),
    ("gcloud run services update x --region=b --service-account=a", "NOT_FOUND: account a"),
    ("gcloud run frobnicate x", "not a command that the stand-in knows"),
    ("gcloud secrets create x --data-file=Cargo.toml", "NOT_FOUND: api secretmanager.googleapis.com"),
    ("gcloud services enable run.googleapis.com --quiet=yes", "--quiet takes no value"),
    ("docker push europe-west1-docker.pkg.dev/p/r/i:1", "NOT_FOUND: local europe-west1-docker.pkg.dev/p/r/i:1"),
    ("kubectl delete everything", "the stand-in does not know it"),
]
# What an account may get. Anything else would be more than it needs.
ROLES = {
    "projects": {"roles/cloudtrace.agent", "roles/monitoring.metricWriter", "roles/logging.logWriter"},
    "secrets": {"roles/secretmanager.secretAccessor"},
    "run services": {"roles/run.invoker"},
}


def require(condition, message):
    if not condition:
        sys.exit(f"check-deploy: {message}")


def shell_scripts():
    """Every shell script that git knows or will know."""
    names = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.splitlines():
        path = ROOT / name
        if path.is_file() and not path.is_symlink() and (name.endswith(".sh") or path.read_bytes()[:40].startswith((b"#!/usr/bin/env bash", b"#!/bin/sh"))):
            yield name


def check_shell():
    scripts = sorted(shell_scripts())
    require(len(scripts) >= 9, f"only {len(scripts)} shell scripts were found")
    require(subprocess.run(["shellcheck", "--external-sources", *scripts], cwd=ROOT).returncode == 0, "shellcheck: see above")
    print(f"shellcheck: {len(scripts)} scripts")


def normal(text):
    """Takes out of a transcript what differs from run to run."""
    text = text.replace(str(ROOT), ".")
    text = re.sub(r"/tmp/tmp\.\w+", "WORK", text)
    text = re.sub(r"sha256:[0-9a-f]{64}", "sha256:DIGEST", text)
    return re.sub(r"(my-project/[a-z-]+/[a-z-]+):[0-9a-f]{12}\b", r"\1:COMMIT", text)


def without_repetition(text):
    """Leaves the commands of the first alert, for all of them: a new alert is no change of a script."""
    kept, seen = [], set()
    for entry in re.split(r"^(?=\$ |# )", text, flags=re.M):
        kind = re.search(r"alpha monitoring policies (list|create)", entry)
        if entry.startswith("# "):
            seen.clear()
        if kind is None or kind[1] not in seen:
            kept.append(entry)
        if kind:
            seen.add(kind[1])
    return "".join(kept)


def run(command, folder, **more):
    environment = {"PATH": f"{STAND_INS}:{os.environ['PATH']}", "HOME": str(folder), "STAND_IN": str(folder), **SETTINGS, **more}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    transcript = (folder / "transcript.txt").read_text()
    require(done.returncode == 0, f"{command[-1][:200]} failed:\n{done.stderr[-2000:]}\n{transcript[-2000:]}")
    return transcript


def script(name):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        more = MORE if name == "spansieve" else {}
        first = run([str(ROOT / "deploy/gcloud" / name)], folder, **more)
        (folder / "transcript.txt").unlink()
        second = run([str(ROOT / "deploy/gcloud" / name)], folder, **more)
        for line in second.splitlines():
            require("FAILS" not in line, f"{name}, when everything exists: {line}")
        return f"# The first run of deploy/gcloud/{name}.\n{first}# A second run: everything exists.\n{second}"


def commands_of(path, heading):
    """The shell blocks of a section."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", path.read_text(), flags=re.M | re.S)
    require(section, f"{path.name} has no section {heading}")
    return re.findall(r"^```sh\n(.*?)^```", section[1], flags=re.M | re.S)


def document(name, headings):
    """Runs the commands of a document as a reader would who copies them, block by block, into one shell."""
    blocks = [block for heading in headings for block in commands_of(ROOT / "docs" / name, heading)]
    blocks = [block for block in blocks if re.search(r"^(gcloud|kubectl|docker)\b", block, flags=re.M)]
    require(blocks, f"docs/{name} has no commands")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        state = {"network NETWORK": True, "subnet SUBNET": True, "service SERVICE": "europe-west1"} if "run" in name else {}
        (folder / "state.json").write_text(json.dumps(state))
        for part in ("deploy", "docs", "Dockerfile"):
            (folder / part).symlink_to(ROOT / part)
        text = "set -euo pipefail\ncd $STAND_IN\n" + "\n".join(blocks)
        return f"# The commands of docs/{name}, in their order.\n" + run(["bash", "-c", text], folder)


def check_refusals():
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "state.json").write_text(json.dumps({"api run.googleapis.com": True}))
        environment = os.environ | {"PATH": f"{STAND_INS}:{os.environ['PATH']}", "STAND_IN": folder}
        for command, message in REFUSED:
            done = subprocess.run(shlex.split(command), cwd=ROOT, env=environment, capture_output=True, text=True)
            require(done.returncode == 1 and message in done.stderr, f"{command} is not refused with {message!r}: {done.stderr}")
    print(f"the stand-ins refuse {len(REFUSED)} wrong commands")


def check_roles(name, transcript):
    for account, role, place in re.findall(r"^    (\S+) gets (\S+) on (projects|secrets) ", transcript, flags=re.M):
        require(role in ROLES[place], f"{name}: {account} gets {role}")
    for account, role in re.findall(r"^    (\S+) may call \S+ \((\S+)\)", transcript, flags=re.M):
        require(role in ROLES["run services"] and account not in ("allUsers", "allAuthenticatedUsers"), f"{name}: {account} gets {role}")


def ordered(line):
    """The words in the order that gcloud's linter understands: names, flags with values, switches."""
    words = shlex.split(line)
    names = [word for word in words if not word.startswith("--")]
    values = ["{}={}".format(flag, shlex.quote(value)) for flag, equals, value in (word.partition("=") for word in words) if flag.startswith("--") and equals]
    switches = [word for word in words if word.startswith("--") and "=" not in word]
    return " ".join([shlex.join(names), *values, *switches])


def lint(transcripts):
    """Gives all command lines to gcloud's own parser, which looks at groups of flags and required ones, too."""
    program = shutil.which("gcloud")
    if program is None:
        print("check-deploy: THE COMMANDS WERE NOT GIVEN TO GCLOUD'S PARSER: it is not installed here")
        return
    lines = {line[2:] for text in transcripts for line in text.splitlines() if line.startswith("$ gcloud ")}
    commands = sorted(map(ordered, lines))
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "commands.json"
        file.write_text(json.dumps([{"command_string": command} for command in commands]))
        environment = os.environ | {"CLOUDSDK_CONFIG": folder, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
        done = subprocess.run([program, "meta", "lint-gcloud-commands", f"--commands-file={file}"], capture_output=True, text=True, env=environment, timeout=900)
    require(done.returncode == 0, f"gcloud meta lint-gcloud-commands: {done.stderr[-1000:]}")
    answers = json.loads(done.stdout)
    require(len(answers) == len(commands), f"{len(answers)} answers for {len(commands)} commands")
    # The linter itself fails at a service with several containers: it says so, and not that the command is wrong.
    unknown = [answer for answer in answers if " --container=" in answer["command_string"] and answer["error_message"].startswith("Command could not be validated")]
    wrong = [f"{answer['command_string']}: {answer['error_message']}" for answer in answers if not answer["success"] and answer not in unknown]
    require(not wrong, "gcloud's parser refuses:\n" + "\n".join(wrong))
    print(f"gcloud's own parser takes {len(commands) - len(unknown)} different command lines; it cannot look at {len(unknown)} with several containers")


def main():
    write = sys.argv[1:] == ["--write"]
    check_shell()
    check_refusals()
    transcripts = {f"{name}.txt": script(name) for name in SCRIPTS if (ROOT / "deploy/gcloud" / name).exists()}
    transcripts |= {name.replace(".md", ".txt"): document(name, headings) for name, headings in DOCUMENTS.items()}
    TRANSCRIPTS.mkdir(exist_ok=True)
    for name, text in transcripts.items():
        transcripts[name] = text = without_repetition(normal(text))
        check_roles(name, text)
        path = TRANSCRIPTS / name
        if write:
            path.write_text(text)
        old = path.read_text() if path.exists() else ""
        difference = "\n".join(difflib.unified_diff(old.splitlines(), text.splitlines(), f"deploy/transcripts/{name}", "now", lineterm=""))
        require(not difference, f"{difference}\nif that is meant: tools/check-deploy.py --write")
    lint(transcripts.values())
    count = sum(text.count("\n$ ") for text in transcripts.values())
    print(f"{len(transcripts)} dry runs, {count} commands, as in deploy/transcripts/")


main()
