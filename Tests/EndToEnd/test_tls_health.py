"""Health checks over TLS and HTTPS: what is wrong with a target's certificate or handshake shows as the reason."""

import shutil
import ssl

import pytest

from harness.servers import http_server, receive_exactly
from harness.tls import Authority, UncountedServer
from harness.waiting import eventually
from harness.weir import FAST_CHECK, configuration, group, listener

TLS_CHECK = {**FAST_CHECK, "protocol": "TLS"}
HTTPS_CHECK = {**FAST_CHECK, "protocol": "HTTPS", "path": "/healthz"}
# Version 2, LOCAL, no addresses; a checksum of four bytes follows.
LOCAL_HEADER = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x07\x03\x00\x04"


def say_nothing(connection, server):
    """The end is read for every handler."""


class TLSTarget(UncountedServer):
    """Ends TLS with Python's ssl, and keeps what came before it, why handshakes failed and how connections ended."""

    def __init__(self, context, handler=say_nothing, header_byte_count=0):
        self.headers, self.names, self.refusals, self.ends = [], [], [], []
        self._header_byte_count = header_byte_count
        context.sni_callback = lambda connection, name, context: self.names.append(name)
        super().__init__(handler, context)

    def _serve(self, connection):
        with connection:
            try:
                self.headers.append(receive_exactly(connection, self._header_byte_count))
                secured = self._context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
            except OSError as error:
                self.refusals.append(str(error))
                return
            with secured:
                try:
                    self._handler(secured, self)
                    while secured.recv(4096):
                        pass
                    self.ends.append("close_notify")
                except OSError as error:
                    self.ends.append(str(error))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def secure(serve, authority):
    """Makes a target that ends TLS with a certificate of `authority`'s."""

    def make(handler=say_nothing, certificate=None, clients=None, **more):
        context = authority.server_context(certificate or authority.issue("backend.test"))
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients.root)
        return serve(TLSTarget(context, handler, **more))

    return make


def health_of(weir, name):
    (target,) = weir.group(name)["targets"]
    return target["health"]


def test_each_state_has_its_reason_and_sentence(make_weir, secure, serve, authority, stranger, port):
    trusting = {"tls": {"ca_file": str(authority.root), "server_name": "backend.test"}}
    good = secure(http_server("s"))
    expired = secure(certificate=authority.issue("expired", "backend.test", days=-1))
    strange = secure(certificate=stranger.issue("backend.test"))
    busy = secure(http_server("s", "503 Service Unavailable"))
    plain = serve(UncountedServer(lambda connection, server: connection.sendall(b"220 plain\r\n")))
    web = serve(UncountedServer(http_server("web")))
    silent = serve(UncountedServer(lambda connection, server: connection.recv(1 << 16) and connection.recv(1 << 16)))
    choosy = secure(http_server("s"), clients=authority)
    shown = authority.issue("client")

    failed = "Target.FailedHealthChecks"
    # Name: check, target, state, reason, words that the sentence must have.
    cases = {
        "tls-ok": (TLS_CHECK, good, "healthy", None, ""),
        "https-ok": (HTTPS_CHECK, good, "healthy", None, ""),
        "verified": ({**TLS_CHECK, **trusting}, good, "healthy", None, ""),
        "verified-https": ({**HTTPS_CHECK, **trusting}, good, "healthy", None, ""),
        "expired-unverified": (TLS_CHECK, expired, "healthy", None, ""),
        "expired": ({**TLS_CHECK, **trusting}, expired, "unhealthy", failed, "certificate has expired"),
        "strange": ({**HTTPS_CHECK, **trusting}, strange, "unhealthy", failed, "certificate refused: "),
        "wrong-name": (
            {**TLS_CHECK, "tls": {"ca_file": str(authority.root), "server_name": "other.test"}}, good, "unhealthy",
            failed, "certificate refused: hostname mismatch"),
        "status": (HTTPS_CHECK, busy, "unhealthy", "Target.ResponseCodeMismatch", "[503]"),
        "plain": (TLS_CHECK, plain, "unhealthy", failed, "not TLS"),
        "plain-http": (HTTPS_CHECK, web, "unhealthy", "Target.Timeout", "did not finish the TLS handshake within 1 s"),
        "silent": (TLS_CHECK, silent, "unhealthy", "Target.Timeout", "did not finish the TLS handshake within 1 s"),
        "no-certificate": (TLS_CHECK, choosy, "unhealthy", failed, "alert 116"),
        "no-certificate-https": (HTTPS_CHECK, choosy, "unhealthy", failed, "alert 116"),
        "certificate": ({**TLS_CHECK, "tls": shown}, choosy, "healthy", None, ""),
        "certificate-https": ({**HTTPS_CHECK, "tls": shown}, choosy, "healthy", None, ""),
        "strange-certificate": (
            {**HTTPS_CHECK, "tls": stranger.issue("client")}, choosy, "unhealthy", failed, "alert 48"),
    }
    groups = [
        group(name, [server.target], check=check) for name, (check, server, *_) in cases.items()
    ]
    weir = make_weir(configuration(groups, [listener(port(), name) for name in cases]))
    for name, (_, _, state, reason, words) in cases.items():
        def is_so():
            health = health_of(weir, name)
            assert health["state"] == state and health.get("reason") == reason, health
            assert words in health["description"], health
            assert not words or health["description"].endswith("."), health
            return True

        eventually(is_so, 15, f"group {name} shows its state")
    # Those that were refused learn it from an alert, the others from close_notify: no connection is torn.
    eventually(lambda: any("certificate expired" in refusal for refusal in expired.refusals))
    eventually(lambda: any("unknown ca" in refusal for refusal in strange.refusals))
    eventually(lambda: len(good.ends) > 4)
    assert set(good.ends) | set(busy.ends) == {"close_notify"}
    assert {"backend.test", "other.test", None} == set(good.names)


