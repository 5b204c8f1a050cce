"""Health checks: each way to fail shows its own state, reason and sentence, and flows follow health."""

import contextlib
import os
import socket
import subprocess
import threading
import time

import pytest

from harness.clients import Hammer, ask, connect
from harness.servers import (
    FullBacklog, TCPServer, UDPServer, dnsmasq, greeting, http_server, receive_all, receive_line, reset,
)
from harness.waiting import eventually
from harness.weir import ALONE, FAST_CHECK, NO_CHECK, configuration, group, listener

HTTP_CHECK = {**FAST_CHECK, "protocol": "HTTP", "path": "/healthz"}
UDP_CHECK = {**FAST_CHECK, "protocol": "UDP", "udp": {"payload": "ping", "expect": "pong"}}
DNS_CHECK = {**UDP_CHECK, "udp": {"preset": "dns"}}


def health_of(weir, name):
    (target,) = weir.group(name)["targets"]
    return target["health"]


# How a target may behave

def silent(connection, server):
    connection.recv(4096)
    with contextlib.suppress(TimeoutError):
        connection.recv(4096)


def close_at_once(connection, server):
    connection.recv(4096)


def close_in_the_middle(connection, server):
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")


def reset_at_once(connection, server):
    connection.recv(4096)
    reset(connection)


def garbage(connection, server):
    connection.recv(4096)
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\nwho are you?\r\n\r\n")
    silent(connection, server)


def byte_by_byte(connection, server):
    connection.recv(4096)
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"s" * 1000:
        connection.sendall(bytes([byte]))
        # Slower than any timeout that the test sets, and never silent for long.
        time.sleep(0.2)


