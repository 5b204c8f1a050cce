"""The access log and the connection log of application load balancers, in ELBv2's field order."""

import datetime
import os
import re
import signal
import ssl
import subprocess

import pytest

from harness.http import (
    Client, Load, Target, application, ask, fixed, forward, head, http_group, http_listener, redirect, request,
    response, rule)
from harness.logs import CONNECTION, EXCHANGE, Log
from harness.tls import Authority, secure
from harness.waiting import eventually

TRACE = r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}"
CONNECTION_TRACE = r"TID_[0-9a-f]{32}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.issue("site.test", "site.test", "*.site.test")


class Edge:
    """A Weir with both logs on: its port, and the logs."""

    def __init__(self, make_weir, port, directory, targets, tls=None, action="web", rules=(), path=None,
                 connection_path=None, is_logged=True, checks=True):
        self.port = port()
        self.access = Log(path or directory / "access.log", EXCHANGE)
        self.connections = Log(connection_path or directory / "connections.log", CONNECTION)
        self.is_logged = is_logged
        self.make = lambda **logs: self._make(targets, tls, action, rules, **logs)
        self.weir = make_weir(self.make(), checks=checks)

    def _make(self, targets, tls, action, rules, **logs):
        more = {"protocol": "HTTPS", **tls} if tls else {}
        made = application(
            [http_group(name, [t if isinstance(t, str) else t.target for t in targets]) for name in ("web", "other")],
            [http_listener(self.port, action, rules, **more)])
        edge = made["load_balancers"][0]
        edge["access_logs"] = {"enabled": self.is_logged, "path": self.access.path, **logs}
        edge["connection_logs"] = {"enabled": self.is_logged, "path": self.connections.path}
        return made

    def ask(self, *arguments, **more):
        return ask(self.port, *arguments, **more)


@pytest.fixture
def edge(make_weir, port, directory):
    return lambda targets=(), **more: Edge(make_weir, port, directory, targets, **more)


def moment(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)


def path_of(entry):
    return "/" + entry["request"].split(" ")[1].split("/", 3)[3]


def curl(*arguments):
    return subprocess.run(
        ["curl", "--silent", "--max-time", "20", *map(str, arguments)], capture_output=True, check=True,
        timeout=40).stdout


def test_an_exchange_is_one_line(edge, serve):
    target = serve(Target(lambda r, p: response(body=b"x" * 1_000)))
    web = edge([target])
    with Client(web.port) as client:
        own = client.socket.getsockname()
        sent = head("POST /a/b?c=d HTTP/1.1", [
            ("Host", "shop.example:81"), ("User-Agent", 'Agent "5" \\'), ("Content-Length", 5)]) + b"hello"
        client.send(sent)
        answer = client.read_response("POST")
        assert answer.status == 200
        entry = web.access.last(1)
    trace = target.requests[0].get("x-amzn-trace-id")
    assert re.fullmatch(TRACE, trace)
    expected = {
        "type": "http", "elb": "edge", "client": f"127.0.0.1:{own[1]}", "target": target.target,
        "elb_status_code": "200", "target_status_code": "200",
        "request": "POST http://shop.example:81/a/b?c=d HTTP/1.1", "user_agent": "Agent \\x225\\x22 \\x5C",
        "ssl_cipher": "-", "ssl_protocol": "-", "target_group": "web", "trace_id": trace, "domain_name": "-",
        "chosen_cert": "-", "matched_rule_priority": "0", "actions_executed": "forward", "redirect_url": "-",
        "error_reason": "-", "target_list": target.target, "target_status_code_list": "200", "classification": "-",
        "classification_reason": "-", "transformed_host": "-", "transformed_uri": "-", "request_transform_status": "-",
        "listener_address": "127.0.0.1"}
    assert {key: entry[key] for key in expected} == expected
    assert int(entry["received_bytes"]) == len(sent)
    assert 1_000 < int(entry["sent_bytes"]) < 1_300
    for key in ("request_processing_time", "target_processing_time", "response_processing_time"):
        assert 0 <= float(entry[key]) < 10, key
    created, ended = moment(entry["request_creation_time"]), moment(entry["time"])
    assert datetime.timedelta(0) <= ended - created < datetime.timedelta(seconds=10)
    assert abs(datetime.datetime.now(datetime.timezone.utc) - ended) < datetime.timedelta(seconds=60)
    connection = web.connections.last(1)
    assert connection["client_ip"] == "127.0.0.1" and connection["client_port"] == str(own[1])
    assert connection["listener_port"] == str(web.port)
    assert [connection[key] for key in CONNECTION[4:11]] == ["-"] * 7, "there was no TLS"
    assert re.fullmatch(CONNECTION_TRACE, connection["conn_trace_id"])
    assert connection["conn_trace_id"] == entry["conn_trace_id"]


