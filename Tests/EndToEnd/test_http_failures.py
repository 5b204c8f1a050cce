"""What clients are told, and what is left behind, when one side of an HTTP exchange fails."""

import os
import threading
import time

import pytest

from harness import servers
from harness.http import (
    Client, Load, Target, application, ask, chunked, head, http_group, http_listener, request, response, site)
from harness.waiting import eventually

FAST = {"idle_timeout.timeout_seconds": 1}


@pytest.fixture
def entrance(port):
    return port()


def broken_before(client):
    """True when a response that has begun is cut off by a reset, so that nobody takes it for whole."""
    try:
        client.rest()
    except ConnectionResetError:
        return True
    return False


def then_end(data, with_reset=False):
    """An answer that says this much and ends."""
    def answer(request, peer):
        peer.send(data)
        if with_reset:
            peer.reset()
        return False

    return answer


# The target

@pytest.mark.parametrize("with_reset", [False, True])
@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"])
def test_a_target_that_ends_before_its_head_is_whole(make_weir, serve, entrance, start, with_reset):
    target = serve(Target(then_end(start, with_reset)))
    make_weir(site(entrance, [target]))
    with Client(entrance, timeout=5) as client:
        for _ in range(3):
            got = client.ask()
            assert (got.status, got.is_persistent) == (502, True)
    assert len(target.requests) == 3, "a fresh connection is not asked again"


@pytest.mark.parametrize("with_reset", [False, True])
@pytest.mark.parametrize("start", [
    head("HTTP/1.1 200 OK", [("Content-Length", 100)]) + b"half",
    head("HTTP/1.1 200 OK", [("Content-Length", 10_000_000)]) + bytes(400_000),
    head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]) + b"5\r\nhel",
    head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]) + b"5\r\nhello\r\n",
    head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]) + b"5\r\nhello\r\n0\r\n",
    head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]) + b"5\r\nhello\r\n0\r\nTrail",
], ids=["counted", "spliced", "in chunk", "between chunks", "before trailers", "in trailers"])
def test_a_target_that_ends_within_its_content(make_weir, serve, entrance, start, with_reset):
    target = serve(Target(then_end(start, with_reset)))
    make_weir(site(entrance, [target]))
    with Client(entrance, timeout=5) as client:
        client.send(request())
        assert client.read_head().status == 200
        assert broken_before(client)


def test_a_reset_within_content_until_close_is_no_end(make_weir, serve, entrance):
    sent = threading.Event()

    def answer(request, peer):
        peer.send(head("HTTP/1.1 200 OK", []) + b"hello")
        sent.wait(10)
        peer.reset()
        return False

    target = serve(Target(answer))
    make_weir(site(entrance, [target]))
    for version in ("1.0", "1.1"):
        sent.clear()
        with Client(entrance, timeout=5) as client:
            client.send(request(version=version))
            client.read_head()
            eventually(lambda: b"hello" in client.seen or client._receive() or True)
            sent.set()
            assert broken_before(client)


@pytest.mark.parametrize("data", [
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n",
    b"garbage\r\n\r\n", b"\0" * 100, b"SSH-2.0-OpenSSH_9.2\r\n", b"220 smtp ready\r\n", b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
    b"HTTP/1.1 999999 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"v" * 40_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X-Field: v\r\n" * 3_000 + b"\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
], ids=range(17))
def test_a_response_that_is_none(make_weir, serve, entrance, data):
    def answer(request, peer):
        peer.send(data)

    target = serve(Target(answer))
    make_weir(site(entrance, [target]))
    with Client(entrance, timeout=5) as client:
        got = client.ask()
        assert (got.status, got.is_persistent) == (502, True)
    target.wait_for_end_of_all()


def test_content_beyond_its_length_reaches_nobody(make_weir, serve, entrance):
    """The bytes behind one response must not become the next one's."""
    poison = response(body=b"poisoned")
    target = serve(Target(lambda r, p: response(body=b"right") + poison))
    make_weir(site(entrance, [target], workers=1))
    with Client(entrance) as client:
        for _ in range(5):
            assert client.ask().body == b"right"
    assert len(target.peers) == 5


def test_unasked_responses_on_idle_connections_reach_nobody(make_weir, serve, entrance):
    target = serve(Target(lambda r, p: response(body=b"right")))
    weir = make_weir(site(entrance, [target], workers=1))
    with Client(entrance) as client:
        for count in range(1, 4):
            assert client.ask().body == b"right"
            peer = target.peers[-1]
            peer.send(response(body=b"poisoned"))
            eventually(lambda: weir.pooled_connection_count() == 0, message="the connection is not kept")
            assert len(target.peers) == count


