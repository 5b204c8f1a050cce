"""UDP listeners: a flow per client, answers from the address that was asked, and floods that hurt nobody."""

import contextlib
import random
import socket
import struct
import subprocess
import threading

import pytest

from harness.clients import exchange, udp_client
from harness.servers import UDPServer, dnsmasq
from harness.waiting import eventually
from harness.weir import configuration, group, listener

SOL_UDP, UDP_SEGMENT = 17, 103
DNS_CHECK = {
    "protocol": "UDP", "udp": {"preset": "dns"}, "interval": 2, "timeout": 1, "healthy_threshold": 2,
    "unhealthy_threshold": 2,
}
# Holds for targets that put something before what they were sent as well.
ECHO_CHECK = {**DNS_CHECK, "udp": {"payload": "probe", "expect": "probe"}}


@pytest.fixture
def edge(make_weir, port):
    """A Weir with one UDP listener in front of the given targets: (weir, its port)."""

    def make(targets, addresses=("127.0.0.1",), protocol="UDP", settings=None, **more):
        entrance = port()
        weir = make_weir(configuration(
            [group("dns", [t if isinstance(t, str) else t.target for t in targets], protocol, **more)],
            [listener(entrance, "dns", protocol)], addresses, **(settings or {})))
        return weir, entrance

    return make


def named(name):
    """A target that puts its name before what it was sent."""
    return UDPServer(lambda data, peer, server: name.encode() + b" " + data, name)