def test_exchanges_of_one_connection_share_its_trace(edge, serve):
    web = edge([serve(Target())])
    with Client(web.port) as client:
        for number in range(5):
            assert client.ask("GET", f"/{number}").status == 200
    with Client(web.port) as client:
        client.send(b"".join(request("GET", f"/{number}") for number in range(5, 8)))
        for _ in range(3):
            client.read_response()
    # Each worker's lines are in order, those of several are not.
    entries = sorted(web.access.wait(8), key=path_of)
    assert [path_of(entry) for entry in entries] == [f"/{number}" for number in range(8)]
    assert len({entry["conn_trace_id"] for entry in entries[:5]}) == 1
    assert len({entry["conn_trace_id"] for entry in entries}) == 2
    assert len(web.connections.wait(2)) == 2
    assert len({entry["trace_id"] for entry in entries}) == 8


def test_a_rule_says_what_was_done(edge, serve):
    target = serve(Target())
    web = edge([target], action=fixed(404, "none"), rules=[
        rule(10, redirect("HTTP_301", path="/new", port="8443", protocol="HTTPS"),
             {"path_pattern": {"values": ["/old"]}}),
        rule(20, fixed(503, "closed"), {"path_pattern": {"values": ["/closed"]}}),
        rule(30, forward("web"), {"path_pattern": {"values": ["/app/*"]}}, transforms=[
            {"url_rewrite": {"rewrites": [{"regex": "^/app/", "replace": "/"}]}},
            {"host_header_rewrite": {"rewrites": [{"regex": "^test.example$", "replace": "inner.example"}]}}]),
        rule(40, forward("web"), {"path_pattern": {"values": ["/same"]}}, transforms=[
            {"url_rewrite": {"rewrites": [{"regex": "^/never", "replace": "/"}]}}])])
    statuses = [web.ask("GET", path).status for path in ("/old", "/closed", "/app/x?y", "/same", "/other")]
    assert statuses == [301, 503, 200, 200, 404]
    entries = {path_of(entry): entry for entry in web.access.wait(5)}
    old, closed, app, same, other = (entries[path] for path in ("/old", "/closed", "/app/x?y", "/same", "/other"))
    keys = ("elb_status_code", "target_status_code", "matched_rule_priority", "actions_executed", "redirect_url",
            "target")
    assert [old[key] for key in keys] == ["301", "-", "10", "redirect", "https://test.example:8443/new", "-"]
    assert [closed[key] for key in keys] == ["503", "-", "20", "fixed-response", "-", "-"]
    assert [app[key] for key in keys] == ["200", "200", "30", "forward", "-", target.target]
    assert [other[key] for key in keys] == ["404", "-", "0", "fixed-response", "-", "-"]
    assert [old[key] for key in EXCHANGE[5:8]] == ["-1"] * 3, "nothing was dispatched"
    assert re.fullmatch(TRACE, old["trace_id"])
    transformed = ("request_transform_status", "transformed_host", "transformed_uri")
    assert [app[key] for key in transformed] == ["TransformSuccess", "inner.example", "/x?y"]
    assert app["request"] == f"GET http://test.example:{web.port}/app/x?y HTTP/1.1"
    assert [same[key] for key in transformed] == ["TransformSuccess", "-", "-"]
    assert [other[key] for key in transformed] == ["-"] * 3


def test_a_group_cookie_of_somebody_else_is_told(edge, serve):
    web = edge([serve(Target())], action=forward(
        [("web", 1), ("other", 1)], stickiness={"enabled": True, "duration": 600}))
    with Client(web.port) as client:
        (cookie,) = [value.split(";")[0] for value in client.ask().all("set-cookie") if value.startswith("AWSALBTG=")]
        client.ask(fields=[("Cookie", cookie)])
        client.ask(fields=[("Cookie", cookie + "%3D")])
    entries = web.access.wait(3)
    assert [entry["error_reason"] for entry in entries] == ["-", "-", "AWSALBTGCookieInvalid"]
    assert entries[0]["target_group"] == entries[1]["target_group"] in ("web", "other")


def test_failures_of_targets_and_clients_are_told_apart(edge, serve, port):
    closed = port()
    web = edge([f"127.0.0.1:{closed}"])
    assert web.ask().status == 502
    entry = web.access.last(1)
    assert [entry[key] for key in ("elb_status_code", "target_status_code", "target")] == \
        ["502", "-", f"127.0.0.1:{closed}"]
    assert [entry[key] for key in EXCHANGE[5:8]] == ["-1"] * 3


