"""Deregistration: from the moment the command has returned, not one new flow reaches the target."""

import socket
import threading
import time

import pytest

from harness.clients import Hammer, ask, connect, exchange, is_reset, udp_client
from harness.servers import UDPServer, receive_line
from harness.waiting import eventually
from harness.weir import FAST_CHECK, configuration, group, listener


def delay(seconds, terminates=None):
    attributes = {"deregistration_delay.timeout_seconds": seconds}
    if terminates is not None:
        attributes["deregistration_delay.connection_termination.enabled"] = terminates
    return attributes


@pytest.fixture
def edge(make_weir, port):
    def make(targets, attributes=None, protocol="TCP", **more):
        entrance = port()
        weir = make_weir(configuration(
            [group("web", [t.target for t in targets], protocol, attributes=attributes, **more)],
            [listener(entrance, "web", protocol)]))
        return weir, entrance

    return make


def is_alive(client):
    client.sendall(b"alive?")
    return client.recv(6, socket.MSG_WAITALL) == b"alive?"


def flow_to(entrance, name):
    """A connection to the target of that name."""
    for _ in range(200):
        client = connect(entrance)
        if receive_line(client).decode().strip() == name:
            return client
        client.close()
    raise AssertionError(f"no connection reached {name}")


def test_not_one_new_flow_after_the_command_returned(edge, greeters):
    servers = greeters(3)
    weir, entrance = edge(servers)
    with Hammer(entrance) as hammer:
        hammer.wait_for(200)
        for turn in range(5):
            drained = servers[turn % 3]
            before = time.monotonic()
            weir.cli("targets", "deregister", "web", drained.target)
            acknowledged = time.monotonic()
            hammer.wait_for(300, since=acknowledged)
            again = time.monotonic()
            late = [n for n in hammer.names_since(acknowledged) if n == drained.name]
            assert late == [], f"{len(late)} new flows reached {drained.name} after its deregistration"
            assert drained.name in hammer.names_since(0.0) and before < acknowledged
            weir.cli("targets", "register", "web", drained.target)
            eventually(lambda: drained.name in hammer.names_since(again), 10)
    assert hammer.errors == []


def test_a_live_flow_goes_on_while_its_target_drains(edge, greeters):
    one, two = greeters(2)
    weir, entrance = edge([one, two])
    with flow_to(entrance, "one") as client:
        weir.cli("targets", "deregister", "web", one.target)
        health = weir.targets("web")[one.port]["health"]
        assert (health["state"], health["reason"]) == ("draining", "Target.DeregistrationInProgress")
        assert 290 <= health["draining_seconds_left"] <= 300
        assert {ask(entrance) for _ in range(30)} == {"two"}
        assert is_alive(client)
    # With its last flow the target is gone, long before its delay is over.
    eventually(lambda: one.port not in weir.targets("web"))


def test_a_target_without_flows_leaves_at_once(edge, greeters):
    one, two = greeters(2)
    weir, entrance = edge([one, two])
    begin = time.monotonic()
    weir.cli("targets", "deregister", "web", one.target, "--wait")
    assert time.monotonic() - begin < 3
    assert set(weir.targets("web")) == {two.port}


def test_registering_a_draining_target_brings_it_back(edge, greeters):
    one, two = greeters(2)
    weir, entrance = edge([one, two])
    with flow_to(entrance, "one") as client:
        weir.cli("targets", "deregister", "web", one.target)
        assert weir.states("web")[one.port] == "draining"
        weir.cli("targets", "register", "web", one.target)
        assert weir.states("web")[one.port] != "draining"
        assert is_alive(client)
        assert {ask(entrance) for _ in range(30)} == {"one", "two"}


def test_waiting_returns_when_the_last_flow_has_ended(edge, greeters):
    one, two = greeters(2)
    weir, entrance = edge([one, two])
    client = flow_to(entrance, "one")
    done = []
    thread = threading.Thread(
        target=lambda: done.append(weir.cli("targets", "deregister", "web", one.target, "--wait")), daemon=True)
    thread.start()
    eventually(lambda: weir.states("web").get(one.port) == "draining")
    assert is_alive(client)
    assert not done
    client.close()
    thread.join(15)
    assert done and one.port not in weir.targets("web")


