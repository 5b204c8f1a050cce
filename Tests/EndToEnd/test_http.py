"""HTTP/1 through an application load balancer as its users see it: curl and raw connections on one side, scripted
targets and nginx on the other."""

import hashlib
import os
import random
import subprocess
import threading

import pytest

from harness import servers
from harness.http import (
    Client, Target, application, ask, chunked, head, http_group, http_listener, request, response, self_signed, site)
from harness.waiting import eventually

CURL = ["curl", "--silent", "--show-error", "--max-time", "30"]


def curl(*arguments, data=None, check=True):
    result = subprocess.run([*CURL, *map(str, arguments)], input=data, capture_output=True, timeout=60)
    if check:
        assert result.returncode == 0, result.stderr
    return result.stdout


def noise(count, seed=1):
    return random.Random(seed).randbytes(count)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def echo(request, peer):
    return response(body=request.body, fields=[("X-Method", request.method)])


@pytest.fixture
def entrance(port):
    return port()


# curl

def test_curl_gets_a_page_and_keeps_its_connection(make_weir, serve, entrance):
    target = serve(Target(name="one"))
    make_weir(site(entrance, [target]))
    url = f"http://127.0.0.1:{entrance}/path?a=b"
    out = curl("-w", "%{http_code} %{num_connects}\n", url, url, url).decode()
    assert out == "one200 1\none200 0\none200 0\n"
    assert [(r.method, r.target) for r in target.requests] == [("GET", "/path?a=b")] * 3
    assert target.requests[0].get("host") == f"127.0.0.1:{entrance}"
    assert len(target.peers) == 1, "one connection to the target serves all three"


def test_head_has_no_content_but_its_length(make_weir, serve, entrance):
    target = serve(Target(lambda r, p: head("HTTP/1.1 200 OK", [("Content-Length", 12_345)])))
    make_weir(site(entrance, [target], workers=1))
    out = curl("--head", f"http://127.0.0.1:{entrance}/").decode()
    assert "Content-Length: 12345" in out
    with Client(entrance) as client:
        for _ in range(3):
            assert client.ask("HEAD").get("content-length") == "12345"
    assert len(target.peers) == 1


@pytest.mark.parametrize("size", [0, 1, 1_000, 70_000, 300_000, 5_000_000])
def test_curl_posts_with_a_length_and_in_chunks(make_weir, serve, entrance, size, directory):
    target = serve(Target(echo))
    make_weir(site(entrance, [target]))
    data = noise(size)
    (directory / "data").write_bytes(data)
    url = f"http://127.0.0.1:{entrance}/"
    for options in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"], ["-H", "Expect:"]):
        out = curl(*options, "--data-binary", f"@{directory}/data", url)
        assert digest(out) == digest(data), options
        assert digest(target.requests[-1].body) == digest(data), options
    framings = [r.framing for r in target.requests]
    assert framings == ["counted", "chunked", "counted", "counted"]


def test_curl_uploads_a_file_in_chunks_from_a_pipe(make_weir, serve, entrance):
    target = serve(Target(lambda r, p: response(body=digest(r.body).encode())))
    make_weir(site(entrance, [target]))
    data = noise(3_000_000)
    assert curl("-T", "-", f"http://127.0.0.1:{entrance}/up", data=data).decode() == digest(data)
    assert target.requests[0].method == "PUT"


