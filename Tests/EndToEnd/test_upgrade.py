"""Upgrades: another process takes over, and nobody outside can tell when."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

from harness.clients import Hammer, ask, connect, exchange, udp_client
from harness.crowds import Pulse
from harness.servers import TCPServer, UDPServer, greeting, receive_line
from harness.upgrades import passing
from harness.waiting import eventually
from harness.weir import FAST_CHECK, UnixHTTPConnection, configuration, group, listener


@pytest.fixture
def edge(make_weir, port, greeters):
    """An appliance in front of greeters on one TCP listener."""

    def make(count=2, start=True, attributes=None, check=FAST_CHECK, **settings):
        servers = greeters(count)
        entrance = port()
        weir = make_weir(configuration(
            [group("web", [s.target for s in servers], check=check, attributes=attributes)],
            [listener(entrance, "web")], **settings), start=start)
        if start and check is FAST_CHECK:
            weir.wait_for_states("web", {s.port: "healthy" for s in servers})
        return weir, entrance, servers

    return make


def script(directory, text, name="other"):
    """A program of a few lines that stands in for a new binary."""
    path = os.path.join(directory, name)
    with open(path, "w") as file:
        file.write(f"#!/bin/sh\n{text}\n")
    os.chmod(path, 0o755)
    return path


def is_alive(client, word=b"alive?"):
    client.sendall(word)
    return client.recv(len(word), socket.MSG_WAITALL) == word


def is_refused(port, address="127.0.0.1"):
    try:
        connect(port, address).close()
    except ConnectionRefusedError:
        return True
    return False


# Nothing is lost

def test_not_one_connection_fails_in_three_upgrades(edge):
    weir, entrance, servers = edge()
    healthy = {s.port: "healthy" for s in servers}
    pids = [weir.process.pid]
    with Hammer(entrance, thread_count=6) as hammer:
        hammer.wait_for(300)
        for _ in range(3):
            answer = weir.upgrade()
            assert answer["former_process_id"] == pids[-1]
            pids.append(answer["process_id"])
            # Known at once: nobody waits for the first health check.
            assert weir.states("web") == healthy
            hammer.wait_for(300, since=time.monotonic())
    assert hammer.errors == []
    assert len(set(pids)) == 4
    assert weir.wait_for_former() == [0, 0, 0]
    status = weir.api("/v1/status")
    assert not status["is_draining"] and status["worker_count"] == 2
    assert status["load_balancers"][0]["statistics"]["new_flow_count_tcp"] >= 300
    assert weir.counters()["shed_no_target"] == 0


def test_a_long_flow_outlives_upgrades_in_the_process_that_began_it(edge):
    weir, entrance, _ = edge()
    with connect(entrance) as client:
        name = receive_line(client)
        first = weir.upgrade()
        assert first["remaining_flow_count"] == 1
        with connect(entrance) as other:
            receive_line(other)
            weir.upgrade()
            for _ in range(50):
                assert is_alive(client) and is_alive(other)
            # Each of the former processes waits for its own flow.
            assert [p.poll() for p in weir.former] == [None, None]
        # The child of the first one, whose exit status only that one could tell.
        assert weir.former[1].wait(10) == -1
        assert weir.former[0].poll() is None and is_alive(client) and name in (b"one\n", b"two\n")
    assert weir.former[0].wait(10) == 0


@pytest.fixture
def udp_edge(make_weir, port, serve):
    """An appliance in front of two echo servers on one UDP listener, and their received datagrams."""

    def make(address="127.0.0.1", **settings):
        servers = [serve(UDPServer(name=name)) for name in ("one", "two")]
        entrance = port()
        weir = make_weir(configuration(
            [group("game", [s.target for s in servers], "UDP", attributes={"stickiness.enabled": False})],
            [listener(entrance, "game", "UDP")], addresses=(address,), **settings))
        return weir, entrance, servers

    return make


def peers_by_flow(servers):
    """For each flow of a Pulse, by its number: the (server, source port) pairs its datagrams came with."""
    seen = {}
    for server in servers:
        for data, peer in list(server.received):
            seen.setdefault(data.split()[0], set()).add((server.name, peer[1]))
    return seen


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_datagram_flow_notices_nothing(udp_edge, address):
    weir, entrance, servers = udp_edge(address)
    with Pulse(entrance, transport="udp", flow_count=8) as pulse:
        pulse.beat(80)
        for _ in range(3):
            answer = weir.upgrade()
            assert answer["handed_over_flow_count"] == 8
            pulse.beat(80)
    assert pulse.errors == []
    seen = peers_by_flow(servers)
    assert len(seen) == 8 and all(len(places) == 1 for places in seen.values()), seen
    assert weir.wait_for_former() == [0, 0, 0]


def test_datagram_flows_keep_their_sockets_when_the_number_of_workers_changes(udp_edge):
    weir, entrance, servers = udp_edge(workers=2)
    with Pulse(entrance, transport="udp", flow_count=8) as pulse:
        pulse.beat(80)
        for count in (1, 3, 2):
            weir.write({**weir.config, "workers": count})
            weir.upgrade()
            assert weir.api("/v1/status")["worker_count"] == count
            pulse.beat(80)
    assert pulse.errors == []
    assert all(len(places) == 1 for places in peers_by_flow(servers).values())


def test_an_answer_that_comes_late_comes_through_the_new_process(udp_edge):
    weir, entrance, servers = udp_edge()
    held = []

    def hold(data, peer, server):
        if data == b"later":
            held.append((server, peer))
            return None
        return data

    for server in servers:
        server.handler = hold
    with udp_client(entrance) as client:
        client.send(b"later")
        eventually(lambda: held)
        weir.upgrade()
        assert weir.wait_for_former() == [0]
        server, peer = held[0]
        server._socket.sendto(b"now", peer)
        assert client.recv(100) == b"now"


def test_connections_do_not_fail_when_the_number_of_workers_changes(edge):
    weir, entrance, _ = edge(workers=3)
    with Hammer(entrance) as hammer:
        hammer.wait_for(100)
        for count in (1, 4, 2):
            weir.write({**weir.config, "workers": count})
            weir.upgrade()
            hammer.wait_for(300, since=time.monotonic())
    assert hammer.errors == []
    assert weir.wait_for_former() == [0, 0, 0]


def test_the_admin_api_answers_throughout(edge):
    weir, _, _ = edge()
    problems, answers = [], []
    is_done = threading.Event()

    def look():
        while not is_done.is_set():
            connection = UnixHTTPConnection(weir.socket_path)
            try:
                connection.request("GET", "/v1/status")
                answers.append(connection.getresponse().status)
            except OSError as error:
                problems.append(repr(error))
            finally:
                connection.close()

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(3):
            weir.upgrade()
            count = len(answers)
            eventually(lambda: len(answers) > count + 20)
    finally:
        is_done.set()
        watcher.join(20)
    assert problems == [] and set(answers) == {200}
    assert "edge" in weir.cli("status").stdout


def test_sigusr2_upgrades_to_the_file_that_stands_there_now(edge, directory):
    weir, entrance, _ = edge(start=False)
    # Started from a link, which then leads elsewhere, as a package manager would do it.
    link = os.path.join(directory, "weir")
    os.symlink(weir.binary, link)
    weir.binary = link
    weir.start()
    other = os.path.join(directory, "weir-2")
    os.link(os.path.realpath(link), other) if _same_device(link, directory) else _copy(link, other)
    os.unlink(link)
    os.symlink(other, link)
    weir.process.send_signal(signal.SIGUSR2)
    assert weir.process.wait(30) == 0
    weir.follow(_successor(weir))
    assert os.readlink(f"/proc/{weir.process.pid}/exe") == os.path.realpath(other)
    assert ask(entrance) in ("one", "two")


def _same_device(path, directory):
    return os.stat(path).st_dev == os.stat(directory).st_dev


def _copy(source, destination):
    with open(source, "rb") as original, open(destination, "wb") as copy:
        os.sendfile(copy.fileno(), original.fileno(), 0, os.stat(source).st_size)
    os.chmod(destination, 0o755)


def _successor(weir):
    """The process that the log says has taken over."""
    line = next(line for line in weir.log().splitlines() if "handed over" in line and "process=" in line)
    return int(line.split("process=")[1].split()[0])


# What is known goes over

@pytest.mark.parametrize("state", ["file", "memory"])
def test_what_was_registered_and_drains_is_known_afterwards(edge, greeters, serve, state):
    settings = {"state": "memory"} if state == "memory" else {}
    weir, entrance, servers = edge(
        attributes={"deregistration_delay.timeout_seconds": 300}, **settings)
    late = serve(TCPServer(greeting, "late"))
    # With its list of targets the file would take a deregistered one back.
    weir.write(without_targets(weir.config))
    weir.cli("targets", "register", "web", late.target, "--weight", "5")
    weir.wait_for_states("web", {**{s.port: "healthy" for s in servers}, late.port: "healthy"})
    before = weir.targets("web")
    with contextlib.ExitStack() as stack:
        # A flow keeps the draining target in its list.
        client = stack.enter_context(flow_to(entrance, "one"))
        weir.cli("targets", "deregister", "web", servers[0].target)
        assert weir.states("web")[servers[0].port] == "draining"
        weir.upgrade()
        after = weir.targets("web")
        # Its only flow is the former process's: this one has nothing to wait for.
        assert set(after) == {servers[1].port, late.port}
        assert after[late.port]["weight"] == 5
        for number in after:
            assert after[number]["health"]["since"] == before[number]["health"]["since"]
            assert after[number]["health"]["state"] == "healthy"
        assert {ask(entrance) for _ in range(30)} == {"two", "late"}
        assert is_alive(client)


def flow_to(entrance, name):
    for _ in range(200):
        client = connect(entrance)
        if receive_line(client).decode().strip() == name:
            return client
        client.close()
    raise AssertionError(f"no connection reached {name}")


def test_a_draining_target_keeps_its_deadline_and_its_datagram_flow(udp_edge):
    weir, entrance, servers = udp_edge()
    with udp_client(entrance) as client:
        assert exchange(client, b"hello") == b"hello"
        one = next(s for s in servers if s.received)
        other = next(s for s in servers if s is not one)
        weir.write(without_targets(weir.config))
        weir.cli("targets", "deregister", "game", one.target)
        weir.upgrade()
        health = weir.targets("game")[one.port]["health"]
        assert health["state"] == "draining" and 0 < health["draining_seconds_left"] <= 300
        assert exchange(client, b"again") == b"again" and one.received[-1][0] == b"again"
        with udp_client(entrance) as new:
            assert exchange(new, b"new") == b"new" and other.received[-1][0] == b"new"


def test_an_unhealthy_target_stays_unhealthy(edge):
    weir, entrance, (one, two) = edge()
    one.stop_listening()
    weir.wait_for_states("web", {one.port: "unhealthy", two.port: "healthy"})
    before = weir.targets("web")
    weir.upgrade()
    after = weir.targets("web")
    for number in (one.port, two.port):
        for key in ("state", "reason", "description", "since"):
            assert after[number]["health"].get(key) == before[number]["health"].get(key)
    assert {ask(entrance) for _ in range(20)} == {"two"}


def test_a_sticky_client_keeps_its_target(edge):
    weir, entrance, _ = edge(6, attributes={"stickiness.enabled": True})
    clients = [f"127.0.0.{n}" for n in range(2, 32)]
    before = [ask(entrance, source=(address, 0)) for address in clients]
    assert len(set(before)) > 1
    weir.upgrade()
    assert [ask(entrance, source=(address, 0)) for address in clients] == before


def test_the_new_process_reads_the_file(edge, port):
    weir, entrance, servers = edge()
    added = port()
    weir.write({**weir.config, "load_balancers": [
        {**weir.config["load_balancers"][0], "listeners": [listener(added, "web")]}]})
    weir.upgrade()
    eventually(lambda: is_refused(entrance))
    assert ask(added) in ("one", "two")
    assert f"TCP 127.0.0.1:{entrance}" in weir.log()


def test_the_admin_api_may_move(edge):
    weir, entrance, _ = edge()
    former = weir.socket_path
    weir.socket_path = os.path.join(weir.directory, "other.sock")
    weir.write({**weir.config, "admin": {"listen": f"unix:{weir.socket_path}"}})
    # The command goes to the process that listens at the former place.
    answer = weir.cli("upgrade", "--output", "json", admin=f"unix:{former}")
    weir.admin = f"unix:{weir.socket_path}"
    weir.follow(json.loads(answer.stdout)["process_id"])
    assert not os.path.exists(former)
    assert "edge" in weir.cli("status").stdout and ask(entrance) in ("one", "two")


# What does not come to serve

@pytest.fixture
def guarded(edge):
    """An appliance under load; afterwards it must be as it was, and take changes."""
    weir, entrance, servers = edge()
    pid = weir.process.pid
    with connect(entrance) as live, Hammer(entrance, thread_count=2) as hammer:
        receive_line(live)
        hammer.wait_for(50)
        yield weir
        hammer.wait_for(50, since=time.monotonic())
        assert is_alive(live)
        assert hammer.errors == []
        assert weir.process.pid == pid and weir.is_running
        assert children_of(pid) == [], "what does not come to serve is ended and cleared away"
        # Nothing stands in the way of the next attempt.
        weir.upgrade()
        hammer.wait_for(50, since=time.monotonic())
        assert is_alive(live)
    assert hammer.errors == []
    assert weir.wait_for_former() == [0]
    # What is acknowledged from now on is on disk.
    weir.write(without_targets(weir.config))
    weir.cli("targets", "register", "web", "127.0.0.9:9")
    weir.kill()
    weir.start()
    assert set(weir.targets("web")) == {9, *(s.port for s in servers)}


def children_of(pid):
    """Of all its threads, the dead ones included."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat") as file:
                if int(file.read().rsplit(")", 1)[1].split()[1]) == pid:
                    found.append(int(entry))
    return found


