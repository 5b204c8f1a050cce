"""A network that fails: client, Weir and targets are machines of their own, on links that are cut and lossy.

Everything happens in network namespaces made for the test; see harness/network.py. What waits long for timeouts
is marked heavy: scripts/test e2e -- -m heavy
"""

import contextlib
import hashlib
import random
import socket
import threading
import time

import pytest

from harness.clients import Hammer, ask, connect, exchange, is_reset, udp_client
from harness.network import Network
from harness.servers import TCPServer, UDPServer, greeting, receive_all, receive_exactly, receive_line, reset
from harness.waiting import eventually
from harness.weir import FAST_CHECK, NO_CHECK, configuration, group, listener

PORT, TARGET_PORT, UDP_PORT = 80, 8080, 53
VIP = "10.88.0.10"
KEEP_FLOWS = {"target_health_state.unhealthy.connection_termination.enabled": False}
UDP_CHECK = {**FAST_CHECK, "protocol": "UDP", "udp": {"payload": "probe", "expect": "probe"}}


class World:
    """A network, a Weir in it, and a server at each target."""

    def __init__(self, net, weir, servers):
        self.net, self.weir, self.servers = net, weir, servers
        self.client = net.client
        self.targets = net.targets

    def states(self, name="web"):
        """By the target's name."""
        names = {f"{Network.address(n, family=f)}": server.name
                 for n, server in enumerate(self.servers, 1) for f in (4, 6)}
        return {names[t["id"]]: t["health"]["state"] for t in self.weir.group(name)["targets"]}

    def wait_for(self, name="web", timeout=15, **states):
        eventually(lambda: self.states(name) == states, timeout, f"{states}")

    def health(self, number, name="web"):
        ids = [Network.address(number, family=f) for f in (4, 6)]
        (target,) = [t for t in self.weir.group(name)["targets"] if t["id"] in ids]
        return target["health"]


@pytest.fixture
def world(make_network, make_weir, serve):
    """A World with a TCP listener before greeters (who echo), or a UDP one before echoes."""

    def make(target_count=2, family=4, protocol="TCP", handler=greeting, addresses=None, families=(4, 6),
             balancer=None, settings=None, **more):
        net = make_network(target_count, families)
        servers = []
        for number, namespace in enumerate(net.targets, 1):
            with namespace:
                address = Network.address(number, family=family)
                if protocol == "UDP":
                    servers.append(serve(UDPServer(name=namespace.label, address=address, port=TARGET_PORT)))
                else:
                    servers.append(serve(TCPServer(handler, namespace.label, address, TARGET_PORT)))
        entrance = UDP_PORT if protocol == "UDP" else PORT
        config = configuration(
            [group("web", [s.target for s in servers], protocol, **more)], [listener(entrance, "web", protocol)],
            addresses or [Network.address(0, 1, family)], **(settings or {}))
        config["load_balancers"][0].update(balancer or {})
        weir = make_weir(config, start=False)
        weir.start(prefix=net.weir.prefix)
        return World(net, weir, servers)

    return make


def flows_to_each(world, count, address=Network.address(0, 1)):
    """`count` live flows of each target, by its name."""
    flows = {server.name: [] for server in world.servers}
    for _ in range(count * 40):
        client = connect(PORT, address)
        name = receive_line(client).decode().strip()
        if len(flows[name]) < count:
            flows[name].append(client)
        else:
            client.close()
        if all(len(clients) == count for clients in flows.values()):
            return flows
    raise AssertionError(f"{ {name: len(clients) for name, clients in flows.items()} }")


def is_alive(client):
    client.sendall(b"alive?")
    return receive_exactly(client, 6) == b"alive?"


def close_all(flows):
    for clients in flows.values():
        for client in clients:
            client.close()


def content_of(byte_count, seed=1):
    return random.Random(seed).randbytes(byte_count)


# Links that go and come

