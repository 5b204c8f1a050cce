"""What must add up when a test has ended: flows, and bytes of each direction, in Weir's words and its targets'.

Checked for every Weir that a test leaves running and well, once its TCP flows have ended, from /metrics and
/v1/flows alone; `ended` is new flows - active flows, as nothing else ends them:

    everywhere        active flows are as many as the tables list, at load balancers, listeners and groups alike;
                      no TCP flow is active; resets <= ended (each reset ended one flow); recycled flows <= ended
    listener, group   attempts are new flows of groups: sought <= attempts <= sought + connection errors, since every
                      flow was begun once, and once again for each attempt that failed; `sought` is new flows of
                      listeners - those whose client was gone before a target was sought, which are the client
                      resets that listeners have and groups have not

And between Weir and the servers that the harness runs as its targets, when those are all of its targets:

    flows             NewFlowCount, without those gone = connections that those servers saw end + those still open
    client to target  bytes counted = bytes that the servers read
    target to client  bytes counted = bytes that the servers sent

These three are exact when nothing blurs them. What blurs them, and what then is checked:

    TCP and HTTP checks          probes are connections too, and may be greeted: those that said nothing, and what
                                 was sent to them, may be missing in Weir's counts (an HTTP probe that was read is
                                 known by its User-Agent and left out)
    connection errors            flows <= connections + errors, the attempts that failed
    resets                       flows <= connections + resets, as an attempt may be left before the target saw it
    resets, connections that a
    server left before the end   bytes read <= bytes counted; bytes counted <= bytes sent
    datagrams                    may be lost between two sockets: bytes read <= bytes counted <= bytes sent. Towards
                                 targets it is exact on loopback, where a socket counts what its buffer did not hold
    targets that left, reloads,  bytes read <= bytes counted
    targets of another kind

A Weir that was started twice, or ended during the test, is not compared with the servers: its first counts are
gone. Neither is one of several that share targets.
"""

import contextlib
import re
import socket
import threading
from dataclasses import dataclass, fields

from .waiting import eventually

PROBE_AGENT = b"User-Agent: Weir-HealthChecker/"
_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")


@dataclass
class Tally:
    """What servers saw, connections of HTTP probes left out."""
    connections: int = 0
    open_connections: int = 0
    # Of connections; TCP payload.
    received: int = 0
    sent: int = 0
    # Connections that said nothing, and the part of `sent` that went to them.
    silent: int = 0
    sent_to_silent: int = 0
    # Connections that a server left before their end, so that it may have missed something.
    unread: int = 0
    # UDP payload.
    datagram_bytes_received: int = 0
    datagram_bytes_sent: int = 0
    # Datagrams for which a server's buffer had no room.
    datagrams_lost: int = 0

    def __add__(self, other):
        return Tally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


class TallyBook:
    """Counts of one TCP server, kept connection by connection."""

    def __init__(self):
        self._lock = threading.Lock()
        self._past = Tally()
        self._open = set()

    def open(self, account):
        with self._lock:
            self._open.add(account)

    def close(self, account):
        with self._lock:
            if account in self._open:
                self._open.discard(account)
                self._past += account.tally(0)

    def total(self):
        with self._lock:
            return sum((account.tally(1) for account in self._open), self._past)


class Account:
    """One connection. Written by the one thread that serves it."""

    def __init__(self):
        self.received = self.sent = 0
        self.has_seen_end = False
        self._head = b""

    def note_received(self, data):
        self.received += len(data)
        self.has_seen_end |= not data
        if len(self._head) < 512:
            self._head += bytes(data[:512])

    @contextlib.contextmanager
    def noting_resets(self):
        """A reset is an end too: of a flow Weir has counted it, of a probe nothing was to come."""
        try:
            yield
        except ConnectionError:
            self.has_seen_end = True
            raise

    def tally(self, open_count):
        if self._head.startswith(b"GET ") and PROBE_AGENT in self._head:
            return Tally()
        is_silent = self.received == 0
        return Tally(
            connections=1, open_connections=open_count, received=self.received, sent=self.sent,
            silent=int(is_silent), sent_to_silent=self.sent if is_silent else 0, unread=int(not self.has_seen_end))


