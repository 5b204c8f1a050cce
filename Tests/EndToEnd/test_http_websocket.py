"""WebSockets and what else an upgrade may become."""

import base64
import hashlib
import os
import ssl
import struct
import threading
import time

import pytest

from harness.http import (
    Client, Target, application, head, http_group, http_listener, request, response, self_signed, site)
from harness.waiting import eventually

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@pytest.fixture
def entrance(port):
    return port()


def accept(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def frame(payload, opcode=2, is_masked=False):
    """One frame of RFC 6455."""
    size = len(payload)
    mask = 0x80 if is_masked else 0
    lead = bytes([0x80 | opcode])
    if size < 126:
        lead += bytes([mask | size])
    elif size < 65_536:
        lead += bytes([mask | 126]) + struct.pack(">H", size)
    else:
        lead += bytes([mask | 127]) + struct.pack(">Q", size)
    # A mask of zeros changes nothing.
    return lead + (b"\0\0\0\0" if is_masked else b"") + payload


def read_frame(wire):
    """(opcode, payload)"""
    first, second = wire.read_exactly(2)
    size = second & 0x7F
    if size == 126:
        size = struct.unpack(">H", wire.read_exactly(2))[0]
    elif size == 127:
        size = struct.unpack(">Q", wire.read_exactly(8))[0]
    if second & 0x80:
        wire.read_exactly(4)
    return first & 0x0F, wire.read_exactly(size)


def switch(request, greeting=b""):
    return head("HTTP/1.1 101 Switching Protocols", [
        ("Upgrade", "websocket"), ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept(request.get("sec-websocket-key")))]) + greeting


def echo_frames(request, peer):
    """Greets in the same segment as its head, echoes frames, and answers a close with one."""
    peer.keeps = False
    peer.send(switch(request, frame(b"welcome")))
    while True:
        opcode, payload = read_frame(peer)
        peer.send(frame(payload, opcode))
        if opcode == 8:
            return False