@pytest.mark.parametrize("size", [100, 65_536, 262_143, 262_144, 20_000_000])
def test_large_files_of_nginx_come_whole(make_weir, serve, entrance, port, directory, size):
    site_port = port()
    serve(servers.nginx(directory, [("web", site_port)]))
    data = noise(size)
    (directory / "files" / "data").write_bytes(data)
    make_weir(site(entrance, [f"127.0.0.1:{site_port}"]))
    url = f"http://127.0.0.1:{entrance}/data"
    assert digest(curl(url)) == digest(data)
    assert digest(curl("--http1.0", url)) == digest(data)
    assert curl("-r", "10-19", url) == data[10:20]
    assert curl("-o", os.devnull, "-w", "%{http_code}", "-z", "2037-01-01", url).decode() in ("200", "304")
    outs = curl(url, url)
    assert digest(outs) == digest(data + data)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_large_content_goes_both_ways_at_once(make_weir, serve, entrance, is_chunked):
    """An echo that answers while it still reads: neither side may wait for the other's end."""
    size = 8_000_000
    data = noise(size)

    def on_head(request, peer):
        return head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")] if is_chunked
                    else [("Content-Length", size)])

    def on_content(part, peer):
        peer.send(b"%x\r\n%b\r\n" % (len(part), part) if is_chunked else part)

    target = serve(Target(lambda r, p: b"0\r\n\r\n" if is_chunked else b"", on_head=on_head, on_content=on_content,
                          keeps=False))
    make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        def write():
            fields = [("Transfer-Encoding", "chunked") if is_chunked else ("Content-Length", size)]
            client.send(head("POST / HTTP/1.1", [("Host", "a"), *fields]))
            for start in range(0, size, 50_000):
                part = data[start:start + 50_000]
                client.send(b"%x\r\n%b\r\n" % (len(part), part) if is_chunked else part)
            if is_chunked:
                client.send(b"0\r\n\r\n")

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        answer = client.read_response()
        writer.join(20)
    assert digest(answer.body) == digest(data)
    assert answer.framing == ("chunked" if is_chunked else "counted")


# TLS

def test_https_serves_large_content_both_ways_and_keeps_its_connection(make_weir, serve, entrance, directory):
    target = serve(Target(echo, keeps=False))
    certificate, key = self_signed(directory)
    weir = make_weir(application([http_group("web", [target.target])], [http_listener(
        entrance, "web", protocol="HTTPS", certificates=[{"certificate": certificate, "private_key": key}])]))
    url = f"https://127.0.0.1:{entrance}/"
    data = noise(6_000_000)
    (directory / "data").write_bytes(data)
    for options in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect:"]):
        out = curl("--insecure", "--http1.1", *options, "--data-binary", f"@{directory}/data", url)
        assert digest(out) == digest(data), options
    out = curl("--insecure", "--http1.1", "-w", "%{num_connects}\\n", url, url, url)
    assert out.decode() == "1\n0\n0\n"
    assert target.requests[-1].get("x-forwarded-proto") == "https"
    # Slow to read, and gone in the middle.
    slow = subprocess.run([*CURL, "--insecure", "--http1.1", "--limit-rate", "2M", "--max-time", "1",
                           "--data-binary", f"@{directory}/data", url], capture_output=True, timeout=30)
    assert slow.returncode == 28
    eventually(lambda: weir.active_tcp_count() == 0)


# Framing

def test_trailers_pass_both_ways(make_weir, serve, entrance):
    answer = head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")]) + chunked(
        b"hello", b"world", trailers=[("X-Sum", "42")])
    target = serve(Target(lambda r, p: answer))
    make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        for _ in range(2):
            client.send(head("POST / HTTP/1.1", [("Host", "a"), ("TE", "trailers"), ("Transfer-Encoding", "chunked")])
                        + chunked(b"abc", trailers=[("X-Check", "7"), ("X-More", "8")]))
            got = client.read_response()
            assert (got.body, got.trailers) == (b"helloworld", [("X-Sum", "42")])
    assert [r.trailers for r in target.requests] == [[("X-Check", "7"), ("X-More", "8")]] * 2
    assert len(target.peers) == 1


def test_messages_in_single_bytes_are_the_same_messages(make_weir, serve, entrance):
    answer = head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]) + chunked(
        b"one", b"two", trailers=[("T", "v")])

    def slowly(request, peer):
        for index in range(len(answer)):
            peer.send(answer[index:index + 1])

    target = serve(Target(slowly))
    make_weir(site(entrance, [target]))
    data = head("POST /x HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]) + chunked(
        b"12345", b"6", trailers=[("A", "b")])
    with Client(entrance) as client:
        client.socket.setsockopt(6, 1, 1)
        for _ in range(2):
            for index in range(len(data)):
                client.send(data[index:index + 1])
            got = client.read_response()
            assert (got.body, got.trailers) == (b"onetwo", [("T", "v")])
    assert [(r.body, r.trailers) for r in target.requests] == [(b"123456", [("A", "b")])] * 2


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_content_leave_the_connection_usable(make_weir, serve, entrance, status):
    target = serve(Target(lambda r, p: head(f"HTTP/1.1 {status} Without", [("ETag", '"x"')])))
    make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        for _ in range(3):
            got = client.ask()
            assert (got.status, got.get("etag")) == (status, '"x"')
    assert len(target.peers) == 1


