"""Hostile requests against the running binary: what arrives at a target, byte by byte, is one well-formed request or
none, whatever the mode of desync mitigation; see hostile_requests.json for what each request is."""

import json
import pathlib
import socket
import threading

import pytest

from harness.http import Client, Target, ask, chunked, head, http_group, http_listener, request, response, site
from harness.waiting import eventually

MODES = ["monitor", "defensive", "strictest"]
FILE = pathlib.Path(__file__).parent / "hostile_requests.json"
PRESERVE = {"routing.http.preserve_host_header.enabled": True}


def text(parts):
    """A request of the table as bytes: Latin-1, and pairs of a text and how often it comes."""
    if isinstance(parts, str):
        return parts.encode("latin-1")
    return b"".join(p.encode("latin-1") if isinstance(p, str) else p[0].encode("latin-1") * p[1] for p in parts)


TABLE = [dict(case, data=text(case["request"])) for case in json.loads(FILE.read_text())]


def verdict(case, mode):
    """What becomes of a request that can be read: forwarded, with its connection kept or not, or refused."""
    worst = case["class"]
    if worst == "Compliant" or mode == "monitor" or (worst, mode) == ("Acceptable", "defensive"):
        return "forward"
    return "close" if mode == "defensive" else "refuse"


@pytest.fixture
def modes(make_weir, serve, port):
    """One load balancer for each mode, each with a target that answers with the path it was asked for."""
    groups, balancers, made = [], [], {}
    for mode in MODES:
        target = serve(Target(lambda r, p: response(body=r.target.encode("latin-1") if r.method != "HEAD" else b"")))
        groups.append(http_group(mode, [target.target]))
        entrance = port()
        balancers.append({
            "name": mode, "type": "application", "addresses": ["127.0.0.1"],
            "listeners": [http_listener(entrance, mode)],
            "attributes": {"routing.http.desync_mitigation_mode": mode, "idle_timeout.timeout_seconds": 2,
                           # Its first bytes are refused as any other client's.
                           "routing.http2.enabled": False, **PRESERVE}})
        made[mode] = entrance, target
    made["weir"] = make_weir({"target_groups": groups, "load_balancers": balancers})
    return made


def send(client, data, is_in_pieces):
    try:
        if not is_in_pieces:
            client.send(data)
            return
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in range(len(data)):
            client.send(data[index:index + 1])
    except ConnectionError:
        # It was refused at its beginning.
        pass


def check(case, mode, entrance, target, is_in_pieces=False):
    """Sends one request of the table and returns what is wrong with what became of it."""
    seen_before = len(target.requests)
    problems = []

    def must(condition, what):
        if not condition:
            problems.append(f"{case['name']} ({mode}{', in pieces' if is_in_pieces else ''}): {what}")

    outcome = case["outcome"]
    becomes = verdict(case, mode) if outcome == "accepted" else outcome
    method = case["data"].lstrip(b"\r\n").split(b" ", 1)[0].decode("latin-1")
    with Client(entrance, timeout=8) as client:
        send(client, case["data"], is_in_pieces)
        answer = client.read_response("HEAD" if method == "HEAD" else "GET")
        seen = target.requests[seen_before:]
        if becomes in ("refused", "malformed", "incomplete", "refuse"):
            status = 400 if becomes == "refuse" else case["status"]
            must(answer.status == status, f"answered {answer.status}, not {status}")
            must(not seen, f"the target saw {seen}")
            must(not answer.is_persistent, "the connection goes on")
        else:
            must(answer.status == 200, f"answered {answer.status}")
            must(len(seen) >= 1, "the target saw nothing")
            if seen:
                first = seen[0]
                must(first.body == case["content"].encode("latin-1"), f"content {first.body[:200]!r}")
                # Framing and an upgrade are written anew.
                anew = {"content-length", "connection", "upgrade"}
                dropped = {name.lower() for name in case.get("dropped", [])} - anew
                must(not dropped & {name.lower() for name, _ in first.fields}, f"fields {first.fields}")
                must([n for n, _ in first.trailers] == case.get("trailers", []), f"trailers {first.trailers}")
                if case.get("authority", "a.example"):
                    must(first.get("host") == case.get("authority", "a.example"), f"host {first.get('host')}")
            closes = case.get("closes") or becomes == "close"
            must(answer.is_persistent or closes or method == "HEAD", "the connection ends")
            must(not (closes and answer.is_persistent), "the connection goes on")
            if closes or not case["rest"]:
                must(len(seen) == 1, f"the target saw {len(seen)} requests")
        if not answer.is_persistent:
            must(client.is_ended(), "the connection is left open")
        elif case.get("rest"):
            # It is a request of its own, or is refused as one.
            client.read_response()
    return problems