class CountedSocket(socket.socket):
    """An accepted connection that keeps its account."""

    __slots__ = ("account",)

    def __init__(self, connection):
        super().__init__(fileno=connection.detach())
        self.account = Account()

    def recv(self, *arguments):
        with self.account.noting_resets():
            data = super().recv(*arguments)
        self.account.note_received(data)
        return data

    def send(self, *arguments):
        with self.account.noting_resets():
            count = super().send(*arguments)
        self.account.sent += count
        return count

    def sendall(self, data, *flags):
        """Piece by piece, so that what left before an error is known."""
        view = memoryview(data).cast("B")
        while view:
            view = view[self.send(view, *flags):]


class Metrics:
    """One reading of /metrics."""

    def __init__(self, text):
        self._samples = []
        for line in text.splitlines():
            if match := _SAMPLE.fullmatch(line):
                self._samples.append((match[1], match[2] or "", float(match[3])))

    def sum(self, name, **labels):
        """Over all samples that have these labels; a family without samples is zero."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return int(sum(value for sample, text, value in self._samples
                       if sample == name and all(label in text for label in wanted)))


LEVELS = {"load balancers": "weir", "listeners": "weir_listener", "target groups": "weir_target_group"}


def own_problems(metrics, listed, has_changed=False, is_application=False):
    """What does not add up within one Weir; `listed` are live flows of the tables, by transport.

    In application mode listeners count clients' connections and groups those to targets, which live on their own.
    """
    problems = []

    def must(condition, text):
        if not condition:
            problems.append(text)

    for transport in ("tcp", "udp"):
        for level, prefix in LEVELS.items():
            if is_application and level == "target groups":
                continue
            active = metrics.sum(f"{prefix}_active_flows", transport=transport)
            new = metrics.sum(f"{prefix}_new_flows_total", transport=transport)
            # What has left takes its counts with it.
            must(active == listed[transport] or (has_changed and active < listed[transport]),
                 f"{transport}: {active} active flows at {level}, {listed[transport]} in the tables")
            must(new >= active or has_changed, f"{transport}: {new} new flows at {level}, {active} active")
    ended = {t: metrics.sum("weir_new_flows_total", transport=t) - metrics.sum("weir_active_flows", transport=t)
             for t in ("tcp", "udp")}
    resets = metrics.sum("weir_tcp_resets_total", **({"by": "client"} if is_application else {}))
    must(resets <= ended["tcp"], f"{resets} resets, but {ended['tcp']} TCP flows ended")
    recycled = metrics.sum("weir_worker_recycled_flows_total")
    must(recycled <= ended["udp"], f"{recycled} UDP flows recycled, but {ended['udp']} ended")
    if not has_changed and not is_application:
        gone = gone_count(metrics)
        sought = metrics.sum("weir_listener_new_flows_total") - gone
        attempts = metrics.sum("weir_target_group_new_flows_total")
        errors = metrics.sum("weir_target_group_target_connection_errors_total")
        must(gone >= 0, f"{-gone} client resets of target groups that no listener has")
        must(sought <= attempts <= sought + errors,
             f"{sought} flows sought a target, {gone} were gone; {attempts} attempts, {errors} of them failed")
    return problems


def gone_count(metrics):
    """Flows whose client had left before a target was sought."""
    listeners, groups = (metrics.sum(f"{prefix}_tcp_resets_total", by="client")
                         for prefix in ("weir_listener", "weir_target_group"))
    return listeners - groups


@dataclass
class Circumstances:
    """What makes the comparison with servers less than exact; see above."""
    # All targets that had flows are servers of the harness, and none has left.
    is_whole: bool = True
    has_stream_checks: bool = False
    has_udp_checks: bool = False
    # In a network of its own, packets are lost on purpose.
    is_loopback: bool = True


def server_problems(metrics, tally, circumstances):
    """What does not add up between one Weir and the servers behind it."""
    problems = []

    def must(condition, text):
        if not condition:
            problems.append(text)

    new = metrics.sum("weir_new_flows_total", transport="tcp") - gone_count(metrics)
    errors = metrics.sum("weir_target_connection_errors_total")
    to_targets = metrics.sum("weir_processed_bytes_total", direction="client_to_target")
    to_clients = metrics.sum("weir_processed_bytes_total", direction="target_to_client")
    read = tally.received + (0 if circumstances.has_udp_checks else tally.datagram_bytes_received)
    sent = tally.sent + tally.datagram_bytes_sent
    must(read <= to_targets, f"{to_targets} bytes counted to targets, which read {read}")
    if not circumstances.is_whole:
        return problems
    must(to_clients <= sent, f"{to_clients} bytes counted from targets, which sent {sent}")
    resets = metrics.sum("weir_target_group_tcp_resets_total")
    must(new <= tally.connections + errors + resets,
         f"{new} new TCP flows, {tally.connections} connections at targets, {errors} attempts failed, {resets} resets")
    if errors == 0:
        ended = tally.connections - tally.open_connections
        probes_max = tally.silent if circumstances.has_stream_checks else 0
        must(ended + tally.open_connections - probes_max <= new,
             f"{new} new TCP flows, but targets saw {ended} end and {tally.open_connections} are open there, "
             f"at most {probes_max} of them probes")
    if metrics.sum("weir_tcp_resets_total") > 0 or tally.unread > 0:
        return problems
    has_udp = metrics.sum("weir_transport_processed_bytes_total", transport="udp") > 0
    if not has_udp or (circumstances.is_loopback and not circumstances.has_udp_checks
                       and errors == tally.datagrams_lost == 0):
        must(to_targets == read, f"{to_targets} bytes counted to targets, which read {read}")
    if has_udp:
        return problems
    missing_max = tally.sent_to_silent if circumstances.has_stream_checks else 0
    must(tally.sent - missing_max <= to_clients,
         f"{to_clients} bytes counted from targets, which sent {tally.sent}, at most {missing_max} to probes")
    return problems


def check_own(weir):
    """Waits until what one Weir says of its flows adds up."""

    def adds_up():
        listing = weir.api("/v1/flows?limit=10000")
        listed = {t: sum(flow["transport"].lower() == t for flow in listing["flows"]) for t in ("tcp", "udp")}
        # Which transport the rest is of is unknown; TCP flows come first.
        listed["udp"] += listing["omitted_count"]
        problems = own_problems(Metrics(weir.metrics()), listed, weir.has_changed, weir.is_application)
        assert not problems, "; ".join(problems)
        return True

    eventually(adds_up, 5, "flows add up")


def check_against_servers(weir, servers):
    """Waits until what Weir counted is what its targets saw; `servers` are all that the test has run."""
    known = [server for server in servers if hasattr(server, "tally")]
    if not known or weir.start_count != 1:
        return
    groups = weir.api("/v1/status")["target_groups"]
    addresses = {server.target for server in known}
    strangers = [t for g in groups for t in g["targets"] if t["statistics"]["new_flow_count_tcp"]
                 + t["statistics"]["new_flow_count_udp"] > 0 and _address(t) not in addresses]
    protocols = {g["health_check"]["protocol"] for g in groups if g["health_check"]["enabled"]}
    circumstances = Circumstances(
        is_whole=not (strangers or weir.has_changed or weir.has_lost_targets),
        has_stream_checks=bool(protocols - {"UDP"}), has_udp_checks="UDP" in protocols,
        is_loopback=not weir.is_in_namespace)

    def adds_up():
        tally = sum((server.tally() for server in known), Tally())
        problems = server_problems(Metrics(weir.metrics()), tally, circumstances)
        assert not problems, f"{'; '.join(problems)} ({circumstances}, {tally})"
        return True

    eventually(adds_up, 5, "what Weir counted is what its targets saw")


def _address(target):
    host = f"[{target['id']}]" if ":" in target["id"] else target["id"]
    return f"{host}:{target['port']}"