def without_targets(config):
    """A file that leaves the targets to the command line."""
    groups = [{key: value for key, value in g.items() if key != "targets"} for g in config["target_groups"]]
    return {**config, "target_groups": groups}


@pytest.mark.parametrize(("text", "reason"), [
    ("exit 1", "it ended with status 1 before it was ready"),
    ("kill -9 $$", "signal 9 ended it before it was ready"),
    ("exec sleep 600", "it was not ready in time and was ended"),
    (f"exec {sys.executable} -c 'import os, time\n"
     "os.write(int(os.environ[\"WEIR_HANDOVER_FD\"]), bytes(100)); time.sleep(600)'", "is no message of a hand-over"),
])
def test_a_binary_that_does_not_come_to_serve_changes_nothing(guarded, text, reason):
    result = guarded.cli(
        "upgrade", "--binary", script(guarded.directory, text), "--timeout", "2", check=False)
    assert result.returncode == 1 and reason in result.stderr, result.stderr
    assert "the running process goes on" in result.stderr and result.stderr.count("\n") == 1
    assert reason in guarded.log()


# Speaks enough of the hand-over to be believed, and then is gone: see HandoverFrame.
IMPOSTOR = """
import array, os, socket, struct, sys
conversation = socket.socket(fileno=int(os.environ["WEIR_HANDOVER_FD"]))
def receive():
    data, control, _, _ = conversation.recvmsg(1 << 17, socket.CMSG_SPACE(253 * 4))
    magic, version, kind, flags, descriptors, count = struct.unpack_from("<IHHHHI", data)
    return kind, flags & 1
while receive() != (1, 0):
    pass
conversation.send(struct.pack("<IHHHHI", 0x52454957, 1, 2, 0, 0, 2) + b"{}")
last = int(sys.argv[1])
while receive()[0] != last:
    pass
os._exit(0)
"""