@pytest.mark.parametrize("mode", MODES)
def test_the_table_of_hostile_requests(modes, mode):
    assert len(TABLE) >= 150
    entrance, target = modes[mode]
    problems = []
    for case in TABLE:
        if case["outcome"] == "incomplete":
            continue
        problems += check(case, mode, entrance, target)
        if case["outcome"] != "refused":
            # Nothing of it is left for whoever comes next.
            mark = f"/probe-{len(target.requests)}"
            if ask(entrance, target=mark, fields=[("Connection", "close")]).body != mark.encode():
                problems.append(f"{case['name']} ({mode}): the next request was answered with something else")
    assert not problems, "\n".join(problems)


def test_the_table_of_hostile_requests_in_single_bytes(modes):
    entrance, target = modes["defensive"]
    problems = []
    for case in TABLE:
        if case["outcome"] != "incomplete" and len(case["data"]) < 400:
            problems += check(case, "defensive", entrance, target, is_in_pieces=True)
    assert not problems, "\n".join(problems)


def test_incomplete_requests_are_given_up(modes):
    cases = [case for case in TABLE if case["outcome"] == "incomplete"]
    entrance, target = modes["defensive"]
    problems = []
    threads = [threading.Thread(target=lambda c=case: problems.extend(check(c, "defensive", entrance, target)))
               for case in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not problems, "\n".join(problems)
    target.wait_for_end_of_all()


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"


@pytest.mark.parametrize("name, data", [
    ("CL.TE", head("POST /first HTTP/1.1", [("Host", "a"), ("Content-Length", len(SMUGGLED) + 5),
                                            ("Transfer-Encoding", "chunked")]) + b"0\r\n\r\n" + SMUGGLED),
    ("TE.CL", head("POST /first HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked"), ("Content-Length", 4)])
     + b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n"),
    ("TE.TE", head("POST /first HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked"),
                                            ("Transfer-encoding", "identity"), ("Content-Length", 4)])
     + b"0\r\n\r\n" + SMUGGLED),
    ("CL in a name of another", head("POST /first HTTP/1.1", [("Host", "a"), ("Content_Length", 50)]) + SMUGGLED),
    ("after an early end", head("POST /first HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")])
     + b"0\r\n\r\n" + SMUGGLED),
    ("with an absolute target", head("POST http://b/first HTTP/1.1", [("Host", "a"), ("Content-Length", 0)])
     + SMUGGLED),
    ("content of a GET", head("GET /first HTTP/1.1", [("Host", "a"), ("Content-Length", len(SMUGGLED))]) + SMUGGLED),
    ("a WebSocket that is refused", head("GET /first HTTP/1.1", [
        ("Host", "a"), ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "777"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")]) + SMUGGLED),
    ("h2c", head("GET /first HTTP/1.1", [
        ("Host", "a"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
        ("Connection", "Upgrade, HTTP2-Settings")]) + SMUGGLED),
], ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("mode", MODES)
def test_a_target_never_sees_two_requests_in_one(modes, mode, name, data):
    """Each message as this harness reads it, which is as RFC 9112 does; what follows is a request of its own or
    nothing, and then Weir has routed it: it has the fields of one."""
    entrance, target = modes[mode]
    with Client(entrance, timeout=5) as client:
        client.send(data)
        while client.read_response().is_persistent and b"smuggled" not in client.seen:
            if client.is_quiet(0.2):
                break
    for seen in target.requests:
        assert seen.get("x-amzn-trace-id"), f"{seen} did not come through Weir"
        assert seen.raw.count(b"X-Amzn-Trace-Id") == 1
        assert seen.get("upgrade") in (None, "websocket") and seen.get("http2-settings") is None


@pytest.mark.parametrize("setting, status", [
    ([("Big", "v" * 16_300)], 200), ([("Big", "v" * 16_400)], 431),
    ([(f"X-{n}", "v" * 8_000) for n in range(7)], 200), ([(f"X-{n}", "v" * 8_000) for n in range(9)], 431),
    ([(f"X-{n}", "v") for n in range(250)], 200), ([(f"X-{n}", "v") for n in range(260)], 431),
], ids=["one field", "a field too long", "64 KiB", "more than 64 KiB", "250 fields", "260 fields"])
def test_limits_of_heads(make_weir, serve, port, setting, status):
    entrance = port()
    target = serve(Target())
    make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        got = client.ask(fields=setting)
        assert (got.status, got.is_persistent) == (status, status == 200)
    assert len(target.requests) == (status == 200)


def test_a_long_request_line_is_414(make_weir, serve, port):
    entrance = port()
    target = serve(Target())
    make_weir(site(entrance, [target]))
    assert ask(entrance, target="/" + "a" * 16_000).status == 200
    assert ask(entrance, target="/" + "a" * 17_000).status == 414
    # Refused when it is too long, not when it ends.
    with Client(entrance) as client:
        client.send(b"GET /" + b"a" * 20_000)
        assert client.read_response().status == 414


def test_floods_of_refused_requests_leave_nothing(make_weir, serve, port):
    entrance = port()
    target = serve(Target())
    weir = make_weir(site(entrance, [target]))
    before = weir.resident_bytes()

    def flood(data):
        for _ in range(100):
            with Client(entrance) as client:
                client.send(data)
                client.read_response()

    threads = [threading.Thread(target=flood, args=(data,)) for data in (
        b"\0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n",
        b"GET /" + b"a" * 17_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    eventually(lambda: weir.active_tcp_count() == 0)
    assert not target.peers
    assert weir.resident_bytes() - before < 20_000_000


def test_bytes_behind_the_last_request_do_not_destroy_its_answer(make_weir, serve, port):
    """A close with unread bytes would be a reset, which overtakes the answer (RFC 9112 section 9.6)."""
    entrance = port()
    body = bytes(2_000_000)
    target = serve(Target(lambda r, p: response(body=body)))
    make_weir(site(entrance, [target]))
    for _ in range(3):
        with Client(entrance, receive_buffer=65_536) as client:
            client.send(request(fields=[("Connection", "close")]) + b"x" * 100_000)
            assert client.read_response().body == body


def test_a_slow_client_gets_all_of_an_answer_to_a_request_that_it_still_sends(make_weir, serve, port):
    """The answer is whole in the kernel long before the client has read it: ending its connection must not take it
    away, however long that takes."""
    entrance = port()
    body = bytes(3_000_000)
    target = serve(Target(on_head=lambda r, p: response(413, body, fields=[("Connection", "close")]) and (
        p.send(response(413, body, fields=[("Connection", "close")])) or False)))
    make_weir(site(entrance, [target]))
    with Client(entrance, receive_buffer=65_536) as client:
        client.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", 1_000_000)]))
        got = client.read_head()
        assert got.status == 413
        # Longer than Weir reads off what a client still sends.
        taken, pauses = len(client._buffer), 0
        while taken < len(body):
            if pauses < 14:
                threading.Event().wait(0.5)
                pauses += 1
            client._buffer.clear()
            client._receive()
            taken += len(client._buffer)
        assert taken == len(body)


def test_chunks_of_many_sizes_arrive_as_one_content(make_weir, serve, port):
    entrance = port()
    target = serve(Target(lambda r, p: response(body=str(len(r.body)).encode())))
    make_weir(site(entrance, [target]))
    parts = [bytes([n % 256]) * (n * 37 % 3_000) for n in range(400)] + [b"x"] * 3_000
    data = head("POST / HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]) + chunked(*parts)
    with Client(entrance) as client:
        client.send(data)
        assert client.read_response().body == str(sum(map(len, parts))).encode()
    assert target.requests[0].body == b"".join(parts)
