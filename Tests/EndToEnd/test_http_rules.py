"""Rules as clients see them: which target, redirect or answer a request gets."""

import collections

import pytest

from harness.http import (
    Client, Target, application, ask, fixed, forward, head, http_group, http_listener, redirect, rule)


@pytest.fixture
def entrance(port):
    return port()


@pytest.fixture
def ruled(make_weir, serve, entrance):
    """A listener with these rules, whose default answer is "default"; returns a function that asks it."""
    def make(*rules, groups=(), default=None, **more):
        made = [http_group(name, [target.target]) for name, target in groups]
        weir = make_weir(application(made, [http_listener(entrance, default or fixed(200, "default"), rules, **more)]))
        make.weir = weir
        return lambda *arguments, **options: ask(entrance, *arguments, **options)

    return make


def hit(name="hit"):
    return fixed(200, name)


CONDITIONS = [
    ({"host_header": {"values": ["*.example.com", "exact.test"]}}, [
        ({"host": "www.example.com"}, True), ({"host": "WWW.Example.COM:8080"}, True), ({"host": "exact.test"}, True),
        ({"host": "example.com"}, False), ({"host": "exact.test.other"}, False)]),
    ({"path_pattern": {"values": ["/images/*.jpg", "/?/x"]}}, [
        ({"target": "/images/a/b.jpg"}, True), ({"target": "/images/.jpg?q"}, True), ({"target": "/a/x"}, True),
        ({"target": "/Images/a.jpg"}, False), ({"target": "/images/a.png"}, False), ({"target": "/ab/x"}, False)]),
    ({"path_pattern": {"regex_values": ["^/v[0-9]+/"]}}, [
        ({"target": "/v12/a"}, True), ({"target": "/va/"}, False)]),
    ({"http_header": {"http_header_name": "User-Agent", "values": ["*Bot*", "curl?7*"]}}, [
        ({"fields": [("user-agent", "a bot b")]}, True), ({"fields": [("USER-AGENT", "curl/7.1")]}, True),
        ({"fields": [("User-Agent", "x")]}, False), ({}, False),
        ({"fields": [("User-Agent", "x"), ("User-Agent", "my bot")]}, True)]),
    ({"http_request_method": {"values": ["PUT", "CUSTOM-A"]}}, [
        ({"method": "PUT"}, True), ({"method": "CUSTOM-A"}, True), ({"method": "GET"}, False)]),
    ({"query_string": {"values": [{"key": "v", "value": "2*"}, {"value": "only"}]}}, [
        ({"target": "/?v=2"}, True), ({"target": "/?a=b&V=21"}, True), ({"target": "/?x=only"}, True),
        ({"target": "/?v=3"}, False), ({"target": "/"}, False), ({"target": "/?w=2"}, False)]),
    ({"source_ip": {"values": ["127.0.0.8/30"]}}, [
        ({"source": "127.0.0.9"}, True), ({"source": "127.0.0.12"}, False)]),
]


@pytest.mark.parametrize("condition, cases", CONDITIONS, ids=[next(iter(c)) for c, _ in CONDITIONS])
def test_conditions(ruled, condition, cases):
    asking = ruled(rule(1, hit(), condition))
    for options, expected in cases:
        got = asking(**options)
        assert (got.body == b"hit") is expected, (options, got.body)


def test_priorities_and_several_conditions(ruled):
    path, host = {"path_pattern": {"values": ["/a*"]}}, {"host_header": {"values": ["one.test"]}}
    asking = ruled(rule(50_000, hit("last"), path), rule(7, hit("both"), path, host), rule(9, hit("host"), host))
    assert [asking(target=t, host=h).body for t, h in (
        ("/a", "one.test"), ("/b", "one.test"), ("/a", "two.test"), ("/b", "two.test"))] == [
        b"both", b"host", b"last", b"default"]


def test_redirects(ruled, entrance):
    asking = ruled(
        rule(1, redirect("HTTP_301", protocol="HTTPS", port="443"), {"path_pattern": {"values": ["/secure*"]}}),
        rule(2, redirect("HTTP_302", host="new.#{host}", path="/moved/#{path}", query="from=old&#{query}"),
             {"path_pattern": {"values": ["/old/*"]}}))
    got = asking(target="/secure/a?b=c", host="one.test")
    assert (got.status, got.get("location")) == (301, "https://one.test/secure/a?b=c")
    got = asking(target="/old/x?y=z", host="one.test")
    assert (got.status, got.get("location")) == (
        302, f"http://new.one.test:{entrance}/moved/old/x?from=old&y=z")
    assert got.body == b"" and got.get("content-length") == "0"


