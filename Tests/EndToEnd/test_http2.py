"""HTTP/2 on both sides: h2load, nghttp and curl, clients that break the rules, and targets that fail."""

import collections
import contextlib
import hashlib
import random
import re
import socket
import struct
import subprocess
import threading
import time

import pytest

from harness import packages, servers, tls

packages.need("h2", "hpack")

import h2.exceptions
import h2.settings
import hpack

from harness import http2
from harness.http import Client as PlainClient
from harness.http import Target as PlainTarget
from harness.http import application, head, http_group, http_listener, response, rule, fixed, site
from harness.http2 import frame
from harness.waiting import eventually

Codes = h2.settings.SettingCodes


@pytest.fixture
def entrance(port):
    return port()


@pytest.fixture
def make_site(make_weir, entrance):
    """Weir before targets of one kind; the kind is the protocol version of their group."""

    def make(*targets, version="HTTP2", listener=None, group=None, checks=True, **more):
        more_of_group = {"protocol_version": version, **(group or {})}
        return make_weir(site(entrance, targets, group=more_of_group, listener=listener, **more), checks=checks)

    return make


def noise(count, seed=1):
    return random.Random(seed).randbytes(count)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def echo(stream, peer):
    peer.respond(stream, fields=[("x-method", stream.method)], body=bytes(stream.body), trailers=stream.trailers)


def plain_echo(request, peer):
    return response(body=request.body, fields=[("X-Method", request.method)])


def hello(stream, peer):
    http2.hello(stream, peer)


def nothing_is_left(weir):
    """No exchange and no connection of a client is counted any more."""
    eventually(lambda: weir.active_tcp_count() == 0, 15, "every client has ended")
    eventually(lambda: not active(weir), 15, f"no request is under way: {active(weir)}")


def active(weir):
    """Requests that targets are counted to work on."""
    return sum(float(v) for v in re.findall(r"^weir_active_requests\S* (\S+)", weir.metrics(), re.M))


# Requests of every kind

KINDS = ["HTTP2", "HTTP1"]


def target_of(version, serve, answer=None, **more):
    if version == "HTTP2":
        return serve(http2.Target(answer or echo, **more))
    return serve(PlainTarget(answer or plain_echo, **more))


@pytest.mark.parametrize("version", KINDS)
def test_methods_and_sizes_pass_both_ways(make_site, serve, entrance, version):
    target = target_of(version, serve)
    weir = make_site(target, version=version)
    with http2.Client(entrance) as client:
        for method in ("GET", "DELETE", "OPTIONS", "PATCH"):
            answer = client.ask(method, "/a?b=c")
            assert (answer.status, answer.get("x-method"), answer.body) == (200, method, b"")
        for size in (0, 1, 16_383, 16_384, 65_535, 65_536, 70_000, 1_500_000):
            data = noise(size)
            for fields in ([], [("content-length", str(size))]):
                answer = client.ask("POST", "/a", fields, body=data)
                assert answer.status == 200 and digest(answer.body) == digest(data), size
        head_answer = client.ask("HEAD", "/")
        assert head_answer.status == 200 and not head_answer.body
    nothing_is_left(weir)


@pytest.mark.parametrize("version", KINDS)
def test_a_hundred_streams_at_once_over_tls_and_not(make_weir, serve, entrance, port, directory, version):
    target = target_of(version, serve)
    authority = tls.Authority(directory)
    certificate = authority.issue("site", "site.test")
    secure = port()
    weir = make_weir(application(
        [http_group("web", [target.target], protocol_version=version)],
        [http_listener(entrance, "web"),
         {**http_listener(secure, "web"), "protocol": "HTTPS", "certificates": [certificate]}]))
    for where, context in ((entrance, None), (secure, authority.client_context())):
        with http2.Client(where, context) as client:
            numbers = {client.begin("POST", f"/{n}", end=False): noise(40_000, n) for n in range(100)}
            for number, data in numbers.items():
                assert client.send_body(number, data)
            for number, data in numbers.items():
                answer = client.finish(number)
                assert answer.status == 200 and digest(answer.body) == digest(data)
    nothing_is_left(weir)


def test_trailers_pass_both_ways(make_site, serve, entrance):
    target = serve(http2.Target(echo))
    weir = make_site(target)
    trailers = [("x-sum", "abc"), ("grpc-status", "0")]
    with http2.Client(entrance) as client:
        for body in (b"", b"x", noise(200_000)):
            answer = client.ask("POST", "/", body=body, trailers=trailers)
            assert answer.status == 200 and bytes(answer.body) == body
            assert answer.trailers == trailers
            assert target.requests[-1].trailers == trailers
    nothing_is_left(weir)