def test_interim_responses_pass_and_expect_is_answered_by_the_target(make_weir, serve, entrance):
    def on_head(request, peer):
        return (head("HTTP/1.1 103 Early Hints", [("Link", "</a.css>; rel=preload")])
                + (head("HTTP/1.1 100 Continue", []) if request.get("expect") else b""))

    target = serve(Target(echo, on_head=on_head))
    make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        client.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", 5), ("Expect", "100-continue")]))
        hints, go_on = client.read_head(), client.read_head()
        assert (hints.status, hints.get("link"), go_on.status) == (103, "</a.css>; rel=preload", 100)
        client.send(b"hello")
        assert client.read_response().body == b"hello"
        # And none for a client that would take it for the final one.
        client.send(request(version="1.0"))
        got = client.read_response()
        assert (got.interims, got.status) == ([], 200)


def test_a_target_that_answers_instead_of_continuing_is_heard(make_weir, serve, entrance):
    def on_head(request, peer):
        peer.send(response(417, b"no", reason="Expectation Failed", fields=[("Connection", "close")]))
        return False

    target = serve(Target(on_head=on_head))
    make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        client.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", 5), ("Expect", "100-continue")]))
        got = client.read_response()
        assert (got.status, got.body) == (417, b"no")
        assert client.is_ended()


# HTTP/1.0 and ends

def test_clients_of_http10_with_and_without_keep_alive(make_weir, serve, entrance):
    target = serve(Target(echo))
    make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        got = client.ask(version="1.0")
        assert (got.status, got.is_persistent) == (200, False)
        assert client.is_ended()
    with Client(entrance) as client:
        for _ in range(3):
            got = client.ask("POST", "/", [("Connection", "keep-alive")], b"abc", version="1.0")
            assert (got.body, got.get("connection").lower()) == (b"abc", "keep-alive")
    assert all(r.version == "1.1" for r in target.requests)


def test_a_request_of_http10_without_host_gets_the_listeners_address(make_weir, serve, entrance):
    target = serve(Target())
    make_weir(site(entrance, [target]))
    assert ask(entrance, host=None, version="1.0").status == 200
    assert target.requests[0].all("host") == [f"127.0.0.1:{entrance}"]


@pytest.mark.parametrize("size", [0, 10, 100_000, 3_000_000])
def test_a_response_that_ends_with_its_connection(make_weir, serve, entrance, size):
    data = noise(size)

    def until_close(request, peer):
        peer.send(head("HTTP/1.1 200 OK", [("Connection", "close")]) + data)
        return False

    target = serve(Target(until_close))
    make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        for _ in range(2):
            got = client.ask()
            assert (got.framing, digest(got.body)) == ("chunked", digest(data)), "the client's connection goes on"
    with Client(entrance) as client:
        got = client.ask(version="1.0")
        assert (got.framing, digest(got.body)) == ("until close", digest(data))


def test_chunks_reach_clients_of_http10_without_their_frames(make_weir, serve, entrance):
    answer = head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]) + chunked(b"ab", b"cd", trailers=[("T", "v")])
    target = serve(Target(lambda r, p: answer))
    make_weir(site(entrance, [target]))
    got = ask(entrance, fields=[("Connection", "keep-alive")], version="1.0")
    assert (got.framing, got.body) == ("until close", b"abcd")


def test_a_target_of_http10_is_understood(make_weir, serve, entrance):
    def old(request, peer):
        peer.send(response(body=b"old", version="1.0"))
        return False

    target = serve(Target(old))
    make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        for _ in range(2):
            assert client.ask().body == b"old"
    assert len(target.peers) == 2


def test_connection_close_of_the_client_is_heeded(make_weir, serve, entrance):
    target = serve(Target())
    make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        got = client.ask(fields=[("Connection", "close")])
        assert not got.is_persistent and client.is_ended()
    assert "close" not in (target.requests[0].get("connection") or ""), "the target's connection is Weir's own"


# Pipelining

