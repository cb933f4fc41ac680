#!/usr/bin/env python3
"""An outage of the sink that fills the memory, with a spool. `docs/evidence.md` has the results.

    tools/spool-absence.py --rig RIG [--absence 600] [--rate 5000] [--memory 512MiB] [--kill] SPANSIEVE

RIG is the folder of the benchmark rig, whose `loadgen` and `fake-cloudtrace` are built. Every trace is kept, so that the
spans of the outage are more than memory holds. The load starts ten seconds before the outage and ends ten seconds after
it. With --kill the daemon is killed (SIGKILL) in the middle of the outage, without load, and started again. The script
prints one JSON line: spans acknowledged, spans in the sink, peaks of memory and disk. The exit code is 1 if a span is
missing.
"""
import argparse, json, os, re, signal, subprocess, sys, tempfile, threading, time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("spansieve")
parser.add_argument("--rig", required=True)
parser.add_argument("--absence", type=float, default=600, help="length of the outage in seconds")
parser.add_argument("--rate", type=float, default=5000, help="spans a second")
parser.add_argument("--memory", default="512MiB")
parser.add_argument("--kill", action="store_true")
args = parser.parse_args()
sys.path.insert(0, args.rig)
import rig  # noqa: E402

CONFIG = """
otlp: {{listen: ["127.0.0.1:4317", "127.0.0.1:4318"]}}
tail_sampling:
  decision_wait: 2s
  decision_cache: {{sampled_cache_size: 100000, non_sampled_cache_size: 100000}}
  policies: [{{name: all, type: always_sample}}]
export:
  endpoint: "http://{sink}"
  project: bench-project
  spool: {{directory: {directory}/spool, max_bytes: 64GiB}}
memory: {{limit: {memory}}}
"""
HTTP = "127.0.0.1:4318"
MARGIN = 10


def metric(name, labels=""):
    """Returns the sum of the series of a metric whose labels contain a text."""
    text = rig.get(HTTP, "/metrics")
    found = re.findall(rf"^spansieve_{name}(?:\{{(.*)\}})? ([0-9.e+]+)$", text, re.M)
    return sum(float(value) for found_labels, value in found if labels in found_labels)


def held():
    return round(metric("held_spans"))


class Peaks(threading.Thread):
    """A thread that records the largest values of some metrics."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peaks = {"held_bytes": 0, "spool_bytes": 0}
        self.start()

    def run(self):
        while True:
            time.sleep(0.5)
            for name in self.peaks:
                try:
                    self.peaks[name] = max(self.peaks[name], metric(name))
                except OSError:
                    pass  # The daemon was killed, and does not listen yet.


def start(directory):
    path = os.path.join(directory, "config.yaml")
    with open(path, "w") as file:
        file.write(CONFIG.format(sink=rig.FAKE_GRPC, directory=directory, memory=args.memory))
    command = f"{args.spansieve} run --config {path}"
    daemon = rig.start_daemon(command, None, {}, os.path.join(directory, "log"), HTTP)
    daemon.watch()
    return daemon


def send(seconds):
    load = ["--proto", "grpc", "--endpoint", "127.0.0.1:4317", "--rate", args.rate, "--duration", seconds]
    return rig.load(None, load, background=True)


def main():
    directory = tempfile.mkdtemp(prefix="spool-absence-")
    fake = rig.start_fake(None)
    try:
        return run(directory)
    finally:
        fake.stop(signal.SIGKILL)


def run(directory):
    daemon = start(directory)
    peaks, daemons, result = Peaks(), [daemon], {"absence_s": args.absence, "rate": args.rate, "memory": args.memory}
    # Each start sends a span as a probe.
    probes = 1
    try:
        part = args.absence / 2
        first = send(MARGIN + part)
        time.sleep(MARGIN)
        rig.get(rig.FAKE_HTTP, f"/set?down_ms={round(args.absence * 1000)}")
        results = [rig.finish(first)]
        if args.kill:
            time.sleep(3)
            result["in_memory_at_kill"] = held() - round(metric("held_spans", "spooled"))
            result["spooled_at_kill"] = round(metric("held_spans", "spooled"))
            daemon.stop(signal.SIGKILL)
            daemon = start(directory)
            daemons.append(daemon)
            probes += 1
            result["recovered"] = round(metric("recovered_spans_total"))
        results.append(rig.finish(send(part + MARGIN)))
        ended = time.monotonic()
        while held() > 0 and time.monotonic() - ended < 600:
            time.sleep(0.5)
        result["drained_after_s"] = round(time.monotonic() - ended, 1)
        stats = rig.stats()
        for key in ("sent", "acked", "refused", "lost"):
            result[key] = sum(r[key] for r in results)
        result["ack_p99_ms"] = max(r["ack_p99_ms"] for r in results)
        result["exported"], result["twice"] = stats["spans"], stats["dup_spans"]
        missing = result["acked"] + probes - (stats["spans"] - stats["dup_spans"])
        result["missing"] = missing
        result["rss_peak_mib"] = round(max(d.peak for d in daemons))
        result.update({f"{name}_peak": round(value) for name, value in peaks.peaks.items()})
        result["dropped"] = round(metric("dropped_spans_total"))
        result["exit_s"] = round(daemon.stop() or -1, 2)
        result["files_left"] = len([name for name in os.listdir(f"{directory}/spool") if name != "spool.lock"])
    finally:
        daemon.stop(signal.SIGKILL)
    print(json.dumps(result))
    # A kill loses the spans that are only in memory.
    return 0 if 0 <= missing <= result.get("in_memory_at_kill", 0) else 1


if __name__ == "__main__":
    sys.exit(main())