def test_redirects_cannot_be_split_by_a_request(ruled):
    asking = ruled(rule(1, redirect("HTTP_301", path="/to/#{path}"), {"path_pattern": {"values": ["/old*"]}}))
    got = asking(target="/old%0d%0aSet-Cookie:%20a=b")
    assert got.get("set-cookie") is None and "%0d%0a" in got.get("location")


def test_fixed_responses(ruled):
    asking = ruled(
        rule(1, fixed(503, "closed", "text/html"), {"path_pattern": {"values": ["/closed"]}}),
        rule(2, fixed(204, ""), {"path_pattern": {"values": ["/empty"]}}),
        rule(3, fixed(200, "ä" * 100), {"path_pattern": {"values": ["/text"]}}))
    got = asking(target="/closed")
    assert (got.status, got.body, got.get("content-type")) == (503, b"closed", "text/html")
    assert asking(target="/text").body.decode() == "ä" * 100
    got = asking("HEAD", "/closed")
    assert (got.status, got.get("content-length")) == (503, "6")
    assert asking("POST", "/closed", body=b"x" * 100_000).status == 503


def test_a_204_of_its_own_has_no_length(ruled, entrance):
    ruled(default=fixed(204, ""))
    with Client(entrance) as client:
        for _ in range(3):
            assert client.ask().status == 204


def test_answers_of_its_own_to_requests_with_content_keep_the_connection_where_they_can(ruled, entrance):
    ruled()
    with Client(entrance) as client:
        for size in (0, 10, 1_000):
            assert client.ask("POST", body=b"x" * size).body == b"default"
        # More than comes at once is not waited for.
        client.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", 1_000_000)]))
        got = client.read_response()
        assert (got.body, got.is_persistent) == (b"default", False)


def test_weights(make_weir, serve, entrance):
    targets = {name: serve(Target(name=name)) for name in ("heavy", "light", "none")}
    make_weir(application(
        [http_group(name, [target.target]) for name, target in targets.items()],
        [http_listener(entrance, forward([("heavy", 90), ("light", 10), ("none", 0)]))]))
    with Client(entrance) as client:
        counts = collections.Counter(client.ask().body for _ in range(1_000))
    assert counts[b"none"] == 0 and 50 < counts[b"light"] < 160, counts


def test_round_robin_is_even_and_weights_of_targets_count(make_weir, serve, entrance):
    targets = [serve(Target(name=name)) for name in ("one", "two", "three")]
    make_weir(application([http_group("web", [t.target for t in targets])], [http_listener(entrance, "web")],
                          workers=1))
    with Client(entrance) as client:
        counts = collections.Counter(client.ask().body for _ in range(300))
    assert all(95 <= counts[t.name.encode()] <= 105 for t in targets), counts


def test_stickiness_by_cookie(make_weir, serve, entrance):
    targets = [serve(Target(name=name)) for name in ("one", "two", "three")]
    make_weir(application([http_group("web", [t.target for t in targets], attributes={
        "stickiness.enabled": True, "stickiness.type": "lb_cookie"})], [http_listener(entrance, "web")]))
    with Client(entrance) as client:
        first = client.ask()
        cookies = [value.split(";")[0] for value in first.all("set-cookie")]
        assert cookies
        sticky = {client.ask(fields=[("Cookie", "; ".join(cookies))]).body for _ in range(30)}
        assert sticky == {first.body}
        forged = [cookie[:-3] + "AAA" for cookie in cookies]
        assert len({client.ask(fields=[("Cookie", "; ".join(forged))]).body for _ in range(30)}) == 3


def test_transforms(make_weir, serve, entrance):
    target = serve(Target())
    make_weir(application([http_group("web", [target.target])], [http_listener(
        entrance, fixed(404), [rule(1, forward("web"), {"path_pattern": {"values": ["/v1/*"]}}, transforms=[
            {"url_rewrite": {"rewrites": [{"regex": "^/v1/(.*)$", "replace": "/$1"}]}},
            {"host_header_rewrite": {"rewrites": [{"regex": "^.*$", "replace": "inner.test"}]}}])])]))
    assert ask(entrance, "POST", "/v1/users?id=3", body=b"abc").status == 200
    seen = target.requests[0]
    assert (seen.target, seen.get("host"), seen.body) == ("/users?id=3", "inner.test", b"abc")


def test_explain_says_what_happens(ruled, entrance):
    asking = ruled(rule(5, hit("five"), {"path_pattern": {"values": ["/five*"]}}))
    weir = ruled.weir
    out = weir.cli("explain", "edge:%d" % entrance, "127.0.0.1", "--path", "/five/x", "--host", "a", check=False)
    assert asking(target="/five/x").body == b"five"
    assert out.returncode == 0 and "5" in out.stdout, out.stdout + out.stderr