def test_head_and_bodyless_responses_with_content_poison_nothing(make_weir, serve, entrance):
    def answer(request, peer):
        if request.method == "HEAD":
            return response(body=b"body of a HEAD")
        if request.target == "/204":
            return head("HTTP/1.1 204 No Content", []) + b"content"
        return response(body=b"right")

    target = serve(Target(answer))
    make_weir(site(entrance, [target], workers=1))
    with Client(entrance) as client:
        assert client.ask("HEAD").get("content-length") == "14"
        assert client.ask().body == b"right"
        assert client.ask(target="/204").status == 204
        assert client.ask().body == b"right"


def test_refused_connections_go_to_other_targets_and_end_in_502(make_weir, serve, entrance, port):
    target = serve(Target(name="alive"))
    dead = [f"127.0.0.1:{port()}" for _ in range(2)]
    weir = make_weir(site(entrance, [*dead, target]))
    with Client(entrance) as client:
        assert {client.ask("POST", body=b"x").body for _ in range(20)} == {b"alive"}
    assert weir.has_changed is False
    other = port()
    make_weir(site(other, dead))
    got = ask(other)
    assert (got.status, got.get("server")) == (502, "weir")


@pytest.mark.slow
def test_connections_without_an_answer_end_in_504(make_weir, serve, entrance):
    """Both requests of the pipeline are answered by the timer, and the second must not wait for another event."""
    silent = serve(servers.FullBacklog())
    make_weir(site(entrance, [silent], attributes=FAST))
    with Client(entrance, timeout=15) as client:
        client.send(request() + request())
        assert [client.read_response().status for _ in range(2)] == [504, 504]


def test_a_target_that_does_not_answer_in_time(make_weir, serve, entrance):
    def never(request, peer):
        peer.has_ended.wait(0)
        peer.read_some()

    target = serve(Target(never))
    make_weir(site(entrance, [target], attributes=FAST))
    with Client(entrance) as client:
        client.send(request() + request("POST", body=b"abc"))
        begin = time.monotonic()
        assert [client.read_response().status for _ in range(2)] == [504, 504]
        assert 1.5 < time.monotonic() - begin < 8
    target.wait_for_end_of_all()


def test_a_target_that_stops_within_its_content(make_weir, serve, entrance):
    def stops(request, peer):
        peer.send(head("HTTP/1.1 200 OK", [("Content-Length", 100)]) + b"half")
        peer.read_some()

    target = serve(Target(stops))
    make_weir(site(entrance, [target], attributes=FAST))
    with Client(entrance) as client:
        client.send(request())
        client.read_head()
        assert broken_before(client)
    target.wait_for_end_of_all()


def test_a_target_that_is_slow_but_moves_is_waited_for(make_weir, serve, entrance):
    def slow(request, peer):
        peer.send(head("HTTP/1.1 200 OK", [("Content-Length", 5)]))
        for byte in b"hello":
            threading.Event().wait(0.6)
            peer.send(bytes([byte]))

    target = serve(Target(slow))
    make_weir(site(entrance, [target], attributes=FAST))
    assert ask(entrance).body == b"hello"


# Pooled connections that die

@pytest.mark.parametrize("method, is_repeated", [("GET", True), ("HEAD", True), ("PUT", True), ("POST", False)])
def test_a_pooled_connection_that_dies_under_a_request(make_weir, serve, entrance, method, is_repeated):
    """The target closes as soon as the second request of a connection has come: what does no harm twice is asked
    again, on a new connection."""
    def answer(request, peer):
        if peer.request_count == 2:
            return False
        return response(body=b"ok" if request.method != "HEAD" else b"")

    target = serve(Target(answer))
    make_weir(site(entrance, [target], workers=1))
    with Client(entrance) as client:
        for expected in (200, 200 if is_repeated else 502):
            assert client.ask(method, body=b"abc" if method in ("PUT", "POST") else None).status == expected
    assert len(target.requests) == (3 if is_repeated else 2)


def test_pooled_connections_that_the_target_closed_harm_nobody(make_weir, serve, entrance):
    target = serve(Target())
    weir = make_weir(site(entrance, [target], workers=1))
    with Client(entrance) as client:
        for _ in range(5):
            assert client.ask("POST", body=b"abc").status == 200
            target.end_connections()
            eventually(lambda: weir.pooled_connection_count() == 0)


