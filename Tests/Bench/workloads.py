"""What is measured, in which unit, and what Weir is to reach."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    # "cpu": nanoseconds of CPU per unit; "memory": bytes per flow.
    measure: str = "cpu"
    unit: str = ""
    unit_size: int = 1
    # Upper bound for Weir's ratio to the better of haproxy and nginx.
    goal: float | None = None
    compares_latency: bool = False
    is_udp: bool = False
    shape: Shape = Shape()

    @property
    def is_tls(self) -> bool:
        return self.shape.certificate != ""

    def suits(self, proxy: Proxy) -> bool:
        """Whether the proxy knows how."""
        return (proxy.is_udp_able or not self.is_udp) and (proxy.is_tls_able or not self.is_tls)

    def cost(self, sample: Sample) -> float:
        """Nanoseconds or bytes for one unit."""
        if self.measure == "memory":
            return sample.memory_bytes / sample.units
        return sample.cpu_nanoseconds / (sample.units / self.unit_size)

    def arguments(self, scale: float) -> list[str]:
        count = "--bytes" if self.load[0].startswith("bulk") else "--count"
        amount = [] if self.measure == "memory" else [
            count, str(max(1, int(self.amount * scale))), "--warm-up", str(self.warm_up)]
        return [*self.load, *amount]


def load(mode: str, port: int, **options: int) -> tuple[str, ...]:
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