@pytest.mark.parametrize("last", [4, 5], ids=["after the flows", "after the word to begin"])
def test_a_process_that_dies_when_it_should_serve_costs_nothing(udp_edge, last):
    weir, entrance, servers = udp_edge()
    path = os.path.join(weir.directory, "impostor.py")
    with open(path, "w") as file:
        file.write(IMPOSTOR)
    other = script(weir.directory, f"exec {sys.executable} {path} {last}")
    with Pulse(entrance, transport="udp", flow_count=8) as pulse:
        pulse.beat(40)
        for _ in range(3):
            result = weir.cli("upgrade", "--binary", other, check=False)
            assert result.returncode == 1 and "did not come to serve" in result.stderr, result.stderr
            assert children_of(weir.process.pid) == []
            pulse.beat(40)
        # The next one is honest.
        assert weir.upgrade()["handed_over_flow_count"] == 8
        pulse.beat(40)
    assert pulse.errors == []
    assert all(len(places) == 1 for places in peers_by_flow(servers).values())


def test_a_file_that_cannot_be_run_changes_nothing(guarded):
    plain = script(guarded.directory, "exit 1", "plain")
    os.chmod(plain, 0o644)
    open_to_all = script(guarded.directory, "exit 1", "open")
    os.chmod(open_to_all, 0o777)
    nonsense = os.path.join(guarded.directory, "nonsense")
    with open(nonsense, "w") as file:
        file.write("\x7fELF nonsense")
    os.chmod(nonsense, 0o755)
    for path, reason in [
            (plain, "is not executable"), (open_to_all, "can be changed by others"),
            (nonsense, "cannot be started"), (guarded.directory, "is no file"),
            (guarded.directory + "/missing", "no such file")]:
        result = guarded.cli("upgrade", "--binary", path, check=False)
        assert result.returncode == 1 and reason in result.stderr, result.stderr