@pytest.mark.heavy
def test_a_link_that_goes_down_takes_its_own_flows_and_no_others(world):
    world = world(check=FAST_CHECK, connect_timeout=1)
    world.wait_for(one="healthy", two="healthy")
    with world.client:
        flows = flows_to_each(world, 3)
        one = world.targets[0]
        with Hammer(PORT, Network.address(0, 1), thread_count=2) as hammer:
            hammer.wait_for(20)
            one.ip("link set weir down")
            cut = time.monotonic()
            # Health has not noticed yet: clients lose time, not their connection.
            world.wait_for(one="unhealthy", two="healthy")
            noticed = time.monotonic()
            assert all(is_alive(client) for client in flows["two"])
            hammer.wait_for(20, since=noticed)
            # Not those that were on the link as it was cut.
            assert [error for begin, error in hammer.errors if begin > cut] == []
            assert set(hammer.names_since(noticed)) == {"two"}
        assert world.health(1)["reason"] in ("Target.Timeout", "Target.FailedHealthChecks")
        # An unhealthy target's flows end, by default: the client need not wait for its own timeout.
        for client in flows["one"]:
            with pytest.raises(ConnectionError):
                client.recv(1)
        one.ip("link set weir up")
        world.wait_for(one="healthy", two="healthy")
        eventually(lambda: ask(PORT, Network.address(0, 1)) == "one")
        assert all(is_alive(client) for client in flows["two"])
        close_all(flows)


def test_clients_of_an_unanswered_attempt_move_on_when_health_notices(world):
    """Ending the flows of an unhealthy target must not end those that are yet to find a target."""
    world = world(check=FAST_CHECK, connect_timeout=10)
    world.wait_for(one="healthy", two="healthy")
    with world.client, world.targets[0].rules("tcp dport 8080 drop"):
        clients = [connect(PORT, Network.address(0, 1)) for _ in range(12)]
        world.wait_for(one="unhealthy", two="healthy")
        assert [receive_line(client) for client in clients] == [b"two\n"] * 12
        for client in clients:
            client.close()


def test_a_link_that_is_back_in_time_costs_a_flow_nothing(world):
    """The transfer waits for as long as the link is down, and arrives whole."""
    def digest(connection, server):
        connection.sendall(server.name.encode() + b"\n")
        connection.sendall(hashlib.sha256(receive_all(connection)).digest())

    world = world(handler=digest, check=FAST_CHECK)
    content = content_of(8 << 20)
    with world.client, connect(PORT, Network.address(0, 1)) as client:
        name = receive_line(client).decode().strip()
        namespace = world.targets[[s.name for s in world.servers].index(name)]
        for part in range(4):
            client.sendall(content[part << 21:(part + 1) << 21])
            namespace.ip("link set weir down")
            time.sleep(0.4)
            namespace.ip("link set weir up")
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == hashlib.sha256(content).digest()
    world.weir.check_bytes(len(content), 32 + len(name) + 1)


def test_the_clients_link_goes_down_and_live_flows_go_on_after(world):
    world = world(check=FAST_CHECK)
    with world.client, connect(PORT, Network.address(0, 1)) as client:
        receive_line(client)
        client.sendall(b"before")
        assert receive_exactly(client, 6) == b"before"
        world.net.weir.ip("link set client down")
        with pytest.raises(OSError):
            connect(PORT, Network.address(0, 1), timeout=0.5)
        client.sendall(b"during")
        world.net.weir.ip("link set client up")
        assert receive_exactly(client, 6) == b"during"
        assert ask(PORT, Network.address(0, 1)) in ("one", "two")


# Packets that are dropped, rejected and blackholed

