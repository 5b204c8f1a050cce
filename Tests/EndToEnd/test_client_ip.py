"""What targets see of the client: its own address, by transparent sockets, or a header in front of its datagrams.

Client, Weir and targets are machines of their own; see harness/network.py. Targets answer clients through Weir.
"""

import contextlib
import os
import pwd
import random
import socket
import struct

import pytest

from harness.accounting import Metrics
from harness.clients import connect, exchange, udp_client
from harness.network import Network
from harness.servers import TCPServer, UDPServer, greeting, receive_exactly, receive_line
from harness.waiting import eventually
from harness.weir import FAST_CHECK, NO_CHECK, configuration, group, listener

PRESERVING = {"preserve_client_ip.enabled": True}
ENTRANCES = (80, 81)
PORT = 8080
NET_BIND_SERVICE, NET_ADMIN = 1 << 10, 1 << 12
FAMILIES = pytest.mark.parametrize("family", [4, 6])


def total(weir, name, **labels):
    return Metrics(weir.metrics()).sum(name, **labels)


class World:
    """A network, a Weir in it that preserves client addresses, and servers of both transports at each target."""

    def __init__(self, net, weir, family):
        self.net, self.weir, self.family = net, weir, family
        self.client = net.client
        self.tcp, self.udp = [], []
        self.vip = Network.address(0, 1, family)
        self.client_address = Network.address(0, family=family)

    def network(self, *arguments):
        """`weir network` on Weir's machine."""
        return self.net.weir.run(self.weir.binary, "network", *arguments)

    def setup(self):
        self.network("setup", self.weir.config_path)

    def state(self):
        """The rules that setup makes, and whatever else is of their kind."""
        return [self.net.weir.run(*words.split()) for words in (
            "nft list ruleset", "ip -4 rule", "ip -6 rule", "ip -4 route show table all")]

    def warnings(self):
        warnings = self.weir.api("/v1/status")["warnings"]
        return [warning for warning in warnings if "preserve_client_ip" in warning]

    def talk(self, client):
        """A name, then as many bytes as splice takes over for."""
        name = receive_line(client).decode().strip()
        content = random.Random(1).randbytes(300_000)
        client.sendall(content)
        assert receive_exactly(client, len(content)) == content
        return name


@pytest.fixture
def world(make_network, make_weir, serve):
    """Makes a World, with its rules unless told otherwise. Target one may be left without servers."""

    def make(family=4, target_family=None, target_count=1, first_served=1, rules=True, start=True, check=NO_CHECK,
             attributes=PRESERVING, settings=None, **more):
        net = make_network(target_count)
        addresses = []
        servers = []
        for number, namespace in enumerate(net.targets, 1):
            address = Network.address(number, family=target_family or family)
            addresses.append(f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}")
            namespace.ip(f"route add default via 10.77.{number}.1", f"route add default via fd77:{number}::1")
            if number >= first_served:
                with namespace:
                    servers.append((
                        serve(TCPServer(greeting, namespace.label, address, PORT)),
                        serve(UDPServer(name=namespace.label, address=address, port=PORT))))
        weir = make_weir(configuration(
            [group("web", addresses, "TCP_UDP", check=check, attributes=attributes, **more)],
            [listener(entrance, "web", "TCP_UDP") for entrance in ENTRANCES], [Network.address(0, 1, family)],
            **(settings or {})), start=False)
        made = World(net, weir, family)
        made.tcp, made.udp = ([pair[at] for pair in servers] for at in (0, 1))
        if rules:
            made.setup()
        if start:
            weir.start(prefix=net.weir.prefix)
        return made

    return make


@FAMILIES
def test_targets_see_the_client_and_their_answers_come_back(world, family):
    world = world(family)
    with world.client:
        for _ in range(3):
            with connect(80, world.vip) as client:
                assert world.talk(client) == "one"
                assert world.tcp[0].accepted[-1][:2] == client.getsockname()[:2]
        with udp_client(80, world.vip) as client:
            for byte_count in (1, 1200):
                assert len(exchange(client, bytes(byte_count))) == byte_count
            assert {peer[:2] for _, peer in world.udp[0].received} == {client.getsockname()[:2]}
    assert "preserved" in world.weir.cli("status").stdout
    assert total(world.weir, "weir_worker_unpreserved_flows_total") == 0
    assert world.warnings() == []


@FAMILIES
def test_without_rules_connections_time_out_and_the_status_says_what_to_do(world, family):
    world = world(family, rules=False, check=FAST_CHECK, connect_timeout=1)
    before = world.state()
    with world.client:
        for _ in range(3):
            with pytest.raises(ConnectionError), connect(80, world.vip) as client:
                receive_line(client)
        with udp_client(80, world.vip, timeout=0.5) as client, pytest.raises(TimeoutError):
            exchange(client, b"hello")
    # Probes come from Weir's own address, so health cannot tell.
    eventually(lambda: [t["health"]["state"] for t in world.weir.group("web")["targets"]] == ["healthy"])
    (warning,) = world.warnings()
    assert "had no answer in time (preserve_client_ip.enabled). Run \"weir network setup FILE\"" in warning
    assert warning in world.weir.cli("status").stdout

    world.setup()
    with world.client:
        with connect(80, world.vip) as client:
            assert world.talk(client) == "one"
        with udp_client(80, world.vip) as client:
            assert exchange(client, b"hello") == b"hello"
    eventually(lambda: world.warnings() == [])

    world.network("teardown")
    assert world.state() == before
    with world.client, pytest.raises(ConnectionError), connect(80, world.vip) as client:
        receive_line(client)