def test_a_broken_configuration_changes_nothing(guarded):
    config = guarded.config
    guarded.write_text("load_balancers: 7\n")
    result = guarded.cli("upgrade", check=False)
    assert result.returncode == 1
    assert "weir.yaml has an error" in result.stderr and "weir.yaml:1: load_balancers" in result.stderr
    guarded.write(config)


def test_a_port_that_is_taken_changes_nothing(guarded, port, serve):
    taken = serve(TCPServer(greeting, "taken"))
    config = guarded.config
    balancer = config["load_balancers"][0]
    guarded.write({**config, "load_balancers": [
        {**balancer, "listeners": [*balancer["listeners"], listener(taken.port, "web")]}]})
    result = guarded.cli("upgrade", check=False)
    assert result.returncode == 1 and f"cannot bind TCP 127.0.0.1:{taken.port}" in result.stderr
    guarded.write(config)


def test_changes_wait_for_the_end_of_an_upgrade(edge):
    weir, entrance, servers = edge()
    with subprocess.Popen(
            [weir.binary, "upgrade", "--binary", script(weir.directory, "exec sleep 600"), "--timeout", "4"],
            env={**os.environ, "WEIR_ADMIN": weir.admin}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True) as upgrade:
        eventually(lambda: "upgrading" in weir.log())
        for arguments in (["targets", "register", "web", "127.0.0.9:9"], ["upgrade"], ["apply", weir.config_path]):
            result = weir.cli(*arguments, check=False)
            assert result.returncode == 1 and "an upgrade is in progress" in result.stderr, result.stderr
        assert weir.states("web") == {s.port: "healthy" for s in servers}
        # Health goes on meanwhile.
        servers[0].stop_listening()
        weir.wait_for_states("web", {servers[0].port: "unhealthy", servers[1].port: "healthy"})
        _, errors = upgrade.communicate(timeout=30)
    assert upgrade.returncode == 1 and "not ready in time" in errors
    weir.cli("targets", "register", "web", "127.0.0.9:9")