def test_a_client_that_leaves_has_460(edge, serve):
    target = serve(Target(lambda r, p: None))
    web = edge([target])
    with Client(web.port) as client:
        client.send(request())
        target.wait_for_requests(1)
        client.close()
    entry = web.access.last(1)
    assert (entry["elb_status_code"], entry["target_status_code"]) == ("460", "-")
    assert float(entry["request_processing_time"]) >= 0 and entry["target_processing_time"] == "-1"


@pytest.mark.parametrize("bytes_sent, status, reason", [
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", "400", "BadContentLength"),
    (b"GE T / HTTP/1.1\r\nHost: a\r\n\r\n", "400", None),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", "431", "-")])
def test_what_is_no_request_has_a_line(edge, bytes_sent, status, reason):
    web = edge([])
    with Client(web.port) as client:
        client.send(bytes_sent)
        assert str(client.read_response().status) == status
    entry = web.access.last(1)
    assert entry["elb_status_code"] == status
    assert entry["request"] == f"- http://127.0.0.1:{web.port}- -"
    if reason:
        assert entry["classification_reason"] == reason
        assert entry["classification"] == ("-" if reason == "-" else "Severe")
    assert [entry[key] for key in ("trace_id", "user_agent", "target_group", "actions_executed")] == ["-"] * 4


def test_an_ambiguous_request_is_classified(edge, serve):
    web = edge([serve(Target())])
    with Client(web.port) as client:
        client.send(head("GET /a HTTP/1.1", [("Host", "a"), ("Content-Length", 0)]))
        assert client.read_response().status == 200
    entry = web.access.last(1)
    assert (entry["classification"], entry["classification_reason"]) == ("Acceptable", "GetHeadZeroContentLength")


def test_what_clients_say_forges_no_line(edge, serve):
    web = edge([serve(Target())])
    web.ask("GET", "/" + "a" * 6_000, [("User-Agent", 'x" 200 200 "' + "b" * 6_000)])
    entry = web.access.last(1)
    assert entry["request"].endswith("\\... HTTP/1.1") and len(entry["request"]) < 4_400
    assert entry["user_agent"].startswith("x\\x22 200 200 \\x22bbb") and entry["user_agent"].endswith("\\...")


@pytest.mark.parametrize("version, protocol", [("--tls-max 1.2", "TLSv1.2"), ("--tlsv1.3", "TLSv1.3")])
@pytest.mark.parametrize("http, kind", [("--http1.1", "https"), ("--http2", "h2")])
def test_tls_is_told(edge, serve, authority, certificate, version, protocol, http, kind):
    web = edge([serve(Target())], tls={"certificates": [certificate]})
    url = f"https://www.site.test:{web.port}/page"
    assert curl(*version.split(), http, "--cacert", authority.root, "--connect-to", f"::127.0.0.1:{web.port}",
                url, url) == b"targettarget"
    entries = web.access.wait(2)
    for entry in entries:
        assert entry["type"] == kind
        assert entry["ssl_protocol"] == protocol
        assert entry["ssl_cipher"] == ("TLS_AES_128_GCM_SHA256" if "1.3" in protocol else
                                       "ECDHE-ECDSA-AES128-GCM-SHA256")
        assert entry["domain_name"] == "www.site.test"
        assert entry["chosen_cert"] == certificate["certificate"]
        assert entry["request"] == \
            f"GET https://www.site.test:{web.port}/page HTTP/{'2.0' if kind == 'h2' else '1.1'}"
    connection = web.connections.last(1)
    assert connection["tls_protocol"] == protocol and connection["tls_verify_status"] == "Success"
    assert connection["tls_cipher"] == entries[0]["ssl_cipher"]
    assert connection["tls_keyexchange"] in ("x25519", "secp256r1", "X25519MLKEM768")
    assert 0 <= float(connection["tls_handshake_latency"]) < 10
    assert connection["conn_trace_id"] == entries[0]["conn_trace_id"] == entries[1]["conn_trace_id"]


def test_failed_handshakes_and_client_certificates_are_told(edge, serve, authority, certificate, tmp_path):
    web = edge([serve(Target())], tls={
        "certificates": [certificate],
        "mutual_authentication": {"mode": "verify", "ca_certificates": str(authority.root)}})
    good = authority.issue("client one")
    with secure(authority.client_context(good), web.port) as client:
        client.sendall(request())
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
    entry = web.connections.last(1)
    assert entry["tls_verify_status"] == "Success"
    assert entry["leaf_client_cert_subject"] == "CN=client one"
    decoded = ssl._ssl._test_decode_cert(good["certificate"])
    assert entry["leaf_client_cert_serial_number"] == decoded["serialNumber"]
    times = [datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(decoded[key]), datetime.timezone.utc)
             .strftime("%Y-%m-%dT%H:%M:%SZ") for key in ("notBefore", "notAfter")]
    assert entry["leaf_client_cert_validity"] == "NotBefore={};NotAfter={}".format(*times)
    stranger = Authority(tmp_path).issue("stranger")
    for count, bad, status in (
            (2, stranger, "Failed:ClientCertUntrusted"), (3, None, "Failed:UnmappedConnectionError")):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with secure(authority.client_context(bad), web.port) as client:
                client.sendall(request())
                assert client.recv(1) == b"", "let in"
                raise ConnectionError
        entry = web.connections.last(count)
        assert entry["tls_verify_status"] == status
        assert entry["tls_handshake_latency"] == entry["leaf_client_cert_subject"] == "-"
    assert len(web.access.wait(1)) == 1


def test_a_websocket_is_one_line_at_its_end(edge, serve):
    def answer(request, peer):
        peer.send(head("HTTP/1.1 101 Switching Protocols", [("Upgrade", "websocket"), ("Connection", "upgrade")]))
        peer.send(peer.read_exactly(5) * 2)
        return False

    target = serve(Target(answer))
    web = edge([target])
    with Client(web.port) as client:
        client.send(head("GET /chat HTTP/1.1", [
            ("Host", "a"), ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]))
        assert client.read_head().status == 101
        client.send(b"hello")
        assert client.read_exactly(10) == b"hellohello"
        client.finish()
        assert client.is_ended()
    entry = web.access.last(1)
    assert (entry["type"], entry["elb_status_code"], entry["target_status_code"]) == ("ws", "101", "101")
    assert int(entry["sent_bytes"]) > 10


def test_rotation_by_signal_and_no_line_is_lost(edge, serve):
    web = edge([serve(Target())])
    old = web.access.path + ".1"
    with Client(web.port) as client:
        for number in range(50):
            client.ask("GET", f"/{number}")
            if number == 20:
                os.rename(web.access.path, old)
                web.weir.process.send_signal(signal.SIGHUP)
                eventually(lambda: os.path.exists(web.access.path), message="a new file")
    eventually(lambda: len(Log(old).lines()) + len(web.access.lines()) == 50, message="all lines in both files")
    assert Log(old).lines() and web.access.lines()


def test_a_log_is_turned_off_and_moved(edge, serve, directory):
    web = edge([serve(Target())])
    web.ask()
    web.access.wait(1)
    web.weir.write(web.make(enabled=False))
    web.weir.cli("apply", web.weir.config_path)
    web.ask()
    elsewhere = Log(directory / "elsewhere.log")
    web.weir.write(web.make(path=elsewhere.path))
    web.weir.cli("apply", web.weir.config_path)
    web.ask()
    elsewhere.wait(1)
    web.access.wait(1)
    web.connections.wait(3)


def test_standard_output_carries_both_logs(edge, serve):
    web = edge([serve(Target())], path="stdout", connection_path="stdout")
    web.ask()

    def lines():
        texts = web.weir.log().splitlines()
        return [t for t in texts if t.startswith("http ")], [t for t in texts if re.search(r" TID_\S+ - edge ", t)]

    eventually(lambda: all(lines()), message="a line of each log")
    exchanges, connections = lines()
    assert Log("", EXCHANGE).parse(exchanges[0])["elb_status_code"] == "200"
    assert Log("", CONNECTION).parse(connections[-1])["elb"] == "edge"


def test_a_log_that_takes_nothing_holds_up_nobody_and_is_counted(edge, serve, directory):
    import fcntl
    fifo = directory / "fifo.log"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        web = edge([serve(Target())], path=fifo)

        def ask_until_dropped():
            with Client(web.port) as client:
                for _ in range(50):
                    assert client.ask().status == 200
            return web.weir.counters()["dropped_access_log_lines"] > 0

        eventually(ask_until_dropped, timeout=30, message="lines are dropped")
        status = web.weir.cli("status").stdout
        assert "lines of access logs were dropped" in status and str(fifo) in status
    finally:
        os.close(reader)


def test_the_last_lines_are_written_at_the_end(edge, serve):
    web = edge([serve(Target())], checks=False)
    with Client(web.port) as client:
        client.ask()
    assert web.weir.stop() == 0
    assert len(web.access.wait(1)) == len(web.connections.wait(1)) == 1


def test_many_exchanges_at_once_have_a_line_each(edge, serve):
    web = edge([serve(Target()), serve(Target())])
    with Load(web.port, thread_count=8) as load:
        load.wait_for(2_000)
    count = load.answered_count
    eventually(lambda: len(web.access.lines()) >= count, timeout=20, message="a line for each answer")
    entries = web.access.lines()
    assert len({entry["trace_id"] for entry in entries}) == len(entries)
    assert web.weir.counters()["dropped_access_log_lines"] == 0
