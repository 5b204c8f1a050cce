"""What is measured, in which unit, and what Weir is to reach."""

from __future__ import annotations

from dataclasses import dataclass, field

from http_peers import HTTP1, HTTP2, LAST_PATH
from peers import BULK, DATAGRAMS, ECHO, FLOWS, FURTHER, QUESTIONS, Proxy, Shape

GiB = 1 << 30

# A sample is disturbed when others take more than this of the cores' time, or when the machine is faster or
# slower than usual by more than this.
FOREIGN, UNEVEN = 0.08, 0.06


@dataclass
class Sample:
    subject: str
    name: str
    units: int
    seconds: float
    cpu_nanoseconds: int
    # CPU time of each thread that did anything, largest first.
    threads: list[int] = field(default_factory=list)
    user_share: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0
    lost: int = 0
    errors: int = 0
    memory_bytes: int = 0
    # How slow the proxy's core was before and after, as a ratio to the usual; see runner.Pace.
    pace: tuple[float, float] = (1.0, 1.0)
    # The part of the time of all cores that went to processes other than this measurement's.
    foreign: float = 0.0
    system_calls: dict[str, int] = field(default_factory=dict)

    @property
    def unevenness(self) -> float:
        return max(abs(value - 1) for value in self.pace)

    @property
    def disturbance(self) -> float:
        """Above 1 the sample is not to be trusted."""
        return max(self.foreign / FOREIGN, self.unevenness / UNEVEN)

    @property
    def is_disturbed(self) -> bool:
        return self.disturbance > 1


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    # One run of the load generator: its words, and how many units it is to do.
    load: tuple[str, ...]
    amount: int
    warm_up: int
    # "cpu": nanoseconds of CPU per unit; "memory": bytes per flow; "p99": nanoseconds that a unit in a hundred exceeds.
    measure: str = "cpu"
    unit: str = ""
    unit_size: int = 1
    # Upper bound for Weir's ratio to the best of its rivals.
    goal: float | None = None
    compares_latency: bool = False
    is_udp: bool = False
    shape: Shape = Shape()

    @property
    def is_tls(self) -> bool:
        return self.shape.certificate != ""

    @property
    def is_http2(self) -> bool:
        return self.load[0].startswith("http2-")

    @property
    def rivals(self) -> tuple[str, ...]:
        return ("haproxy", "nginx", "envoy") if self.shape.is_http else ("haproxy", "nginx")

    def suits(self, proxy: Proxy) -> bool:
        """Whether the proxy knows how."""
        return (
            (proxy.is_udp_able or not self.is_udp) and (proxy.is_tls_able or not self.is_tls)
            and (proxy.is_http2_able or not self.is_http2))

    def cost(self, sample: Sample) -> float:
        """Nanoseconds or bytes for one unit."""
        if self.measure == "memory":
            return sample.memory_bytes / sample.units
        if self.measure == "p99":
            return sample.p99_us * 1e3
        return sample.cpu_nanoseconds / (sample.units / self.unit_size)

    def arguments(self, scale: float) -> list[str]:
        count = "--bytes" if self.load[0].startswith("bulk") else "--count"
        amount = [] if self.measure == "memory" else [
            count, str(max(1, int(self.amount * scale))), "--warm-up", str(self.warm_up)]
        return [*self.load, *amount]


def load(mode: str, port: int, **options: int | str) -> tuple[str, ...]:
    words = [mode, "--port", str(port)]
    for name, value in options.items():
        words += ["--" + name.replace("_", "-"), str(value)]
    return tuple(words)