def test_each_failure_has_its_own_reason_and_sentence(make_weir, serve, directory, port):
    refused_port, udp_refused_port = port(), port()
    full = serve(FullBacklog())
    dns = serve(dnsmasq(directory, port()))

    def http(behaviour):
        return serve(TCPServer(behaviour)).port

    def udp(answer):
        return serve(UDPServer(lambda data, peer, server: answer)).port

    # Name: check, port, state, reason, words that the sentence must have.
    cases = {
        "refused": (HTTP_CHECK, refused_port, "unhealthy", "Target.FailedHealthChecks", "refused"),
        "tcp-refused": (FAST_CHECK, port(), "unhealthy", "Target.FailedHealthChecks", "refused"),
        "connect-timeout": (FAST_CHECK, full.port, "unhealthy", "Target.Timeout", "connection attempt"),
        "silent": (HTTP_CHECK, http(silent), "unhealthy", "Target.Timeout", "did not answer within 1 s"),
        "slow": (HTTP_CHECK, http(byte_by_byte), "unhealthy", "Target.Timeout", "bytes of an answer within 1 s"),
        "closes": (HTTP_CHECK, http(close_at_once), "unhealthy", "Target.FailedHealthChecks", "without an answer"),
        "closes-early": (
            HTTP_CHECK, http(close_in_the_middle), "unhealthy", "Target.FailedHealthChecks", "before the answer"),
        "resets": (HTTP_CHECK, http(reset_at_once), "unhealthy", "Target.FailedHealthChecks", "reset"),
        "garbage": (HTTP_CHECK, http(garbage), "unhealthy", "Target.FailedHealthChecks", "not HTTP"),
        "status": (
            HTTP_CHECK, http(http_server("s", "503 Service Unavailable")), "unhealthy",
            "Target.ResponseCodeMismatch", "[503]"),
        "matcher": (
            {**HTTP_CHECK, "matcher": "200"}, http(http_server("s", "204 No Content", body="")), "unhealthy",
            "Target.ResponseCodeMismatch", "[204]"),
        "http-ok": (HTTP_CHECK, http(http_server("s")), "healthy", None, ""),
        "tcp-ok": (FAST_CHECK, http(silent), "healthy", None, ""),
        "lame-duck": (
            {**HTTP_CHECK, "lame_duck": {"header": "X-Draining: yes"}},
            http(http_server("s", headers=["x-draining: YES"])), "draining", None, ""),
        "lame-body": (
            {**HTTP_CHECK, "lame_duck": {"body": "going away"}},
            http(http_server("s", body="I am going away soon")), "draining", None, ""),
        "dns-ok": (DNS_CHECK, dns.port, "healthy", None, ""),
        "udp-ok": (UDP_CHECK, udp(b"ping pong"), "healthy", None, ""),
        "udp-silent": (UDP_CHECK, udp(None), "unhealthy", "Target.Timeout", "did not answer within 1 s"),
        "udp-wrong": (UDP_CHECK, udp(b"ping"), "unhealthy", "Target.FailedHealthChecks", "not what was expected"),
        "udp-no-dns": (DNS_CHECK, udp(b"nonsense"), "unhealthy", "Target.FailedHealthChecks", "not what was expected"),
        "udp-refused": (UDP_CHECK, udp_refused_port, "unhealthy", "Target.FailedHealthChecks", "refused"),
        "disabled": (NO_CHECK, port(), None, "Target.HealthCheckDisabled", ""),
        # Its first probe has not ended yet; and its first has failed, the second is minutes away.
        "registering": (
            {**HTTP_CHECK, "interval": 300, "timeout": 120}, http(silent), "initial",
            "Elb.RegistrationInProgress", ""),
        "initial": (
            {**HTTP_CHECK, "interval": 300}, port(), "initial", "Elb.InitialHealthChecking", ""),
    }
    udp_cases = [name for name, case in cases.items() if case[0].get("protocol") == "UDP"]
    groups = [
        group(name, [f"127.0.0.1:{target_port}"], "UDP" if name in udp_cases else "TCP", check=check)
        for name, (check, target_port, *_) in cases.items()
    ]
    groups.append(group("nobody", [f"127.0.0.1:{port()}"], check=FAST_CHECK))
    listeners = [
        listener(port(), name, "UDP" if name in udp_cases else "TCP") for name in cases
    ]
    weir = make_weir(configuration(groups, listeners))

    sentences = {}
    for name, (check, target_port, state, reason, words) in cases.items():
        def is_so():
            health = health_of(weir, name)
            if state == "healthy":
                assert health["state"] == "healthy" and health.get("reason") is None, health
                assert health["description"] == "", health
            elif state is not None:
                assert health["state"] == state, health
            if reason is not None:
                assert health["reason"] == reason, health
            assert words in health["description"], health
            return health

        health = eventually(is_so, 15, f"group {name} shows its state")
        if health["state"] != "healthy":
            assert health["description"].endswith("."), health
            sentences[name] = health["description"].replace(f":{target_port}", ":PORT")

    # Those that fail alike read alike; all others differ.
    alike = [{"refused", "tcp-refused"}, {"lame-duck", "lame-body"}, {"status"}, {"matcher"}, {"udp-silent", "silent"},
             {"udp-wrong", "udp-no-dns"}]
    names = list(sentences)
    for i, first in enumerate(names):
        for second in names[i + 1:]:
            if not any({first, second} <= some for some in alike):
                assert sentences[first] != sentences[second]

    unused = health_of(weir, "nobody")
    assert (unused["state"], unused["reason"]) == ("unused", "Target.NotInUse")
    assert health_of(weir, "disabled")["state"] in ("healthy", "unavailable")
    assert weir.group("disabled")["healthy_target_count"] == 1

    # The command shows the same words.
    table = weir.cli("health").stdout
    for name in cases:
        assert name in table
    assert "Target.ResponseCodeMismatch" in table and "[503]" in table


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a network namespace")
@pytest.mark.parametrize("address", ["192.0.2.1:80", "[2001:db8::1]:80"])
def test_an_unreachable_target_says_so(make_weir, address):
    weir = make_weir(configuration(
        [group("web", [address], check=FAST_CHECK)], [listener(80, "web")]), start=False)
    weir.start(prefix=ALONE)
    health = eventually(lambda: (h := health_of(weir, "web"))["state"] == "unhealthy" and h)
    assert health["reason"] == "Target.FailedHealthChecks"
    assert "cannot be reached" in health["description"]


def test_a_probe_asks_for_what_was_configured(make_weir, serve, port):
    server = serve(TCPServer(http_server("one")))
    weir = make_weir(configuration(
        [group("web", [server.target], check={**HTTP_CHECK, "path": "/alive?deep=1"})], [listener(port(), "web")]))
    weir.wait_for_states("web", {server.port: "healthy"})
    request = server.notes[0].decode()
    assert request.startswith("GET /alive?deep=1 HTTP/1.1\r\n")
    assert f"Host: {server.target}" in request


def test_probes_go_to_the_health_checks_port(make_weir, serve, port):
    server = serve(TCPServer(http_server("one")))
    weir = make_weir(configuration(
        [group("web", [f"127.0.0.1:{port()}"], check={**HTTP_CHECK, "port": server.port})], [listener(port(), "web")]))
    eventually(lambda: health_of(weir, "web")["state"] == "healthy")


# Health decides