def test_trailers_pass_to_and_from_chunks(make_site, serve, entrance):
    def answer(request, peer):
        return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n"
                b"5\r\nhello\r\n0\r\nx-sum: 12\r\n\r\n")

    target = serve(PlainTarget(answer))
    make_site(target, version="HTTP1")
    with http2.Client(entrance) as client:
        answer = client.ask("POST", "/", body=b"abc", trailers=[("x-up", "1")])
        assert bytes(answer.body) == b"hello" and answer.trailers == [("x-sum", "12")]
        assert target.requests[0].body == b"abc" and target.requests[0].trailers == [("x-up", "1")]


def test_cookie_crumbs_are_one_field_for_targets(make_site, serve, entrance):
    target = serve(PlainTarget(plain_echo))
    make_site(target, version="HTTP1")
    with http2.Client(entrance) as client:
        client.ask(fields=[("cookie", "a=1"), ("x-between", "y"), ("cookie", "b=2"), ("cookie", "c=3")])
    assert target.requests[0].all("cookie") == ["a=1; b=2; c=3"]


def test_targets_of_http1_answer_in_all_their_ways(make_site, serve, entrance):
    answers = {
        "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
        "/close": b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        "/old": b"HTTP/1.0 200 OK\r\n\r\nolder",
        "/204": b"HTTP/1.1 204 No Content\r\n\r\n",
        "/304": b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n",
        "/early": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "/empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 3\r\n\r\n",
    }

    def answer(request, peer):
        peer.send(answers[request.target])
        return False if request.target in ("/close", "/old") else None

    target = serve(PlainTarget(answer))
    weir = make_site(target, version="HTTP1")
    with http2.Client(entrance) as client:
        got = {path: client.ask(target=path) for path in answers}
        bodies = {path: bytes(stream.body) for path, stream in got.items()}
        assert bodies == {"/chunked": b"abcdef", "/close": b"until the end", "/old": b"older", "/204": b"",
                          "/304": b"", "/early": b"ok", "/empty": b""}
        assert [got[p].status for p in ("/204", "/304")] == [204, 304]
        assert [dict(fields)[":status"] for fields in got["/early"].interims] == ["103"]
        for stream in got.values():
            assert stream.reset_code is None
            names = {name for name, _ in stream.fields}
            assert not names & {"connection", "keep-alive", "transfer-encoding", "x-hop"}, stream.fields
    nothing_is_left(weir)


def test_an_answer_that_breaks_off_is_a_reset(make_site, serve, entrance):
    def answer(request, peer):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        return False

    target = serve(PlainTarget(answer))
    weir = make_site(target, version="HTTP1")
    with http2.Client(entrance) as client:
        # Where the end came with the head, the reset may overtake it.
        stream = client.ask()
        assert stream.fields is None or stream.status == 200
        assert stream.reset_code == http2.INTERNAL_ERROR
        assert client.ask(target="/again").reset_code == http2.INTERNAL_ERROR, "the connection goes on"
    nothing_is_left(weir)


def test_clients_of_http1_get_464_from_groups_of_http2(make_weir, serve, entrance):
    target = serve(http2.Target())
    make_weir(application(
        [http_group("web", [target.target], protocol_version="HTTP2"),
         http_group("calls", [target.target], protocol_version="GRPC")],
        [http_listener(entrance, "web", [rule(
            1, {"type": "forward", "target_group": "calls"}, {"path_pattern": {"values": ["/calls"]}})])]))
    with PlainClient(entrance) as client:
        assert client.ask().status == 464
        assert client.ask("POST", "/calls").status == 464
    with http2.Client(entrance) as client:
        assert client.ask("GET", "/calls").status == 464, "gRPC is POST"
        assert client.ask("GET", "/").status == 200
    assert len(target.requests) == 1


