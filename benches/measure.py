"""Shared parts of compare.py, growth.py, features.py and fleet.py: building, the programs under test, running daemons, a
network namespace, a journal of runs that makes the first two resumable, and statistics.
"""
import argparse
import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / "target" / "measurements"
# Maximum time of one measured run without builds. The longest run takes a quarter of it: the Collector, holding a
# million spans.
RUN_SECONDS_MAX = 400
DAEMON_CORE, LOAD_CORE = "0", "1"
# Enough for 5,000 connections, which need a socket in the daemon and one in the load generator.
OPEN_FILES = 16_384
ISOLATED = "SPANSIEVE_BENCH_ISOLATED"
SPANSIEVE_CONFIG = ROOT / "benches" / "spansieve.yaml"
COLLECTOR = ROOT / "benches" / "collector"
# The size of each decision cache, and in a container.
CACHED_IDS, CACHED_IDS_CONTAINED = 4_000_000, 100_000
# The OpenTelemetry Collector Builder, of the same release as what it builds.
COLLECTOR_BUILDER = "v0.161.0"


def arguments(description, names):
    """Returns the parser of the options of all scripts. `names` are the cases or charts that can be selected."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure; all by default: {', '.join(names)}")
    parser.add_argument("--runs", type=int, default=5, help="runs of each (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="short runs as a test, which are never written to the documents")
    parser.add_argument("--binary", type=Path, help="measure this program instead of building the release binary")
    parser.add_argument("--debug", action="store_true", help="build without optimization, as a test of these scripts")
    parser.add_argument("--fresh", action="store_true", help="forget the runs of an interrupted measurement")
    parser.add_argument("--report", action="store_true", help="measure nothing, report the existing runs")
    parser.add_argument("--write", action="store_true", help="write the data and the documents, not only the terminal")
    parser.add_argument("--no-isolation", action="store_true", help="use the machine's own loopback, whose ports must be free")
    return parser


def parse(parser, names):
    options = parser.parse_args()
    unknown = set(options.names) - set(names)
    if unknown:
        parser.error(f"no such name: {', '.join(sorted(unknown))}; the names are: {', '.join(names)}")
    if options.write and (options.quick or options.debug):
        parser.error("figures of --quick and --debug are not for the documents")
    options.names = options.names or list(names)
    return options


# --- Building ---------------------------------------------------------------------------------------------------------


def run(command, **more):
    print("+", " ".join(map(str, command)), file=sys.stderr, flush=True)
    subprocess.run(list(map(str, command)), check=True, **more)


def build_daemon(options):
    """Returns the path of the release binary. It is built from this tree unless `--binary` names another.

    It is a copy, because a later build of the benches replaces the binary with one that has test features."""
    if options.binary:
        return options.binary.resolve()
    if options.debug:
        # Cargo builds the program together with the helper.
        build_helper("load", options)
        return ROOT / "target" / "debug" / "spansieve"
    run(["cargo", "build", "--release", "--locked"], cwd=ROOT)
    copy = ROOT / "target" / "measurements" / "spansieve"
    copy.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy2(ROOT / "target" / "release" / "spansieve", copy))


def build_helper(name, options):
    """Builds the helper program benches/NAME.rs; returns its path."""
    command = ["cargo", "bench", "--locked", "--no-run", "--bench", name, "--message-format", "json"]
    command += ["--profile", "test"] if options.debug else []
    print("+", *command, file=sys.stderr, flush=True)
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = (json.loads(line) for line in output.splitlines() if line.startswith("{"))
    found = [m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == name]
    return Path(found[-1])


def build_collector():
    """Builds the Go Collector of benches/collector, unless it is there; returns its path."""
    manifest = COLLECTOR / "builder-config.yaml"
    folder = ROOT / "target" / "collector" / hashlib.sha256(manifest.read_bytes()).hexdigest()[:12]
    program = folder / "otelcol"
    if program.exists():
        return program
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/go/bin"])
    if not shutil.which("go", path=path):
        raise SystemExit("building the Collector needs Go (https://go.dev/doc/install); --no-collector leaves it out")
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PATH": path, "GOBIN": str(folder)}
    run(["go", "install", f"go.opentelemetry.io/collector/cmd/builder@{COLLECTOR_BUILDER}"], env=environment)
    # The builder takes the folder for its output only from the manifest.
    copy = folder / "manifest.yaml"
    copy.write_text(re.sub("^dist:", f"dist:\n  output_path: {folder / 'source'}", manifest.read_text(), flags=re.M))
    run([folder / "builder", "--config", copy], env=environment)
    return Path(shutil.move(folder / "source" / "otelcol", program))


# --- A place to run in ------------------------------------------------------------------------------------------------


def isolate(options):
    """Continues in a network namespace, if the system allows it: the ports are fixed, and other programs may use them."""
    if options.no_isolation or os.environ.get(ISOLATED):
        return
    flags = ["-n"] if os.geteuid() == 0 else ["-rn"]
    if subprocess.run(["unshare", *flags, "true"], stderr=subprocess.DEVNULL).returncode:
        print("cannot create a network namespace: using the machine's loopback", file=sys.stderr)
        return
    os.environ[ISOLATED] = "1"
    inner = 'ip link set lo up && exec "$@"'
    os.execvp("unshare", ["unshare", *flags, "sh", "-c", inner, "sh", sys.executable, *sys.argv])


def allow_open_files():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def machine(binary):
    """Returns facts about the machine, the date, and the commit that the daemon's `binary` was built from."""
    def first(path, pattern):
        found = re.search(pattern, Path(path).read_text(), re.M)
        return found[1].strip() if found else "?"

    def output(*command):
        return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()

    memory = int(first("/proc/meminfo", r"^MemTotal:\s+(\d+)")) / 2**20
    return {
        "cpu": first("/proc/cpuinfo", r"^model name\s*:(.*)$"),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "kernel": os.uname().release,
        "rust": output("rustc", "--version"),
        "commit": output(binary, "--version").partition("(")[2].rstrip(")")[:7],
        "date": time.strftime("%Y-%m-%d"),
    }