@pytest.mark.parametrize("count", [20, 500])
def test_pipelined_requests_are_answered_in_order(make_weir, serve, entrance, count):
    targets = [serve(Target(lambda r, p: response(body=r.target.encode()))) for _ in range(3)]
    make_weir(site(entrance, targets))
    with Client(entrance) as client:
        client.send(b"".join(request(target=f"/{number}") for number in range(count)))
        assert [client.read_response().body for _ in range(count)] == [b"/%d" % n for n in range(count)]


def test_pipelined_requests_with_content_between(make_weir, serve, entrance):
    target = serve(Target(echo))
    make_weir(site(entrance, [target]))
    bodies = [noise(size, size) for size in (0, 10, 100_000, 1, 400_000, 5, 0, 70_000)]
    data = b"".join(
        request("POST", f"/{n}", body=body) if n % 2 else
        head(f"POST /{n} HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]) + chunked(body)
        for n, body in enumerate(bodies))
    with Client(entrance) as client:
        threading.Thread(target=client.send, args=(data,), daemon=True).start()
        assert [digest(client.read_response().body) for _ in bodies] == [digest(body) for body in bodies]


def test_pipelined_requests_go_on_after_failures(make_weir, serve, entrance, port):
    """Each of these is answered by another event than the client's: nothing may wait for one that never comes."""
    dead = port()
    config = site(entrance, [f"127.0.0.1:{dead}"])
    make_weir(config)
    with Client(entrance, timeout=5) as client:
        client.send(b"".join(request(target=f"/{n}") for n in range(20)))
        assert [client.read_response().status for _ in range(20)] == [502] * 20


# Request targets

@pytest.mark.parametrize("line, host, path", [
    ("GET http://other.example/a?b=c HTTP/1.1", "other.example", "/a?b=c"),
    ("GET http://other.example:8080 HTTP/1.1", "other.example:8080", "/"),
    ("GET HTTP://Other.Example?q HTTP/1.1", "Other.Example", "/?q"),
    ("OPTIONS * HTTP/1.1", "test.example", "*"),
    ("OPTIONS http://other.example HTTP/1.1", "other.example", "*"),
    ("GET //double//slash/../x HTTP/1.1", "test.example", "//double//slash/../x"),
    ("GET /%41%2f%00?%zz HTTP/1.1", "test.example", "/%41%2f%00?%zz"),
    ("PROPFIND /dav HTTP/1.1", "test.example", "/dav"),
    ("M-SEARCH /x HTTP/1.1", "test.example", "/x"),
])
def test_forms_of_targets(make_weir, serve, entrance, line, host, path):
    target = serve(Target())
    make_weir(site(entrance, [target], attributes={"routing.http.preserve_host_header.enabled": True}))
    with Client(entrance) as client:
        client.send(head(line, [("Host", "test.example")]))
        assert client.read_response(line.split()[0]).status == 200
    got = target.requests[0]
    assert (got.method, got.target, got.get("host")) == (line.split()[0], path, host)


def test_the_listeners_port_is_told_unless_the_client_names_one(make_weir, serve, entrance):
    target = serve(Target())
    make_weir(site(entrance, [target]))
    ask(entrance, host="plain.example")
    ask(entrance, host="named.example:81")
    ask(entrance, host="[::1]")
    assert [r.get("host") for r in target.requests] == [
        f"plain.example:{entrance}", "named.example:81", f"[::1]:{entrance}"]


# Fields

def test_hop_by_hop_fields_stay_behind(make_weir, serve, entrance):
    answer = head("HTTP/1.1 200 OK", [
        ("Content-Length", 2), ("Connection", "X-Secret, keep-alive"), ("X-Secret", "1"), ("Keep-Alive", "timeout=9"),
        ("Proxy-Connection", "x"), ("X-Kept", "yes"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]) + b"ok"
    target = serve(Target(lambda r, p: answer))
    make_weir(site(entrance, [target]))
    fields = [("Connection", "X-Mine"), ("X-Mine", "1"), ("Keep-Alive", "1"), ("TE", "gzip"), ("X-Kept", "yes"),
              ("Proxy-Connection", "close"), ("Cookie", "a=1"), ("Cookie", "b=2")]
    got = ask(entrance, fields=fields)
    assert [got.get(name) for name in ("x-secret", "keep-alive", "proxy-connection", "x-kept")] == [
        None, None, None, "yes"]
    assert got.all("set-cookie") == ["a=1", "b=2"]
    seen = target.requests[0]
    assert [seen.get(name) for name in ("x-mine", "keep-alive", "te", "proxy-connection", "x-kept")] == [
        None, None, None, None, "yes"]


def test_forwarded_fields_say_who_asked(make_weir, serve, entrance):
    target = serve(Target())
    make_weir(site(entrance, [target]))
    ask(entrance, source="127.0.0.9")
    ask(entrance, source="127.0.0.9", fields=[("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https"),
                                              ("X-Forwarded-Port", "443")])
    first, second = target.requests
    assert first.get("x-forwarded-for") == "127.0.0.9"
    assert second.get("x-forwarded-for") == "192.0.2.1, 127.0.0.9"
    for seen in target.requests:
        assert (seen.get("x-forwarded-proto"), seen.get("x-forwarded-port")) == ("http", str(entrance))
        assert seen.get("x-amzn-trace-id", "").startswith("Root=1-")
    assert first.get("x-amzn-trace-id") != second.get("x-amzn-trace-id")


def test_fields_near_the_limits_pass(make_weir, serve, entrance):
    """60 KiB of fields, and 200 of them, both ways."""
    fields = [(f"X-Field-{n}", "v" * 280) for n in range(200)]
    target = serve(Target(lambda r, p: response(body=b"ok", fields=fields[:100])))
    make_weir(site(entrance, [target]))
    got = ask(entrance, fields=fields)
    assert got.status == 200 and got.fields[:100] == fields[:100]
    assert [f for f in target.requests[0].fields if f[0].startswith("X-Field")] == fields


# Several at once

def test_clients_do_not_wait_for_each_other(make_weir, serve, entrance):
    """One target that answers only when all have asked."""
    count = 100
    barrier = threading.Barrier(count)

    def together(request, peer):
        barrier.wait(20)
        return response(body=b"ok")

    target = serve(Target(together))
    make_weir(site(entrance, [target]))
    clients = [Client(entrance) for _ in range(count)]
    for client in clients:
        client.send(request())
    assert [client.read_response().status for client in clients] == [200] * count
    for client in clients:
        client.close()
    assert len(target.peers) == count


def test_connections_to_targets_are_reused_across_clients(make_weir, serve, entrance):
    target = serve(Target())
    make_weir(site(entrance, [target], workers=1))
    for _ in range(30):
        assert ask(entrance).status == 200
    assert len(target.peers) == 1


def test_a_connection_whose_long_content_was_spliced_is_used_again(make_weir, serve, entrance):
    target = serve(Target(lambda r, p: response(body=noise(1_000_000))))
    make_weir(site(entrance, [target]))
    with Client(entrance) as client:
        for _ in range(8):
            assert len(client.ask().body) == 1_000_000
    assert len(target.peers) == 1


def test_ipv6_clients_and_targets(make_weir, serve, entrance):
    target = serve(Target(address="::1"))
    config = application(
        [http_group("web", [target.target])], [http_listener(entrance, "web")], addresses=["::1"])
    make_weir(config)
    with Client(entrance, "::1") as client:
        assert client.ask(host=None, version="1.0").status == 200
    assert target.requests[0].get("x-forwarded-for") == "::1"
    assert target.requests[0].get("host") == f"[::1]:{entrance}"


def test_two_listeners_share_a_group_and_one_connection(make_weir, serve, port):
    target = serve(Target())
    one, two = port(), port()
    make_weir(application([http_group("web", [target.target])],
                          [http_listener(one, "web"), http_listener(two, "web")], workers=1))
    assert [ask(entrance).status for entrance in (one, two, one)] == [200] * 3
    assert len(target.peers) == 1


def test_nothing_is_left_of_a_client_that_says_nothing(make_weir, serve, entrance):
    target = serve(Target())
    weir = make_weir(site(entrance, [target]))
    clients = [Client(entrance) for _ in range(50)]
    eventually(lambda: weir.active_tcp_count() == 50)
    for client in clients[:25]:
        client.close()
    for client in clients[25:]:
        client.reset()
    eventually(lambda: weir.active_tcp_count() == 0)
    assert not target.peers