# Rule at the target, the reason shown, and words of the sentence.
WAYS_TO_REFUSE = [
    ("drop", "Target.Timeout", "connection attempt"),
    ("reject with tcp reset", "Target.FailedHealthChecks", "refused"),
    ("reject with icmp type port-unreachable", "Target.FailedHealthChecks", "refused"),
    ("reject with icmp type host-unreachable", "Target.FailedHealthChecks", "route"),
    ("reject with icmp type admin-prohibited", "Target.FailedHealthChecks", "route"),
]


@pytest.mark.heavy
def test_each_way_to_refuse_has_its_reason_and_costs_no_client_its_connection(world):
    """Five targets refuse, each in its own way; one is left, and every client reaches it."""
    world = world(6, check=FAST_CHECK, connect_timeout=1, connect_attempts=8, attributes=KEEP_FLOWS)
    healthy = {server.name: "healthy" for server in world.servers}
    world.wait_for(**healthy)
    with world.client, contextlib.ExitStack() as stack:
        flows = flows_to_each(world, 1)
        for namespace, (way, _, _) in zip(world.targets, WAYS_TO_REFUSE):
            # Or the kernel sends one such error in a second.
            namespace.set(ipv4__icmp_ratelimit=0)
            stack.enter_context(namespace.rules(f"tcp dport 8080 tcp flags & (syn|ack) == syn {way}"))
        with Hammer(PORT, Network.address(0, 1), thread_count=8) as hammer:
            refused_at = time.monotonic()
            eventually(lambda: world.states() == {name: "healthy" if name == "six" else "unhealthy"
                                                  for name in healthy}, 15, "five are unhealthy")
        assert hammer.errors == []
        assert set(hammer.names_since(refused_at + 0.5)) == {"six"}
        for number, (way, reason, words) in enumerate(WAYS_TO_REFUSE, 1):
            health = world.health(number)
            assert health["reason"] == reason and words in health["description"].lower(), (way, health)
        # What lives goes on: the rules take new connections only.
        assert all(is_alive(client) for clients in flows.values() for client in clients)
        stack.close()
        world.wait_for(**healthy)
        assert world.weir.statistics()["target_connection_error_count"] > 0
        close_all(flows)


@pytest.mark.heavy
def test_each_way_to_have_no_route_is_seen_and_costs_no_client_its_connection(world):
    """Routes of Weir's own that lead nowhere, a link that is down and a firewall at home."""
    world = world(6, check=FAST_CHECK, connect_timeout=1, connect_attempts=8, attributes=KEEP_FLOWS)
    weir = world.net.weir
    healthy = {server.name: "healthy" for server in world.servers}
    world.wait_for(**healthy)
    with world.client, weir.rules(f"ip daddr {Network.address(5)} tcp flags syn drop", hook="output"):
        for number, kind in enumerate(("unreachable", "prohibit", "throw"), 1):
            weir.ip(f"route add {kind} {Network.address(number)}/32")
        weir.ip("link set four down")
        with Hammer(PORT, Network.address(0, 1)) as hammer:
            eventually(lambda: world.states() == {name: "healthy" if name == "six" else "unhealthy"
                                                  for name in healthy}, 15, "five are unhealthy")
        assert hammer.errors == [] and set(name for _, name in hammer.answers) == {"six"}
        for number in range(1, 5):
            health = world.health(number)
            assert health["reason"] == "Target.FailedHealthChecks", health
            assert "cannot be reached" in health["description"], health
        for number, kind in enumerate(("unreachable", "prohibit", "throw"), 1):
            weir.ip(f"route del {kind} {Network.address(number)}/32")
        weir.ip("link set four up")
        eventually(lambda: [n for n, state in world.states().items() if state != "healthy"] == ["five"], 15)


def test_a_target_behind_a_blackhole_route_is_unhealthy(world):
    world = world(check=FAST_CHECK)
    world.wait_for(one="healthy", two="healthy")
    with world.client:
        world.net.weir.ip(f"route add blackhole {Network.address(1)}/32")
        assert {ask(PORT, Network.address(0, 1)) for _ in range(20)} == {"two"}
        world.wait_for(one="unhealthy", two="healthy", timeout=7)


