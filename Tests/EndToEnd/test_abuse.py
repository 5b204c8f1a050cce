"""Clients, targets and an environment that wish Weir ill. In each test somebody well-behaved goes on unharmed.

The small size of each runs by default; the full one is marked heavy: scripts/test e2e -- -m heavy. That flows and
bytes add up after all of it is checked where every test ends; see harness/accounting.py.
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import pytest

from harness.clients import Hammer, ask, connect, exchange, udp_client
from harness.clock import WallClock
from harness.crowds import CrowdServer, Pulse, datagrams_without_room, descriptors_left, flood
from harness.network import Network
from harness.servers import (
    FullBacklog, TCPServer, UDPServer, UDPSink, greeter_process, http_server, receive_exactly, receive_line,
    reset,
)
from harness.waiting import eventually
from harness.weir import BINARY, FAST_CHECK, NO_CHECK, UnixHTTPConnection, configuration, group, listener

MEBIBYTE = 1 << 20


def heavy(*values):
    return pytest.param(*values, marks=pytest.mark.heavy)


@pytest.fixture
def edge(make_weir, serve, port):
    """A Weir whose listener leads to a crowd's target: (weir, its port, the targets)."""

    def make(target_count=1, settings=None, **more):
        servers = [serve(CrowdServer(greeting=b"hello\n")) for _ in range(target_count)]
        entrance = port()
        weir = make_weir(configuration(
            [group("web", [s.target for s in servers], **more)], [listener(entrance, "web")], **(settings or {})))
        return weir, entrance, servers

    return make


def pulse_on(entrance, **options):
    return Pulse(entrance, greeting=b"hello\n", **options)


def batches(count, size):
    for first in range(0, count, size):
        yield range(first, min(count, first + size))


def client_bytes_and_target_bytes(weir):
    statistics = weir.statistics()
    return statistics["client_bytes"], statistics["target_bytes"]


# Connections that are opened and left