def test_a_target_that_ends_idle_connections_at_any_moment_costs_no_get(make_weir, serve, entrance):
    """Without waiting for Weir to have seen the end."""
    target = serve(Target())
    make_weir(site(entrance, [target]))
    with Load(entrance, thread_count=4) as load:
        for _ in range(50):
            load.wait_for(5)
            for peer in list(target.peers):
                if not peer.has_ended.is_set() and peer.request_count > 0:
                    try:
                        peer.socket.shutdown(2)
                    except OSError:
                        pass
    assert not [e for e in load.errors if not isinstance(e[2], ConnectionError)], load.errors
    bad = {s: n for s, n in load.statuses.items() if s != 200}
    # One that was answered in part, or died twice, is a failure of the target's.
    assert sum(bad.values()) + len(load.errors) <= 0.1 * load.answered_count, (load.statuses, load.errors[:3])


# Early answers

@pytest.mark.parametrize("size", [1_000, 20_000_000])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_target_that_answers_before_it_has_read_all(make_weir, serve, entrance, size, is_chunked):
    """413 and a close, which resets the connection while the request still comes."""
    def on_head(request, peer):
        peer.send(response(413, b"too much", reason="Payload Too Large", fields=[("Connection", "close")]))
        return False

    target = serve(Target(on_head=on_head))
    make_weir(site(entrance, [target]))
    for _ in range(5):
        with Client(entrance, timeout=10) as client:
            fields = [("Transfer-Encoding", "chunked") if is_chunked else ("Content-Length", size)]

            def write():
                try:
                    client.send(head("POST / HTTP/1.1", [("Host", "a"), *fields]))
                    body = bytes(size)
                    client.send(chunked(body) if is_chunked else body)
                except OSError:
                    pass

            writer = threading.Thread(target=write, daemon=True)
            writer.start()
            got = client.read_response()
            assert (got.status, got.body) == (413, b"too much")
            assert not got.is_persistent or size < 100_000
            client.socket.shutdown(2)
            writer.join(10)


def test_a_target_that_answers_early_and_reads_on(make_weir, serve, entrance):
    """The connection to the target may be used again, for all was read in the end."""
    def on_head(request, peer):
        return response(body=b"early")

    target = serve(Target(lambda r, p: None, on_head=on_head))
    make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        client.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", 10)]))
        got = client.read_response()
        assert (got.body, got.is_persistent) == (b"early", False)


# The client

def test_a_client_that_goes_before_the_answer_frees_the_target(make_weir, serve, entrance):
    def never(request, peer):
        peer.read_some()

    target = serve(Target(never))
    make_weir(site(entrance, [target]))
    for with_reset in (False, True):
        for count in range(3):
            client = Client(entrance)
            client.send(request())
            eventually(lambda: target.open_count == 1)
            client.reset() if with_reset else client.close()
            target.wait_for_end_of_all()


@pytest.mark.parametrize("with_reset", [False, True])
@pytest.mark.parametrize("start", [
    head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", 100)]) + b"half",
    head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", 1_000_000)]) + bytes(500_000),
    head("POST / HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]) + b"5\r\nhel",
    head("POST / HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]) + b"5\r\nhello\r\n0\r\nTrail",
], ids=["counted", "spliced", "chunked", "in trailers"])
def test_a_client_that_goes_within_its_request(make_weir, serve, entrance, start, with_reset):
    target = serve(Target(lambda r, p: response(body=b"x")))
    weir = make_weir(site(entrance, [target]))
    client = Client(entrance)
    client.send(start)
    eventually(lambda: target.open_count == 1)
    client.reset() if with_reset else client.close()
    target.wait_for_end_of_all()
    eventually(lambda: weir.active_tcp_count() == 0)
    assert not target.requests and target.peers[0].problem is not None


def test_a_client_that_goes_within_the_answer(make_weir, serve, entrance):
    def endless(request, peer):
        peer.send(head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]))
        while True:
            peer.send(b"4000\r\n" + bytes(0x4000) + b"\r\n")

    target = serve(Target(endless))
    weir = make_weir(site(entrance, [target]))
    for with_reset in (False, True):
        client = Client(entrance)
        client.send(request())
        client.read_head()
        client.reset() if with_reset else client.close()
        target.wait_for_end_of_all()
    eventually(lambda: weir.active_tcp_count() == 0)