def test_all_targets_blackholed_ends_in_a_reset_and_recovers(world):
    world = world(check=NO_CHECK, connect_timeout=1)
    with world.client, contextlib.ExitStack() as stack:
        for namespace in world.targets:
            stack.enter_context(namespace.rules("tcp dport 8080 drop"))
        begin = time.monotonic()
        assert is_reset(PORT, Network.address(0, 1))
        assert 1.5 < time.monotonic() - begin < 4
        stack.close()
        assert ask(PORT, Network.address(0, 1)) in ("one", "two")
        assert world.weir.statistics()["target_connection_error_count"] == 2


def test_established_flows_that_are_reset_midway_are_reset_for_the_client(world):
    world = world(check=NO_CHECK)
    with world.client:
        flows = flows_to_each(world, 2)
        with world.targets[0].rules("tcp dport 8080 reject with tcp reset"):
            for client in flows["one"]:
                with pytest.raises(ConnectionError):
                    client.sendall(b"alive?")
                    if not client.recv(6):
                        raise ConnectionError("end of stream")
        assert all(is_alive(client) for client in flows["two"])
        eventually(lambda: world.weir.statistics()["tcp_target_reset_count"] == 2)
        close_all(flows)


@pytest.mark.heavy
def test_udp_towards_a_blackhole_ends_with_health(world):
    """Datagrams to a silent target are lost until health says so; then the flow finds the other."""
    world = world(protocol="UDP", check=UDP_CHECK)
    world.wait_for(one="healthy", two="healthy")
    address = Network.address(0, 1)
    with world.client, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(udp_client(UDP_PORT, address, timeout=0.3)) for _ in range(8)]
        for client in clients:
            exchange(client, b"hello")
        with world.targets[0].rules("udp dport 8080 drop"):
            world.wait_for(one="unhealthy", two="healthy")
            for number, client in enumerate(clients):
                assert exchange(client, b"%d" % number) == b"%d" % number
        world.wait_for(one="healthy", two="healthy")


# Loss

@pytest.mark.parametrize("where", ["client", "targets", "both"])
def test_a_transfer_through_ten_percent_loss_arrives_whole(world, where):
    world = world(1, check=NO_CHECK, connect_timeout=20, handler=lambda connection, server: echo(connection))
    content = content_of(4 << 20)
    # Single packets instead of segments that are lost or carried whole.
    ends = [(world.net.weir, "client"), (world.net.weir, "one"), (world.client, "weir"), (world.targets[0], "weir")]
    for namespace, device in ends:
        namespace.run("ethtool", "-K", device, "tso", "off", "gso", "off")
    lossy = {"client": [world.client], "targets": world.targets, "both": [world.client, *world.targets]}[where]
    with world.client, contextlib.ExitStack() as stack:
        for namespace in lossy:
            stack.enter_context(namespace.rules("meta l4proto tcp numgen random mod 100 < 10 drop"))
        with connect(PORT, Network.address(0, 1), timeout=60) as client:
            sender = threading.Thread(target=lambda: (client.sendall(content), client.shutdown(socket.SHUT_WR)))
            sender.start()
            received = receive_all(client)
            sender.join(60)
        assert hashlib.sha256(received).digest() == hashlib.sha256(content).digest()
    assert sum(retransmissions(n) for n in (world.net.weir, world.client, *world.targets)) > 50, "nothing was lost"
    world.weir.check_bytes(len(content), len(content))


def retransmissions(namespace):
    names, values = [line.split() for line in namespace.run("cat", "/proc/net/snmp").splitlines()
                     if line.startswith("Tcp:")]
    return int(values[names.index("RetransSegs")])


def echo(connection):
    while data := connection.recv(1 << 16):
        connection.sendall(data)