@pytest.mark.parametrize("count", [1_500, heavy(20_000)])
def test_connections_opened_and_abandoned(edge, count):
    """In every way to leave: at once or after the greeting, with a FIN or a reset, with bytes unread or unsent."""
    weir, entrance, servers = edge(4)
    generator = random.Random(count)
    memory = []
    with pulse_on(entrance) as pulse:
        for batch in batches(count, min(500, descriptors_left() // 2)):
            clients = []
            for number in batch:
                client = connect(entrance, source=(f"127.0.1.{1 + number % 200}", 0))
                match generator.randrange(6):
                    case 0: client.close()
                    case 1: reset(client)
                    case 2: client.sendall(b"x" * 1000); clients.append(client)
                    case 3: client.sendall(b"x" * 1000); reset(client)
                    case 4: client.shutdown(socket.SHUT_WR); clients.append(client)
                    case 5: clients.append(client)
            for client in clients:
                reset(client) if generator.randrange(2) else client.close()
            memory.append(weir.resident_bytes())
        pulse.beat()
    assert pulse.errors == []
    eventually(lambda: weir.active_tcp_count() == 0, 20)
    eventually(lambda: sum(s.live_count for s in servers) == 0, 20, "targets know that all is over")
    statistics = weir.statistics()
    # A connection reset while it waited in the queue never was one.
    assert statistics["new_flow_count_tcp"] <= count + 2
    assert statistics["new_flow_count_tcp"] + statistics["rejected_flow_count"] >= count * 0.9
    assert memory[-1] - memory[0] < 24 * MEBIBYTE, f"{[m >> 20 for m in memory]} MiB"


@pytest.mark.parametrize("count", [400, heavy(3_000)])
def test_connections_that_send_nothing(edge, count):
    """They cost two descriptors each, no pipe, little memory, and no time."""
    weir, entrance, _ = edge(2)
    before = weir.resident_bytes()
    count = min(count, descriptors_left() // 3)
    with pulse_on(entrance) as pulse, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(entrance)) for _ in range(count)]
        eventually(lambda: weir.active_tcp_count() == count + 2)
        pulse.beat()
        cpu, begin = weir.cpu_seconds(), time.monotonic()
        pulse.beat(50)
        busy = (weir.cpu_seconds() - cpu) / (time.monotonic() - begin)
        assert busy < 0.8, f"{busy:.2f} of a core beside two small flows"
        assert weir.fd_count() <= weir.baseline_fd_count + 2 * (count + 2) + 64
        assert (weir.resident_bytes() - before) / count < 16 << 10
        # They are alive after all.
        for client in clients[:: max(1, count // 50)]:
            assert receive_line(client) == b"hello\n"
            client.sendall(b"late")
            assert receive_exactly(client, 4) == b"late"
    assert pulse.errors == []


@pytest.mark.heavy
def test_silent_connections_end_after_the_idle_timeout(make_weir, serve, port):
    server = serve(CrowdServer(greeting=b"hello\n"))
    entrance = port()
    weir = make_weir(configuration(
        [group("web", [server.target])],
        [listener(entrance, "web", attributes={"tcp.idle_timeout.seconds": 60})]))
    with pulse_on(entrance) as pulse, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(entrance, timeout=90)) for _ in range(500)]
        begin = time.monotonic()
        for client in clients:
            receive_line(client)
        for client in clients:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert 58 < time.monotonic() - begin < 75
        pulse.beat()
    assert pulse.errors == []
    assert weir.statistics()["tcp_elb_reset_count"] == 500


# Slow readers, slow writers

@pytest.mark.parametrize("count", [150, heavy(2_000)])
def test_slow_readers_by_the_hundred(edge, count):
    """Each asks for more than all buffers hold and reads a little: bounded memory, and nobody else waits."""
    weir, entrance, servers = edge(2)
    before = weir.resident_bytes()
    with pulse_on(entrance) as pulse, contextlib.ExitStack() as stack:
        clients = []
        for _ in range(min(count, descriptors_left() // 3)):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(20)
            client.connect(("127.0.0.1", entrance))
            clients.append(client)
        for client in clients:
            client.setblocking(False)
        sent = dict.fromkeys(clients, 0)
        block = b"x" * 65_536
        for _ in range(6):
            for client in clients:
                with contextlib.suppress(BlockingIOError):
                    sent[client] += client.send(block)
        pulse.beat()
        assert weir.resident_bytes() - before < count * (64 << 10) + (64 << 20)
        # A trickle for all, and all of it for some.
        for client in clients:
            client.setblocking(True)
            client.settimeout(20)
            assert receive_line(client) == b"hello\n"
            assert receive_exactly(client, 1) == b"x"
        pulse.beat()
        for client in clients[:10]:
            client.shutdown(socket.SHUT_WR)
            assert len(receive_exactly(client, sent[client] - 1)) == sent[client] - 1
            assert client.recv(1) == b""
        for client in clients[10:]:
            reset(client)
    assert pulse.errors == []
    assert pulse.worst < 5


@pytest.mark.parametrize("count, rounds", [(200, 8), heavy(2_000, 20)])
def test_writers_of_one_byte_by_the_hundred(edge, count, rounds):
    """Every byte arrives, none twice, in order; and what both ends know is what Weir counted."""
    weir, entrance, servers = edge(2)
    count = min(count, descriptors_left() // 3)
    with pulse_on(entrance) as pulse, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(entrance)) for _ in range(count)]
        for client in clients:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            assert receive_line(client) == b"hello\n"
        for turn in range(rounds):
            for number, client in enumerate(clients):
                client.send(bytes([(number + turn) % 256]))
        for number, client in enumerate(clients):
            expected = bytes((number + turn) % 256 for turn in range(rounds))
            assert receive_exactly(client, rounds) == expected
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
    assert pulse.errors == []
    eventually(lambda: sum(s.live_count for s in servers) == 0)
    weir.check_bytes(sum(s.received_bytes for s in servers), sum(s.sent_bytes for s in servers))
    assert weir.statistics()["client_bytes"] >= count * rounds


# Floods

@pytest.mark.parametrize("count, rate", [(5_000, 20_000), heavy(200_000, 20_000)])
def test_a_flood_of_half_open_connections(make_network, make_weir, serve, count, rate):
    """Raw SYNs from invented sources, none of them completed: the kernel's cookies and Weir's queue stand it."""
    net = make_network(1)
    with net.targets[0]:
        server = serve(CrowdServer(Network.address(1), 8080, greeting=b"hello\n"))
    weir = make_weir(configuration(
        [group("web", [server.target])], [listener(80, "web")], [Network.address(0, 1)]), start=False)
    weir.start(prefix=net.weir.prefix)
    # Invented sources live behind the client, where nobody answers.
    net.weir.ip(f"route add 10.9.0.0/16 via {Network.address(0)}")
    net.client.ip("route add blackhole 10.9.0.0/16")
    before = weir.resident_bytes()
    with net.client, Pulse(80, Network.address(0, 1), greeting=b"hello\n") as pulse:
        flooding = flood("syn", Network.address(0, 1), 80, count, rate, "10.9")
        try:
            names = 0
            while flooding.is_running or names < 50:
                with connect(80, Network.address(0, 1), timeout=10) as client:
                    assert receive_line(client) == b"hello\n"
                names += 1
        finally:
            said = flooding.wait()
        pulse.beat()
    assert pulse.errors == [] and "0 failed" in said, said
    assert weir.resident_bytes() - before < 16 * MEBIBYTE
    assert weir.statistics()["new_flow_count_tcp"] == names + 2


@pytest.mark.parametrize("count", [200, heavy(3_000)])
def test_connections_whose_target_never_answers(make_weir, serve, port, count):
    """All of them wait for a target; another listener does not."""
    silent, server = serve(FullBacklog()), serve(CrowdServer(greeting=b"hello\n"))
    dead, entrance = port(), port()
    weir = make_weir(configuration(
        [group("dead", [silent.target], connect_timeout=2), group("web", [server.target])],
        [listener(dead, "dead"), listener(entrance, "web")]))
    with pulse_on(entrance) as pulse, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(dead)) for _ in range(min(count, descriptors_left() // 3))]
        eventually(lambda: weir.api(f"/v1/listeners/edge:{dead}")["statistics"]["active_flow_count_tcp"] > count / 2)
        pulse.beat()
        for client in clients:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        pulse.beat()
    assert pulse.errors == [] and pulse.worst < 2
    assert weir.api(f"/v1/listeners/edge:{dead}")["statistics"]["tcp_elb_reset_count"] == len(clients)


@pytest.mark.skipif(os.getuid() != 0, reason="only root has raw sockets")
@pytest.mark.parametrize("count, rate, flows", [(10_000, 4_000, 500), heavy(1_000_000, 8_000, 4_000)])
def test_a_udp_flood_of_invented_sources(make_weir, serve, port, count, rate, flows):
    """Addresses of 127.0.0.0/8 and all their ports: a table far too small, and live flows that lose nothing.

    Once the live flows have their target, new ones get another that reads nothing: it is Weir that is flooded, not
    an echo in Python.
    """
    target, sink = serve(UDPServer()), serve(UDPSink())
    flooded, calm = port(), port()
    weir = make_weir(configuration(
        [group("dns", None, "UDP")],
        [listener(flooded, "dns", "UDP"), listener(calm, "dns", "UDP")], limits={"udp_flows": flows}))
    weir.cli("targets", "register", "dns", target.target)
    before, begin = weir.resident_bytes(), time.monotonic()
    with Pulse(flooded, transport="udp", flow_count=4) as pulse, Pulse(calm, transport="udp") as other:
        pulse.beat()
        other.beat()
        weir.cli("targets", "register", "dns", sink.target)
        weir.cli("targets", "register", "dns", target.target, "--weight", "0")
        flooding = flood("udp", "127.0.0.1", flooded, count, rate, "127.77")
        try:
            eventually(lambda: not flooding.is_running or pulse.errors or other.errors, 60 + count / rate * 3)
        finally:
            said = flooding.wait()
        assert "0 failed" in said, said
        pulse.beat(100)
        duration = time.monotonic() - begin
        without_room = datagrams_without_room(flooded, calm, target.port)
        ages = {flow["client"]: flow["age_seconds"] for flow in weir.api("/v1/flows?limit=10000")["flows"]}
    assert pulse.errors == [] and other.errors == [], (pulse.errors, other.errors, said)
    # Each of them is in the one flow that it began with, and lost what the kernel had no room for, if anything.
    assert all(ages.get(client, 0) > duration - 2 for client in pulse.addresses + other.addresses), ages
    assert pulse.lost + other.lost <= without_room, (pulse.lost, other.lost, without_room)
    statistics, counters = weir.statistics(), weir.counters()
    assert statistics["active_flow_count_udp"] <= flows + 2
    assert counters["recycled_flows"] + statistics["rejected_flow_count"] >= count * 0.9 - flows
    assert weir.resident_bytes() - before < 48 * MEBIBYTE
    assert weir.fd_count() < weir.baseline_fd_count + flows + 64


# Descriptors

def test_descriptors_exhausted_and_recovered(edge, serve, port):
    """The limit sinks below what is open: new connections are refused, nothing spins, health blames nobody."""
    weir, entrance, servers = edge(2, check={**FAST_CHECK})
    weir.wait_for_states("web", {s.port: "healthy" for s in servers})
    with pulse_on(entrance) as pulse:
        pulse.beat()
        weir.set_descriptor_limit(weir.fd_count() + 20)
        with contextlib.ExitStack() as stack:
            kept, refused = [], 0
            for _ in range(60):
                with contextlib.suppress(ConnectionResetError):
                    client = stack.enter_context(connect(entrance))
                    client.settimeout(2)
                    receive_line(client)
                    kept.append(client)
                    continue
                refused += 1
            assert refused >= 45 and kept, f"{refused} refused, {len(kept)} served"
            assert weir.process.poll() is None
            cpu, begin = weir.cpu_seconds(), time.monotonic()
            time.sleep(4)
            used = (weir.cpu_seconds() - cpu) / (time.monotonic() - begin)
            # Two pulsing flows are in it.
            assert used < 0.6, f"{used:.2f} of a core while descriptors are out"
            pulse.beat()
            for client in kept:
                client.sendall(b"still")
                assert receive_exactly(client, 5) == b"still"
        weir.set_descriptor_limit()
        eventually(lambda: weir.statistics()["rejected_flow_count"] >= refused)
        # Two intervals of probes found no descriptor: that is Weir's trouble, not the targets'.
        assert weir.states("web") == {s.port: "healthy" for s in servers}
        assert "to=unhealthy" not in weir.log()
        for _ in range(20):
            with connect(entrance) as client:
                assert receive_line(client) == b"hello\n"
    assert pulse.errors == []


def test_not_one_descriptor_left(edge):
    """Not even to refuse: connections wait in the queue, at no cost, and are served when there is room again."""
    weir, entrance, _ = edge(1, settings={"workers": 1})
    with pulse_on(entrance) as pulse, contextlib.ExitStack() as stack:
        pulse.beat()
        weir.set_descriptor_limit(10)
        for _ in range(20):
            stack.enter_context(connect(entrance))
        time.sleep(0.5)
        pulse.beat()
    assert pulse.errors == []
    # Without the pulse there is nothing to do.
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(connect(entrance)) for _ in range(20)]
        time.sleep(0.3)
        cpu = weir.cpu_seconds()
        time.sleep(2)
        used = weir.cpu_seconds() - cpu
        assert used < 0.1, f"{used:.2f} s of CPU in 2 s"
        weir.set_descriptor_limit()
        served = 0
        for client in waiting:
            with contextlib.suppress(ConnectionResetError):
                served += receive_line(client) == b"hello\n"
        # The spare descriptor may have refused some before it was gone.
        assert served >= 10
    with connect(entrance) as client:
        assert receive_line(client) == b"hello\n"


@pytest.mark.parametrize("flows", [200, heavy(3_000)])
def test_udp_flows_without_descriptors(make_weir, serve, port, flows):
    target = serve(UDPServer())
    entrance = port()
    weir = make_weir(configuration([group("dns", [target.target], "UDP")], [listener(entrance, "dns", "UDP")]))
    with Pulse(entrance, transport="udp", flow_count=3) as pulse, contextlib.ExitStack() as stack:
        pulse.beat()
        weir.set_descriptor_limit(weir.fd_count() + 30)
        for _ in range(flows):
            stack.enter_context(udp_client(entrance)).send(b"one of many")
        pulse.beat(100)
        cpu = weir.cpu_seconds()
        time.sleep(1)
        assert weir.cpu_seconds() - cpu < 0.8
        weir.set_descriptor_limit()
        with udp_client(entrance) as client:
            assert exchange(client, b"again") == b"again"
    assert pulse.errors == [] and pulse.lost <= datagrams_without_room(entrance, target.port)
    assert weir.counters()["shed_descriptors"] + weir.counters()["recycled_flows"] > flows / 2


# The store

@pytest.fixture
def small_disk(directory):
    """A file system of 1 MiB, mounted for the test."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a file system")
    path = directory / "disk"
    path.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "weir-test", str(path)], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=20)
    if mount.returncode != 0:
        pytest.skip(f"no file system can be mounted: {mount.stderr}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], stdin=subprocess.DEVNULL, check=True, timeout=20)


def fill(path):
    """Takes what is left of the file system."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_a_full_disk_refuses_changes_and_nothing_else(make_weir, small_disk, greeters, port):
    servers = greeters(2)
    entrance = port()
    weir = make_weir(configuration(
        [group("web", None)], [listener(entrance, "web")], state=str(small_disk / "state.sqlite")))
    weir.cli("targets", "register", "web", servers[0].target)
    with Hammer(entrance, thread_count=1) as hammer:
        hammer.wait_for(10)
        fill(small_disk / "ballast")
        states = {}
        refused = None
        # The journal may have some room of its own; it is used up soon.
        for number in range(200):
            states = weir.states("web")
            result = weir.cli(
                "targets", "register", "web", f"127.0.2.{number + 1}:{9 + number}", "--weight", "0", check=False)
            if result.returncode != 0:
                refused = (f"127.0.2.{number + 1}", result)
                break
        assert refused, "200 registrations on a full disk"
        address, result = refused
        assert result.returncode == 1
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr
        assert "full" in result.stderr.lower() or "space" in result.stderr.lower(), result.stderr
        assert str(small_disk) in result.stderr, "it names the file"
        # Nothing changed: not in memory, not for flows.
        assert address not in [t["id"] for t in weir.group("web")["targets"]]
        for command in (("deregister", "web", servers[0].target), ("register", "web", servers[1].target)):
            assert weir.cli("targets", *command, check=False).returncode == 1
        assert weir.states("web") == states
        begin = time.monotonic()
        hammer.wait_for(20, since=begin)
        assert hammer.errors == [] and {name for _, name in hammer.answers} == {"one"}
        os.remove(small_disk / "ballast")
        weir.cli("targets", "register", "web", servers[1].target)
        weir.cli("targets", "deregister", "web", servers[0].target, "--wait")
        hammer.wait_for(20, since=time.monotonic())
    assert hammer.errors == []
    known = {t["id"] for t in weir.group("web")["targets"] if t["health"]["state"] != "draining"}
    weir.kill()
    weir.start()
    assert {t["id"] for t in weir.group("web")["targets"]} == known
    assert ask(entrance) == "two"


def test_a_start_on_a_full_disk_says_so_in_one_line(make_weir, small_disk, port):
    fill(small_disk / "ballast")
    weir = make_weir(configuration(
        [group("web", None)], [listener(port(), "web")], state=str(small_disk / "state.sqlite")), start=False)
    weir.launch()
    assert weir.process.wait(20) == 1
    errors = [line for line in weir.log().splitlines() if "state.sqlite" in line]
    assert len(errors) == 1 and ("full" in errors[0] or "space" in errors[0]), weir.log()


# Time stands still

def test_weir_is_stopped_and_continued(make_weir, greeters, serve, port):
    """What waited meanwhile is served, live flows go on, and no target is blamed for the pause."""
    servers = greeters(2)
    echo = serve(UDPServer())
    entrance, datagrams = port(), port()
    weir = make_weir(configuration(
        [group("web", [s.target for s in servers], check=FAST_CHECK), group("dns", [echo.target], "UDP")],
        [listener(entrance, "web"), listener(datagrams, "dns", "UDP")]))
    weir.wait_for_states("web", {s.port: "healthy" for s in servers})
    with contextlib.ExitStack() as stack:
        live = stack.enter_context(connect(entrance))
        receive_line(live)
        asker = stack.enter_context(udp_client(datagrams))
        assert exchange(asker, b"before") == b"before"
        for seconds in (0.2, 5):
            weir.process.send_signal(signal.SIGSTOP)
            waiting = [stack.enter_context(connect(entrance)) for _ in range(50)]
            live.sendall(b"during")
            asker.send(b"during")
            time.sleep(seconds)
            weir.process.send_signal(signal.SIGCONT)
            assert receive_exactly(live, 6) == b"during"
            assert asker.recv(100) == b"during"
            assert {receive_line(client).strip() for client in waiting} == {b"one", b"two"}
        time.sleep(1)
        assert "to=unhealthy" not in weir.log()
        assert weir.states("web") == {s.port: "healthy" for s in servers}


@pytest.mark.heavy
def test_weir_is_stopped_again_and_again_under_load(make_weir, greeters, port):
    servers = greeters(2)
    entrance = port()
    weir = make_weir(configuration(
        [group("web", [s.target for s in servers], check=FAST_CHECK)], [listener(entrance, "web")]))
    generator = random.Random(1)
    with Hammer(entrance) as hammer:
        begin = time.monotonic()
        while time.monotonic() - begin < 60:
            weir.process.send_signal(signal.SIGSTOP)
            time.sleep(generator.random() * 2)
            weir.process.send_signal(signal.SIGCONT)
            time.sleep(generator.random())
    assert hammer.errors == []
    assert "to=unhealthy" not in weir.log()


def test_a_target_is_stopped_and_continued(make_weir, serve, directory, port):
    """A stopped target's kernel still answers connection attempts: flows wait for it, and lose nothing."""
    one, two = serve(greeter_process(directory, "one", port())), serve(greeter_process(directory, "two", port()))
    entrance = port()
    weir = make_weir(configuration(
        [group("web", [one.target, two.target], check=FAST_CHECK)], [listener(entrance, "web")]))
    weir.wait_for_states("web", {one.port: "healthy", two.port: "healthy"})
    with contextlib.ExitStack() as stack:
        flows = [stack.enter_context(connect(entrance)) for _ in range(20)]
        names = [receive_line(flow).strip() for flow in flows]
        assert set(names) == {b"one", b"two"}
        one.process.send_signal(signal.SIGSTOP)
        try:
            for flow in flows:
                flow.sendall(b"alive?")
            for flow, name in zip(flows, names):
                if name == b"two":
                    assert receive_exactly(flow, 6) == b"alive?"
            later = [stack.enter_context(connect(entrance)) for _ in range(20)]
            time.sleep(0.5)
        finally:
            one.process.send_signal(signal.SIGCONT)
        for flow, name in zip(flows, names):
            if name == b"one":
                assert receive_exactly(flow, 6) == b"alive?"
        assert {receive_line(flow).strip() for flow in later} == {b"one", b"two"}


# The wall clock

DAY = 86_400


def test_a_step_of_the_wall_clock_changes_nothing(make_weir, greeters, serve, directory, port):
    """Years forward, years back: no flow ends, no target changes, and what takes two seconds takes two seconds.

    The clock is stepped for this Weir alone, and only CLOCK_REALTIME: that the log follows shows that it was.
    """
    clock = WallClock(directory)
    servers = greeters(3)
    one, two, three = servers
    echo = serve(UDPServer())
    entrance, datagrams = port(), port()
    weir = make_weir(configuration(
        [group("web", [s.target for s in servers], check=FAST_CHECK,
               attributes={"deregistration_delay.timeout_seconds": 2,
                           "deregistration_delay.connection_termination.enabled": True}),
         group("dns", [echo.target], "UDP")],
        [listener(entrance, "web", attributes={"tcp.idle_timeout.seconds": 60}),
         listener(datagrams, "dns", "UDP")]), start=False)
    weir.start(prefix=clock.prefix)
    weir.wait_for_states("web", {s.port: "healthy" for s in servers})
    uptime = weir.api("/v1/status")["uptime_seconds"]
    begin = time.monotonic()
    with contextlib.ExitStack() as stack:
        # So many that none of the three is left out by chance.
        flows = [stack.enter_context(connect(entrance)) for _ in range(40)]
        by_name = {flow: receive_line(flow).decode().strip() for flow in flows}
        assert set(by_name.values()) == {"one", "two", "three"}
        asker = stack.enter_context(udp_client(datagrams))
        for number, days in enumerate((400, -400, 7000, -10_000, 0, 1)):
            clock.step(days * DAY)
            probed = three.tally().connections
            for flow in flows:
                flow.sendall(b"alive?")
                assert receive_exactly(flow, 6) == b"alive?"
            assert exchange(asker, b"%d" % number) == b"%d" % number
            assert ask(entrance) in ("one", "two", "three")
            if number == 1:
                # Probes keep their pace: one in two seconds, neither none nor a storm.
                eventually(lambda: three.tally().connections > probed + 1, 5, "probes go on")
                assert three.tally().connections < probed + 6
        assert weir.statistics()["new_flow_count_udp"] == 1
        assert "to=unhealthy" not in weir.log()
        assert weir.api("/v1/status")["uptime_seconds"] - uptime <= time.monotonic() - begin + 1
        # A deregistration delay across a step back: two seconds, not ten thousand days.
        weir.cli("targets", "deregister", "web", one.target)
        left = time.monotonic()
        clock.step(-10_000 * DAY)
        for flow in flows:
            if by_name[flow] == "one":
                with pytest.raises(ConnectionError):
                    flow.recv(1)
        assert 1.5 < time.monotonic() - left < 4
        # A target that fails after a step forward is noticed in its time.
        clock.step(10_000 * DAY)
        two.stop_listening()
        left = time.monotonic()
        weir.wait_for_states("web", {two.port: "unhealthy", three.port: "healthy"}, 8)
        assert time.monotonic() - left > 1
    year = int(time.strftime("%Y", time.gmtime(time.time() + 10_000 * DAY)))
    assert f"{year}-" in weir.log(), "the log has the stepped time"


# Many and restless targets

@pytest.mark.parametrize("group_count, seconds", [(10, 6), heavy(100, 60)])
def test_targets_that_flap_every_second(make_weir, serve, port, group_count, seconds):
    """In every group one target's health turns every second; flows of a calm group notice nothing."""
    beginning = time.monotonic()

    def status():
        return "200 OK" if int(time.monotonic() - beginning) % 2 == 0 else "503 Service Unavailable"

    flapping = serve(TCPServer(http_server("flapping", status=status), backlog=4096))
    calm = serve(CrowdServer(greeting=b"hello\n"))
    groups, listeners = [], []
    flap_check = {**FAST_CHECK, "protocol": "HTTP", "path": "/health", "port": flapping.port, "matcher": "200"}
    for number in range(group_count):
        groups.append(group(f"flap{number}", [f"127.0.0.1:{flapping.port}", calm.target], check=flap_check))
        listeners.append(listener(port(), f"flap{number}"))
    entrance = port()
    groups.append(group("web", [calm.target]))
    weir = make_weir(configuration(groups, [*listeners, listener(entrance, "web")]))
    memory = []
    with pulse_on(entrance) as pulse:
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            # Each group is asked for a flow now and then.
            for entry in listeners[:10]:
                with contextlib.suppress(OSError):
                    connect(entry["port"]).close()
            memory.append(weir.resident_bytes())
            time.sleep(0.2)
        pulse.beat()
    assert pulse.errors == [] and pulse.worst < 2
    assert weir.log().count("target changed") >= group_count
    assert memory[-1] - memory[len(memory) // 2] < 16 * MEBIBYTE


@pytest.mark.parametrize(
    "count, is_checked", [(2_000, False), (1_000, True), heavy(10_000, False), heavy(10_000, True)])
def test_thousands_of_targets(make_weir, serve, port, count, is_checked):
    """Registered by hundreds while traffic runs: registering, looking and removing take their time from nobody."""
    server = serve(CrowdServer("0.0.0.0", greeting=b"hello\n"))
    entrance, own = port(), port()
    check = {**FAST_CHECK, "interval": 10, "timeout": 5} if is_checked else NO_CHECK
    weir = make_weir(configuration(
        [group("many", None, check=check), group("web", [f"127.0.0.1:{server.port}"])],
        [listener(entrance, "many"), listener(own, "web")]))
    before = weir.resident_bytes()
    targets = [f"127.{1 + n // 60_000}.{n // 250 % 250}.{1 + n % 250}" for n in range(count)]
    figures = {}

    @contextlib.contextmanager
    def measured(name):
        begin = time.monotonic()
        yield
        figures[name] = round(time.monotonic() - begin, 3)

    with pulse_on(own) as pulse:
        with measured("register"):
            for batch in batches(count, 500):
                body = {"targets": [{"id": targets[n], "port": server.port} for n in batch]}
                status, answer = request(weir, "POST", "/v1/target-groups/many/targets", body)
                assert status == 200, answer
        with measured("status"):
            status = weir.api("/v1/status")
        (many,) = [g for g in status["target_groups"] if g["name"] == "many"]
        assert len(many["targets"]) == count
        with measured("weir status"):
            weir.cli("status")
        with measured("metrics"):
            assert str(count) in weir.metrics()
        with measured("one more"):
            weir.cli("targets", "register", "many", f"127.200.0.1:{server.port}")
        with measured("one less"):
            weir.cli("targets", "deregister", "many", f"127.200.0.1:{server.port}")
        if is_checked:
            with measured("all healthy"):
                def healthy_count():
                    return sum(t["health"]["state"] == "healthy" for t in weir.group("many")["targets"])
                eventually(lambda: healthy_count() >= count, 60, "all are healthy")
        for _ in range(50):
            with connect(entrance) as client:
                assert receive_line(client) == b"hello\n"
        pulse.beat()
        figures["MiB"] = (weir.resident_bytes() - before) >> 20
        figures["worst round trip"] = round(pulse.worst, 3)
    print(f"{count} targets, {is_checked=}: {figures}")
    assert pulse.errors == []
    assert pulse.worst < 1, figures
    assert figures["status"] < 10 and figures["weir status"] < 15 and figures["metrics"] < 10, figures
    assert figures["one more"] < 3 and figures["register"] < count / 200 + 5, figures
    assert figures["MiB"] < 64 + count // 40, figures


def request(weir, method, path, body=None, timeout=60):
    connection = UnixHTTPConnection(weir.socket_path, timeout)
    try:
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


# All of it for a while

@pytest.mark.heavy
def test_a_short_soak_ends_flat():
    """What scripts/soak does for half an hour, for half a minute: the script itself is what is tested."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "soak.py")
    result = subprocess.run(
        [sys.executable, script, "0.5"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        env={**os.environ, "WEIR_BINARY": str(BINARY)})
    assert result.returncode == 0, result.stdout[-10_000:] + result.stderr[-5_000:]
    assert len([line for line in result.stdout.splitlines() if line.split()[:1] and line.split()[0][0].isdigit()]) == 12


# Weir before itself

def test_a_listener_whose_target_is_itself(make_weir, serve, port):
    """One connection would become a chain without end; it ends at the bound, and all of it at once."""
    server = serve(CrowdServer(greeting=b"hello\n"))
    loop, entrance = port(), port()
    weir = make_weir(configuration(
        [group("loop", [f"127.0.0.1:{loop}"]), group("web", [server.target])],
        [listener(loop, "loop"), listener(entrance, "web")], limits={"tcp_flows": 300}))
    with contextlib.suppress(OSError), connect(loop, timeout=5) as client:
        client.recv(1)
    eventually(lambda: weir.active_tcp_count() == 0, 20)
    with connect(entrance) as client:
        assert receive_line(client) == b"hello\n"
