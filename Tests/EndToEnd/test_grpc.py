"""gRPC through an application load balancer: calls of all four kinds by grpcio on both sides, and their failures."""

import concurrent.futures
import contextlib
import hashlib
import random
import threading
import time

import pytest

from harness import packages, tls
from harness.waiting import eventually

packages.need("grpc", "h2")

import grpc

from harness import http2
from harness.http import application, fixed, http_group, http_listener, rule, site

SERVICE = "test.Echo"
NO_RETRIES = [("grpc.enable_retries", 0)]


@pytest.fixture
def entrance(port):
    return port()


class Server:
    """A gRPC server of bytes: Unary, Collect (a stream up), Spread (a stream down) and Talk (both)."""

    def __init__(self, name="one", options=(), credentials=None):
        self.name = name
        self.failures = []
        self.seen = []
        self.cancelled = threading.Event()
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(self._unary),
            "Collect": grpc.stream_unary_rpc_method_handler(self._collect),
            "Spread": grpc.unary_stream_rpc_method_handler(self._spread),
            "Talk": grpc.stream_stream_rpc_method_handler(self._talk),
            "Fail": grpc.unary_unary_rpc_method_handler(self._fail),
            "Wait": grpc.unary_unary_rpc_method_handler(self._wait),
        }
        self._server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(64), options=[("grpc.max_receive_message_length", -1), *options])
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
        if credentials:
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        else:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"

    def _note(self, context):
        self.seen.append(dict(context.invocation_metadata()))
        context.set_trailing_metadata([("x-name", self.name), ("x-data-bin", b"\0\1\xff")])

    def _unary(self, request, context):
        self._note(context)
        context.send_initial_metadata([("x-first", "1")])
        return request

    def _collect(self, requests, context):
        self._note(context)
        digest, count = hashlib.sha256(), 0
        for part in requests:
            digest.update(part)
            count += 1
        return b"%d %s" % (count, digest.hexdigest().encode())

    def _spread(self, request, context):
        self._note(context)
        count, size = map(int, request.split())
        for number in range(count):
            yield number.to_bytes(4, "big") * (size // 4)

    def _talk(self, requests, context):
        self._note(context)
        for part in requests:
            yield part[::-1]

    def _fail(self, request, context):
        context.set_trailing_metadata([("x-reason", "because")])
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: ünfit")

    def _wait(self, request, context):
        context.add_callback(self.cancelled.set)
        self.seen.append("waits")
        self.cancelled.wait(20)
        return b""

    def stop(self):
        self._server.stop(0).wait(5)


class Stub:
    def __init__(self, channel):
        self.unary = channel.unary_unary(f"/{SERVICE}/Unary")
        self.collect = channel.stream_unary(f"/{SERVICE}/Collect")
        self.spread = channel.unary_stream(f"/{SERVICE}/Spread")
        self.talk = channel.stream_stream(f"/{SERVICE}/Talk")
        self.fail = channel.unary_unary(f"/{SERVICE}/Fail")
        self.wait = channel.unary_unary(f"/{SERVICE}/Wait")


@contextlib.contextmanager
def connected(port, credentials=None, options=()):
    options = [*NO_RETRIES, ("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1), *options]
    where = f"127.0.0.1:{port}"
    channel = grpc.secure_channel(where, credentials, options) if credentials else grpc.insecure_channel(
        where, options)
    with channel:
        yield Stub(channel)


def calls_to(*targets, port, **more):
    return site(port, targets, group={"protocol_version": "GRPC"}, **more)


def noise(count, seed=1):
    return random.Random(seed).randbytes(count)


def check_all_kinds(stub):
    for size in (0, 1, 1_000, 100_000, 3_000_000):
        data = noise(size)
        answer, call = stub.unary.with_call(data, timeout=20, metadata=[("x-asked", "yes"), ("x-raw-bin", b"\0\xfe")])
        assert answer == data
        assert ("x-first", "1") in call.initial_metadata()
        assert dict(call.trailing_metadata())["x-data-bin"] == b"\0\1\xff"
    parts = [noise(n * 700, n) for n in range(100)]
    joined = hashlib.sha256(b"".join(parts)).hexdigest()
    assert stub.collect(iter(parts), timeout=20) == f"100 {joined}".encode()
    got = list(stub.spread(b"300 20000", timeout=20))
    assert [int.from_bytes(part[:4], "big") for part in got] == list(range(300)) and {len(p) for p in got} == {20_000}
    assert list(stub.talk(iter(parts), timeout=20)) == [part[::-1] for part in parts]


def test_calls_of_all_kinds(make_weir, serve, entrance):
    server = serve(Server())
    make_weir(calls_to(server, port=entrance))
    with connected(entrance) as stub:
        check_all_kinds(stub)
    assert server.seen[0]["x-asked"] == "yes" and server.seen[0]["x-raw-bin"] == b"\0\xfe"


def test_calls_over_tls_on_both_sides(make_weir, serve, entrance, directory):
    authority = tls.Authority(directory)
    of_site, of_target = authority.issue("site", "site.test"), authority.issue("target")

    def read(path):
        with open(path, "rb") as file:
            return file.read()

    server = serve(Server(credentials=grpc.ssl_server_credentials(
        [(read(of_target["private_key"]), read(of_target["certificate"]))])))
    make_weir(application(
        [{**http_group("calls", [server.target], protocol_version="GRPC"), "protocol": "HTTPS"}],
        [{**http_listener(entrance, "calls"), "protocol": "HTTPS", "certificates": [of_site]}]))
    credentials = grpc.ssl_channel_credentials(read(authority.root))
    with connected(entrance, credentials, [("grpc.ssl_target_name_override", "site.test")]) as stub:
        check_all_kinds(stub)


def test_a_conversation_goes_back_and_forth(make_weir, serve, entrance):
    """Each message is answered before the next is sent: nothing waits for more."""
    server = serve(Server())
    make_weir(calls_to(server, port=entrance))
    with connected(entrance) as stub:
        turn = threading.Semaphore(1)

        def ask():
            for number in range(200):
                assert turn.acquire(timeout=10)
                yield b"%d!" % number

        count = 0
        for answer in stub.talk(ask(), timeout=30):
            assert answer == (b"%d!" % count)[::-1]
            count += 1
            turn.release()
        assert count == 200


def test_errors_and_deadlines_arrive_as_they_are(make_weir, serve, entrance):
    server = serve(Server())
    weir = make_weir(calls_to(server, port=entrance))
    with connected(entrance) as stub:
        with pytest.raises(grpc.RpcError) as caught:
            stub.fail(b"", timeout=10)
        assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert caught.value.details() == "no: ünfit"
        assert ("x-reason", "because") in caught.value.trailing_metadata()
        with pytest.raises(grpc.RpcError) as caught:
            stub.wait(b"", timeout=0.3)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert server.cancelled.wait(10), "the target hears that nobody waits"
        server.cancelled.clear()
        call = stub.wait.future(b"", timeout=20)
        eventually(lambda: server.seen.count("waits") == 2)
        call.cancel()
        assert server.cancelled.wait(10)
        assert stub.unary(b"after", timeout=10) == b"after"
    eventually(lambda: weir.active_tcp_count() == 0)


def test_many_calls_at_once(make_weir, serve, entrance):
    servers = [serve(Server(name)) for name in ("one", "two", "three")]
    make_weir(calls_to(*servers, port=entrance))
    with connected(entrance) as stub:
        calls = [stub.unary.future(noise(2_000, n), timeout=40) for n in range(1_000)]
        assert all(call.result() == noise(2_000, n) for n, call in enumerate(calls))
        talks = [stub.talk(iter([b"%d" % n] * 10), timeout=40) for n in range(60)]
        assert all(list(talk) == [(b"%d" % n)[::-1]] * 10 for n, talk in enumerate(talks))
    counts = [len(server.seen) for server in servers]
    assert min(counts) > 200, counts


def test_a_target_that_takes_few_streams(make_weir, serve, entrance):
    server = serve(Server(options=[("grpc.max_concurrent_streams", 2)]))
    make_weir(calls_to(server, port=entrance))
    with connected(entrance) as stub:
        calls = [stub.unary.future(b"%d" % n, timeout=40) for n in range(200)]
        assert [call.result() for call in calls] == [b"%d" % n for n in range(200)]


def test_a_target_that_dies_is_unavailable_and_the_next_is_not(make_weir, serve, entrance):
    server = serve(Server())
    weir = make_weir(calls_to(server, port=entrance))
    with connected(entrance) as stub:
        assert stub.unary(b"x", timeout=10) == b"x"
        calls = [stub.wait.future(b"", timeout=20) for _ in range(20)]
        eventually(lambda: server.seen.count("waits") == 20)
        server.cancelled.set()
        server.stop()
        codes = set()
        for call in calls:
            try:
                call.result()
                codes.add(None)
            except grpc.RpcError as error:
                codes.add(error.code())
        # Those that were cut off; those that the server still answered.
        assert codes <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, None}
        with pytest.raises(grpc.RpcError) as caught:
            stub.unary(b"x", timeout=10)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        other = serve(Server("other"))
        weir.cli("targets", "register", "web", other.target)
        weir.cli("targets", "deregister", "web", server.target)
        eventually(lambda: answers(stub, b"y"), 10, "calls reach the other target")


def answers(stub, data):
    try:
        return stub.unary(data, timeout=5) == data
    except grpc.RpcError:
        return False


def test_calls_go_where_rules_say(make_weir, serve, entrance):
    one, two = serve(Server("one")), serve(Server("two"))
    make_weir(application(
        [http_group(n, [s.target], protocol_version="GRPC") for n, s in (("one", one), ("two", two))],
        [http_listener(entrance, "one", [
            rule(1, {"type": "forward", "target_group": "two"}, {"path_pattern": {"values": ["/*/Collect"]}}),
            rule(2, fixed(403, "no"), {"path_pattern": {"values": ["/*/Wait"]}})])]))
    with connected(entrance) as stub:
        stub.unary(b"", timeout=10)
        stub.collect(iter([b"a"]), timeout=10)
        with pytest.raises(grpc.RpcError) as caught:
            stub.wait(b"", timeout=10)
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert (len(one.seen), len(two.seen)) == (1, 1)


def test_no_call_fails_while_targets_come_and_go(make_weir, serve, entrance):
    servers = [serve(Server(name)) for name in ("one", "two", "three")]
    weir = make_weir(site(entrance, servers, group={
        "protocol_version": "GRPC", "attributes": {"deregistration_delay.timeout_seconds": 10}}))
    stop, failures, count = threading.Event(), [], 0

    def ask():
        nonlocal count
        with connected(entrance) as stub:
            while not stop.is_set():
                try:
                    assert stub.unary(b"x" * 500, timeout=15) == b"x" * 500
                    assert stub.collect(iter([b"a", b"b"]), timeout=15).startswith(b"2 ")
                    count += 2
                except grpc.RpcError as error:
                    failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(6):
            where = servers[turn % 3].target
            weir.cli("targets", "deregister", "web", where)
            weir.cli("targets", "register", "web", where)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures and count > 100, (count, failures[:2])