def dig(entrance, *options):
    result = subprocess.run(
        ["dig", "+short", "+time=3", "+tries=1", "@127.0.0.1", "-p", str(entrance), *options, "weir.test", "A"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    return result.stdout.strip()


def test_dig_over_both_transports_of_one_port(edge, serve, directory, port):
    server = serve(dnsmasq(directory, port()))
    weir, entrance = edge([server], protocol="TCP_UDP", check=DNS_CHECK)
    weir.wait_for_states("dns", {server.port: "healthy"})
    assert dig(entrance) == "192.0.2.53"
    assert dig(entrance, "+tcp") == "192.0.2.53"
    statistics = weir.statistics()
    assert statistics["new_flow_count_udp"] == 1
    assert statistics["new_flow_count_tcp"] == 1


@pytest.mark.parametrize("size", [0, 1, 512, 1472, 9_000, 65_507])
def test_datagrams_of_every_size_keep_their_bounds(edge, serve, size):
    _, entrance = edge([serve(UDPServer())])
    data = random.Random(size).randbytes(size)
    with udp_client(entrance) as client:
        for _ in range(3):
            assert exchange(client, data) == data


def test_answers_leave_from_the_address_that_was_asked(edge, serve):
    """The client's sockets are connected, so that the kernel drops what comes from elsewhere."""
    _, entrance = edge([serve(UDPServer())], addresses=["0.0.0.0", "::"])
    for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"):
        with udp_client(entrance, address) as client:
            assert exchange(client, address.encode()) == address.encode()


def test_one_client_socket_asks_two_addresses_and_gets_both_answers(edge, serve):
    weir, entrance = edge([serve(UDPServer())], addresses=["0.0.0.0"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.bind(("127.0.0.1", 0))
        for address in ("127.0.0.2", "127.0.0.3"):
            client.sendto(address.encode(), (address, entrance))
            data, peer = client.recvfrom(100)
            assert (data, peer) == (address.encode(), (address, entrance))
    assert weir.statistics()["new_flow_count_udp"] == 2


@pytest.mark.parametrize("entrance_address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("target_address", ["127.0.0.1", "::1"])
def test_every_mix_of_families(edge, serve, entrance_address, target_address):
    _, entrance = edge([serve(UDPServer(address=target_address))], addresses=[entrance_address])
    with udp_client(entrance, entrance_address) as client:
        assert exchange(client, b"hello") == b"hello"


def test_many_clients_each_get_their_own_answers(edge, serve):
    weir, entrance = edge([serve(named(name)) for name in ("one", "two", "three")])
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(udp_client(entrance)) for _ in range(400)]
        names = {}
        for turn in range(3):
            for index, client in enumerate(clients):
                client.send(b"%d/%d" % (index, turn))
            for index, client in enumerate(clients):
                name, data = client.recv(100).split(b" ")
                assert data == b"%d/%d" % (index, turn)
                # A flow keeps its target.
                assert names.setdefault(index, name) == name
        assert set(names.values()) == {b"one", b"two", b"three"}
        assert weir.statistics()["active_flow_count_udp"] == 400
    assert weir.statistics()["new_flow_count_udp"] == 400


def test_a_segmented_burst_arrives_as_the_datagrams_it_is(edge, serve):
    server = serve(UDPServer(lambda data, peer, server: None))
    _, entrance = edge([server])
    parts = [b"%02d" % index + b"x" * 1198 for index in range(40)] + [b"last"]
    with udp_client(entrance) as client:
        size = struct.pack("H", 1200)
        client.sendmsg([b"".join(parts)], [(SOL_UDP, UDP_SEGMENT, size)])
        eventually(lambda: len(server.received) == len(parts))
    assert [data for data, _ in server.received] == parts


def test_a_target_that_sends_bursts_is_heard_in_order(edge, serve):
    server = serve(UDPServer(lambda data, peer, server: [b"%03d" % index * 300 for index in range(50)]))
    _, entrance = edge([server])
    with udp_client(entrance) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        client.send(b"go")
        assert [client.recv(2000) for _ in range(50)] == [b"%03d" % index * 300 for index in range(50)]


def test_datagrams_of_a_refusing_target_move_elsewhere(edge, serve, port):
    """Nothing listens at one target: the ICMP error says so, and the next datagrams find the other."""
    closed = port()
    server = serve(named("one"))
    weir, entrance = edge([f"127.0.0.1:{closed}", server], check=ECHO_CHECK)
    weir.wait_for_states("dns", {closed: "unhealthy", server.port: "healthy"})
    for index in range(30):
        with udp_client(entrance, timeout=1) as client:
            assert exchange(client, b"%d" % index) == b"one %d" % index


def test_a_live_flow_moves_when_its_target_goes_silent(edge, serve):
    servers = {name: serve(named(name)) for name in ("one", "two")}
    weir, entrance = edge(servers.values(), check=ECHO_CHECK)
    weir.wait_for_states("dns", {server.port: "healthy" for server in servers.values()})
    with udp_client(entrance, timeout=1) as client:
        name = exchange(client, b"hello").split()[0].decode()
        gone = servers.pop(name)
        gone.stop()
        (other,) = servers

        def is_answered_by_the_other():
            client.send(b"again")
            return client.recv(100) == other.encode() + b" again"

        eventually(is_answered_by_the_other, 20)
        health = weir.targets("dns")[gone.port]["health"]
        assert health["state"] in ("unhealthy", "unhealthy.draining")


def test_traffic_that_is_refused_is_a_sign_of_ill_health(edge, serve):
    """Its next regular probe is minutes away: the refused datagrams of clients tell much sooner."""
    target = serve(UDPServer())
    weir, entrance = edge([target], check={**ECHO_CHECK, "interval": 300})
    weir.wait_for_states("dns", {target.port: "healthy"})
    target.stop()

    def is_seen():
        with udp_client(entrance, timeout=0.2) as client:
            with contextlib.suppress(OSError):
                exchange(client, b"hello")
        return weir.states("dns")[target.port] != "healthy"

    eventually(is_seen, 15)
    health = weir.targets("dns")[target.port]["health"]
    assert health["reason"] == "Target.FailedHealthChecks"
    assert "refused" in health["description"]


@pytest.mark.slow
def test_a_flood_of_sources_takes_neither_memory_nor_live_flows(edge, serve):
    """The table holds 500 flows and 4,000 sources come: most are shed, the live flow loses nothing."""
    weir, entrance = edge([serve(UDPServer())], settings={"limits": {"udp_flows": 500}})
    before = weir.resident_bytes()
    is_over = threading.Event()

    def flood():
        try:
            for _ in range(4_000):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.sendto(b"flood", ("127.0.0.1", entrance))
        finally:
            is_over.set()

    with udp_client(entrance, timeout=5) as client:
        for index in range(10):
            assert exchange(client, b"before %d" % index) == b"before %d" % index
        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        count = 0
        while not is_over.is_set() or count < 500:
            message = b"during %d" % count
            assert exchange(client, message) == message
            count += 1
        thread.join(20)
    statistics = weir.statistics()
    # Each worker may admit one more while another does.
    assert statistics["active_flow_count_udp"] <= 502
    assert statistics["rejected_flow_count"] + weir.api("/v1/status")["counters"]["recycled_flows"] > 2_000
    assert weir.resident_bytes() - before < 32 << 20
    assert weir.fd_count() < weir.baseline_fd_count + 600