@FAMILIES
def test_one_client_port_through_two_listeners_is_two_flows_of_one_client(world, family):
    world = world(family)
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with world.client, contextlib.ExitStack() as stack:
        port = 0
        clients = []
        for entrance in ENTRANCES:
            client = stack.enter_context(socket.socket(kind, socket.SOCK_STREAM))
            client.settimeout(20)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind((world.client_address, port))
            client.connect((world.vip, entrance))
            port = client.getsockname()[1]
            clients.append(client)
        assert [world.talk(client) for client in clients] == ["one", "one"]
        (first, second) = world.tcp[0].accepted
        own = clients[0].getsockname()[0]
        assert first[:2] == (own, port)
        assert second[0] == own and second[1] != port

        asker = stack.enter_context(socket.socket(kind, socket.SOCK_DGRAM))
        asker.settimeout(20)
        for turn in range(5):
            for entrance in ENTRANCES:
                asker.sendto(b"%d %d" % (turn, entrance), (world.vip, entrance))
                answer, peer = asker.recvfrom(100)
                # An answer of the other flow would come from the other listener.
                assert (answer, peer[:2]) == (b"%d %d" % (turn, entrance), (world.vip, entrance))
    peers = {data.split()[1]: peer[:2] for data, peer in world.udp[0].received}
    assert {address for address, _ in peers.values()} == {own}
    assert len(set(peers.values())) == 2 and asker.fileno() == -1


@FAMILIES
def test_a_refusing_target_gives_way_to_another_that_sees_the_client_too(world, family):
    world = world(family, target_count=2, first_served=2)
    with world.client:
        for _ in range(10):
            with connect(80, world.vip) as client:
                assert world.talk(client) == "two"
                assert world.tcp[0].accepted[-1][:2] == client.getsockname()[:2]
        for _ in range(10):
            with udp_client(80, world.vip, timeout=1) as client:
                # The first datagram may be what the refusal was for.
                eventually(lambda: _is_answered(client))
                assert world.udp[0].received[-1][1][:2] == client.getsockname()[:2]
    errors = total(world.weir, "weir_target_group_target_connection_errors_total")
    assert errors > 0, "no flow met the refusing target"


def _is_answered(client):
    try:
        return exchange(client, b"hello") == b"hello"
    except TimeoutError:
        return False


def test_a_target_of_the_other_family_sees_weir_and_that_is_counted(world):
    world = world(family=6, target_family=4)
    with world.client, connect(80, world.vip) as client:
        assert world.talk(client) == "one"
        assert world.tcp[0].accepted[-1][0] == Network.address(1, 1)
    assert total(world.weir, "weir_worker_unpreserved_flows_total") == 1


# The capability


def capabilities(weir):
    """The effective ones, of every thread."""
    found = set()
    for task in os.listdir(f"/proc/{weir.process.pid}/task"):
        with open(f"/proc/{weir.process.pid}/task/{task}/status") as file:
            (line,) = [line for line in file if line.startswith("CapEff")]
            found.add(int(line.split()[1], 16))
    return found


def become_nobody(weir, directory):
    nobody = pwd.getpwnam("nobody")
    os.chmod(directory, 0o755)
    os.chown(weir.directory, nobody.pw_uid, nobody.pw_gid)


def test_the_capability_is_kept_by_whom_needs_it_alone(world, directory):
    world = world(start=False, settings={"run_as": "nobody"})
    weir = world.weir
    become_nobody(weir, directory)
    weir.start(prefix=world.net.weir.prefix)
    assert capabilities(weir) == {NET_BIND_SERVICE | NET_ADMIN}
    assert int(weir.process_status()["CapBnd"], 16) == NET_BIND_SERVICE | NET_ADMIN
    with world.client, connect(80, world.vip) as client:
        assert world.talk(client) == "one"

    # The file does not say any more what the store has: the group stays, and what it needs.
    full = weir.config
    weir.kill()
    weir.write({**full, "target_groups": [], "load_balancers": []})
    weir.start(prefix=world.net.weir.prefix)
    assert capabilities(weir) == {NET_BIND_SERVICE | NET_ADMIN}
    with world.client, connect(80, world.vip) as client:
        assert world.talk(client) == "one"
        assert world.tcp[0].accepted[-1][:2] == client.getsockname()