def ask_http(port):
    """The name of the target that answers a request."""
    with connect(port) as client:
        return finish_http(client)


def finish_http(client):
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    (server,) = [line for line in receive_all(client).split(b"\r\n") if line.startswith(b"Server: ")]
    return server.split()[1].decode()


def test_a_target_goes_out_and_comes_back(make_weir, serve, port):
    status = {"one": "200 OK", "two": "200 OK"}
    one, two = (serve(TCPServer(http_server(name, lambda name=name: status[name]))) for name in status)
    entrance = port()
    weir = make_weir(configuration(
        [group("web", [one.target, two.target], check=HTTP_CHECK)], [listener(entrance, "web")]))
    weir.wait_for_states("web", {one.port: "healthy", two.port: "healthy"})
    assert {ask_http(entrance) for _ in range(30)} == {"one", "two"}
    status["one"] = "500 Internal Server Error"
    weir.wait_for_states("web", {one.port: "unhealthy", two.port: "healthy"})
    assert {ask_http(entrance) for _ in range(30)} == {"two"}
    assert weir.group("web")["healthy_target_count"] == 1 and not weir.group("web")["is_fail_open"]
    status["one"] = "200 OK"
    weir.wait_for_states("web", {one.port: "healthy", two.port: "healthy"})
    assert {ask_http(entrance) for _ in range(30)} == {"one", "two"}


def test_no_new_flow_goes_to_an_unhealthy_target_once_it_shows(make_weir, greeters, port):
    one, two = greeters(2)
    entrance = port()
    weir = make_weir(configuration(
        [group("web", [one.target, two.target], check=FAST_CHECK)], [listener(entrance, "web")]))
    weir.wait_for_states("web", {one.port: "healthy", two.port: "healthy"})
    with Hammer(entrance) as hammer:
        hammer.wait_for(100)
        one.stop_listening()
        stopped = time.monotonic()
        weir.wait_for_states("web", {one.port: "unhealthy", two.port: "healthy"})
        shown = time.monotonic()
        hammer.wait_for(200, since=shown)
    assert set(hammer.names_since(shown)) == {"two"}
    # Until then connect failures were retried: nobody noticed, but those whose connection the target had
    # not taken yet when it stopped.
    assert [error for begin, error in hammer.errors if begin > stopped] == []


def test_when_all_are_unhealthy_all_get_flows(make_weir, serve, greeters, port):
    failing = serve(TCPServer(http_server("check", "500 Internal Server Error")))
    servers = greeters(3)
    entrance = port()
    weir = make_weir(configuration(
        [group("web", [s.target for s in servers], check={**HTTP_CHECK, "port": failing.port})],
        [listener(entrance, "web")]))
    weir.wait_for_states("web", {s.port: "unhealthy" for s in servers})
    assert weir.group("web")["is_fail_open"]
    assert weir.group("web")["healthy_target_count"] == 0
    assert {ask(entrance) for _ in range(60)} == {"one", "two", "three"}
    # Whoever moves addresses or DNS is told to move them away.
    assert not weir.api("/v1/load-balancers/edge")["is_available"]
    status, _ = weir.request("GET", "/healthz?load_balancer=edge")
    assert status == 503


def test_a_group_below_its_routing_minimum_fails_open(make_weir, greeters, port):
    one, two = greeters(2)
    attributes = {"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count": 2}
    entrance = port()
    weir = make_weir(configuration(
        [group("web", [one.target, two.target, f"127.0.0.1:{port()}"], check=FAST_CHECK, attributes=attributes)],
        [listener(entrance, "web")]))
    eventually(lambda: weir.group("web")["healthy_target_count"] == 2)
    eventually(lambda: not weir.group("web")["is_fail_open"])
    two.stop_listening()
    eventually(lambda: weir.group("web")["is_fail_open"], 15)
    assert {ask(entrance) for _ in range(20)} == {"one"}


def open_flow_to(weir, entrance, target):
    """Connections of which the last one is a live flow to the target, which has not been asked anything yet."""
    clients = []
    while not any(flow["target"] == target for flow in weir.api("/v1/flows")["flows"]):
        clients.append(connect(entrance))
        eventually(lambda: len(weir.api("/v1/flows")["flows"]) == len(clients))
    return clients