def test_a_tls_group_uses_its_own_settings_for_checks(make_weir, secure, authority, port):
    server = secure(http_server("s"))
    entry = authority.issue("site.test")
    tls = {"ca_file": str(authority.root), "server_name": "backend.test"}
    checks = {"https": HTTPS_CHECK, "tcp": FAST_CHECK}
    ports = [port() for _ in checks]
    weir = make_weir(configuration(
        [group(name, [server.target], "TLS", check=check, tls=tls) for name, check in checks.items()],
        [listener(p, name, protocol="TLS", certificates=[entry]) for p, name in zip(ports, checks)]))
    for name in checks:
        eventually(lambda: health_of(weir, name)["state"] == "healthy")
    assert "backend.test" in server.names


def test_files_of_checks_are_read_again(make_weir, secure, authority, stranger, directory, port):
    server = secure()
    trusted = directory / "ca.pem"
    shutil.copy(stranger.root, trusted)
    shown = authority.issue("client")
    check = {**TLS_CHECK, "tls": {"ca_file": str(trusted), **shown}}
    weir = make_weir(configuration([group("web", [server.target], check=check)], [listener(port(), "web")]))
    weir.wait_for_states("web", {server.port: "unhealthy"})
    assert "health check of target group" in weir.cli("certificates").stdout
    shutil.copy(authority.root, trusted)
    weir.cli("certificates", "reload")
    weir.wait_for_states("web", {server.port: "healthy"})
    # A file that is no good is refused, and the checks go on with what they have.
    trusted.write_text("nothing\n")
    refused = weir.cli("certificates", "reload", check=False)
    assert refused.returncode != 0 and str(trusted) in refused.stdout + refused.stderr
    seen = len(server.ends)
    eventually(lambda: len(server.ends) > seen + 1)
    weir.wait_for_states("web", {server.port: "healthy"})


def test_a_reload_replaces_the_settings_of_a_check(make_weir, secure, authority, stranger, port):
    server = secure()

    def settings(root):
        check = {**TLS_CHECK, "tls": {"ca_file": str(root)}}
        return configuration([group("web", [server.target], check=check)], [listener(entrance, "web")])

    entrance = port()
    weir = make_weir(settings(authority.root))
    weir.wait_for_states("web", {server.port: "healthy"})
    weir.reload(settings(stranger.root))
    weir.wait_for_states("web", {server.port: "unhealthy"})
    weir.reload(settings(authority.root))
    weir.wait_for_states("web", {server.port: "healthy"})


def test_a_bad_file_of_a_check_is_an_error_with_its_line(make_weir, directory, port):
    bad = directory / "bad.pem"
    bad.write_text("nothing\n")
    check = {**TLS_CHECK, "tls": {"ca_file": str(bad)}}
    weir = make_weir(
        configuration([group("web", ["127.0.0.1:9"], check=check)], [listener(port(), "web")]), start=False)
    weir.launch()
    assert weir.process.wait(20) == 1
    assert str(bad) in weir.log() and "health" in weir.log()


def test_probes_begin_with_a_proxy_header_where_the_group_sends_one(make_weir, secure, serve, authority, port):
    count = len(LOCAL_HEADER) + 4
    attributes = {"proxy_protocol_v2.enabled": True}
    headers = []

    def plain(connection, server):
        headers.append(receive_exactly(connection, count))
        http_server("s")(connection, server)

    secured = secure(http_server("s"), header_byte_count=count)
    web = serve(UncountedServer(plain))
    checks = {
        "https": (HTTPS_CHECK, secured), "tls": (TLS_CHECK, secured),
        "http": ({**HTTPS_CHECK, "protocol": "HTTP"}, web), "tcp": (FAST_CHECK, web),
    }
    weir = make_weir(configuration(
        [group(name, [server.target], check=check, attributes=attributes) for name, (check, server) in checks.items()],
        [listener(port(), name) for name in checks]))
    for name in checks:
        eventually(lambda: health_of(weir, name)["state"] == "healthy")
    eventually(lambda: len(headers) > 1)
    for header in headers + [header for header in secured.headers if header]:
        assert header.startswith(LOCAL_HEADER) and len(header) == count
    assert not secured.refusals