@pytest.mark.heavy
def test_lossy_links_do_not_make_targets_unhealthy_by_themselves(world):
    """5 % loss fails a single probe now and then; two in a row, needed to be unhealthy, are rare."""
    world = world(check={**FAST_CHECK, "interval": 3, "timeout": 2, "unhealthy_threshold": 3}, connect_timeout=5)
    world.wait_for(one="healthy", two="healthy")
    with world.client, world.targets[0].rules("meta l4proto tcp numgen random mod 100 < 5 drop"):
        begin = time.monotonic()
        names = []
        while time.monotonic() - begin < 4:
            names.append(ask(PORT, Network.address(0, 1)))
        assert world.states() == {"one": "healthy", "two": "healthy"}
        assert set(names) == {"one", "two"}


# MTU

def test_a_black_hole_of_large_packets_stalls_its_own_flow_only(world):
    """Large packets to one target vanish without ICMP: its flow stalls, health (small packets) stays, others go on."""
    world = world(check=FAST_CHECK)
    world.wait_for(one="healthy", two="healthy")
    # Real packets instead of segments that the link would carry whole.
    world.net.weir.run("ethtool", "-K", "one", "tso", "off", "gso", "off")
    with world.client:
        flows = flows_to_each(world, 1)
        with world.targets[0].rules("meta l4proto tcp meta length > 1000 drop"):
            stuck = flows["one"][0]
            stuck.settimeout(1)
            stuck.sendall(b"x" * 20_000)
            with pytest.raises(TimeoutError):
                stuck.recv(1)
            for _ in range(20):
                assert is_alive(flows["two"][0])
            assert world.states() == {"one": "healthy", "two": "healthy"}
            cpu = world.weir.cpu_seconds()
            time.sleep(1)
            assert world.weir.cpu_seconds() - cpu < 0.2, "it spins"
        # The hole is mended: the kernel sends again, and the flow goes on where it was.
        stuck.settimeout(30)
        assert receive_exactly(stuck, 20_000) == b"x" * 20_000
        close_all(flows)


def narrow(world, number=1, mtu=1200):
    """Puts a router with a narrow far side between Weir and a target: the target moves behind it."""
    router = world.net.namespace("router")
    router.set(ipv4__ip_forward=1)
    far = world.targets[number - 1]
    world.net.link(world.net.weir, router, 50)
    world.net.link(router, far, 51, near_name="far", far_name="router")
    router.ip(f"link set far mtu {mtu}")
    address = Network.address(number)
    far.ip("link set weir down", f"address add {address}/32 dev router",
           "route add 10.77.50.0/24 via 10.77.51.1")
    world.net.weir.ip(f"link set {far.label} down", f"route add {address}/32 via 10.77.50.2")
    router.ip(f"route add {address}/32 dev far")
    return router


def test_large_datagrams_through_a_narrow_path_keep_their_target(world):
    """The router answers "fragmentation needed" (RFC 1191): news of the path, not a refusal of the target."""
    world = world(protocol="UDP", check={**UDP_CHECK, "interval": 60})
    narrow(world)
    address = Network.address(0, 1)
    with world.client, contextlib.ExitStack() as stack:
        clients = []
        while sum(1 for s in world.servers if s.received) < 2 or len(clients) < 6:
            client = stack.enter_context(udp_client(UDP_PORT, address, timeout=2))
            assert exchange(client, b"hello") == b"hello"
            clients.append(client)
            assert len(clients) < 50
        owners = {client.getsockname(): None for client in clients}
        before = owner_by_client(world)
        for client in clients:
            client.settimeout(0.2)
            for size in (1400, 1400, 3000):
                # The first large one is lost on the way, and tells the kernel the path's size.
                client.send(b"x" * size)
                with contextlib.suppress(TimeoutError):
                    client.recv(1 << 16)
        after = owner_by_client(world)
        assert after == before, "flows moved, or ended"
        for client in clients:
            client.settimeout(3)
            while True:
                # Answers that were late above.
                client.send(b"last")
                answer = client.recv(1 << 16)
                if answer == b"last":
                    break
        assert world.weir.statistics()["target_connection_error_count"] == 0
        assert len(owners) == len(clients)