def open_socket(client, early=b"", version="13"):
    key = base64.b64encode(os.urandom(16)).decode()
    client.send(request(target="/chat", fields=[
        ("Upgrade", "websocket"), ("Connection", "keep-alive, Upgrade"), ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", version)]) + early)
    answer = client.read_response()
    if answer.status == 101:
        assert answer.get("sec-websocket-accept") == accept(key)
        assert (answer.get("upgrade").lower(), answer.get("connection").lower()) == ("websocket", "upgrade")
    return answer


def check_echo(client, sizes=(0, 1, 125, 126, 65_535, 65_536, 1_000_000)):
    for size in sizes:
        payload = os.urandom(size)
        # The echo reads the whole frame before it answers.
        client.send(frame(payload, is_masked=True))
        assert read_frame(client) == (2, payload)


def close_in_order(client):
    client.send(frame(b"\x03\xe8", 8, is_masked=True))
    assert read_frame(client) == (8, b"\x03\xe8")
    assert client.is_ended()


def test_frames_of_all_sizes_pass_both_ways(make_weir, serve, entrance):
    target = serve(Target(echo_frames))
    weir = make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        assert open_socket(client).status == 101
        assert read_frame(client) == (2, b"welcome")
        check_echo(client)
        begin = time.monotonic()
        close_in_order(client)
    # Long before any timeout.
    eventually(lambda: weir.active_tcp_count() == 0, 3)
    target.wait_for_end_of_all(3)
    assert time.monotonic() - begin < 4
    assert target.requests[0].get("upgrade") == "websocket"
    assert "upgrade" in target.requests[0].get("connection").lower()


def test_frames_that_come_with_the_request_are_not_lost(make_weir, serve, entrance):
    target = serve(Target(echo_frames))
    make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        assert open_socket(client, early=frame(b"early", is_masked=True)).status == 101
        assert read_frame(client) == (2, b"welcome")
        assert read_frame(client) == (2, b"early")
        check_echo(client, (10, 100_000))
        close_in_order(client)


def test_web_sockets_over_tls(make_weir, serve, entrance, directory):
    certificate, key = self_signed(directory)
    target = serve(Target(echo_frames))
    make_weir(application([http_group("web", [target.target])], [http_listener(
        entrance, "web", protocol="HTTPS", certificates=[{"certificate": certificate, "private_key": key}])]))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with Client(entrance) as client:
        client.socket = context.wrap_socket(client.socket)
        assert open_socket(client, early=frame(b"early", is_masked=True)).status == 101
        assert read_frame(client) == (2, b"welcome")
        assert read_frame(client) == (2, b"early")
        check_echo(client)
        client.send(frame(b"\x03\xe8", 8, is_masked=True))
        assert read_frame(client) == (8, b"\x03\xe8")
    target.wait_for_end_of_all(5)


@pytest.mark.parametrize("who", ["client", "target"])
@pytest.mark.parametrize("how", ["ends", "resets"])
def test_the_end_of_one_side_is_the_others(make_weir, serve, entrance, who, how):
    def answer(request, peer):
        peer.send(switch(request))
        if who == "target":
            if how == "resets":
                peer.reset()
            return False
        while peer.read_some():
            pass

    target = serve(Target(answer))
    weir = make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        assert open_socket(client).status == 101
        if who == "client":
            client.reset() if how == "resets" else client.close()
        else:
            assert client.is_ended()
    target.wait_for_end_of_all(5)
    eventually(lambda: weir.active_tcp_count() == 0, 5)


def test_half_a_web_socket_may_end_before_the_other(make_weir, serve, entrance):
    def answer(request, peer):
        peer.send(switch(request))
        data = peer.rest()
        peer.send(data[::-1])
        return False

    target = serve(Target(answer))
    make_weir(site(entrance, [target]))
    data = os.urandom(3_000_000)
    with Client(entrance) as client:
        assert open_socket(client).status == 101
        client.send(data)
        client.finish()
        assert client.rest() == data[::-1]


@pytest.mark.parametrize("status", [200, 400, 403, 426])
def test_an_upgrade_that_the_target_refuses_is_an_ordinary_exchange(make_weir, serve, entrance, status):
    target = serve(Target(lambda r, p: response(status, b"no")))
    make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        for _ in range(3):
            got = open_socket(client)
            assert (got.status, got.body, got.is_persistent) == (status, b"no", True)
    assert len(target.peers) == 1


def test_a_switch_that_nobody_asked_for_is_502(make_weir, serve, entrance):
    target = serve(Target(lambda r, p: head("HTTP/1.1 101 Switching Protocols", [
        ("Upgrade", "websocket"), ("Connection", "Upgrade")])))
    make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        assert client.ask().status == 502
        assert client.ask(fields=[("Upgrade", "h2c"), ("Connection", "Upgrade")]).status == 502
    assert target.requests[1].get("upgrade") is None


def test_a_quiet_web_socket_ends_after_the_idle_timeout_and_a_live_one_does_not(make_weir, serve, entrance):
    target = serve(Target(echo_frames))
    make_weir(site(entrance, [target], attributes={"idle_timeout.timeout_seconds": 1}))
    with Client(entrance) as quiet, Client(entrance) as live:
        for client in (quiet, live):
            assert open_socket(client).status == 101
            read_frame(client)
        begin = time.monotonic()
        for _ in range(6):
            check_echo(live, (10,))
            threading.Event().wait(0.4)
        assert time.monotonic() - begin > 2
        assert quiet.is_ended(1), "the quiet one has been left meanwhile"
        check_echo(live, (10,))


def test_a_slow_reader_of_a_web_socket_stops_its_writer(make_weir, serve, entrance):
    size = 60_000_000

    def pour(request, peer):
        peer.keeps = False
        peer.send(switch(request))
        for _ in range(size // 100_000):
            peer.send(bytes(100_000))
        return False

    target = serve(Target(pour))
    weir = make_weir(site(entrance, [target]))
    before = weir.resident_bytes()
    with Client(entrance, receive_buffer=65_536) as client:
        client.keeps = False
        assert open_socket(client).status == 101
        threading.Event().wait(0.5)
        assert weir.resident_bytes() - before < 10_000_000
        taken = len(client._buffer)
        while taken < size:
            client._buffer.clear()
            client._receive()
            taken += len(client._buffer)
        client._buffer.clear()
        assert taken == size and client.is_ended()


@pytest.mark.heavy
def test_two_thousand_web_sockets_at_once(make_weir, serve, entrance):
    target = serve(Target(echo_frames))
    weir = make_weir(site(entrance, [target]))
    clients = [Client(entrance) for _ in range(2_000)]
    for client in clients:
        assert open_socket(client).status == 101
        assert read_frame(client) == (2, b"welcome")
    assert weir.active_tcp_count() == 2_000
    for turn in range(3):
        for number, client in enumerate(clients):
            client.send(frame(b"%d of %d" % (turn, number), is_masked=True))
        for number, client in enumerate(clients):
            assert read_frame(client) == (2, b"%d of %d" % (turn, number))
    for client in clients:
        client.send(frame(b"\x03\xe8", 8, is_masked=True))
    for client in clients:
        assert read_frame(client) == (8, b"\x03\xe8")
        client.close()
    eventually(lambda: weir.active_tcp_count() == 0)
