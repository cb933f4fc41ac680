#!/usr/bin/env python3
"""Builds the container image of the Dockerfile without a registry, and tries it as Cloud Run would run it.

    tools/check-image.py                    base images, one build, the checks
    tools/check-image.py --binary FILE      also copies the program out of the image
    tools/check-image.py --twice            builds twice from nothing: both images must have the same bytes
    tools/check-image.py --image NAME       checks an image that is in buildah's store already

It needs root, Linux, buildah, mmdebstrap and the toolchain that the Dockerfile names. The base images come from
tools/image-bases.sh. docs/container-image.md says what is checked, and what is not.
"""

import argparse
import contextlib
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "image"
IMAGE = "localhost/spansieve:check"
USER = 65532
MEMORY = 256 << 20  # what the container gets; the configuration takes 70 % of it
# Room for growth of a tenth over the sizes of November 2026; a larger image deserves a look.
IMAGE_BYTES_MAX, PROGRAM_BYTES_MAX = 30_000_000, 24_000_000
START_S, KEEP_S = 20, 20
STOP_S = 8  # Cloud Run kills after 10
OURS = {"spansieve", "LICENSE", "etc/spansieve/config.yaml"}
# What a dynamically linked program needs: the loader, glibc and libgcc, certificates, names of users.
BASE = re.compile(
    r"(usr/)?lib(64)?/(x86_64-linux-gnu/|aarch64-linux-gnu/)?(ld-linux[-a-z0-9_]*|lib[-a-zA-Z0-9_]+)\.so[.0-9]*"
    r"|etc/(passwd|group|ssl/certs/ca-certificates\.crt)"
)
PR_SET_NO_NEW_PRIVS = 38


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, text=True, **options)


def output(*command):
    return run(*command, stdout=subprocess.PIPE).stdout.strip()


def require(condition, message):
    if not condition:
        sys.exit(f"image: {message}")


# Building


def build(tag, work):
    """Builds the image. The caches of its RUN steps live in `work`, so that an empty folder makes it a cold build."""
    work.mkdir(parents=True, exist_ok=True)
    commit = output("git", "-C", ROOT, "rev-parse", "--short=12", "HEAD")
    moment = output("git", "-C", ROOT, "log", "-1", "--format=%ct")
    started, log = time.monotonic(), work / "build.log"
    with log.open("w") as file:
        done = subprocess.run(
            ["buildah", "bud", "--isolation", "chroot", "--network", "host", "--pull-never", "--timestamp", moment]
            + ["--build-arg", f"COMMIT={commit}", "--tag", tag, str(ROOT)],
            env=os.environ | {"TMPDIR": str(work)}, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    if done.returncode:
        sys.exit("\n".join(log.read_text().splitlines()[-40:]) + f"\nimage: the build failed; {log}")
    print(f"built {tag} in {time.monotonic() - started:.0f} s", flush=True)


def digest(image):
    """The digest of the manifest, which covers the configuration and each layer."""
    return output("buildah", "images", "--format", "{{.Digest}}", image)


def build_twice():
    digests = []
    for number in (1, 2):
        work = WORK / f"cold-{number}"
        shutil.rmtree(work, ignore_errors=True)
        build(f"localhost/spansieve:cold-{number}", work)
        digests.append(digest(f"localhost/spansieve:cold-{number}"))
        print(digests[-1])
    require(digests[0] == digests[1], "two builds of the same commit differ")
    print("two cold builds have the same bytes")


# What is in it


def check_configuration(image):
    config = json.loads(output("buildah", "inspect", "--type", "image", image))["OCIv1"]["config"]
    require(config.get("User") in ("nonroot", str(USER), f"{USER}:{USER}"), f"it runs as {config.get('User')!r}")
    require(config.get("Entrypoint") == ["/spansieve"], f"entry point {config.get('Entrypoint')}")
    require(config.get("Cmd") == ["run", "--config", "/etc/spansieve/config.yaml"], f"command {config.get('Cmd')}")
    return config


def check_listing(root):
    files, total = {}, 0
    for path in sorted(root.rglob("*")):
        name, status = str(path.relative_to(root)), path.lstat()
        require(not status.st_mode & 0o6000 or path.is_dir(), f"/{name} is set-uid or set-gid")
        if status.st_uid == USER or (status.st_mode & 0o002 and not path.is_symlink()):
            require(name in ("tmp", "home/nonroot"), f"uid {USER} may write /{name}")
        if not path.is_dir() or path.is_symlink():
            files[name] = status
            total += 0 if path.is_symlink() else status.st_size
    strange = [name for name in files if name not in OURS and not BASE.fullmatch(name) and not pathlib.Path(root, name).is_symlink()]
    require(not strange, f"what is this for? {', '.join(strange[:10])}")
    require(OURS <= files.keys(), f"missing: {OURS - files.keys()}")
    program = files["spansieve"].st_size
    print(f"{len(files)} files, {total / 1e6:.1f} MB, of which the program {program / 1e6:.1f} MB; no shell, no package manager")
    require(total <= IMAGE_BYTES_MAX, f"the image has more than {IMAGE_BYTES_MAX / 1e6:.0f} MB")
    require(program <= PROGRAM_BYTES_MAX, f"the program has more than {PROGRAM_BYTES_MAX / 1e6:.0f} MB")


# Running it


@contextlib.contextmanager
def memory_group(limit):
    """A cgroup with that limit, of version 1 or 2; yields its folder."""
    version_1 = pathlib.Path("/sys/fs/cgroup/memory")
    parent = version_1 if version_1.is_dir() else pathlib.Path("/sys/fs/cgroup")
    group = parent / f"spansieve-image-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.limit_in_bytes" if version_1.is_dir() else "memory.max")).write_text(str(limit))
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        deadline = time.monotonic() + 10
        while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        group.rmdir()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def wait_for(what, seconds, attempt):
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, ValueError):
            if (value := attempt()) is not None:
                return value
        require(time.monotonic() < deadline, f"{what}: not within {seconds} s")
        time.sleep(0.1)