def owner_by_client(world):
    return {flow["client"]: flow["target"] for flow in world.weir.api("/v1/flows")["flows"]}


@pytest.mark.parametrize("is_told", [True, False], ids=["with-icmp", "icmp-dropped"])
def test_tcp_through_a_narrow_path(world, is_told):
    """With the ICMP error the transfer finds its size; without it, it stalls and nothing else does."""
    world = world(check=NO_CHECK, handler=greeting)
    router = narrow(world)
    # The target's own end is wide: its MSS promises more than the path carries.
    with world.client, contextlib.ExitStack() as stack:
        if not is_told:
            stack.enter_context(router.rules("icmp type destination-unreachable drop", hook="output"))
        router.run("ethtool", "-K", "far", "gro", "off")
        world.net.weir.run("ethtool", "-K", "router", "tso", "off", "gso", "off")
        flows = flows_to_each(world, 1)
        narrowed = flows["one"][0]
        narrowed.settimeout(10 if is_told else 1)
        data = b"x" * 50_000
        narrowed.sendall(data)
        if is_told:
            assert receive_exactly(narrowed, len(data)) == data
            assert "mtu 1200" in world.net.weir.run("ip", "route", "get", Network.address(1))
        else:
            with pytest.raises(TimeoutError):
                narrowed.recv(1)
        assert is_alive(flows["two"][0])
        reset(narrowed)
        flows["two"][0].close()
        eventually(lambda: world.weir.active_tcp_count() == 0)


# IPv6 only

def test_a_network_of_ipv6_only(world):
    world = world(families=(6,), family=6, check=FAST_CHECK)
    world.wait_for(one="healthy", two="healthy")
    with world.client:
        address = Network.address(0, 1, 6)
        assert {ask(PORT, address) for _ in range(30)} == {"one", "two"}
        world.targets[0].ip("link set weir down")
        assert {ask(PORT, address) for _ in range(5)} <= {"two"}
        world.wait_for(one="unhealthy", two="healthy")
        assert {ask(PORT, address) for _ in range(10)} == {"two"}


def test_udp_on_a_network_of_ipv6_only_and_any_address(world):
    world = world(families=(6,), family=6, protocol="UDP", check=UDP_CHECK, addresses=["::"])
    world.wait_for(one="healthy", two="healthy")
    with world.client:
        for host in (Network.address(0, 1, 6), Network.address(1, 1, 6)):
            world.client.ip("route replace default via " + Network.address(0, 1, 6))
            with udp_client(UDP_PORT, host) as client:
                for size in (1, 1400, 9000, 65_000):
                    data = random.Random(size).randbytes(size)
                    assert exchange(client, data) == data


# Addresses and ways that move

@pytest.fixture
def two_links(world):
    """A second link between client and Weir, and a static address that is on neither yet."""

    def make(protocol="TCP"):
        made = world(protocol=protocol, addresses=[VIP], balancer={"ip_freebind": True})
        net = made.net
        net.link(net.weir, net.client, 9, near_name="client2", far_name="weir2")
        for namespace in (net.weir, net.client):
            namespace.set(ipv4__conf__all__rp_filter=0, ipv4__conf__default__rp_filter=0)
            for device in (("client", "client2") if namespace is net.weir else ("weir", "weir2")):
                namespace.run("sysctl", "-q", "-w", f"net.ipv4.conf.{device}.rp_filter=0")
        return made

    return make