def test_a_client_that_is_too_slow_with_its_head(make_weir, serve, entrance):
    target = serve(Target())
    make_weir(site(entrance, [target], attributes=FAST))
    with Client(entrance) as silent, Client(entrance) as slow:
        slow.send(b"GET / HTTP/1.1\r\nHost: a\r\n")

        def trickle():
            for number in range(100):
                try:
                    slow.send(b"X-%d: y\r\n" % number)
                except OSError:
                    return
                if stop.wait(0.2):
                    return

        stop = threading.Event()
        threading.Thread(target=trickle, daemon=True).start()
        begin = time.monotonic()
        got = slow.read_response()
        stop.set()
        assert (got.status, got.is_persistent) == (408, False)
        assert 0.9 < time.monotonic() - begin < 5
        assert silent.is_ended(), "who says nothing is told nothing"
    assert not target.peers


def test_a_client_that_stops_within_its_content(make_weir, serve, entrance):
    target = serve(Target())
    make_weir(site(entrance, [target], attributes=FAST))
    with Client(entrance) as client:
        client.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", 100)]) + b"half")
        got = client.read_response()
        assert (got.status, got.is_persistent) == (408, False)
    target.wait_for_end_of_all()
    assert not target.requests


def test_a_client_that_is_slow_with_its_content_but_moves_is_waited_for(make_weir, serve, entrance):
    target = serve(Target(lambda r, p: response(body=r.body)))
    make_weir(site(entrance, [target], attributes=FAST))
    with Client(entrance) as client:
        client.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", 5)]))
        for byte in b"hello":
            threading.Event().wait(0.6)
            client.send(bytes([byte]))
        assert client.read_response().body == b"hello"


def test_an_idle_client_is_left_after_the_idle_timeout(make_weir, serve, entrance):
    target = serve(Target())
    make_weir(site(entrance, [target], attributes=FAST))
    with Client(entrance) as client:
        assert client.ask().status == 200
        begin = time.monotonic()
        assert client.is_ended()
        assert 0.9 < time.monotonic() - begin < 5


# Slow readers

