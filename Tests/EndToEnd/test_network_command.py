"""`weir network`: its rules let a socket bound to a client's address reach a target and hear the answer.

No data path of Weir runs here: a transparent socket made by the test stands where Weir would make one. The
network is harness/network.py's; targets know no way but through the machine in the middle.
"""

import json
import socket
import subprocess

import pytest

from harness.network import Network
from harness.servers import TCPServer, UDPServer, greeting
from harness.weir import BINARY, configuration, group, listener

IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75
PRESERVING = {"preserve_client_ip.enabled": True}
PORT = 8080


@pytest.fixture
def machine(make_network, directory, serve):
    """A network with servers of both transports and families at target one, and `weir network` in the middle."""
    net = make_network(1)
    with net.targets[0]:
        for family in (4, 6):
            address = Network.address(1, family=family)
            serve(TCPServer(greeting, "one", address, PORT))
            serve(UDPServer(name="one", address=address, port=PORT))
        net.targets[0].ip("route add default via 10.77.1.1", "route add default via fd77:1::1")
    return Machine(net, BINARY, directory)


class Machine:
    def __init__(self, net, binary, directory):
        self.net, self.binary, self.file = net, binary, directory / "weir.yaml"

    def configure(self, attributes, addresses=("10.77.0.1", "fd77:0::1")):
        self.file.write_text(json.dumps(configuration(
            [group("web", [f"{Network.address(1)}:{PORT}"], "TCP_UDP", attributes=attributes)],
            [listener(80, "web", "TCP_UDP")], list(addresses))))

    def network(self, *arguments, prefix=None):
        return subprocess.run(
            [*(prefix or self.net.weir.prefix), str(self.binary), "network", *map(str, arguments)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)

    def must(self, *arguments):
        result = self.network(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def state(self):
        """Everything that setup could have touched, without what the kernel adds in its own time."""
        texts = [self.net.weir.run(*words.split()) for words in (
            "nft list ruleset", "ip -4 rule", "ip -6 rule", "ip -4 route show table all",
            "ip -6 route show table all")]
        own = ("fe80:", "anycast", "multicast")
        return [[line for line in text.splitlines() if not any(word in line for word in own)] for text in texts]

    def ask_as_client(self, family, transport, timeout):
        """What target one answers to a socket of the middle that has the client's address."""
        kind = socket.SOCK_STREAM if transport == "TCP" else socket.SOCK_DGRAM
        with self.net.weir:
            asker = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind)
        with asker:
            asker.settimeout(timeout)
            if family == 4:
                asker.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
            else:
                asker.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
            asker.bind((Network.address(0, family=family), 0))
            asker.connect((Network.address(1, family=family), PORT))
            if transport == "UDP":
                asker.send(b"hello")
            return asker.recv(100)


CASES = [(family, transport) for family in (4, 6) for transport in ("TCP", "UDP")]


def test_setup_brings_answers_back_and_teardown_leaves_nothing(machine):
    machine.configure(PRESERVING)
    before = machine.state()
    for case in CASES:
        with pytest.raises(TimeoutError):
            machine.ask_as_client(*case, timeout=0.5)

    machine.must("setup", machine.file)
    for case in CASES:
        assert machine.ask_as_client(*case, timeout=10)

    once = machine.state()
    machine.must("setup", machine.file)
    assert machine.state() == once, "setup twice is setup once"

    machine.must("teardown")
    machine.must("teardown")
    assert machine.state() == before
    with pytest.raises(TimeoutError):
        machine.ask_as_client(4, "TCP", timeout=0.5)


def test_the_printed_plan_is_the_setup(machine):
    machine.configure(PRESERVING)
    machine.must("setup", machine.file)
    made = machine.state()
    machine.must("teardown")
    for _ in range(2):
        machine.net.weir.run("sh", "-e", "-c", machine.must("plan", machine.file))
        assert machine.state() == made


def test_setup_follows_the_configuration(machine):
    machine.configure(PRESERVING)
    before = machine.state()
    machine.must("setup", machine.file)
    machine.configure(PRESERVING, addresses=["10.77.0.1"])
    machine.must("setup", machine.file)
    assert machine.ask_as_client(4, "UDP", timeout=10)
    assert "5745" not in machine.net.weir.run("ip", "-6", "rule")
    machine.configure({})
    assert "nothing is needed" in machine.must("plan", machine.file)
    machine.must("setup", machine.file)
    assert machine.state() == before


def test_without_the_right_it_says_what_is_missing(machine):
    machine.configure(PRESERVING)
    machine.file.chmod(0o644)
    drop = [*machine.net.weir.prefix, "setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    result = machine.network("setup", machine.file, prefix=drop)
    assert result.returncode == 1
    assert "needs CAP_NET_ADMIN. Run this command as root." in result.stderr


def test_a_bad_file_changes_nothing(machine):
    machine.file.write_text("target_groups: [ { name: web } ]\n")
    before = machine.state()
    result = machine.network("setup", machine.file)
    assert result.returncode == 1
    assert "protocol is missing" in result.stderr
    assert machine.state() == before