@pytest.mark.parametrize("terminates", [True, False])
def test_when_the_delay_is_over(edge, greeters, terminates):
    one, two = greeters(2)
    weir, entrance = edge([one, two], attributes=delay(2, terminates))
    with flow_to(entrance, "one") as client:
        begin = time.monotonic()
        weir.cli("targets", "deregister", "web", one.target)
        assert is_alive(client)
        if terminates:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            assert 1.5 < time.monotonic() - begin < 6
            eventually(lambda: one.port not in weir.targets("web"))
        else:
            eventually(lambda: one.port not in weir.targets("web"), 10)
            assert is_alive(client)


def test_a_delay_of_zero_ends_flows_at_once(edge, greeters):
    one, two = greeters(2)
    weir, entrance = edge([one, two], attributes=delay(0, True))
    with flow_to(entrance, "one") as client:
        weir.cli("targets", "deregister", "web", one.target)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    eventually(lambda: one.port not in weir.targets("web"))


def test_a_udp_flow_stays_until_the_delay_is_over_and_then_moves(edge, serve):
    servers = {
        name: serve(UDPServer(lambda data, peer, server: server.name.encode() + b" " + data, name))
        for name in ("one", "two")
    }
    weir, entrance = edge(servers.values(), protocol="UDP", attributes=delay(3))
    with udp_client(entrance) as client:
        name = exchange(client, b"hello").split()[0].decode()
        drained = servers.pop(name)
        (other,) = servers
        weir.cli("targets", "deregister", "web", drained.target)
        assert exchange(client, b"still").split()[0].decode() == name
        for _ in range(20):
            with udp_client(entrance) as late:
                assert exchange(late, b"new").split()[0].decode() == other
        eventually(lambda: exchange(client, b"moved?").split()[0].decode() == other, 15)


def test_not_one_new_udp_flow_after_the_command_returned(edge, serve, port):
    servers = {
        name: serve(UDPServer(lambda data, peer, server: server.name.encode() + b" " + data, name))
        for name in ("one", "two")
    }
    weir, entrance = edge(servers.values(), protocol="UDP", attributes=delay(300))
    for drained in ("one", "two", "one"):
        weir.cli("targets", "deregister", "web", servers[drained].target)
        names = set()
        for _ in range(60):
            # A port of its own: one that the kernel gives out again would continue an older flow.
            with udp_client(entrance, source=("127.0.0.1", port())) as client:
                names.add(exchange(client, b"new").split()[0].decode())
        assert drained not in names
        weir.cli("targets", "register", "web", servers[drained].target)


def test_the_last_target_may_leave(edge, greeters):
    (one,) = greeters(1)
    weir, entrance = edge([one])
    weir.cli("targets", "deregister", "web", one.target, "--wait")
    assert is_reset(entrance)
    weir.cli("targets", "register", "web", one.target)
    assert ask(entrance) == "one"


def test_several_targets_in_one_command(edge, greeters):
    servers = greeters(4)
    weir, entrance = edge(servers)
    weir.cli("targets", "deregister", "web", servers[0].target, servers[1].target, "--wait")
    assert {ask(entrance) for _ in range(40)} == {"three", "four"}
    weir.cli("targets", "register", "web", servers[0].target, servers[1].target)
    assert {ask(entrance) for _ in range(60)} == {"one", "two", "three", "four"}


def test_deregistering_what_is_not_registered_is_refused(edge, greeters, port):
    weir, _ = edge(greeters(1))
    for arguments in (["web", f"127.0.0.1:{port()}"], ["nobody", "127.0.0.1:80"], ["web", "not-an-address"]):
        result = weir.cli("targets", "deregister", *arguments, check=False)
        assert result.returncode in (1, 64), result
        assert result.stderr.strip() and result.stdout == ""


def test_a_registered_target_is_checked_before_it_counts(edge, greeters, port):
    one, two = greeters(2)
    weir, entrance = edge([one], check=FAST_CHECK)
    weir.wait_for_states("web", {one.port: "healthy"})
    closed = port()
    weir.cli("targets", "register", "web", two.target, f"127.0.0.1:{closed}")
    weir.wait_for_states("web", {one.port: "healthy", two.port: "healthy", closed: "unhealthy"})
    assert {ask(entrance) for _ in range(40)} == {"one", "two"}