WORKLOADS = [
    Workload(
        "bulk-up", "bulk TCP up, 4 connections", load("bulk-up", BULK, flows=4), amount=6 * GiB,
        warm_up=GiB // 2, unit="ms/GiB", unit_size=GiB, goal=0.85),
    Workload(
        "bulk-down", "bulk TCP down, 4 connections", load("bulk-down", BULK, flows=4), amount=6 * GiB,
        warm_up=GiB // 2, unit="ms/GiB", unit_size=GiB, goal=0.85),
    Workload(
        "connections", "connect, 64 B there and back, close; 32 at a time",
        load("connections", ECHO, at_once=32, size=64), amount=12_000, warm_up=1_000, unit="µs/connection",
        goal=0.92),
    Workload(
        "ping-pong-64", "64 connections, 64 B ping-pong", load("ping-pong", ECHO, flows=64, size=64),
        amount=100_000, warm_up=5_000, unit="µs/round trip", goal=0.9,
        compares_latency=True),
    Workload(
        "ping-pong-4096", "64 connections, 4 KiB ping-pong", load("ping-pong", ECHO, flows=64, size=4096),
        amount=80_000, warm_up=5_000, unit="µs/round trip", goal=0.9,
        compares_latency=True),
    Workload(
        "idle", f"{FLOWS:,} idle flows", load("idle", ECHO, flows=FLOWS, size=64), amount=0, warm_up=0,
        measure="memory", unit="B/flow", goal=0.15),
    Workload(
        "datagrams-64", "UDP 64 B, 16 flows, 16 in flight on each",
        load("datagrams", DATAGRAMS, flows=16, window=16, size=64), amount=200_000, warm_up=10_000,
        unit="µs/datagram", goal=0.55, is_udp=True, shape=Shape(for_datagrams=True)),
    Workload(
        "datagrams-1200", "UDP 1,200 B, 16 flows, 16 in flight on each",
        load("datagrams", DATAGRAMS, flows=16, window=16, size=1200), amount=200_000, warm_up=10_000,
        unit="µs/datagram", goal=0.55, is_udp=True, shape=Shape(for_datagrams=True)),
    Workload(
        # No two datagrams in a row are of one flow: nothing can be sent together.
        "datagrams-single", "UDP 64 B, 256 flows, 1 in flight on each",
        load("datagrams", DATAGRAMS, flows=256, window=1, size=64), amount=100_000, warm_up=10_000,
        unit="µs/datagram", is_udp=True, shape=Shape(for_datagrams=True)),
    Workload(
        "new-flows", "UDP 64 B, every datagram a new flow, while there is room",
        load("new-flows", QUESTIONS, window=32, size=64), amount=FLOWS - 1_500, warm_up=500, unit="µs/flow",
        goal=0.75, is_udp=True, shape=Shape(for_datagrams=True)),
    Workload(
        # The warm-up fills every table: each new flow also pays for the end of an old one.
        "turnover", "UDP 64 B, every datagram a new flow in place of an old one",
        load("new-flows", QUESTIONS, window=32, size=64), amount=30_000, warm_up=FLOWS + 2_000, unit="µs/flow",
        goal=0.75, is_udp=True, shape=Shape(for_datagrams=True)),
]

# Idle TLS flows are fewer: their handshakes take a while, and their clients hold memory too.
TLS_FLOWS = min(4_000, FLOWS)
ECDSA, RSA = Shape(certificate="ecdsa"), Shape(certificate="rsa")

TLS_WORKLOADS = [
    Workload(
        "tls-handshakes-ecdsa", "TLS full handshake, ECDSA P-256, 1 B there and back; 32 at a time",
        load("handshakes", ECHO, at_once=32, size=1), amount=6_000, warm_up=500, unit="µs/handshake", goal=0.95,
        shape=ECDSA),
    Workload(
        "tls-handshakes-rsa", "TLS full handshake, RSA-2048, 1 B there and back; 32 at a time",
        load("handshakes", ECHO, at_once=32, size=1), amount=3_000, warm_up=300, unit="µs/handshake", goal=0.95,
        shape=RSA),
    Workload(
        "tls-resumptions", "TLS resumed handshake, 1 B there and back; 32 at a time",
        load("resumptions", ECHO, at_once=32, size=1), amount=6_000, warm_up=500, unit="µs/handshake", goal=0.9,
        shape=ECDSA),
    Workload(
        "tls-ping-pong-64", "64 TLS connections, 64 B ping-pong", load("ping-pong", ECHO, flows=64, size=64),
        amount=80_000, warm_up=5_000, unit="µs/round trip", goal=0.9, shape=ECDSA),
    Workload(
        "tls-bulk-up", "bulk TLS up, 4 connections", load("bulk-up", BULK, flows=4), amount=3 * GiB,
        warm_up=GiB // 4, unit="ms/GiB", unit_size=GiB, goal=0.9, shape=ECDSA),
    Workload(
        "tls-bulk-down", "bulk TLS down, 4 connections", load("bulk-down", BULK, flows=4), amount=3 * GiB,
        warm_up=GiB // 4, unit="ms/GiB", unit_size=GiB, goal=0.7, shape=ECDSA),
    Workload(
        "tls-idle", f"{TLS_FLOWS:,} idle TLS flows", load("idle", ECHO, flows=TLS_FLOWS, size=64), amount=0,
        warm_up=0, measure="memory", unit="B/flow", goal=0.6, shape=ECDSA),
]

HTTP, HTTPS = Shape(is_http=True), Shape(is_http=True, certificate="ecdsa")
KiB = 1 << 10
# Latency at a rate that leaves every proxy half idle, or more.
RATE = 8_000


def requests(
    name: str, title: str, goal: float | None, amount: int, *, content: int, shape: Shape = HTTP, flows: int = 64,
    **options: int,
) -> Workload:
    return Workload(
        name, title, load("requests", HTTP1, flows=flows, content=content, **options), amount=amount,
        warm_up=amount // 20, unit="µs/request", goal=goal, shape=shape)


def http2_requests(name: str, title: str, amount: int, *, content: int, shape: Shape = HTTP) -> Workload:
    return Workload(
        name, title, load("http2-requests", HTTP2, flows=16, window=4, content=content), amount=amount,
        warm_up=amount // 20, unit="µs/request", goal=0.95, shape=shape)


HTTP_WORKLOADS = [
    requests("http-small", "HTTP/1.1, 64 connections, answers of 64 B", 0.85, 100_000, content=64),
    requests("http-16k", "HTTP/1.1, 64 connections, answers of 16 KiB", 0.85, 60_000, content=16 * KiB),
    requests("http-64k", "HTTP/1.1, 64 connections, answers of 64 KiB", None, 30_000, content=64 * KiB),
    requests("http-1m", "HTTP/1.1, 16 connections, answers of 1 MiB", None, 4_000, content=1024 * KiB, flows=16),
    requests(
        "http-post-16k", "HTTP/1.1, 64 connections, POST of 16 KiB, answers of 64 B", None, 60_000, content=64,
        post=16 * KiB),
    Workload(
        "http-closing", "HTTP/1.1, connect, answer of 64 B, close; 32 at a time",
        load("closing", HTTP1, at_once=32, content=64), amount=12_000, warm_up=1_000, unit="µs/request", goal=0.85,
        shape=HTTP),
    Workload(
        "http-paced", f"p99 of HTTP/1.1, 64 connections, {RATE:,} requests a second",
        load("requests", HTTP1, flows=64, content=64, rate=RATE), amount=5 * RATE, warm_up=RATE // 2, measure="p99",
        # Latencies are known to 1.6 %, and share a core with the load: no worse means not by more than this.
        unit="µs", goal=1.05, shape=HTTP),
    Workload(
        "http-idle", f"{TLS_FLOWS:,} idle HTTP/1.1 connections", load("idle", HTTP1, flows=TLS_FLOWS, content=64),
        amount=0, warm_up=0, measure="memory", unit="B/connection", goal=0.5, shape=HTTP),
    http2_requests("http2-small", "HTTP/2, 16 connections of 4 streams, answers of 64 B", 100_000, content=64),
    http2_requests("http2-16k", "HTTP/2, 16 connections of 4 streams, answers of 16 KiB", 40_000, content=16 * KiB),
    Workload(
        "http2-idle", f"{TLS_FLOWS:,} idle HTTP/2 connections",
        load("http2-idle", HTTP2, flows=TLS_FLOWS, content=64), amount=0, warm_up=0, measure="memory",
        unit="B/connection", goal=0.5, shape=HTTP),
    requests("https-small", "HTTPS/1.1, 64 connections, answers of 64 B", 0.95, 80_000, content=64, shape=HTTPS),
    requests(
        "https-16k", "HTTPS/1.1, 64 connections, answers of 16 KiB", 0.95, 40_000, content=16 * KiB, shape=HTTPS),
    http2_requests(
        "https2-small", "HTTP/2 over TLS, 16 connections of 4 streams, answers of 64 B", 80_000, content=64,
        shape=HTTPS),
    http2_requests(
        "https2-16k", "HTTP/2 over TLS, 16 connections of 4 streams, answers of 16 KiB", 30_000, content=16 * KiB,
        shape=HTTPS),
]


@dataclass(frozen=True)
class Variant:
    """Weir alone, in a larger setting, against itself in the smallest."""

    name: str
    title: str
    shape: Shape = Shape()
    # Connections that rest beside the load.
    live_flows: int = 0
    loads: int = 1
    goal: float | None = 1.1

    @property
    def ports(self) -> tuple[int, int]:
        """The first port and how many; the ordinary listener is left out when there are others."""
        return (FURTHER, self.shape.listeners - 1) if self.shape.listeners > 1 else (ECHO, 1)

    def arguments(self, scale: float) -> list[str]:
        """One of its loads."""
        if self.shape.is_http:
            count = max(1, int(RULES_AMOUNT * scale))
            return list(load(
                "requests", HTTP1, flows=64, content=64, path=LAST_PATH, count=count, warm_up=RULES_AMOUNT // 20))
        port, ports = self.ports
        return list(load(
            "connections", port, ports=ports, at_once=32 // self.loads, size=64,
            count=max(1, int(GROWTH_AMOUNT * scale) // self.loads), warm_up=GROWTH_WARM_UP))


BASE = Variant("base", "1 target, 1 listener, no other flow", goal=None)
GROWTH = [
    Variant("targets-10", "10 targets", Shape(targets=10)),
    Variant("targets-100", "100 targets", Shape(targets=100)),
    Variant("targets-1000", "1,000 targets", Shape(targets=1000)),
    Variant("listeners-10", "10 listeners", Shape(listeners=11)),
    Variant("listeners-100", "100 listeners", Shape(listeners=101)),
    Variant("live-flows", f"{FLOWS:,} live flows beside the load", live_flows=FLOWS),
]
GROWTH_AMOUNT, GROWTH_WARM_UP = 8_000, 1_000

# Both run on all cores with the same two loads, so that what differs is the second worker alone.
ONE_WORKER = Variant("one-worker", "1 worker", loads=2, goal=None)
TWO_WORKERS = Variant("two-workers", "2 workers", Shape(workers=2), loads=2, goal=1.8)

RULES = [
    Variant("rules-10", "10 rules, of which the last applies", Shape(is_http=True, rules=10), goal=None),
    Variant("rules-100", "100 rules", Shape(is_http=True, rules=100)),
    Variant("rules-1000", "1,000 rules", Shape(is_http=True, rules=1_000)),
]
RULES_AMOUNT = 60_000
