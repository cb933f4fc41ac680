"""The cases of compare.py: what is run, and which values it yields."""
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from measure import DAEMON_CORE, LOAD_CORE, RUN_SECONDS_MAX, STATE, get, last_json, pinned
from running import Container, Running, busy_seconds

KEEP_ALL = ["{name: all, type: always_sample}"]
# The Collector's queue has room for all spans when every trace is kept.
COLLECTOR_QUEUE = {"QUEUE_SPANS": "20000000"}
# The address that makes the Collector collect its garbage.
COLLECTOR_HEAP = "127.0.0.1:1777", "/debug/pprof/heap?gc=1"
# The shape of real traffic. Of four connections two speak HTTP, one gRPC, and one gRPC with gzip.
REAL = ["--proto", "mixed", "--connections", 300, "--services", 200, "--batch", 21]
# Requests that are compressed before the load starts, which takes a millisecond each. They last for some seconds.
PREPARED = ["--prepared", 4_000]


class Cases:
    """The cases. Each function measures one program once, and returns named values."""

    def __init__(self, options, load, sink):
        self.options, self.load, self.sink = options, load, sink
        self.seconds = 3 if options.quick else 12
        self.burst_spans = 50_000 if options.quick else 1_000_000

    def grpc(self, program):
        return self.flow(program, "--proto", "grpc")

    def fresh(self, program):
        """Measures gRPC flat out on memory that the kernel has to find and clear: a helper took what was free before,
        and has ended."""
        take_memory(0.1 if self.options.quick else 0.9)
        return self.grpc(program)

    def http(self, program):
        return self.flow(program)

    def gzip(self, program):
        return self.flow(program, "--gzip", *(["--prepared", 50] if self.options.quick else PREPARED))

    def json(self, program):
        return self.flow(program, "--json")

    def kept(self, program):
        """Measures with every trace kept. The rate is limited, because exports would fill memory at full speed."""
        environment = COLLECTOR_QUEUE if program.is_collector else {}
        return self.flow(program, "--proto", "grpc", "--rate", 150_000, policies=KEEP_ALL, environment=environment)

    def single(self, program):
        """Measures traces of one span each."""
        return self.flow(program, "--proto", "grpc", "--spans-per-trace", 1)

    def norescue(self, program):
        return self.flow(program, "--proto", "grpc", rescue=False)

    def http_norescue(self, program):
        return self.flow(program, rescue=False)

    def steady(self, program):
        """Measures 20,000 spans/s in requests of 512, with a wait of 10 s."""
        wait, seconds = (2, 3) if self.options.quick else (10, 25)
        return self.flow(program, "--proto", "grpc", "--rate", 20_000, wait=wait, seconds=seconds, rescue=False)

    def faults(self, program):
        """Measures page faults flat out, when the memory for rescue is full and decisions keep pace."""
        warm_up_s, seconds = (2, 3) if self.options.quick else (15, 30)
        return self.flow(program, "--proto", "grpc", seconds=seconds, warm_up_s=warm_up_s)

    def real(self, program):
        """Measures the shape of real traffic: few spans a request, over many connections, protocols side by side."""
        return self.real_at(program, 3_000)

    def real_fast(self, program):
        """Measures the same shape with ten times as many requests."""
        return self.real_at(program, 30_000)

    def real_at(self, program, rate):
        # In the first seconds all connections are new, and no trace is decided yet.
        return self.flow(program, *REAL, "--rate", rate, seconds=3 if self.options.quick else 20, warm_up_s=3)

    def container_192(self, program):
        return self.contained(program, 192)

    def container_512(self, program):
        return self.contained(program, 512)

    def contained(self, program, mib):
        """Measures a flat-out sender to a program in a container. A program that is killed has failed the test, not the
        measurement."""
        with Container(mib) as container, self.running(program, 2, container=container):
            sent = self.send("--proto", "grpc", "--duration", self.seconds)
            return {
                "peak_pct": container.peak_percent(),
                "kills": container.kills(),
                "contained_spans_per_s": sent["acked_per_s"],
                "refused_pct": 100 * sent["refused"] / max(sent["sent"], 1),
            }

    def hold(self, program):
        """Measures the memory of a million spans that wait for their decision."""
        wait = 60 if self.options.quick else 150
        with self.running(program, wait, rescue=False) as run:
            sent = self.send("--proto", "grpc", "--max-spans", self.burst_spans, "--duration", wait - 20)
            time.sleep(1 if self.options.quick else 5)
            if program.is_collector:
                for _ in range(2):
                    get(*COLLECTOR_HEAP, 60)
                time.sleep(5)
            resident, peak = (run.daemon.memory_mib(key) * 2**20 for key in ("VmRSS", "VmHWM"))
            # A stop would decide and export all spans.
            run.daemon.stop(signal.SIGKILL)
        spans, wire = sent["acked"], sent["bytes_per_span"]
        a_span = (resident - run.idle_mib * 2**20) / spans
        values = {"bytes_beyond_wire": a_span - wire, "rss_over_wire": resident / (spans * wire), "rss_peak_mib": peak / 2**20}
        return {**values, **{key: sent[key] for key in ("acked", "refused", "lost")}}

    def burst(self, program):
        """Measures a burst whose decisions are due at the same time, and the memory that is left after it. A probe of
        few and small requests measures the longest answer."""
        wait = 3 if self.options.quick else 10
        with self.running(program, wait, rescue=False) as run:
            calm = self.probe(2)
            burst_start = time.monotonic()
            sent = self.send("--proto", "grpc", "--max-spans", self.burst_spans, "--duration", 60)
            burst_s = time.monotonic() - burst_start
            time.sleep(max(0, wait - 1 - burst_s))
            probed = self.probe(max(burst_start + wait + burst_s + 2 - time.monotonic(), 2))
            run.sink.settle(wait + 2)
            time.sleep(1 if self.options.quick else 5)
            peak, after = run.daemon.memory_mib("VmHWM"), run.daemon.memory_mib()
            return {
                "pause_ms": probed["ack_max_ms"],
                "pause_p99_ms": probed["ack_p99_ms"],
                "calm_max_ms": calm["ack_max_ms"],
                "burst_spans_per_s": sent["acked_per_s"],
                "rss_idle_mib": run.idle_mib,
                "rss_peak_mib": peak,
                "rss_after_mib": after,
                "rss_left_pct": 100 * (after - run.idle_mib) / max(peak - run.idle_mib, 1),
            }

    def start(self, program):
        """Measures the time from exec to the answer to the first span, four times."""
        times, idle = [], []
        for _ in range(1 if self.options.quick else 4):
            with self.running(program, 2) as run:
                times.append(run.daemon.startup_s * 1e3)
                idle.append(run.idle_mib)
        return {"start_ms": sorted(times)[len(times) // 2], "start_max_ms": max(times), "rss_idle_mib": max(idle)}

    def cores(self, program):
        """Measures one core, and then two cores that the daemon shares with the load generator and the sink. The
        scaling is an estimate: 2, times the busy share of the cores, times the CPU time of a span on one core over that
        on two."""
        one = self.flow(program, "--proto", "grpc", rescue=False)
        both = f"{DAEMON_CORE},{LOAD_CORE}"
        two = self.flow(program, "--proto", "grpc", "--connections", 32, cores=both, load_cores=both, rescue=False)
        busy = min(two["busy_pct"] / 200, 1)
        scaling = 2 * busy * one["cpu_us"] / two["cpu_us"]
        return {"scaling": scaling, "busy": busy, "cpu_us_1": one["cpu_us"], "cpu_us_2": two["cpu_us"], "spans_per_s_2": two["spans_per_s"]}

    def size(self, program):
        return {"mib": os.path.getsize(program.binary) / 2**20}

    # --- Helpers ---

    def flow(self, program, *load, wait=2, seconds=None, warm_up_s=0, cores=DAEMON_CORE, load_cores=LOAD_CORE, **more):
        """Measures one load from its start until all of it is decided and exported: the CPU time covers all work."""
        seconds = seconds or self.seconds
        expected = STATE / f"expected-{os.getpid()}"
        with self.running(program, wait, cores=cores, **more) as run:
            daemon = run.daemon
            if warm_up_s:
                self.send(*load, "--duration", warm_up_s, cores=load_cores)
            busy, cpu, faults, sink_cpu = busy_seconds(cores), daemon.cpu(), daemon.page_faults(), run.sink.cpu()
            started = time.monotonic()
            sent = self.send(*load, "--duration", seconds, "--expect", expected, cores=load_cores)
            elapsed = time.monotonic() - started
            cpu_under_load, faults = daemon.cpu() - cpu, daemon.page_faults() - faults
            busy = busy_seconds(cores) - busy
            stored = run.sink.settle(wait + 2)
            spans = sent["acked"]
            steady = sent["per_sec"][wait + 1 : seconds] or [sent["acked_per_s"]]
            values = {key: sent[key] for key in ("acked", "refused", "lost", "ack_p50_ms", "ack_p99_ms", "ack_max_ms", "loadgen_cpu_s")}
            values.update(
                cpu_us=(daemon.cpu() - cpu) / spans * 1e6,
                faults=faults / spans,
                spans_per_s=sum(steady) / len(steady),
                busy_pct=100 * busy / elapsed,
                others_pct=100 * (busy - cpu_under_load) / elapsed,
                rss_idle_mib=run.idle_mib,
                rss_peak_mib=daemon.memory_mib("VmHWM"),
                exported_spans=stored["spans"],
                duplicates=stored["duplicates"],
                malformed=stored["malformed"],
                sink_cpu_s=run.sink.cpu() - sink_cpu,
                **run.sink.kept(expected),
            )
        expected.unlink()
        return values

    def probe(self, seconds):
        """Sends few and small requests. They get a real-time priority, if the system allows it, so that the sink on the
        same core does not delay them."""
        first = ["chrt", "-f", "10"]
        is_allowed = not subprocess.run([*first, "true"], stderr=subprocess.DEVNULL).returncode
        shape = ["--rate", 4_000, "--batch", 8, "--connections", 4, "--pass-spans", 8_000]
        return self.send(*shape, "--duration", round(seconds, 1), prefix=first if is_allowed else [])

    def send(self, *more, prefix=(), cores=LOAD_CORE):
        """Runs the load generator once."""
        sent = last_json([*prefix, *pinned(cores, [self.load, *more])])
        if not sent["acked"]:
            raise SystemExit("the daemon acknowledged nothing")
        return sent

    def running(self, program, wait, **more):
        return Running(program, self.sink, wait, **more)


def take_memory(part):
    """Makes the kernel forget which pages it has at hand: a process writes to so much of the memory that is available,
    page cache included, and ends."""
    available = int(re.search(r"MemAvailable: *(\d+)", Path("/proc/meminfo").read_text())[1]) << 10
    program = (
        "import mmap\n"
        f"taken = mmap.mmap(-1, {int(available * part) // 4096 * 4096})\n"
        "for at in range(0, len(taken), 4096): taken[at] = 1\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=RUN_SECONDS_MAX)
