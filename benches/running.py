"""A program under test with its sink, as compare.py, growth.py and profile.py run it; containers; and the check of what
arrived at the sink.
"""
import json
import os
import re
import signal
import time
from pathlib import Path

import measure
from measure import LOAD_CORE, STATE, Daemon, NotHere, get, takes_span

OTLP_GRPC, OTLP_HTTP = "127.0.0.1:4317", "127.0.0.1:4318"
SINK = "127.0.0.1:9443"
# The sink must get nothing new for so long before a run is over.
SETTLE_S, SETTLE_S_MAX = 3, 180
# The part of a container's memory that the Collector's memory_limiter may use, and of that the part that is kept free for
# spikes, as its documents advise.
COLLECTOR_PART, COLLECTOR_SPIKE_PART = 0.8, 0.2


class Sink(Daemon):
    """The recording Cloud Trace of benches/sink.rs."""

    def __init__(self, binary):
        command = [binary, "--listen", SINK]
        super().__init__(command, SINK, STATE / "sink.log", LOAD_CORE, is_ready=lambda address: get(address, "/stats"))

    def stats(self):
        return json.loads(get(self.address, "/stats"))

    def reset(self):
        get(self.address, "/reset")

    def settle(self, seconds_min):
        """Waits at least `seconds_min`, and until nothing new arrives; returns the numbers of the sink."""
        started = changed = time.monotonic()
        last = None
        while True:
            stats, now = self.stats(), time.monotonic()
            if stats["spans"] != last:
                last, changed = stats["spans"], now
            if now - started >= seconds_min and now - changed >= SETTLE_S or now - started > SETTLE_S_MAX:
                return stats
            time.sleep(0.25)

    def kept(self, expected):
        """Compares the traces that arrived with `expected`, a file of the load generator. `errors` and `slow` are pairs:
        how many arrived, of how many. A trace is incomplete if an acknowledged span of it is missing."""
        lines = (line.split() for line in get(self.address, "/traces", 120).splitlines())
        arrived = {trace: int(spans) for trace, spans, *_ in lines}
        found = {"error": [0, 0], "slow": [0, 0]}
        incomplete = 0
        for line in expected.read_text().splitlines():
            trace, kind, spans = line.split()
            found[kind][0] += trace in arrived
            found[kind][1] += 1
            incomplete += trace in arrived and arrived[trace] < int(spans)
        return {"errors": found["error"], "slow": found["slow"], "incomplete": incomplete}


class Running:
    """A program with a sink, for a `with` statement. Yields the daemon, and its resident memory when idle, in MiB."""

    def __init__(self, program, sink, wait, container=None, environment=None, cores=measure.DAEMON_CORE, **config):
        self.program, self.sink_binary, self.cores, self.container = program, sink, cores, container
        self.environment = {"DECISION_WAIT": f"{wait}s", **(environment or {})}
        self.config = config

    def __enter__(self):
        STATE.mkdir(parents=True, exist_ok=True)
        self.sink = Sink(self.sink_binary)
        try:
            command = self.program.command(is_contained=self.container is not None, **self.config)
            if self.container:
                command = self.container.inside(command)
                self.environment.update(self.container.collector_limits())
            log = STATE / f"{self.program.name}.log"
            self.daemon = Daemon(command, OTLP_HTTP, log, self.cores, self.environment, is_ready=takes_span)
        except BaseException:
            self.sink.stop(signal.SIGKILL)
            raise
        time.sleep(1)
        self.idle_mib = self.daemon.memory_mib()
        self.sink.reset()
        return self

    def __exit__(self, *_):
        self.daemon.stop()
        self.sink.stop(signal.SIGKILL)


class Container:
    """A memory cgroup (version 1 or 2) with a limit, for a `with` statement."""

    def __init__(self, mib):
        self.mib = mib
        groups = Path("/proc/self/cgroup").read_text()
        version_1 = re.search(r"^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:/(.*)$", groups, re.M)
        version_2 = re.search(r"^0::/(.*)$", groups, re.M)
        self.is_version_1 = version_1 is not None
        if version_1:
            parent = Path("/sys/fs/cgroup/memory") / version_1[1]
        elif version_2:
            parent = Path("/sys/fs/cgroup") / version_2[1]
        else:
            raise NotHere("this system has no memory cgroups")
        self.folder = parent / f"spansieve-bench-{os.getpid()}"

    def __enter__(self):
        try:
            self.folder.mkdir()
            limit = "memory.limit_in_bytes" if self.is_version_1 else "memory.max"
            (self.folder / limit).write_text(str(self.mib << 20))
        except OSError as error:
            if self.folder.exists():
                self.folder.rmdir()
            raise NotHere(f"no memory cgroup: {error}") from error
        return self

    def __exit__(self, *_):
        measure.wait(f"{self.folder} is empty", lambda: not (self.folder / "cgroup.procs").read_text())
        self.folder.rmdir()

    def inside(self, command):
        """Returns the command line that runs `command` in the container."""
        return ["sh", "-c", f'echo $$ >"{self.folder}/cgroup.procs" && exec "$@"', "sh", *command]

    def collector_limits(self):
        limit = round(self.mib * COLLECTOR_PART)
        return {"MEMORY_MIB": str(limit), "MEMORY_SPIKE_MIB": str(round(limit * COLLECTOR_SPIKE_PART))}

    def peak_percent(self):
        """Returns the most memory that the kernel counted, as a part of the limit."""
        peak = self.folder / ("memory.max_usage_in_bytes" if self.is_version_1 else "memory.peak")
        return 100 * int(peak.read_text()) / (self.mib << 20)

    def kills(self):
        """Returns how many processes the kernel killed, because the container had no memory left."""
        events = self.folder / ("memory.oom_control" if self.is_version_1 else "memory.events")
        return int(re.search(r"^oom_kill (\d+)$", events.read_text(), re.M)[1])


def busy_seconds(cores):
    """Returns the busy seconds of so many cores (with commas), of all processes. Fields of /proc/stat: proc(5)."""
    hertz = os.sysconf("SC_CLK_TCK")
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name in [f"cpu{core}" for core in cores.split(",")]:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, ticks[:8])
            total += user + nice + system + irq + softirq + steal
    return total / hertz