def move(net, link):
    """The address comes to link 0 or 9, and the client learns where it is (as gratuitous ARP would tell)."""
    names = {0: ("client", "weir"), 9: ("client2", "weir2")}
    for other, (near, _) in names.items():
        with contextlib.suppress(RuntimeError):
            net.weir.ip(f"address del {VIP}/32 dev {near}")
    near, far = names[link]
    net.weir.ip(f"address add {VIP}/32 dev {near}")
    net.client.ip(f"route replace {VIP}/32 via {Network.address(link, 1)} dev {far} src {Network.address(0)}")


def test_a_static_address_moves_to_another_interface_while_it_serves(two_links):
    world = two_links()
    net = world.net
    with net.client:
        with pytest.raises(OSError):
            connect(PORT, VIP, timeout=0.5)
        move(net, 0)
        with connect(PORT, VIP) as live:
            receive_line(live)
            assert is_alive(live)
            # For a moment nobody has it.
            net.weir.ip(f"address del {VIP}/32 dev client")
            live.sendall(b"while it was nowhere")
            time.sleep(0.3)
            move(net, 9)
            assert receive_exactly(live, 20) == b"while it was nowhere"
            assert {ask(PORT, VIP) for _ in range(20)} == {"one", "two"}
            net.weir.ip("link set client down")
            net.client.ip("route replace 10.77.0.0/24 via 10.77.9.1")
            net.weir.ip("route replace 10.77.0.0/24 via 10.77.9.2")
            assert is_alive(live)
            assert ask(PORT, VIP) in ("one", "two")


def test_a_static_address_of_udp_moves(two_links):
    world = two_links("UDP")
    net = world.net
    with net.client:
        move(net, 0)
        with udp_client(UDP_PORT, VIP, timeout=3) as live:
            assert exchange(live, b"before") == b"before"
            net.weir.ip(f"address del {VIP}/32 dev client")
            # An answer cannot leave from an address that is not here; that must harm nobody.
            with contextlib.suppress(OSError):
                live.send(b"lost")
            move(net, 9)
            eventually(lambda: exchange(live, b"after") in (b"after", b"lost"))
            assert world.weir.statistics()["new_flow_count_udp"] == 1


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_answers_may_take_another_way_than_questions(two_links, protocol):
    """Requests arrive on one link, replies leave by the other, for the life of the flow and beyond."""
    world = two_links(protocol)
    net = world.net
    with net.client:
        move(net, 0)
        # Weir's way back to the client's address is the second link.
        net.weir.ip(f"route add {Network.address(0)}/32 via {Network.address(9)} dev client2")
        if protocol == "TCP":
            data = content_of(4 << 20)
            with connect(PORT, VIP, source=(Network.address(0), 0)) as client:
                receive_line(client)
                sender = threading.Thread(target=client.sendall, args=(data,))
                sender.start()
                assert receive_exactly(client, len(data)) == data
                sender.join(10)
        else:
            with udp_client(UDP_PORT, VIP, source=(Network.address(0), 0)) as client:
                for number in range(200):
                    assert exchange(client, b"%d" % number) == b"%d" % number


def test_a_pulse_survives_a_storm_of_changes_elsewhere(world):
    """Links of other targets go up and down, rules come and go; a flow on a target of its own never waits long."""
    world = world(3, check=FAST_CHECK, connect_timeout=1)
    world.wait_for(one="healthy", two="healthy", three="healthy")
    with world.client:
        flows = flows_to_each(world, 1)
        steady = flows["three"][0]
        generator = random.Random(7)
        worst = 0.0
        for _ in range(12):
            target = world.targets[generator.randrange(2)]
            match generator.randrange(3):
                case 0:
                    target.ip("link set weir down", "link set weir up")
                case 1:
                    with target.rules("tcp dport 8080 reject with tcp reset"):
                        ask(PORT, Network.address(0, 1))
                case 2:
                    world.net.weir.ip(f"link set {target.label} down", f"link set {target.label} up")
            begin = time.monotonic()
            for _ in range(10):
                assert is_alive(steady)
            worst = max(worst, time.monotonic() - begin)
        assert worst < 2
        close_all(flows)