# --- Programs under test ----------------------------------------------------------------------------------------------


@dataclass
class Program:
    """A program that is measured, with its configuration file."""

    name: str
    binary: Path
    config: Path
    is_collector: bool = False
    digest: str = field(init=False)

    def __post_init__(self):
        self.digest = hashlib.sha256(self.binary.read_bytes()).hexdigest()[:12]

    def command(self, rescue=True, policies=None, is_contained=False):
        """Returns the command line. `rescue=False` switches rescue off (the Collector has none); `policies` (YAML)
        replaces the policies; `is_contained` leaves the size of the memory to the container, and makes caches that fit."""
        text = self.config.read_text()
        if is_contained:
            text = text.replace(f"{CACHED_IDS}", f"{CACHED_IDS_CONTAINED}")
        if policies:
            text = with_policies(text, policies)
        if not self.is_collector:
            text = text if rescue else re.sub(r"^tail_sampling:\n", "tail_sampling:\n  rescue: {window: 0s}\n", text, flags=re.M)
            text = re.sub(r"^memory:.*\n", "", text, flags=re.M) if is_contained else text
        STATE.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:12]
        path = STATE / f"{self.name}-{name}.yaml"
        path.write_text(text)
        return [self.binary, "--config", path]


def with_policies(text, policies):
    """Returns `text` with other items below its only `policies:`."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip() == "policies:")
    indent = len(lines[at]) - len(lines[at].lstrip())
    end = at + 1
    while end < len(lines) and len(lines[end]) - len(lines[end].lstrip()) > indent:
        end += 1
    items = [f"{' ' * (indent + 2)}- {policy}" for policy in policies]
    return "\n".join(lines[: at + 1] + items + lines[end:]) + "\n"


def cpu_seconds(pid):
    """Returns the CPU time of all threads of a process, in nanosecond resolution (/proc/PID/stat has only hundredths of
    a second). Threads that have ended are missing, so this is only for daemons, whose workers do not end."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[0])
        except OSError:
            pass
    return total / 1e9


# --- Running daemons --------------------------------------------------------------------------------------------------


