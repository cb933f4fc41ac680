"""Shared parts of `faults.py` and `soak.py`: the daemon under the rig's load, senders that record acknowledgements,
hostile clients, and the conservation law.

`rig` is the benchmark rig's module of that name. `load_rig` imports it.
"""
import asyncio, collections, contextlib, gzip, http.client, os, random, re, selectors, signal, socket, struct, sys, tempfile, threading, time

GRPC, HTTP = "127.0.0.1:4317", "127.0.0.1:4318"
RATIO = 0.05
# The default of memory.limit, as a share of the container's memory.
LIMIT_SHARE = 0.7
LEFT_MIB = 80
# Bytes of the memory budget for a span of the rig's load: 568 B on the wire, its index, and a part of its trace's
# entry.
HELD_BYTES_PER_SPAN = 620

CONFIG = """
otlp: {{listen: ["{grpc}", "{http}"], max_request_bytes: {max_request_bytes}}}
tail_sampling:
  decision_wait: {wait}s
  policies:
    - {{name: errors, type: status_code, status_code: {{status_codes: [ERROR]}}}}
    - {{name: slow, type: latency, latency: {{threshold_ms: 1000}}}}
    - {{name: rest, type: probabilistic, probabilistic: {{sampling_percentage: {percentage}}}}}
export: {{endpoint: "http://{sink}", project: bench-project{spool}}}
memory: {{limit: {limit_mib}MiB}}
{more}"""

rig = None


def load_rig(folder):
    """Imports the rig in `folder` as this module's `rig`."""
    global rig
    sys.path.insert(0, folder)
    import rig as module

    rig = module
    return module