def test_targets_over_tls_are_asked_for_h2(make_weir, serve, entrance, directory):
    authority = tls.Authority(directory)
    context = authority.server_context(authority.issue("target"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    chosen = []
    target = serve(http2.Target(
        lambda stream, peer: (chosen.append(peer.socket.selected_alpn_protocol()), hello(stream, peer)),
        context=context))
    weir = make_weir(application(
        [{**http_group("web", [target.target], protocol_version="HTTP2"), "protocol": "HTTPS"}],
        [http_listener(entrance, "web")]))
    with http2.Client(entrance) as client:
        assert [client.ask().status for _ in range(3)] == [200] * 3
    assert chosen == ["h2"] * 3 and len(target.peers) == 1
    assert target.requests[0].get(":scheme") == "https"
    nothing_is_left(weir)


def test_a_target_that_does_not_choose_h2_is_a_failed_connection(make_weir, serve, entrance, directory):
    authority = tls.Authority(directory)
    context = authority.server_context(authority.issue("target"))
    context.set_alpn_protocols(["http/1.1"])
    came = []
    listening = socket.create_server(("127.0.0.1", 0))

    def run():
        with contextlib.suppress(OSError):
            while True:
                raw, _ = listening.accept()
                with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as connection:
                    connection.settimeout(5)
                    came.append(connection.recv(100))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    port = listening.getsockname()[1]
    make_weir(application(
        [{**http_group("web", [f"127.0.0.1:{port}"], protocol_version="HTTP2"), "protocol": "HTTPS"}],
        [http_listener(entrance, "web")]))
    with http2.Client(entrance) as client:
        assert client.ask().status == 502
    listening.close()
    assert b"".join(came) == b"", "nothing is said to who does not speak it"


def test_a_target_that_speaks_only_http1_is_a_502(make_site, serve, entrance):
    target = serve(PlainTarget(lambda r, p: response(400)))
    target.accepts_failures = True
    weir = make_site(target)
    with http2.Client(entrance) as client:
        assert client.ask().status == 502
    nothing_is_left(weir)


# Early answers, resets, and who goes first

@pytest.mark.parametrize("version", KINDS)
def test_an_early_answer_ends_an_upload(make_site, serve, entrance, version):
    """The client hears 413 and, with the answer's end, that the rest is not wanted."""
    if version == "HTTP2":
        def on_head(stream, peer):
            peer.respond(stream, 413, body=b"too much")
            peer.reset(stream.number, http2.NO_ERROR)
        target = serve(http2.Target(answer=None, on_head=on_head))
    else:
        def on_plain_head(request, peer):
            peer.send(response(413, b"too much", [("Connection", "close")]))
            return False
        target = serve(PlainTarget(on_head=on_plain_head))
    weir = make_site(target, version=version)
    with http2.Client(entrance) as client:
        for _ in range(3):
            number = client.begin("POST", "/", end=False)
            client.send_body(number, noise(300_000))
            stream = client.finish(number)
            assert stream.status == 413 and bytes(stream.body) == b"too much"
            client.until(lambda: stream.reset_code is not None or stream.is_ended)
            assert stream.reset_code in (None, http2.NO_ERROR)
        # What nobody took leaves the window of the connection open.
        assert client.ask("GET", "/").status in (413,)
    nothing_is_left(weir)


@pytest.mark.parametrize("version", KINDS)
@pytest.mark.parametrize("when", ["upload", "download", "before"])
def test_a_client_resets_its_stream(make_site, serve, entrance, version, when):
    big = b"x" * 3_000_000
    if version == "HTTP2":
        def answer(stream, peer):
            if stream.target != "/never":
                peer.respond(stream, body=big if stream.target == "/big" else b"ok")
        target = serve(http2.Target(answer))
    else:
        def plain(request, peer):
            if request.target == "/never":
                peer.has_ended.wait(0.1)
                return None
            return response(body=big if request.target == "/big" else b"ok")
        target = serve(PlainTarget(plain))
    weir = make_site(target, version=version)
    with http2.Client(entrance, reads=False) as client:
        client.http2.increment_flow_control_window(100_000_000)
        client.flush()
        for _ in range(20):
            if when == "upload":
                number = client.begin("POST", "/never", end=False)
                with client.lock:
                    client.http2.send_data(number, b"y" * 2_000)
                    client.flush()
            elif when == "download":
                number = client.begin("GET", "/big")
                client.until(lambda: client.stream(number).fields)
            else:
                number = client.begin("GET", "/never")
            client.reset(number)
        assert client.ask(target="/fine").status == 200
        eventually(lambda: not active(weir), 10, "all others have been given up")
    nothing_is_left(weir)


@pytest.mark.parametrize("code", [http2.REFUSED_STREAM, http2.INTERNAL_ERROR])
def test_a_target_resets_streams(make_site, serve, entrance, code):
    """One that it has not looked at is asked again, whatever the method; another is a 502."""
    refused = set()

    def answer(stream, peer):
        key = stream.target
        if key.startswith("/bad") and (code != http2.REFUSED_STREAM or key not in refused):
            refused.add(key)
            peer.reset(stream.number, code)
        else:
            peer.respond(stream, body=b"fine")

    target = serve(http2.Target(answer))
    weir = make_site(target)
    expected = 200 if code == http2.REFUSED_STREAM else 502
    with http2.Client(entrance) as client:
        assert client.ask(target="/first").status == 200
        for method in ("GET", "POST"):
            assert client.ask(method, f"/bad/{method}").status == expected
        numbers = [client.begin("POST", f"/bad/{n}") for n in range(50)]
        assert {client.finish(number).status for number in numbers} == {expected}
    nothing_is_left(weir)


def test_a_reset_in_the_middle_of_an_answer_is_passed_on(make_site, serve, entrance):
    def answer(stream, peer):
        peer.send_fields(stream.number, [(":status", "200")])
        peer.send_body(stream.number, b"half", end=False)
        peer.reset(stream.number, http2.INTERNAL_ERROR)

    target = serve(http2.Target(answer))
    weir = make_site(target)
    with http2.Client(entrance) as client:
        streams = [client.finish(client.begin()) for _ in range(5)]
        assert {s.reset_code for s in streams} == {http2.INTERNAL_ERROR}
    assert len(target.peers) == 1, "the connection is good for others"
    nothing_is_left(weir)


def test_goaway_while_streams_are_open(make_site, serve, entrance):
    """Streams that the target has looked at go on, others are asked again elsewhere, and none fails."""
    held = []

    def answer(stream, peer):
        if stream.target == "/hold" and peer.number == 0:
            held.append(stream)
            if len(held) == 20:
                with peer.lock:
                    last = held[9].number
                    peer.send_raw(frame(http2.GOAWAY, payload=struct.pack(">II", last, 0)))
                for known in held[:10]:
                    peer.respond(known, body=b"held")
        else:
            peer.respond(stream, body=b"new")

    target = serve(http2.Target(answer))
    weir = make_site(target)
    with http2.Client(entrance) as client:
        assert client.ask("GET", "/").status == 200
        numbers = [client.begin("POST", "/hold") for _ in range(20)]
        bodies = collections.Counter(bytes(client.finish(number).body) for number in numbers)
        assert bodies == {b"held": 10, b"new": 10}
        assert [client.ask().status for _ in range(5)] == [200] * 5
    assert len(target.peers) == 2
    nothing_is_left(weir)


def test_an_answer_that_is_whole_outlives_its_targets_connection(make_site, serve, entrance):
    """The client takes its time; the target has said everything and is gone."""
    data = noise(150_000)

    def answer(stream, peer):
        peer.respond(stream, body=data)
        peer.send_raw(frame(http2.GOAWAY, payload=struct.pack(">II", stream.number, 0)))
        peer.socket.shutdown(socket.SHUT_WR)

    target = serve(http2.Target(answer))
    weir = make_site(target)
    with http2.Client(entrance, reads=False) as client:
        number = client.begin()
        assert client.until(lambda: client.stream(number).byte_count == 65_535)
        eventually(lambda: not target.open_peers, 5, "the target's connection has ended")
        client.reads = True
        client.http2.increment_flow_control_window(1_000_000)
        client.http2.increment_flow_control_window(1_000_000, number)
        client.flush()
        stream = client.finish(number)
        assert stream.reset_code is None and digest(stream.body) == digest(data)
    nothing_is_left(weir)


@pytest.mark.parametrize("with_reset", [False, True])
def test_a_target_dies_with_many_streams_open(make_site, serve, entrance, with_reset):
    target = serve(http2.Target(answer=lambda stream, peer: stream.target == "/" and hello(stream, peer)))
    weir = make_site(target)
    with http2.Client(entrance) as client:
        assert client.ask().status == 200
        numbers = [client.begin("POST", "/hold") for _ in range(60)]
        eventually(lambda: len(target.requests) >= 61, 10, "all are with the target")
        target.end_connections(with_reset)
        assert {client.finish(number).status for number in numbers} == {502}
        assert client.ask().status == 200
    nothing_is_left(weir)


def test_a_target_that_takes_one_stream_at_a_time(make_site, serve, entrance):
    most = 0

    def answer(stream, peer):
        nonlocal most
        most = max(most, sum(not s.is_over for s in peer.streams.values()))
        peer.respond(stream, body=b"x" * 10_000)

    target = serve(http2.Target(answer, settings={Codes.MAX_CONCURRENT_STREAMS: 1}))
    weir = make_site(target)
    with http2.Client(entrance) as client:
        for _ in range(3):
            numbers = [client.begin("POST", "/", end=False) for _ in range(40)]
            for number in numbers:
                client.send_body(number, b"question")
            answers = [client.finish(number) for number in numbers]
            assert {(s.status, len(s.body)) for s in answers} == {(200, 10_000)}
    assert most <= 1
    nothing_is_left(weir)


def test_slow_readers_on_one_connection_to_a_target_do_not_stop_others(make_site, serve, entrance):
    """Thirty streams that nobody reads, and one that is read, on the same connection to the target."""
    big = b"x" * 400_000
    # Never set: the threads look again every few milliseconds.
    moved = threading.Event()

    def answer(stream, peer):
        threading.Thread(target=send, args=(stream, peer, big), daemon=True).start()

    def send(stream, peer, data):
        peer.send_fields(stream.number, [(":status", "200")])
        position = 0
        while position < len(data) and not peer.has_ended:
            with peer.lock:
                try:
                    room = min(peer.http2.local_flow_control_window(stream.number), 16_384)
                    if room > 0:
                        part = data[position:position + room]
                        position += len(part)
                        peer.http2.send_data(stream.number, part, end_stream=position == len(data))
                        peer.flush()
                        continue
                except h2.exceptions.ProtocolError:
                    return
            moved.wait(0.002)

    target = serve(http2.Target(answer))
    make_site(target, workers=1)
    with http2.Client(entrance, reads=False) as stalled, http2.Client(entrance) as client:
        stalled.http2.increment_flow_control_window(10_000_000)
        stalled.flush()
        numbers = [stalled.begin() for _ in range(30)]
        stalled.until(lambda: all(stalled.stream(n).byte_count == 65_535 for n in numbers))
        answers = [client.ask() for _ in range(3)]
        assert [len(s.body) for s in answers] == [len(big)] * 3
    assert len(target.peers) == 1


# Ends of connections

def test_an_idle_connection_is_told_goodbye(make_site, serve, entrance):
    target = serve(http2.Target())
    weir = make_site(target, attributes={"idle_timeout.timeout_seconds": 1})
    with http2.Client(entrance) as client:
        assert client.ask().status == 200
        assert client.until(lambda: client.has_ended, 8)
        assert [code for code, _ in client.goaways] == [0]
    nothing_is_left(weir)


@pytest.mark.parametrize("version", KINDS)
def test_an_answer_that_nobody_takes_ends_after_the_idle_timeout(make_site, serve, entrance, version):
    """Also when all of it waits in Weir and no exchange is under way any more."""
    for_ever = 0
    target = target_of(
        version, serve, (lambda s, p: p.respond(s, body=b"z" * 30_000)) if version == "HTTP2"
        else lambda r, p: response(body=b"z" * 30_000))
    weir = make_site(target, version=version, attributes={"idle_timeout.timeout_seconds": 1})
    client = http2.Client(entrance, settings={Codes.INITIAL_WINDOW_SIZE: for_ever}, reads=False)
    for _ in range(50):
        client.begin()
    client.until(lambda: len([s for s in client.streams.values() if s.fields]) == 50)
    assert client.until(lambda: client.has_ended, 15), "zero windows for ever hold nothing for ever"
    client.close()
    nothing_is_left(weir)


def test_a_target_that_never_answers_is_504_and_its_connection_is_left(make_site, serve, entrance):
    target = serve(http2.Target(answer=lambda s, p: p.number > 0 and hello(s, p)))
    weir = make_site(target, attributes={"idle_timeout.timeout_seconds": 1})
    with http2.Client(entrance) as client:
        numbers = [client.begin() for _ in range(5)]
        assert {client.finish(number).status for number in numbers} == {504}
        assert client.ask().status == 200, "not on the connection that was silent"
    nothing_is_left(weir)


def test_draining_ends_connections_of_http2_without_a_failure(make_site, serve, entrance):
    """Requests go on until the client has heard, and the last one is answered."""
    target = serve(http2.Target())
    weir = make_site(target, drain_timeout=10, checks=False)
    with http2.Client(entrance) as client:
        client.ask()
        weir.process.terminate()
        while not client.goaways and client.step(5):
            pass
        # Asked after the first GOAWAY, as if it had crossed it on the wire.
        assert client.goaways[0] == (0, 2**31 - 1)
        assert client.ask().status == 200
        assert client.until(lambda: client.has_ended, 10)
        assert client.goaways[-1] == (0, 3)
    assert weir.process.wait(20) == 0


# Load

def h2load(url, *arguments, timeout=100):
    result = subprocess.run(["h2load", *map(str, arguments), url], capture_output=True, timeout=timeout, text=True)
    numbers = re.search(
        r"requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored",
        result.stdout)
    assert numbers, result.stdout + result.stderr
    return dict(zip(("total", "started", "done", "succeeded", "failed", "errored"), map(int, numbers.groups())))


@pytest.mark.parametrize("version", KINDS)
def test_h2load_has_no_failures(make_site, serve, entrance, directory, port, version):
    where = serve_pages(serve, directory, port, version)
    weir = make_site(f"127.0.0.1:{where}", version=version)
    said = h2load(f"http://127.0.0.1:{entrance}/", "-n", 20_000, "-c", 10, "-m", 20)
    assert said["succeeded"] == 20_000 and said["failed"] == said["errored"] == 0, said
    nothing_is_left(weir)


def serve_pages(serve, directory, port, version, name="web"):
    where = port()
    home = directory / f"nginx-{where}"
    home.mkdir()
    serve(servers.nginx(home, [(name, where)], "http2" if version == "HTTP2" else ""))
    return where


@pytest.mark.parametrize("version", KINDS)
def test_h2load_has_no_failures_while_rules_and_targets_change(make_weir, serve, entrance, directory, port, version):
    places = [serve_pages(serve, directory, port, version, f"web{n}") for n in range(3)]
    weir = make_weir(site(
        entrance, [f"127.0.0.1:{p}" for p in places],
        group={"protocol_version": version, "attributes": {"deregistration_delay.timeout_seconds": 5}}))
    stop, changes = threading.Event(), []

    def change():
        count = 0
        while not stop.is_set():
            count += 1
            place = f"127.0.0.1:{places[count % 3]}"
            for verb in ("deregister", "register"):
                changes.append(weir.cli("targets", verb, "web", place, check=False).returncode)
            weir.config["load_balancers"][0]["listeners"][0]["rules"] = [
                rule(count % 50 + 1, fixed(200, "never"), {"path_pattern": {"values": [f"/none/{count}"]}})]
            weir.write(weir.config)
            changes.append(weir.cli("apply", weir.config_path, check=False).returncode)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(2):
            said = h2load(f"http://127.0.0.1:{entrance}/", "-n", 10_000, "-c", 10, "-m", 20)
            assert said["succeeded"] == 10_000, said
    finally:
        stop.set()
        thread.join()
    assert len(changes) >= 3 and set(changes) == {0}
    nothing_is_left(weir)


@pytest.mark.parametrize("version", KINDS)
def test_a_slow_reader_and_a_slow_target_hold_little_memory(make_site, serve, entrance, version):
    size = 64 << 20
    part = b"m" * (1 << 16)

    def plain(request, peer):
        peer.send(head("HTTP/1.1 200 OK", [("Content-Length", size)]))
        for _ in range(size // len(part)):
            peer.send(part)

    def framed(stream, peer):
        peer.respond(stream, body=b"m" * size)

    target = target_of(version, serve, framed if version == "HTTP2" else plain, keeps=False)
    weir = make_site(target, version=version)
    before = weir.resident_bytes()
    with http2.Client(entrance, keeps=False, reads=False) as client:
        number = client.begin()
        client.until(lambda: client.stream(number).byte_count >= 65_535)
        time_is_up = time.monotonic() + 1
        eventually(lambda: time.monotonic() > time_is_up, 3)
        assert weir.resident_bytes() - before < 8 << 20
        client.reads = True
        client.http2.increment_flow_control_window(65_535)
        client.http2.increment_flow_control_window(65_535, number)
        client.flush()
        stream = client.finish(number)
        assert stream.byte_count == size and stream.reset_code is None
    assert weir.resident_bytes() - before < 16 << 20
    nothing_is_left(weir)


def test_curl_and_nghttp_over_tls(make_weir, serve, entrance, directory):
    authority = tls.Authority(directory)
    certificate = authority.issue("site", "site.test")
    target = serve(http2.Target(echo))
    make_weir(application(
        [http_group("web", [target.target], protocol_version="HTTP2")],
        [{**http_listener(entrance, "web"), "protocol": "HTTPS", "certificates": [certificate]}]))
    data = noise(2_000_000)
    (directory / "data").write_bytes(data)
    out = subprocess.run(
        ["curl", "--silent", "--show-error", "--http2", "--cacert", str(authority.root),
         "--resolve", f"site.test:{entrance}:127.0.0.1", "--data-binary", f"@{directory}/data",
         f"https://site.test:{entrance}/"], capture_output=True, timeout=60, check=True).stdout
    assert digest(out) == digest(data)
    url = f"https://127.0.0.1:{entrance}/"
    result = subprocess.run(
        ["nghttp", "--no-verify-peer", "--null-out", "--stat", "--multiply=50", url], capture_output=True,
        timeout=60, text=True)
    assert result.returncode == 0 and result.stdout.count(" 200 ") == 50, result.stdout


# Abuse

def heads(*fields, stream=1, end=True, method="GET", path="/", authority="test.example", encoder=None):
    lead = [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path)]
    block = (encoder or hpack.Encoder()).encode([*lead, *fields], huffman=False)
    return frame(http2.HEADERS, http2.END_HEADERS | (http2.END_STREAM if end else 0), stream, block)


def flood_of(kind):
    """Frames without an end, each a few at a time."""
    stream = 1
    encoder = hpack.Encoder()
    if kind == "empty data":
        yield heads(end=False, method="POST")
    if kind == "continuation":
        yield frame(http2.HEADERS, 0, 1, hpack.Encoder().encode([(":method", "GET")]))
    while True:
        if kind == "reset":
            yield heads(stream=stream, encoder=encoder) + frame(
                http2.RST_STREAM, 0, stream, struct.pack(">I", http2.CANCEL))
            stream += 2
        elif kind == "settings":
            yield frame(http2.SETTINGS)
        elif kind == "ping":
            yield frame(http2.PING, payload=b"8 bytes!")
        elif kind == "empty data":
            yield frame(http2.DATA, 0, 1)
        elif kind == "continuation":
            yield frame(http2.CONTINUATION, 0, 1, b"\0\x01a\x01b")
        elif kind == "priority":
            yield frame(http2.PRIORITY, 0, 3, struct.pack(">IB", 0, 1))
        elif kind == "window update":
            yield frame(http2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1))


@pytest.mark.parametrize("version", KINDS)
@pytest.mark.parametrize("kind", [
    "reset", "settings", "ping", "empty data", "continuation", "priority", "window update"])
def test_floods_end_with_enhance_your_calm(make_site, serve, entrance, kind, version):
    target = target_of(version, serve)
    target.accepts_failures = True
    weir = make_site(target, version=version)
    with http2.RawClient(entrance) as client:
        count = 0
        for part in flood_of(kind):
            if not client.send(part) or not client.read() or client.goaway_code is not None:
                break
            count += 1
            assert count < 5_000, f"{kind} for ever"
        client.rest()
        assert client.goaway_code == http2.ENHANCE_YOUR_CALM
    with http2.Client(entrance) as client:
        assert client.ask().status == 200, "others are served"
    nothing_is_left(weir)


def test_a_bomb_of_hpack_ends_the_connection(make_site, serve, entrance):
    target = serve(http2.Target(hello))
    weir = make_site(target)
    before = weir.resident_bytes()
    with http2.RawClient(entrance) as client:
        # One large entry of the dynamic table, named by one byte again and again.
        block = hpack.Encoder().encode([
            (":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")], huffman=False)
        entry = b"\x40\x01x" + b"\x7f" + bytes([(4_000 - 127) & 0x7F | 0x80, (4_000 - 127) >> 7]) + b"v" * 4_000
        block += entry + b"\xbe" * 12_000
        client.send(frame(http2.HEADERS, http2.END_STREAM | http2.END_HEADERS, 1, block[:16_384]))
        client.rest()
        assert client.goaway_code == http2.ENHANCE_YOUR_CALM
    assert weir.resident_bytes() - before < 8 << 20
    nothing_is_left(weir)


def test_a_head_that_is_too_large_is_431_and_the_connection_goes_on(make_site, serve, entrance):
    target = serve(http2.Target(hello))
    make_site(target)
    with http2.Client(entrance) as client:
        assert client.ask(fields=[(f"x-{n}", "v" * 1_000) for n in range(80)]).status == 431
        assert client.ask().status == 200


SMUGGLED = [
    ("a value with CR LF", [("x-a", "b\r\nTransfer-Encoding: chunked")]),
    ("a value with LF", [("x-a", "b\nx: y")]),
    ("a value with CR", [("x-a", "b\rc")]),
    ("a value with zero", [("x-a", "b\0c")]),
    ("a name with a colon", [("x:a", "b")]),
    ("a name with CR LF", [("x\r\ny", "b")]),
    ("a name with a space", [("x a", "b")]),
    ("a name in upper case", [("X-A", "b")]),
    ("an empty name", [("", "b")]),
    ("transfer-encoding", [("transfer-encoding", "chunked")]),
    ("connection", [("connection", "close")]),
    ("keep-alive", [("keep-alive", "1")]),
    ("upgrade", [("upgrade", "h2c")]),
    ("proxy-connection", [("proxy-connection", "close")]),
    ("te other than trailers", [("te", "gzip")]),
    ("another host", [("host", "other.example")]),
    ("two lengths", [("content-length", "3"), ("content-length", "4")]),
    ("a signed length", [("content-length", "+3")]),
    ("a length that is none", [("content-length", "3, 3")]),
    ("a pseudo-header behind a field", [("x-a", "b"), (":path", "/other")]),
    ("an unknown pseudo-header", [(":x", "y")]),
]


@pytest.mark.parametrize("version", KINDS)
def test_requests_that_would_be_another_to_the_target_are_refused(make_site, serve, entrance, version):
    target = target_of(version, serve)
    weir = make_site(target, version=version)
    for name, fields in SMUGGLED:
        with http2.RawClient(entrance) as client:
            client.send(heads(*fields), heads(stream=3))
            deadline = time.monotonic() + 10
            while not any(kind == http2.HEADERS and stream == 3 for kind, _, stream, _ in client.frames):
                assert client.read(0.1) and time.monotonic() < deadline, (name, client.frames)
            assert client.reset_codes().get(1) == http2.PROTOCOL_ERROR, (name, client.frames)
    for name, head_frame in (
            ("a path without a slash", heads(path="x")), ("an empty path", heads(path="")),
            ("a path with a space", heads(path="/a HTTP/1.1")), ("a path with CR LF", heads(path="/a\r\nx: y")),
            ("a method with a space", heads(method="GET /x")), ("a method with CR LF", heads(method="GET\r\n")),
            ("an authority with a user", heads(authority="a@b")), ("an authority with CR LF", heads(authority="a\r\n")),
            ("an authority with a slash", heads(authority="a/b")), ("an empty authority", heads(authority=""))):
        with http2.RawClient(entrance) as client:
            client.send(head_frame, heads(stream=3))
            deadline = time.monotonic() + 10
            while not any(kind == http2.HEADERS and stream == 3 for kind, _, stream, _ in client.frames):
                assert client.read(0.1) and time.monotonic() < deadline, (name, client.frames)
            assert client.reset_codes().get(1) == http2.PROTOCOL_ERROR, (name, client.frames)
    eventually(lambda: len(target.requests) == len(SMUGGLED) + 10, 5, "one request of each connection")
    nothing_is_left(weir)


@pytest.mark.parametrize("version", KINDS)
@pytest.mark.parametrize("said, sent, ends", [(5, 3, True), (3, 5, True), (0, 1, True), (3, 5, False)])
def test_content_that_belies_its_length_never_makes_two_requests(
        make_site, serve, entrance, version, said, sent, ends):
    target = target_of(version, serve)
    target.accepts_failures = True
    weir = make_site(target, version=version)
    with http2.RawClient(entrance) as client:
        client.send(
            heads(("content-length", str(said)), method="POST", end=False),
            frame(http2.DATA, http2.END_STREAM if ends else 0, 1, b"G" * sent), heads(stream=3))
        deadline = time.monotonic() + 10
        while not any(kind == http2.HEADERS and stream == 3 for kind, _, stream, _ in client.frames):
            assert client.read(0.1) and time.monotonic() < deadline, client.frames
        assert client.reset_codes().get(1) == http2.PROTOCOL_ERROR
    whole = [r.target for r in target.requests]
    assert whole == ["/"], whole
    nothing_is_left(weir)


@pytest.mark.parametrize("what, code", [
    (frame(http2.DATA, 0, 0, b"x"), http2.PROTOCOL_ERROR),
    (frame(http2.HEADERS, 4, 2, b"\x82"), http2.PROTOCOL_ERROR),
    (frame(http2.SETTINGS, 0, 0, b"12345"), 6),
    (frame(http2.SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31)), http2.FLOW_CONTROL_ERROR),
    (frame(http2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 1)), http2.FLOW_CONTROL_ERROR),
    (frame(http2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 0)), http2.PROTOCOL_ERROR),
    (frame(http2.PUSH_PROMISE, 4, 1, struct.pack(">I", 2) + b"\x82"), http2.PROTOCOL_ERROR),
    (frame(http2.CONTINUATION, 4, 1, b"\x82"), http2.PROTOCOL_ERROR),
    (frame(http2.HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff\xff"), http2.COMPRESSION_ERROR),
    (b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", 6),
])
def test_broken_connections_end_with_the_right_code(make_site, serve, entrance, what, code):
    target = serve(http2.Target(hello))
    weir = make_site(target)
    with http2.RawClient(entrance) as client:
        client.send(what)
        client.rest()
        assert client.goaway_code == code
    nothing_is_left(weir)


def test_random_bytes_behind_the_preface_end_nothing_but_their_connection(make_site, serve, entrance):
    target = serve(http2.Target(hello))
    weir = make_site(target)
    chance = random.Random(7)
    for _ in range(60):
        with http2.RawClient(entrance) as client:
            parts = [heads(stream=1), heads(stream=3, end=False, method="POST")]
            for _ in range(chance.randrange(1, 12)):
                kind, flags, stream = chance.randrange(11), chance.randrange(256), chance.choice([0, 1, 3, 5, 7])
                parts.append(frame(kind, flags, stream, chance.randbytes(chance.choice([0, 4, 5, 6, 8, 9, 40]))))
            client.send(*parts)
            client.read(0.02)
    with http2.Client(entrance) as client:
        assert client.ask().status == 200
    nothing_is_left(weir)


def test_many_stalled_streams_spoil_nobody_elses_answer(make_site, serve, entrance):
    """Streams that are not read fill all the memory for answers; what others get is slower, but whole."""
    data = noise(400_000)
    target = serve(PlainTarget(lambda r, p: response(body=data)))
    weir = make_site(target, version="HTTP1", workers=1)
    stalled = []
    try:
        for _ in range(11):
            client = http2.Client(entrance, settings={Codes.INITIAL_WINDOW_SIZE: 0}, reads=False)
            stalled.append(client)
            numbers = [client.begin() for _ in range(100)]
            client.until(lambda: all(client.stream(n).fields for n in numbers))
        with http2.Client(entrance) as client:
            for _ in range(3):
                stream = client.ask()
                assert stream.reset_code is None and digest(stream.body) == digest(data)
    finally:
        for client in stalled:
            client.close()
    nothing_is_left(weir)