def wait(what, condition, seconds=60, pause_s=0.1):
    """Waits until `condition` holds. A refused or broken connection means that it does not hold yet."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if condition():
                return
        time.sleep(pause_s)
    raise SystemExit(f"{what}: it takes too long")


def get(address, path, seconds=20):
    """Returns the body of a page as text."""
    with urllib.request.urlopen(f"http://{address}{path}", timeout=seconds) as answer:
        return answer.read().decode(errors="replace")


def metric(text, name, labels=""):
    """Returns the sum of the metric `name` in the text of `/metrics`, over the rows whose labels contain `labels`."""
    rows = re.findall(rf"^{name}(?:\{{([^}}]*)\}})? (\S+)", text, re.M)
    return sum(float(value) for found, value in rows if labels in found)


def takes_span(address):
    """Returns true if a daemon accepts a span at `address`, over OTLP/HTTP."""
    field = lambda number, value: bytes([number << 3 | 2, len(value)]) + value
    fixed = lambda number, value: bytes([number << 3 | 1]) + value.to_bytes(8, "little")
    now = time.time_ns()
    span = field(1, os.urandom(16)) + field(2, os.urandom(8)) + field(5, b"probe") + fixed(7, now - 1000) + fixed(8, now)
    body = field(1, field(2, field(2, span)))
    request = urllib.request.Request(f"http://{address}/v1/traces", body, {"content-type": "application/x-protobuf"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status == 200
    except urllib.error.HTTPError:
        return False


class Daemon:
    """A running program: Spansieve, the Collector or a sink.

    It is ready when `is_ready(address)` returns true; by default, when it answers at `/metrics`. `startup_s` is the time
    until then."""

    def __init__(self, command, address, log, core=DAEMON_CORE, environment=None, is_ready=lambda address: get(address, "/metrics")):
        self.address, self.log = address, log
        with open(log, "a") as out:
            started = time.monotonic()
            environment = {**os.environ, **(environment or {})}
            self.process = subprocess.Popen(pinned(core, command), env=environment, stdout=out, stderr=out)
        self.pid = self.process.pid
        try:
            self.wait(lambda: is_ready(address), pause_s=0.002)
            self.startup_s = time.monotonic() - started
            # Another program may have answered, because it has the port.
            time.sleep(0.2)
            self.check()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def check(self):
        if self.process.poll() is not None:
            raise SystemExit(f"the program at {self.address} ended with {self.process.returncode}; see {self.log}")

    def wait(self, condition, seconds=60, pause_s=0.05):
        def holds():
            self.check()
            return condition()

        wait(f"{self.address} ({self.log})", holds, seconds, pause_s)

    def metrics(self):
        return get(self.address, "/metrics")

    def metric(self, name, labels=""):
        return metric(self.metrics(), name, labels)

    def cpu(self):
        return cpu_seconds(self.pid)

    def memory_mib(self, key="VmRSS"):
        """Returns a value of /proc/PID/status: `VmRSS` is the resident memory, `VmHWM` the most that it was."""
        found = re.search(rf"^{key}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.M)
        return int(found[1]) / 1024

    def page_faults(self):
        """Returns the page faults that needed no disk: field 10 of /proc/PID/stat (proc(5))."""
        return int(Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[7])

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self, how=signal.SIGTERM, seconds=90):
        """Ends the program, and kills it if it takes longer than `seconds`."""
        self.go_on()
        self.process.send_signal(how)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Spansieve(Daemon):
    """A daemon with 512 MiB of memory, which listens at `address`. `more` is the rest of its configuration, a file in
    `folder`."""

    def __init__(self, binary, folder, address, more, core=DAEMON_CORE):
        name = address.rpartition(":")[2]
        self.config = folder / f"{name}.yaml"
        self.text = f'otlp: {{listen: ["{address}"]}}\nmemory: {{limit: 512MiB}}\n{more}\n'
        self.config.write_text(self.text)
        super().__init__([binary, "run", "--config", self.config], address, folder / f"{name}.log", core)

    def reload(self, text):
        before = self.metric("spansieve_config_reloads_total")
        self.config.write_text(text)
        self.process.send_signal(signal.SIGHUP)
        self.wait(lambda: self.metric("spansieve_config_reloads_total") > before)


# --- Runs -------------------------------------------------------------------------------------------------------------


class NotHere(Exception):
    """Something cannot be measured on this system."""


class Journal:
    """A file with a line of JSON for each run, written at once. Runs in it are not repeated."""

    def __init__(self, name, options):
        self.path = STATE / f"{name}{'-quick' if options.quick else ''}.jsonl"
        STATE.mkdir(parents=True, exist_ok=True)
        if options.fresh and not options.report:
            self.path.unlink(missing_ok=True)
        self.entries, self.failures = [], 0
        if self.path.exists():
            self.entries = [json.loads(line) for line in self.path.read_text().splitlines()]

    def find(self, **key):
        return [e for e in self.entries if all(e.get(k) == v for k, v in key.items())]

    def measure(self, work, **key):
        """Measures the run `key` with `work`, unless its values are already in the journal."""
        if self.find(**key):
            return
        print(f"{time.strftime('%H:%M:%S')} {' '.join(map(str, key.values()))}", file=sys.stderr, flush=True)
        started = time.monotonic()
        try:
            values = work()
        except NotHere as reason:
            print(f"  left out: {reason}", file=sys.stderr, flush=True)
            return
        except (subprocess.SubprocessError, SystemExit, OSError, ValueError, LookupError) as error:
            # A failed run must not stop the others. It is missing in the report, and is repeated the next time.
            print(f"  FAILED: {error}", file=sys.stderr, flush=True)
            self.failures += 1
            return
        entry = {**key, "values": values, "seconds": round(time.monotonic() - started, 1)}
        self.entries.append(entry)
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        print(f"  {entry['seconds']} s {json.dumps(values)[:300]}", file=sys.stderr, flush=True)


def last_json(command, timeout=RUN_SECONDS_MAX, **more):
    """Runs a program; returns the JSON object in the last line of its output."""
    done = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True, timeout=timeout, **more)
    return json.loads(done.stdout.splitlines()[-1])


def pinned(core, command):
    return ["taskset", "-c", core, *map(str, command)]


@dataclass
class Spread:
    """The median, the least and the most of some runs."""

    median: float
    least: float
    most: float
    runs: int

    @staticmethod
    def of(values):
        values = [v for v in values if v is not None]
        return Spread(statistics.median(values), min(values), max(values), len(values)) if values else None


def replace_between(path, marker, text):
    """Replaces the text between the comments `<!-- MARKER -->` and `<!-- /MARKER -->` of a document."""
    document = path.read_text()
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.S)
    if not pattern.search(document):
        raise SystemExit(f"{path} has no place <!-- {marker} -->")
    path.write_text(pattern.sub(lambda m: m[1] + text + "\n" + m[2], document))