def test_a_group_that_comes_later_is_refused_with_the_next_step(world):
    world = world(attributes={}, rules=False)
    weir = world.weir
    assert capabilities(weir) == {NET_BIND_SERVICE}
    config = {**weir.config}
    config["target_groups"] = [{**config["target_groups"][0], "attributes": PRESERVING}]
    weir.write(config)
    result = weir.cli("apply", weir.config_path, check=False)
    assert result.returncode == 1
    assert "lacks CAP_NET_ADMIN" in result.stderr and "restart Weir" in result.stderr, result.stderr
    assert len([line for line in result.stderr.splitlines() if "CAP_NET_ADMIN" in line]) == 1
    with world.client, connect(80, world.vip) as client:
        assert world.talk(client) == "one"
        assert world.tcp[0].accepted[-1][0] == Network.address(1, 1)
    # What the message says.
    weir.stop()
    world.setup()
    weir.start(prefix=world.net.weir.prefix)
    with world.client, connect(80, world.vip) as client:
        assert world.talk(client) == "one"
        assert world.tcp[0].accepted[-1][:2] == client.getsockname()


def test_without_the_capability_it_does_not_start(world):
    world = world(start=False)
    world.weir.launch(prefix=[
        *world.net.weir.prefix, "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"])
    assert world.weir.process.wait(20) == 1
    log = world.weir.log()
    assert "lacks CAP_NET_ADMIN" in log and "AmbientCapabilities=CAP_NET_ADMIN" in log


def test_an_upgrade_carries_it_and_every_flow(world, directory):
    world = world(start=False, settings={"run_as": "nobody"})
    weir = world.weir
    become_nobody(weir, directory)
    weir.start(prefix=world.net.weir.prefix)
    with world.client, udp_client(80, world.vip) as asker, connect(80, world.vip) as early:
        assert exchange(asker, b"before") == b"before"
        assert world.talk(early) == "one"
        weir.upgrade()
        assert capabilities(weir) == {NET_BIND_SERVICE | NET_ADMIN}
        assert exchange(asker, b"after") == b"after"
        assert {peer for _, peer in world.udp[0].received} == {asker.getsockname()}
        with connect(80, world.vip) as client:
            assert world.talk(client) == "one"
            assert world.tcp[0].accepted[-1] == client.getsockname()
    assert weir.wait_for_former() == [0]


# Headers in front of datagrams


class HeaderReader:
    """A UDP target that keeps what it is sent, taken apart, and answers with the payload."""

    def __init__(self, address):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self._socket.settimeout(20)
        self.target = "{}:{}".format(f"[{address}]" if ":" in address else address, self._socket.getsockname()[1])

    def answer_next(self):
        """(source, destination, payload); None for both addresses of a datagram without a header."""
        data, peer = self._socket.recvfrom(1 << 16)
        source = destination = None
        if data.startswith(b"\r\n\r\n\0\r\nQUIT\n"):
            assert data[12] == 0x21
            family, size = {0x12: (socket.AF_INET, 4), 0x22: (socket.AF_INET6, 16)}[data[13]]
            end = 16 + struct.unpack("!H", data[14:16])[0]
            body, data = data[16:end], data[end:]
            ports = struct.unpack("!HH", body[2 * size:2 * size + 4])
            source, destination = (
                (socket.inet_ntop(family, body[at * size:(at + 1) * size]), ports[at]) for at in (0, 1))
        self._socket.sendto(data, peer)
        return source, destination, data

    def close(self):
        self._socket.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_udp_targets_that_ask_learn_the_client_once_per_flow(make_weir, port, address):
    entrance = port()
    with contextlib.closing(HeaderReader(address)) as reader:
        weir = make_weir(configuration(
            [group("dns", [reader.target], "UDP", attributes={"proxy_protocol_v2.enabled": True})],
            [listener(entrance, "dns", "UDP")], [address]))
        for _ in range(3):
            with udp_client(entrance, address) as client:
                own = client.getsockname()[:2]
                client.send(b"first")
                assert reader.answer_next() == (own, (address, entrance), b"first")
                assert client.recv(100) == b"first"
                client.send(b"second")
                assert reader.answer_next() == (None, None, b"second")
                assert client.recv(100) == b"second"
        assert "PROXY v2" in weir.cli("status").stdout
        assert total(weir, "weir_processed_bytes_total", direction="client_to_target") == 3 * 11


def test_a_datagram_without_room_for_the_header_is_dropped_and_counted(make_weir, port):
    entrance = port()
    with contextlib.closing(HeaderReader("127.0.0.1")) as reader:
        weir = make_weir(configuration(
            [group("dns", [reader.target], "UDP", attributes={"proxy_protocol_v2.enabled": True})],
            [listener(entrance, "dns", "UDP")]))
        with udp_client(entrance) as client:
            client.send(bytes(65_507))
            client.send(b"small")
            assert reader.answer_next() == (client.getsockname(), ("127.0.0.1", entrance), b"small")
        eventually(lambda: total(weir, "weir_listener_dropped_datagrams_total") == 1)