def with_embedded(text, page):
    """The configuration that is deployed, but with the embedded Cloud Trace as its sink, and a short wait."""
    for before, after in (
        ("endpoint: https://cloudtrace.googleapis.com", f"endpoint: embedded\n  embedded: {{listen: 127.0.0.1:{page}}}\n  project: local-project"),
        ("decision_wait: 10s", "decision_wait: 1s"),
    ):
        require(text.count(before) == 1, f"the image's configuration does not have {before!r} once")
        text = text.replace(before, after)
    return text


def send_failed_trace(port, trace_id):
    now = time.time_ns()
    span = {"traceId": trace_id, "spanId": "00f067aa0ba902b7", "name": "GET /image", "kind": 2,
            "startTimeUnixNano": str(now - 5_000_000), "endTimeUnixNano": str(now), "status": {"code": 2}}  # fmt: skip
    service = {"attributes": [{"key": "service.name", "value": {"stringValue": "image"}}]}
    body = json.dumps({"resourceSpans": [{"resource": service, "scopeSpans": [{"spans": [span]}]}]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/traces", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=5).read()


def stored(page, trace_id):
    with contextlib.suppress(urllib.error.HTTPError):
        trace = json.loads(get(f"http://127.0.0.1:{page}/api/traces/{trace_id}"))
        return trace if trace.get("spans") else None


def status_of(pid):
    return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def program_in(group):
    for pid in (group / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):
            if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "spansieve":
                return int(pid)
    return None


def check_process(pid, strict):
    status = status_of(pid)
    require(set(status["Uid"].split()) == {str(USER)}, f"it runs with the user ids {status['Uid']}")
    require(int(status["CapEff"], 16) == 0, f"it has capabilities: {status['CapEff']}")
    if strict:
        require(status["NoNewPrivs"].strip() == "1", "it may gain privileges")
        environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        require(not [value for value in environment if value.startswith(b"HOME=")], "it has a HOME")
        mounts = [line.split() for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
        root = [mount for mount in mounts if mount[4] == "/"][-1]
        require("ro" in root[5].split(","), f"its root is not read-only: {root[5]}")


def check_end(log):
    """Both traces were written: the one that was read back, and the one that was undecided at the end."""
    last = next((json.loads(line) for line in log.splitlines() if line.startswith("{") and '"message":"Stopped.' in line), {})
    counts = {key: last.get(key) for key in ("received", "exported", "lost_spans")}
    require(counts == {"received": 2, "exported": 2, "lost_spans": 0}, f"its last words are {counts}")


def try_container(name, launch, text, strict):
    """Starts a container, sends a trace, reads it back, and stops the container."""
    port, page, trace_id = free_port(), free_port(), os.urandom(16).hex()
    with memory_group(MEMORY) as group, tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "config.yaml"
        config.write_text(with_embedded(text, page))
        os.chmod(folder, 0o755)
        log = (WORK / f"{name}.log").open("w")
        enter = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
        started = time.monotonic()
        container = subprocess.Popen(enter + launch(port, config), stdout=log, stderr=log)
        wait_for(f"{name}: ready (see {log.name})", START_S, lambda: get(f"http://127.0.0.1:{port}/readyz"))
        ready_s = time.monotonic() - started
        pid = wait_for("the process", 1, lambda: program_in(group))
        check_process(pid, strict)
        metrics = get(f"http://127.0.0.1:{port}/metrics")
        budget = float(re.search(r"^spansieve_memory_limit_bytes (\S+)$", metrics, re.M)[1])
        # 70 %, rounded down to whole blocks of memory
        require(0.6 * MEMORY < budget <= 0.7 * MEMORY, f"it takes {budget:.0f} bytes as its budget, in a container of {MEMORY}")
        send_failed_trace(port, trace_id)
        wait_for(f"{name}: the trace is kept", KEEP_S, lambda: stored(page, trace_id))
        send_failed_trace(port, os.urandom(16).hex())  # still undecided when it is told to stop
        started = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        try:
            code = container.wait(STOP_S)
        except subprocess.TimeoutExpired:
            sys.exit(f"image: {name}: it runs {STOP_S} s after SIGTERM")
        require(code == 0, f"{name}: exit code {code} after SIGTERM; see {log.name}")
        check_end(pathlib.Path(log.name).read_text())
        print(f"{name}: ready after {ready_s:.1f} s, trace kept, budget {budget / 2**20:.0f} MiB, stopped in {time.monotonic() - started:.1f} s")


def become_program(root, port, config):
    """In a mount namespace of its own: a read-only root, no capabilities, no HOME; then the image's own command."""
    root = pathlib.Path(root)
    run("mount", "--make-rprivate", "/")
    run("mount", "--bind", root, root)
    for name in ("proc", "sys"):
        run("mount", "--rbind", f"/{name}", root / name)
    run("mount", "--bind", config, root / "etc/spansieve/config.yaml")
    run("mount", "-o", "remount,bind,ro", root)
    os.chroot(root)
    os.chdir("/")
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)
    require(ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs is not to be had")
    with contextlib.suppress(OSError):
        pathlib.Path("/written").touch()
        sys.exit("image: the root is writable")
    os.execve("/spansieve", ["/spansieve", "run", "--config", "/etc/spansieve/config.yaml"], {"PORT": port})


def check(image, binary):
    config = check_configuration(image)
    container = output("buildah", "from", "--pull-never", image)
    try:
        root = pathlib.Path(output("buildah", "mount", container))
        check_listing(root)
        text = (root / "etc/spansieve/config.yaml").read_text()
        chroot = ["buildah", "run", "--isolation", "chroot"]
        run(*chroot, container, "--", "/spansieve", "validate", "/etc/spansieve/config.yaml", stdout=subprocess.DEVNULL)
        command = config["Entrypoint"] + config["Cmd"]
        try_container(
            "as buildah runs it",
            lambda port, file: chroot + ["--env", f"PORT={port}", "--volume", f"{file}:/etc/spansieve/config.yaml:ro", container, "--", *command],
            text,
            strict=False,
        )
        try_container(
            "read-only, without HOME and capabilities",
            lambda port, file: ["unshare", "--mount", sys.executable, __file__, "--inside", str(root), str(port), str(file)],
            text,
            strict=True,
        )
        if binary:
            shutil.copy2(root / "spansieve", binary)
    finally:
        run("buildah", "rm", container, stdout=subprocess.DEVNULL)


def main():
    if sys.argv[1:2] == ["--inside"]:
        become_program(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path)
    parser.add_argument("--twice", action="store_true")
    parser.add_argument("--image")
    options = parser.parse_args()
    require(os.geteuid() == 0, "this needs root: chroot, mounts and a cgroup")
    WORK.mkdir(parents=True, exist_ok=True)
    os.environ["BUILDAH_ISOLATION"] = "chroot"
    if not options.image:
        run(ROOT / "tools/image-bases.sh", WORK / "bases")
    if options.twice:
        build_twice()
        return
    if not options.image:
        build(IMAGE, WORK / "cache")
    check(options.image or IMAGE, options.binary)


main()