# === Spans ===


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, payload):
    """Encodes a length-delimited field of protobuf."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def attribute(key, text):
    return field(1, key) + field(2, field(1, text))


class Requests:
    """Export requests of `count` spans. Ids and times are written into a body that was encoded once.

    Every span has the same length, so that one assignment writes a byte of all spans.
    """

    ERROR, SLOW_NS = 2, 1_500_000_000

    def __init__(self, count, pad=20, service=b"faults", seed=None):
        self.count, self.random = count, random.Random(seed)
        head = b"\x0a\x10" + bytes(16) + b"\x12\x08" + bytes(8) + b"\x39" + bytes(8) + b"\x41" + bytes(8)
        head += b"\x7a\x02\x18\x00" + field(5, b"work") + field(9, attribute(b"pad", b"x" * pad))
        span = field(2, head)
        at = len(span) - len(head)
        resource = field(1, field(1, attribute(b"service.name", service)))
        scope_spans = field(2, span * count)
        self.body = bytearray(field(1, resource + scope_spans))
        first = len(self.body) - len(span) * count + at
        self.stride = len(span)
        self.trace, self.span, self.start = first + 2, first + 20, first + 29
        self.end, self.status = first + 38, first + 49

    def _column(self, at, values, width):
        """Writes `count` values of `width` bytes, one for each span."""
        last = (self.count - 1) * self.stride + 1
        for i in range(width):
            self.body[at + i : at + i + last : self.stride] = values[i::width]

    def make(self, flagged=0, trace=None, error_at=None):
        """Returns a request, and the ids of its traces that must be kept: `flagged` of them, errors and slow ones in
        turn.

        With `trace`, all spans belong to that trace, and `error_at` is the index of the failed span, if there is one.
        """
        ids = trace * self.count if trace else self.random.randbytes(16 * self.count)
        self._column(self.trace, ids, 16)
        self._column(self.span, self.random.randbytes(8 * self.count), 8)
        now = time.time_ns()
        self._column(self.start, struct.pack("<Q", now - 1_000_000) * self.count, 8)
        self._column(self.end, struct.pack("<Q", now) * self.count, 8)
        self._column(self.status, bytes(self.count), 1)
        if trace:
            if error_at is not None:
                self.body[self.status + error_at * self.stride] = self.ERROR
            return bytes(self.body), []
        chosen = self.random.sample(range(self.count), flagged)
        for turn, place in enumerate(chosen):
            at = place * self.stride
            if turn % 2 == 0:
                self.body[self.status + at] = self.ERROR
            else:
                struct.pack_into("<Q", self.body, self.start + at, now - self.SLOW_NS)
        return bytes(self.body), [ids[16 * place : 16 * place + 16].hex() for place in chosen]


# === Senders ===


class Truth:
    """The senders' view: acknowledged spans, and the traces that must be kept with their acknowledged spans."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sent = self.acked = self.refused = self.lost = 0
        self.must_keep = {}
        self.answers = collections.Counter()
        self.not_retryable = 0
        self.ack_s = []

    def answered(self, what, retryable):
        with self.lock:
            self.answers[what] += 1
            self.not_retryable += not retryable

    def settled(self, fate, spans, must_keep=(), ack_s=None):
        """Counts all `spans` of a request as `fate`: acked, refused, or lost (no answer)."""
        with self.lock:
            setattr(self, fate, getattr(self, fate) + spans)
            if fate == "acked":
                self.must_keep.update((trace, 1) for trace in must_keep)
                self.ack_s.append(ack_s)

    def add_loadgen(self, result, expect):
        """Adds the result of the rig's load generator, and its file of traces that must be kept."""
        with self.lock:
            for key in ("sent", "acked", "refused", "lost"):
                setattr(self, key, getattr(self, key) + result[key])
            self.answers.update(result["codes"])
            self.ack_s.append(result["ack_p99_ms"] / 1000)
            with open(expect) as lines:
                for trace, _kind, _spans, acked, decider in map(str.split, lines):
                    if decider == "1":
                        self.must_keep[trace] = int(acked)

    def ack_p99_ms(self):
        times = sorted(self.ack_s)
        return round(times[len(times) * 99 // 100] * 1000, 1) if times else 0.0

    def missing(self):
        """Returns how many traces that must be kept are missing in the sink, and how many are there without all
        spans."""
        have = {}
        for line in rig.get(rig.FAKE_HTTP, "/traces", 300).splitlines():
            trace, spans, _rest = line.split(" ", 2)
            have[trace] = int(spans)
        gone = sum(trace not in have for trace in self.must_keep)
        torn = sum(0 < have.get(trace, 0) < spans for trace, spans in self.must_keep.items())
        self.rest_kept = len(have.keys() - self.must_keep.keys())
        return gone, torn


class Sender(threading.Thread):
    """Posts requests from an iterator of (body, spans, must_keep) on one connection, and retries like a stock
    exporter."""

    def __init__(self, requests, lock, truth, retry, timeout=30):
        super().__init__(daemon=True)
        self.requests, self.take, self.truth, self.retry, self.timeout = requests, lock, truth, retry, timeout
        self.connection = None
        self.start()

    def run(self):
        while True:
            with self.take:
                request = next(self.requests, None)
            if request is None:
                return
            body, spans, must_keep = request
            with self.truth.lock:
                self.truth.sent += spans
            begun = time.monotonic()
            fate = self.send(body)
            self.truth.settled(fate, spans, must_keep, time.monotonic() - begun)

    def send(self, body):
        deadline = time.monotonic() + 300
        while True:
            status, retry_after = self.post(body)
            if status == 200:
                return "acked"
            retryable = status in (429, 502, 503, 504) and retry_after is not None
            self.truth.answered(f"http {status}", retryable or status == 0)
            if not (self.retry and (retryable or status == 0)) or time.monotonic() > deadline:
                return "refused" if status else "lost"
            # Exporters add a random time, so that they do not all retry at once.
            time.sleep((retry_after or 0.2) * random.uniform(1, 1.5))

    def post(self, body):
        """Returns the status (0 if there was no answer), and the seconds of `Retry-After`."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(*HTTP.split(":"), timeout=self.timeout)
            self.connection.request("POST", "/v1/traces", body, {"content-type": "application/x-protobuf"})
            answer = self.connection.getresponse()
            answer.read()
            retry_after = answer.getheader("retry-after")
            return answer.status, float(retry_after) if retry_after else None
        except (OSError, http.client.HTTPException):
            if self.connection is not None:
                self.connection.close()
            self.connection = None
            return 0, None


def post_all(requests, truth, connections=8, retry=True):
    """Posts all `requests` on `connections` connections; returns when the last one is answered."""
    lock, requests = threading.Lock(), iter(requests)
    for sender in [Sender(requests, lock, truth, retry) for _ in range(connections)]:
        sender.join()


def loadgen(truth, *args, proto="grpc"):
    """Starts the rig's load generator. Returns a function that waits for its end and adds its result to `truth`."""
    expect = tempfile.mktemp(prefix="expect-")
    endpoint = GRPC if proto == "grpc" else HTTP
    # The generator's default seed is the time, so generators that start together would have ids in common.
    seed = random.getrandbits(48)
    process = rig.load(None, ["--proto", proto, "--endpoint", endpoint, "--expect", expect, "--seed", seed, *args], background=True)

    def finish():
        result = rig.finish(process)
        truth.add_loadgen(result, expect)
        os.unlink(expect)
        return result

    return finish


# === Hostile clients ===

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    """Encodes an HTTP/2 frame (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


DATA, HEADERS, RESET, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
PATH = b"/opentelemetry.proto.collector.trace.v1.TraceService/Export"
# A header block: POST, http, the path, content-type (RFC 7541, appendix A), te.
CALL = b"\x83\x86\x04" + bytes([len(PATH)]) + PATH + b"\x0f\x10\x10application/grpc" + b"\x00\x02te\x08trailers"


async def send_slowly(write):
    """Sends a head byte by byte, without an end."""
    await write(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\nx-slow: ")
    while True:
        await asyncio.sleep(0.5)
        await write(b"a")


async def announce_much(write):
    """Announces a body of 16 MiB that is never sent."""
    await write(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 16777216\r\n\r\nx")
    await asyncio.sleep(3600)


async def say_nothing(write):
    await asyncio.sleep(3600)


async def reset_rapidly(write):
    """Opens streams and resets them at once (CVE-2023-44487)."""
    await write(PREFACE + frame(SETTINGS, 0, 0))
    for stream in range(1, 1 << 30, 2):
        await write(frame(HEADERS, 4, stream, CALL) + frame(RESET, 0, stream, b"\0\0\0\x08"))
        if stream % 200 == 1:
            await asyncio.sleep(0.005)


async def continue_for_ever(write):
    """Sends a header block without an end (CVE-2024-27316)."""
    await write(PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, 0, 1, CALL))
    while True:
        await write(frame(CONTINUATION, 0, 1, b"\x00\x01a\x7f\x80\x07" + b"b" * 1151))
        await asyncio.sleep(0.001)


async def ping_for_ever(write):
    """Sends PING frames (CVE-2019-9512), with SETTINGS frames in between (CVE-2019-9515)."""
    await write(PREFACE + frame(SETTINGS, 0, 0))
    while True:
        await write(frame(PING, 0, 0, bytes(8)) * 50 + frame(SETTINGS, 0, 0))
        await asyncio.sleep(0.005)


async def send_garbage(write):
    await write(os.urandom(random.randint(1, 4096)))
    await asyncio.sleep(0.05)


async def send_bad_message(write):
    body = os.urandom(4096)
    head = f"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: {len(body)}\r\n\r\n"
    await write(head.encode() + body)
    await asyncio.sleep(0.05)


def bomb():
    """Returns a client that sends a gigabyte of zeros, gzipped to a megabyte."""
    body = gzip.compress(bytes(1 << 20), 9) * 1024
    head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-encoding: gzip\r\n"
    request = (head + f"content-length: {len(body)}\r\n\r\n").encode() + body

    async def send_bomb(write):
        await write(request)
        await asyncio.sleep(1)

    return send_bomb


class Hostile:
    """Hostile clients, `each` of every kind at a time, until `stop`. A client that is cut off connects again."""

    def __init__(self, each=8):
        self.opened, self.cut_off = collections.Counter(), collections.Counter()
        kinds = [send_slowly, announce_much, say_nothing, reset_rapidly, continue_for_ever, ping_for_ever]
        self.kinds = [*kinds, send_garbage, send_bad_message, bomb()]
        self.each, self.loop = each, asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.all(),), daemon=True)
        self.thread.start()

    async def all(self):
        self.tasks = [asyncio.ensure_future(self.again(kind)) for kind in self.kinds for _ in range(self.each)]
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def again(self, kind):
        while True:
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                reader, writer = await asyncio.open_connection(*HTTP.split(":"))
                self.opened[kind.__name__] += 1
                await self.until_cut_off(kind, reader, writer)
            await asyncio.sleep(0.05)

    async def until_cut_off(self, kind, reader, writer):
        async def write(data):
            writer.write(data)
            await writer.drain()

        async def listen():
            while await reader.read(65536):
                pass
            self.cut_off[kind.__name__] += 1

        work = [asyncio.ensure_future(kind(write)), asyncio.ensure_future(listen())]
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.exception()
        finally:
            for task in work:
                task.cancel()
            writer.close()

    def stop(self):
        for task in self.tasks:
            self.loop.call_soon_threadsafe(task.cancel)
        self.thread.join(20)


class Crowd(threading.Thread):
    """Connections from several addresses of this machine, until `stop`. Each sends `data` and reads what comes. One that is
    closed comes again."""

    def __init__(self, connections, data, addresses=4):
        super().__init__(daemon=True)
        self.data, self.stopping, self.opened = data, threading.Event(), 0
        self.sources = [f"127.0.{1 + n % addresses}.2" for n in range(connections)]
        self.selector = selectors.DefaultSelector()
        self.start()

    def open(self, source):
        connection = socket.socket()
        connection.setblocking(False)
        connection.bind((source, 0))
        host, port = HTTP.split(":")
        connection.connect_ex((host, int(port)))
        self.selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, [source, 0])
        self.opened += 1

    def serve(self, key, events):
        """Sends and reads on one connection. Raises `OSError` when it has ended."""
        connection, (_, sent) = key.fileobj, key.data
        with contextlib.suppress(BlockingIOError):
            if events & selectors.EVENT_WRITE:
                key.data[1] += connection.send(self.data[sent : sent + 65536])
                if key.data[1] >= len(self.data):
                    self.selector.modify(connection, selectors.EVENT_READ, key.data)
            if events & selectors.EVENT_READ and not connection.recv(65536):
                raise OSError("closed")

    def run(self):
        waiting = list(self.sources)
        while not self.stopping.is_set():
            for _ in range(min(50, len(waiting))):
                self.open(waiting.pop())
            for key, events in self.selector.select(0.02):
                try:
                    self.serve(key, events)
                except OSError:
                    self.selector.unregister(key.fileobj)
                    key.fileobj.close()
                    waiting.append(key.data[0])

    def stop(self):
        self.stopping.set()
        self.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()


def unread_pages(requests=1000):
    """Returns an HTTP/2 connection's `requests` requests of `/livez` whose answers have no window."""
    page = b"\x82\x86\x04\x06/livez\x01\x01x"
    streams = (frame(HEADERS, 5, 2 * n + 1, page) for n in range(requests))
    return PREFACE + frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\0") + b"".join(streams)


# === The daemon ===


class Metrics:
    """A parsed scrape."""

    FATES = ["exported_spans_total", "sampled_out_spans_total", "handed_over_spans_total", "rejected_spans_total", "dropped_spans_total", "held_spans"]

    def __init__(self, text):
        self.series = re.findall(r"^spansieve_(\w+)(?:\{(.*)\})? ([0-9.e+-]+)$", text, re.M)

    def sum(self, name, label=""):
        """Returns the sum of the series of a metric whose labels contain `label`."""
        return round(sum(float(value) for found, labels, value in self.series if found == name and label in labels))

    def by_label(self, name, key):
        """Returns the sums of a metric by the value of one label, without sums of 0."""
        sums = collections.Counter()
        for found, labels, value in self.series:
            if found == name and float(value):
                sums[re.search(rf'{key}="([^"]*)"', labels)[1]] += round(float(value))
        return dict(sums)

    def unaccounted(self):
        """Returns the received spans that are not accounted for: 0 if no span is in flight."""
        came = self.sum("received_spans_total") + self.sum("recovered_spans_total")
        return came - sum(map(self.sum, self.FATES))

    def undecided_or_unwritten(self):
        return sum(self.sum("held_spans", state) for state in ("pending", "export", "spooled"))


def scrape():
    return Metrics(rig.get(HTTP, "/metrics"))


class Spansieve:
    """The daemon, with a folder of its own. Every start sends one healthy span."""

    def __init__(self, binary, container_mib=512, wait=2, percentage=100 * RATIO, spool=None, max_request_bytes="16MiB", more=""):
        self.binary, self.container_mib, self.wait = binary, container_mib, wait
        # The daemon would calculate this from the container's memory, but the tests run without one.
        self.limit_mib = min(int(container_mib * LIMIT_SHARE), container_mib - LEFT_MIB)
        self.folder = tempfile.mkdtemp(prefix="faults-")
        self.log = os.path.join(self.folder, "log")
        # The spool is used if its size is given.
        spool = f", spool: {{directory: {self.folder}/spool, max_bytes: {spool}}}" if spool else ""
        self.config = os.path.join(self.folder, "config.yaml")
        with open(self.config, "w") as file:
            file.write(
                CONFIG.format(
                    grpc=GRPC, http=HTTP, wait=wait, percentage=percentage, sink=rig.FAKE_GRPC, spool=spool,
                    limit_mib=self.limit_mib, max_request_bytes=max_request_bytes, more=more.format(folder=self.folder),
                )
            )
        self.starts, self.peak_mib = 0, 0.0

    def understands(self):
        """Returns true if this build knows all keys of the configuration."""
        return os.system(f"{self.binary} validate --config {self.config} >/dev/null 2>&1") == 0

    def start(self):
        self.process = rig.start_daemon(f"{self.binary} run --config {self.config}", None, {}, self.log, HTTP)
        self.starts += 1
        return self

    def alive(self):
        return self.process.alive()

    def memory_peak_mib(self):
        """Returns the largest resident memory of all processes so far, in MiB."""
        self.peak_mib = max(self.peak_mib, self.process.mem("VmHWM"))
        return round(self.peak_mib)

    def signal(self, number, wait=30):
        """Sends a signal that ends the process; returns the exit code and the seconds until the end."""
        self.memory_peak_mib()
        seconds = self.process.stop(number, wait)
        return self.process.p.returncode, None if seconds is None else round(seconds, 2)

    def lost_at_stop(self):
        """Returns the number of lost spans in the last line of the log."""
        with open(self.log) as log:
            found = re.findall(r"lost_spans[^0-9]{1,4}(\d+)", log.read())
        return int(found[-1]) if found else None


def until(condition, seconds):
    """Returns the seconds until `condition()` is true, or None if it is not true in time."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if condition():
                return round(time.monotonic() - begun, 1)
        time.sleep(0.05)
    return None


def probe_is_prompt(truth):
    """Returns true if a request of one span is acknowledged within 100 ms."""
    begun = time.monotonic()
    status = rig.post_span(HTTP)
    if status == 200:
        truth.sent, truth.acked = truth.sent + 1, truth.acked + 1
    return status == 200 and time.monotonic() - begun < 0.1
