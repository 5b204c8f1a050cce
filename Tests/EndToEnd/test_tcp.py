"""TCP listeners: bytes, ends and resets pass through as they are."""

import asyncio
import hashlib
import random
import select
import socket
import subprocess
import threading
import time

import pytest

from harness.clients import Hammer, ask, connect, is_reset
from harness.servers import (
    FullBacklog, TCPServer, greeter_process, greeting, nginx, receive_all, receive_line, redis, reset,
)
from harness.waiting import eventually
from harness.weir import configuration, group, listener

MEBIBYTE = 1 << 20


def content_of(byte_count, seed):
    """Bytes that no shift or swap of parts would leave alike."""
    generator = random.Random(seed)
    return b"".join(generator.randbytes(MEBIBYTE) for _ in range(byte_count // MEBIBYTE))


def run(*arguments, timeout=60, **options):
    return subprocess.run(
        arguments, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=timeout, **options)


@pytest.fixture
def edge(make_weir, port):
    """A Weir with one TCP listener in front of the given targets: (weir, its port)."""

    def make(targets, addresses=("127.0.0.1",), **more):
        entrance = port()
        weir = make_weir(configuration(
            [group("web", [t if isinstance(t, (str, dict)) else t.target for t in targets], **more)],
            [listener(entrance, "web")], addresses))
        return weir, entrance

    return make


# Real programs

def test_curl_reaches_every_nginx(edge, serve, directory, port):
    sites = [(name, port()) for name in ("one", "two", "three")]
    serve(nginx(directory, sites))
    weir, entrance = edge([f"127.0.0.1:{p}" for _, p in sites])
    bodies = [run("curl", "-sSf", f"http://127.0.0.1:{entrance}/").stdout.decode().strip() for _ in range(30)]
    assert set(bodies) == {"one", "two", "three"}
    # The client has its answer before Weir has read the last FIN.
    eventually(lambda: weir.active_tcp_count() == 0)
    assert weir.statistics()["new_flow_count_tcp"] == 30


def test_redis_cli_speaks_through_weir(edge, serve, directory, port):
    server = serve(redis(directory, port()))
    _, entrance = edge([server])
    cli = ["redis-cli", "-h", "127.0.0.1", "-p", str(entrance)]
    assert run(*cli, "set", "weir", "x" * 100_000).stdout == b"OK\n"
    assert run(*cli, "get", "weir").stdout == b"x" * 100_000 + b"\n"
    commands = b"".join(b"INCR counter\r\n" for _ in range(10_000))
    piped = subprocess.run([*cli, "--pipe"], input=commands, capture_output=True, timeout=60, check=True)
    assert b"errors: 0, replies: 10000" in piped.stdout
    assert run(*cli, "get", "counter").stdout == b"10000\n"


def test_a_large_file_arrives_whole(edge, serve, directory, port):
    entrance_of_target = port()
    serve(nginx(directory, [("one", entrance_of_target)]))
    content = content_of(256 * MEBIBYTE, 1)
    (directory / "files/large").write_bytes(content)
    weir, entrance = edge([f"127.0.0.1:{entrance_of_target}"])
    copy = directory / "copy"
    run("curl", "-sSf", "-o", str(copy), f"http://127.0.0.1:{entrance}/large")
    assert hashlib.sha256(copy.read_bytes()).digest() == hashlib.sha256(content).digest()
    eventually(lambda: weir.active_tcp_count() == 0)
    assert weir.statistics()["target_bytes"] >= len(content)


def test_a_large_upload_arrives_whole(edge, serve):
    def digest(connection, server):
        state = hashlib.sha256()
        while data := connection.recv(MEBIBYTE):
            state.update(data)
        connection.sendall(state.digest())

    weir, entrance = edge([serve(TCPServer(digest))])
    content = content_of(256 * MEBIBYTE, 2)
    with connect(entrance) as client:
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == hashlib.sha256(content).digest()
    eventually(lambda: weir.active_tcp_count() == 0)
    assert weir.statistics()["client_bytes"] == len(content)


@pytest.mark.parametrize("seed", range(4))
def test_any_mix_of_sizes_both_ways_at_once(edge, serve, seed):
    """Small messages are copied and bulk is spliced; the way changes within one flow, in order."""
    weir, entrance = edge([serve(TCPServer(lambda connection, server: echo(connection)))])
    generator = random.Random(seed)
    sizes = [generator.choice([1, 7, 100, 4_096, 16_384, 16_385, 65_536, 300_000, 2_000_000]) for _ in range(120)]
    content = [generator.randbytes(size) for size in sizes]
    with connect(entrance) as client:
        def send():
            for part in content:
                client.sendall(part)
                if generator.random() < 0.1:
                    time.sleep(0.001)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        received = receive_all(client)
        sender.join(20)
    assert hashlib.sha256(received).digest() == hashlib.sha256(b"".join(content)).digest()


def echo(connection):
    while data := connection.recv(1 << 16):
        connection.sendall(data)


# Ends

def test_a_client_that_finished_still_gets_its_answer(edge, serve):
    def answer_after_end(connection, server):
        data = receive_all(connection)
        server.notes.append(data)
        for _ in range(100):
            connection.sendall(b"late " * 1000)

    server = serve(TCPServer(answer_after_end))
    _, entrance = edge([server])
    with connect(entrance) as client:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert len(receive_all(client)) == 500_000
    assert server.notes == [b"question"]


def test_a_target_that_finished_still_hears_the_client(edge, serve):
    def finish_then_listen(connection, server):
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        server.notes.append(receive_all(connection))

    server = serve(TCPServer(finish_then_listen))
    weir, entrance = edge([server])
    with connect(entrance) as client:
        assert receive_all(client) == b"bye"
        # The flow is half-closed, and stays.
        eventually(lambda: [f["state"] for f in weir.api("/v1/flows")["flows"]] == ["half-closed"])
        for _ in range(50):
            client.sendall(b"still here " * 100)
        client.shutdown(socket.SHUT_WR)
        eventually(lambda: server.notes)
    assert server.notes[0] == b"still here " * 5000


def test_an_immediate_end_without_a_byte(edge, serve):
    server = serve(TCPServer(lambda connection, server: server.notes.append(receive_all(connection))))
    _, entrance = edge([server])
    connect(entrance).close()
    eventually(lambda: server.notes == [b""])


def test_a_reset_by_the_client_reaches_the_target_as_a_reset(edge, serve):
    def note_error(connection, server):
        connection.sendall(b"hello\n")
        try:
            server.notes.append(receive_all(connection))
        except ConnectionResetError as error:
            server.notes.append(error)

    server = serve(TCPServer(note_error))
    weir, entrance = edge([server])
    client = connect(entrance)
    assert receive_line(client) == b"hello\n"
    reset(client)
    eventually(lambda: server.notes)
    assert isinstance(server.notes[0], ConnectionResetError), server.notes
    eventually(lambda: weir.statistics()["tcp_client_reset_count"] == 1)
    assert weir.statistics()["tcp_target_reset_count"] == 0


def test_a_reset_by_the_target_reaches_the_client_as_a_reset(edge, serve):
    def reset_after_line(connection, server):
        receive_line(connection)
        reset(connection)

    weir, entrance = edge([serve(TCPServer(reset_after_line))])
    with connect(entrance) as client:
        client.sendall(b"hello\n")
        with pytest.raises(ConnectionResetError):
            receive_all(client)
    eventually(lambda: weir.statistics()["tcp_target_reset_count"] == 1)
    assert weir.statistics()["tcp_client_reset_count"] == 0


# Targets that fail

def test_a_client_that_sent_and_left_before_its_target_was_found(edge, serve, greeters):
    """Its bytes and its end wait, and reach the target that takes the flow in the end."""
    received = []
    server = serve(TCPServer(lambda connection, server: received.append(receive_all(connection))))
    _, entrance = edge([serve(FullBacklog()), server], connect_timeout=1)
    for number in range(6):
        client = connect(entrance)
        client.sendall(b"message %d" % number)
        client.close()
    eventually(lambda: len(received) == 6)
    assert sorted(received) == [b"message %d" % number for number in range(6)]


def test_a_refusing_target_costs_no_client_its_connection(edge, greeters, port):
    (server,) = greeters(1)
    weir, entrance = edge([server, f"127.0.0.1:{port()}", f"127.0.0.1:{port()}"])
    assert [ask(entrance) for _ in range(60)] == ["one"] * 60
    eventually(lambda: weir.active_tcp_count() == 0)
    statistics = weir.statistics()
    assert statistics["target_connection_error_count"] > 10
    assert statistics["tcp_elb_reset_count"] == 0


def test_when_all_targets_refuse_the_client_is_reset(edge, port):
    weir, entrance = edge([f"127.0.0.1:{port()}", f"127.0.0.1:{port()}"])
    assert is_reset(entrance)
    eventually(lambda: weir.statistics()["tcp_elb_reset_count"] == 1)
    assert weir.statistics()["target_connection_error_count"] == 2


def test_connect_attempts_are_bounded(edge, port):
    weir, entrance = edge([f"127.0.0.1:{port()}" for _ in range(5)], connect_attempts=2)
    assert is_reset(entrance)
    eventually(lambda: weir.statistics()["target_connection_error_count"] == 2)


def test_a_target_that_does_not_answer_is_given_up_after_the_connect_timeout(edge, serve, greeters):
    (server,) = greeters(1)
    weir, entrance = edge([server, serve(FullBacklog())], connect_timeout=1)
    begin = time.monotonic()
    assert [ask(entrance) for _ in range(6)] == ["one"] * 6
    assert time.monotonic() - begin < 9
    assert weir.targets("web")[server.port]["statistics"]["new_flow_count_tcp"] == 6


def test_a_client_that_leaves_while_its_target_is_sought(edge, serve):
    weir, entrance = edge([serve(FullBacklog())], connect_timeout=2)
    for _ in range(20):
        reset(connect(entrance))
    eventually(lambda: weir.statistics()["new_flow_count_tcp"] == 20)
    eventually(lambda: weir.active_tcp_count() == 0)


def test_a_group_without_targets_resets_the_client(edge):
    _, entrance = edge([])
    assert is_reset(entrance)


def test_a_killed_target_loses_its_own_flows_and_no_others(edge, serve, directory, port):
    one = serve(greeter_process(directory, "one", port()))
    two = serve(greeter_process(directory, "two", port()))
    weir, entrance = edge([one, two])
    flows = []
    for _ in range(60):
        client = connect(entrance)
        flows.append((receive_line(client).decode().strip(), client))
    assert {name for name, _ in flows} == {"one", "two"}

    with Hammer(entrance, thread_count=2) as hammer:
        hammer.wait_for(50)
        one.kill()
        killed = time.monotonic()
        for name, client in flows:
            if name == "one":
                with pytest.raises(ConnectionError):
                    if not client.recv(1):
                        raise ConnectionError("end of stream")
            else:
                client.sendall(b"alive?")
                assert client.recv(6, socket.MSG_WAITALL) == b"alive?"
            client.close()
        hammer.wait_for(200, since=killed)
    # Those that were on the target as it died had their connection; none that came later lost anything.
    assert [error for begin, error in hammer.errors if begin > killed] == []
    assert set(hammer.names_since(killed)) == {"two"}


# Slow and many

@pytest.mark.parametrize("piece", [1_000, 3_000])
def test_small_pieces_to_a_reader_that_pauses_arrive_unchanged(make_weir, serve, port, piece):
    """What a full target left over is sent later; what is received after that must not be taken from the same place."""
    may_read, received = threading.Event(), []

    def read_late(connection, server):
        assert may_read.wait(20)
        received.append(receive_all(connection))

    server, entrance = serve(TCPServer(read_late)), port()
    weir = make_weir(configuration([group("web", [server.target])], [listener(entrance, "web")]))
    content = random.Random(1).randbytes(64 << 20)
    sent = 0
    with connect(entrance) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setblocking(False)
        # Until every buffer on the way is full.
        while sent < len(content) and select.select([], [client], [], 0.3)[1]:
            sent += client.send(content[sent:sent + piece])
        assert sent < len(content)
        may_read.set()
        client.shutdown(socket.SHUT_WR)
        eventually(lambda: received)
    assert len(received[0]) == sent
    assert hashlib.sha256(received[0]).digest() == hashlib.sha256(content[:sent]).digest()
    weir.check_bytes(sent, 0)


def test_a_slow_reader_stalls_the_sender_and_takes_no_memory(edge, serve):
    may_read = threading.Event()

    def read_late(connection, server):
        may_read.wait(60)
        state, count = hashlib.sha256(), 0
        while data := connection.recv(MEBIBYTE):
            state.update(data)
            count += len(data)
        server.notes.append((count, state.digest()))

    server = serve(TCPServer(read_late))
    weir, entrance = edge([server])
    block = random.Random(3).randbytes(MEBIBYTE)
    state, count = hashlib.sha256(), 0
    before = weir.resident_bytes()
    with connect(entrance, timeout=1) as client:
        # Four sockets' buffers and one pipe take so much, and no more.
        try:
            while count < 256 * MEBIBYTE:
                sent = client.send(block)
                state.update(block[:sent])
                count += sent
        except TimeoutError:
            pass
        assert count < 64 * MEBIBYTE, "the sender never stalled"
        assert weir.resident_bytes() - before < 16 * MEBIBYTE
        may_read.set()
        client.settimeout(20)
        for _ in range(16):
            client.sendall(block)
            state.update(block)
            count += len(block)
        client.shutdown(socket.SHUT_WR)
        eventually(lambda: server.notes, 20)
    assert server.notes == [(count, state.digest())]


@pytest.mark.slow
def test_five_thousand_connections_at_once(edge):
    """All open, all answered, all in parallel; and all gone afterwards."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def serve_echo(reader, writer):
        try:
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = asyncio.run_coroutine_threadsafe(
        asyncio.start_server(serve_echo, "127.0.0.1", 0, backlog=4096), loop).result(10)
    target = server.sockets[0].getsockname()[1]
    weir, entrance = edge([f"127.0.0.1:{target}"])
    clients = []
    try:
        for _ in range(5_000):
            clients.append(connect(entrance))
        eventually(lambda: weir.active_tcp_count() == 5_000, 30)
        for index, client in enumerate(clients):
            client.sendall(b"%06d" % index)
        for index, client in enumerate(clients):
            assert client.recv(6, socket.MSG_WAITALL) == b"%06d" % index
        assert len(weir.api("/v1/flows?limit=10")["flows"]) == 10
        # Idle flows own two sockets each and borrow no pipe.
        assert weir.fd_count() < 2 * 5_000 + 400
    finally:
        for client in clients:
            client.close()
        eventually(lambda: weir.active_tcp_count() == 0, 30)
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
    assert weir.statistics()["new_flow_count_tcp"] == 5_000
    assert weir.statistics()["rejected_flow_count"] == 0


# Addresses

@pytest.mark.parametrize("entrance_address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("target_address", ["127.0.0.1", "::1"])
def test_every_mix_of_families(edge, greeters, entrance_address, target_address):
    (server,) = greeters(1, address=target_address)
    weir, entrance = edge([server], addresses=[entrance_address])
    with connect(entrance, entrance_address) as client:
        assert receive_line(client) == b"one\n"
        (flow,) = weir.api("/v1/flows")["flows"]
        host, port = client.getsockname()[:2]
        assert flow["client"] == (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        assert flow["target"] == server.target
        assert flow["listener"] == f"edge:{entrance}"


def test_a_listener_on_both_families(edge, greeters):
    _, entrance = edge(greeters(1), addresses=["0.0.0.0", "::"])
    assert ask(entrance, "127.0.0.1") == ask(entrance, "127.0.0.77") == ask(entrance, "::1") == "one"


def test_source_addresses_are_those_of_the_pool(make_weir, serve, port):
    server = serve(TCPServer(greeting, "one"))
    entrance = port()
    make_weir(configuration(
        [group("web", [server.target])], [listener(entrance, "web")],
        source_addresses=["127.0.0.50", "127.0.0.51"]))
    for _ in range(40):
        ask(entrance)
    assert {host for host, _ in server.accepted} <= {"127.0.0.50", "127.0.0.51"}
    assert len(server.accepted) == 40


def test_client_and_target_ports_are_where_the_flow_says(edge, serve):
    server = serve(TCPServer(greeting, "one"))
    weir, entrance = edge([server])
    with connect(entrance) as client:
        receive_line(client)
        client.sendall(b"x" * 1000)
        assert len(client.recv(1000, socket.MSG_WAITALL)) == 1000

        def described():
            (flow,) = weir.api("/v1/flows")["flows"]
            return flow["state"] == "established" and (flow["client_bytes"], flow["target_bytes"]) == (1000, 1004)

        eventually(described)