def test_the_former_process_answers_sigterm_with_its_drain_timeout(edge):
    weir, entrance, _ = edge(drain_timeout=1)
    with connect(entrance) as client:
        receive_line(client)
        weir.upgrade()
        assert weir.former[0].poll() is None
        weir.former[0].send_signal(signal.SIGTERM)
        assert weir.former[0].wait(10) == 0
        with pytest.raises(ConnectionError):
            if client.recv(1) == b"":
                raise ConnectionError("end of stream")
    assert ask(entrance) in ("one", "two")


def test_the_former_process_waits_no_longer_than_it_may(edge):
    weir, entrance, _ = edge(upgrade_drain_timeout=1, drain_timeout=30)
    with connect(entrance) as client:
        receive_line(client)
        weir.upgrade()
        assert weir.wait_for_former(10) == [0]


# The service manager

def test_the_service_manager_hears_who_serves(edge, directory, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(directory / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(directory / "notify"))
        weir, _, _ = edge()
        assert manager.recv(4096) == b"READY=1"
        pid = weir.upgrade()["process_id"]
        assert manager.recv(4096) == f"MAINPID={pid}".encode()
        assert weir.wait_for_former() == [0]
        weir.stop()
        # Not before: the process that has handed over is not the service that stops.
        assert manager.recv(4096) == b"STOPPING=1"


def bound(kind, address=("127.0.0.1", 0), family=socket.AF_INET, reuse=False):
    made = socket.socket(family, kind)
    if reuse:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(address)
    if kind == socket.SOCK_STREAM:
        made.listen(64)
    return made


@pytest.mark.parametrize("reuse", [False, True])
def test_sockets_of_the_service_manager_are_served(make_weir, greeters, serve, directory, reuse):
    one, = greeters(1)
    echo = serve(UDPServer())
    path = str(directory / "activated.sock")
    with bound(socket.SOCK_STREAM, reuse=reuse) as stream, bound(socket.SOCK_DGRAM, reuse=reuse) as datagrams, \
            bound(socket.SOCK_STREAM, path, socket.AF_UNIX) as admin, bound(socket.SOCK_STREAM) as unwanted:
        entrance, udp_entrance = stream.getsockname()[1], datagrams.getsockname()[1]
        weir = make_weir(configuration(
            [group("web", [one.target]), group("game", [echo.target], "UDP")],
            [listener(entrance, "web"), listener(udp_entrance, "game", "UDP")],
            admin={"listen": f"unix:{path}"}), start=False)
        weir.socket_path, weir.admin = path, f"unix:{path}"
        # Whoever connects before the start waits.
        with connect(entrance) as early:
            prefix, numbers = passing(
                [("web", stream), ("game", datagrams), ("admin", admin), ("spare", unwanted)])
            weir.start(prefix=prefix, pass_fds=numbers)
            assert receive_line(early) == b"one\n"
        assert {ask(entrance) for _ in range(20)} == {"one"}
        with udp_client(udp_entrance) as client:
            assert exchange(client, b"hello") == b"hello"
            spare = unwanted.getsockname()[1]
            warnings = [line for line in weir.log().splitlines() if "passed sockets that no listener wants" in line]
            assert len(warnings) == 1 and f"TCP 127.0.0.1:{spare}" in warnings[0]
            # Handed on in an upgrade, and the admin socket's file stays.
            weir.upgrade()
            assert exchange(client, b"again") == b"again"
        assert {ask(entrance) for _ in range(20)} == {"one"}
        assert len({peer for data, peer in echo.received}) == 1
        assert weir.stop() == 0
        assert stat.S_ISSOCK(os.stat(path).st_mode)
        # The manager still has the socket: connections wait for the next start.
        connect(entrance).close()


def test_sockets_for_another_process_are_left_alone(edge, monkeypatch):
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "3")
    weir, entrance, _ = edge()
    assert ask(entrance) in ("one", "two")