def test_slow_readers_get_all_and_cost_little(make_weir, serve, entrance):
    """50 clients that ask for 100 MB each and read none of it: neither Weir nor its kernel pipes may hold much."""
    size = 100_000_000

    def pour(request, peer):
        peer.send(head("HTTP/1.1 200 OK", [("Content-Length", size)]))
        try:
            for _ in range(size // 1_000_000):
                peer.send(bytes(1_000_000))
        except OSError:
            pass
        return False

    target = serve(Target(pour))
    weir = make_weir(site(entrance, [target]))
    ask_one = Client(entrance, receive_buffer=65_536)
    ask_one.send(request())
    ask_one.read_head()
    before = weir.resident_bytes()
    clients = [Client(entrance, receive_buffer=65_536) for _ in range(50)]
    for client in clients:
        client.keeps = False
        client.send(request())
    for client in clients:
        client.read_head()
    cpu = weir.cpu_seconds()
    grown = weir.resident_bytes() - before
    assert grown < 50 * 200_000, f"{grown} bytes more for 50 clients that do not read"
    # Nobody reads: nothing must turn.
    eventually(lambda: idle_for(weir, 0.5), 15, "Weir rests while nobody reads")
    assert weir.cpu_seconds() - cpu < 20
    for client in clients[1:] + [ask_one]:
        client.close()
    taken = len(clients[0]._buffer)
    while taken < size:
        clients[0]._buffer.clear()
        clients[0]._receive()
        taken += len(clients[0]._buffer)
    assert taken == size
    clients[0].close()


def idle_for(weir, seconds):
    before = weir.cpu_seconds()
    threading.Event().wait(seconds)
    return weir.cpu_seconds() - before < 0.05


def test_slow_targets_stop_their_clients(make_weir, serve, entrance):
    """A target that reads nothing of a large upload: the client is stopped before Weir holds much, and goes on."""
    is_open = threading.Event()
    size = 60_000_000

    def on_head(request, peer):
        is_open.wait(20)

    target = serve(Target(lambda r, p: response(body=str(len(r.body)).encode()), on_head=on_head, keeps=False))
    weir = make_weir(site(entrance, [target]))
    sent = 0
    for fields in ([("Content-Length", size)], [("Transfer-Encoding", "chunked")]):
        is_open.clear()
        with Client(entrance) as client:
            client.send(head("POST / HTTP/1.1", [("Host", "a"), *fields]))
            body = bytes(size) if fields[0][0] == "Content-Length" else chunked(*[bytes(10_000)] * (size // 10_000))
            before = weir.resident_bytes()
            client.socket.settimeout(1)
            sent = 0
            with pytest.raises(TimeoutError):
                while True:
                    sent += client.socket.send(body[sent:sent + 100_000])
            # What the kernel's buffers take between three processes, at most.
            assert sent < size * 0.6
            assert weir.resident_bytes() - before < 2_000_000
            assert idle_for(weir, 0.5)
            is_open.set()
            client.socket.settimeout(20)
            client.send(body[sent:])
            assert client.read_response().body == str(size).encode()


def test_a_trailer_section_that_stops_costs_no_turns(make_weir, serve, entrance):
    """What is held and cannot go on must not be looked at again and again."""
    go_on = threading.Event()

    def answer(request, peer):
        peer.send(head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]) + b"5\r\nhello\r\n0\r\nX-Su")
        go_on.wait(20)
        return b"m: x\r\n\r\n"

    target = serve(Target(answer))
    weir = make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        client.send(head("POST / HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]) + b"0\r\nX-Su")
        eventually(lambda: target.open_count == 1)
        assert idle_for(weir, 0.5)
        client.send(b"m: y\r\n\r\n")
        client.read_head()
        assert idle_for(weir, 0.5)
        go_on.set()
        assert client.rest_of_chunks() == (b"hello", [("X-Sum", "x")])
    assert target.requests[0].trailers == [("X-Sum", "y")]


# Real processes that are killed

def test_a_killed_target_costs_only_what_it_had(make_weir, serve, directory, entrance, port):
    ports = [port(), port()]
    nginx = [serve(servers.nginx(make_directory(directory, n), [(f"site{n}", p)])) for n, p in enumerate(ports)]
    make_weir(site(entrance, [f"127.0.0.1:{p}" for p in ports]))
    with Load(entrance) as load:
        load.wait_for(100)
        nginx[0].kill()
        load.wait_for(200)
    assert not load.errors
    assert load.statuses[200] >= 300 and load.statuses.get(502, 0) <= 4, load.statuses


def make_directory(directory, number):
    made = directory / f"nginx{number}"
    made.mkdir()
    return made


def test_a_target_that_comes_and_goes(make_weir, serve, entrance):
    """Half of the group listens, stops and listens again under load: the other half answers for it."""
    steady, shaky = serve(Target(name="steady")), serve(Target(name="shaky"))
    make_weir(site(entrance, [steady, shaky]))
    with Load(entrance) as load:
        for _ in range(10):
            load.wait_for(20)
            shaky.stop_listening()
            shaky.end_connections(with_reset=True)
            load.wait_for(20)
            shaky.listen()
    allowed = {200, 502}
    assert set(load.statuses) <= allowed, load.statuses
    assert load.statuses.get(502, 0) <= 60, "at most what was with the target when it went"
    assert not load.errors, load.errors[:3]


# Exhausted

def test_without_descriptors_requests_are_refused_and_come_back(make_weir, serve, entrance):
    target = serve(Target())
    weir = make_weir(site(entrance, [target], workers=1))
    assert ask(entrance).status == 200
    held = Client(entrance)
    assert held.ask().status == 200
    target.end_connections()
    eventually(lambda: weir.pooled_connection_count() == 0)
    weir.set_descriptor_limit(3)
    got = held.ask()
    assert (got.status, got.is_persistent) == (503, True)
    weir.set_descriptor_limit()
    assert held.ask().status == 200
    held.close()


def test_idle_connections_make_room_for_those_that_are_needed(make_weir, serve, port):
    """With no descriptor left, one that waits in the pool of another target gives way."""
    one, two = serve(Target(name="one")), serve(Target(name="two"))
    first, second = port(), port()
    weir = make_weir(application(
        [http_group("one", [one.target]), http_group("two", [two.target])],
        [http_listener(first, "one"), http_listener(second, "two")], workers=1))
    with Client(first) as client, Client(second) as other:
        assert client.ask().body == b"one"
        eventually(lambda: weir.active_tcp_count() == 2)
        highest = max(int(name) for name in os.listdir(f"/proc/{weir.process.pid}/fd"))
        weir.set_descriptor_limit(highest + 1)
        for _ in range(20):
            got = other.ask()
            assert (got.status, got.body) == (200, b"two")
        weir.set_descriptor_limit()


def test_without_pipes_large_content_is_copied(make_weir, serve, entrance):
    size = 5_000_000
    target = serve(Target(lambda r, p: response(body=r.body)))
    weir = make_weir(site(entrance, [target], workers=1))
    with Client(entrance) as client:
        assert client.ask().status == 200
        weir.set_descriptor_limit(3)
        body = os.urandom(size)
        writer = threading.Thread(target=client.send, args=(request("POST", body=body),), daemon=True)
        writer.start()
        assert client.read_response().body == body
        weir.set_descriptor_limit()