@pytest.mark.parametrize("terminates", [True, False])
def test_established_flows_of_an_unhealthy_target(make_weir, serve, port, terminates):
    status = {"one": "200 OK", "two": "200 OK"}
    one, two = (serve(TCPServer(http_server(name, lambda name=name: status[name]))) for name in status)
    attributes = {
        "target_health_state.unhealthy.connection_termination.enabled": terminates,
        "target_health_state.unhealthy.draining_interval_seconds": 0 if terminates else 300,
    }
    entrance = port()
    weir = make_weir(configuration(
        [group("web", [one.target, two.target], check=HTTP_CHECK, attributes=attributes)],
        [listener(entrance, "web")]))
    weir.wait_for_states("web", {one.port: "healthy", two.port: "healthy"})
    clients = open_flow_to(weir, entrance, one.target)
    status["one"] = "500 Internal Server Error"
    if terminates:
        weir.wait_for_states("web", {one.port: "unhealthy", two.port: "healthy"})
        with pytest.raises(ConnectionResetError):
            clients[-1].recv(1)
    else:
        weir.wait_for_states("web", {one.port: "unhealthy.draining", two.port: "healthy"})
        assert finish_http(clients[-1]) == "one"
    # Those of the other target never notice.
    assert {finish_http(client) for client in clients[:-1]} <= {"two"}
    for client in clients:
        client.close()


def test_a_lame_duck_gets_no_new_flow_and_keeps_its_own(make_weir, serve, port):
    signs = {"one": [], "two": []}
    one, two = (serve(TCPServer(http_server(name, headers=lambda name=name: signs[name]))) for name in signs)
    entrance = port()
    weir = make_weir(configuration(
        [group("web", [one.target, two.target], check={**HTTP_CHECK, "lame_duck": {"header": "X-Lame"}})],
        [listener(entrance, "web")]))
    weir.wait_for_states("web", {one.port: "healthy", two.port: "healthy"})
    live = open_flow_to(weir, entrance, one.target)
    signs["one"] = ["X-Lame: 1"]
    weir.wait_for_states("web", {one.port: "draining", two.port: "healthy"})
    assert {ask_http(entrance) for _ in range(30)} == {"two"}
    # The flow that it has goes on: the last one opened is on it.
    assert finish_http(live[-1]) == "one"
    for client in live:
        client.close()
    signs["one"] = []
    weir.wait_for_states("web", {one.port: "healthy", two.port: "healthy"})
    assert {ask_http(entrance) for _ in range(30)} == {"one", "two"}


def test_waiting_for_health_ends_when_all_are_healthy(make_weir, port, serve):
    target_port, entrance = port(), port()
    weir = make_weir(configuration(
        [group("web", [f"127.0.0.1:{target_port}"], check=FAST_CHECK)], [listener(entrance, "web")]))
    results = []
    thread = threading.Thread(
        target=lambda: results.append(weir.cli("health", "web", "--wait", check=False)), daemon=True)
    thread.start()
    weir.wait_for_states("web", {target_port: "unhealthy"})
    assert results == []
    serve(TCPServer(greeting, "one", port=target_port))
    thread.join(20)
    assert results and results[0].returncode == 0, results


def test_watching_health_shows_each_change(make_weir, greeters, port):
    (one,) = greeters(1)
    weir = make_weir(configuration(
        [group("web", [one.target], check=FAST_CHECK)], [listener(port(), "web")]))
    weir.wait_for_states("web", {one.port: "healthy"})
    watch = subprocess.Popen(
        [weir.binary, "health", "web", "--watch", "--admin", weir.admin], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True)
    try:
        lines = []
        thread = threading.Thread(target=lambda: lines.extend(iter(watch.stdout.readline, "")), daemon=True)
        thread.start()
        eventually(lambda: any("healthy" in line for line in lines))
        one.stop_listening()
        eventually(lambda: any("unhealthy" in line and "refused" in line for line in lines), 15)
    finally:
        watch.terminate()
        watch.wait(10)
        thread.join(5)


def test_probes_of_many_targets_are_spread(make_weir, serve, port):
    """Twenty targets of one interval are not all probed in one moment, but for the first time."""
    times = []
    lock = threading.Lock()

    def note(connection, server):
        with lock:
            times.append(time.monotonic())

    servers = [serve(TCPServer(note)) for _ in range(20)]
    weir = make_weir(configuration(
        [group("web", [s.target for s in servers], check=FAST_CHECK)], [listener(port(), "web")]))
    eventually(lambda: weir.group("web")["healthy_target_count"] == 20)
    eventually(lambda: len(times) >= 60, 15)
    later = sorted(times)[20:60]
    gaps = [b - a for a, b in zip(later, later[1:])]
    assert max(gaps) < 1.5
    buckets = {int((t - later[0]) / 0.2) for t in later}
    assert len(buckets) >= 8, "the probes of an interval came in one burst"
