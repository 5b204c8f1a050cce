"""TLS listeners, TLS towards targets, and TLS that only passes through."""

import contextlib
import hashlib
import os
import random
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

from harness.clients import connect
from harness.servers import TCPServer, receive_all, receive_exactly
from harness.tls import Authority, UncountedServer, secure
from harness.waiting import eventually
from harness.weir import configuration, group, listener

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def site(authority):
    return authority.issue("site.test", "site.test")


def echo(connection, server):
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def count_then_answer(connection, server):
    """Reads to the end, then answers with the digest of what came."""
    digest = hashlib.sha256()
    while data := connection.recv(1 << 16):
        digest.update(data)
    connection.sendall(digest.hexdigest().encode())


@pytest.fixture
def tcp_server():
    servers = []

    def make(handler, **more):
        servers.append(TCPServer(handler, **more))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def edge(make_weir, port, site):
    """A Weir with one TLS listener in front of plain targets: (weir, its port)."""

    def make(targets, group_settings=None, weir_settings=None, **more):
        entrance = port()
        more.setdefault("certificates", [site])
        weir = make_weir(configuration(
            [group("web", targets, **(group_settings or {}))], [listener(entrance, "web", protocol="TLS", **more)],
            **(weir_settings or {})))
        return weir, entrance

    return make


@contextlib.contextmanager
def tls_server(context, handler):
    """A server that speaks TLS itself."""
    server = UncountedServer(handler, context)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def proxied_server():
    """A target that reads a PROXY protocol header before it echoes; (server, headers seen)."""
    seen = []

    def serve(connection, server):
        seen.append(read_proxy_v2(connection))
        echo(connection, server)

    server = UncountedServer(serve)
    yield server, seen
    server.stop()


# Bytes and ends


def test_bytes_pass_decrypted_and_come_back_encrypted(authority, edge, tcp_server):
    weir, entrance = edge([tcp_server(echo).target])
    with secure(authority.client_context(), entrance) as client:
        assert client.version() == "TLSv1.3"
        for size in (1, 100, 16_384, 16_385, 100_000):
            data = random.Random(size).randbytes(size)
            client.sendall(data)
            assert receive_exactly(client, size) == data


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_large_transfers_arrive_whole_both_ways(authority, edge, tcp_server, version):
    content = random.Random(5).randbytes(20 << 20)
    digest = hashlib.sha256(content).hexdigest()

    def take(connection, server):
        connection.sendall(hashlib.sha256(receive_exactly(connection, len(content))).hexdigest().encode())

    weir, entrance = edge([tcp_server(take).target])
    context = authority.client_context(maximum_version=version)
    with secure(context, entrance) as client:
        client.sendall(content)
        assert receive_exactly(client, 64).decode() == digest
    down = tcp_server(lambda connection, server: connection.sendall(content))
    weir, entrance = edge([down.target])
    with secure(context, entrance) as client:
        assert hashlib.sha256(receive_all(client)).hexdigest() == digest


def test_half_close_by_close_notify_passes_on(authority, edge, tcp_server):
    """s_client ends its side at the end of its input; the answer comes after that."""
    weir, entrance = edge([tcp_server(count_then_answer).target])
    content = random.Random(6).randbytes(3 << 20)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.client_context().wrap_bio(incoming, outgoing, server_hostname="site.test")
    with connect(entrance) as raw:
        def until_done(action):
            while True:
                try:
                    result = action()
                    raw.sendall(outgoing.read())
                    return result
                except ssl.SSLWantReadError:
                    raw.sendall(outgoing.read())
                    data = raw.recv(1 << 16)
                    incoming.write(data) if data else incoming.write_eof()

        until_done(client.do_handshake)
        for start in range(0, len(content), 1 << 16):
            until_done(lambda: client.write(content[start:start + (1 << 16)]))
        # close_notify, without waiting for the other side's.
        with contextlib.suppress(ssl.SSLWantReadError):
            client.unwrap()
        raw.sendall(outgoing.read())
        answer = b""
        while len(answer) < 64:
            answer += until_done(lambda: client.read(1 << 16))
        assert answer.decode() == hashlib.sha256(content).hexdigest()


def test_a_slow_reader_of_tls_gets_every_byte(authority, edge, tcp_server):
    content = random.Random(7).randbytes(8 << 20)
    weir, entrance = edge([tcp_server(lambda connection, server: connection.sendall(content)).target])
    with secure(authority.client_context(), entrance) as client:
        received = bytearray()
        while data := client.recv(3_001):
            received += data
            if len(received) % 50 == 0:
                time.sleep(0.001)
        assert bytes(received) == content


# Names and protocols


def test_certificates_are_chosen_by_name(authority, make_weir, port, tcp_server):
    entrance = port()
    names = ["first.test", "exact.sub.test", "*.sub.test"]
    certificates = [authority.issue(f"cert{i}", name) for i, name in enumerate(names)]
    make_weir(configuration(
        [group("web", [tcp_server(echo).target])],
        [listener(entrance, "web", protocol="TLS", certificates=certificates)]))
    context = authority.client_context(check_hostname=False)
    for asked, expected in [
        ("first.test", "cert0"), ("exact.sub.test", "cert1"), ("other.sub.test", "cert2"), ("EXACT.sub.TEST", "cert1"),
        ("a.b.sub.test", "cert0"), ("unknown.test", "cert0"), (None, "cert0"),
    ]:
        with secure(context, entrance, asked) as client:
            subject = dict(pair for part in client.getpeercert()["subject"] for pair in part)
            assert subject["commonName"] == expected, asked


@pytest.mark.parametrize("policy, offered, expected", [
    ("HTTP2Preferred", ["http/1.1", "h2"], "h2"), ("HTTP2Optional", ["h2", "http/1.1"], "http/1.1"),
    ("HTTP1Only", ["h2", "http/1.1"], "http/1.1"), ("HTTP2Only", ["h2"], "h2"), ("HTTP1Only", ["h2"], None),
    ("None", ["h2"], None)])
def test_alpn_follows_the_policy(authority, edge, tcp_server, policy, offered, expected):
    weir, entrance = edge([tcp_server(echo).target], alpn_policy=policy)
    context = authority.client_context()
    context.set_alpn_protocols(offered)
    with secure(context, entrance) as client:
        assert client.selected_alpn_protocol() == expected


def test_old_versions_are_refused_by_the_default_policy(authority, edge, tcp_server):
    weir, entrance = edge([tcp_server(echo).target])
    for version in ("-tls1", "-tls1_1"):
        result = subprocess.run(
            ["openssl", "s_client", version, "-cipher", "ALL:@SECLEVEL=0", "-connect", f"127.0.0.1:{entrance}"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        assert b"Cipher is (NONE)" in result.stdout or result.returncode != 0
    name = 'weir_listener_tls_negotiation_errors_total'
    lines = [line for line in weir.metrics().splitlines() if line.startswith(name) and 'side="client"' in line]
    assert sum(float(line.rsplit(" ", 1)[1]) for line in lines) == 2, lines


def test_sessions_resume_whichever_worker_takes_them(authority, edge, tcp_server):
    weir, entrance = edge([tcp_server(echo).target], weir_settings={"workers": 2})
    context = authority.client_context()
    with secure(context, entrance) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        session = client.session
    resumed = 0
    for _ in range(16):
        with secure(context, entrance, session=session) as client:
            resumed += client.session_reused
            client.sendall(b"x")
            assert client.recv(1) == b"x"
    assert resumed == 16


# Towards targets


def test_targets_are_spoken_to_in_tls(authority, edge, site):
    backend = authority.issue("backend.test")
    with tls_server(authority.server_context(backend), echo) as server:
        weir, entrance = edge([server.target], group_settings={"protocol": "TLS"})
        with secure(authority.client_context(), entrance) as client:
            # Piece by piece: an SSL object of Python's is not for two threads.
            for seed in range(64):
                data = random.Random(seed).randbytes(40_000)
                client.sendall(data)
                assert receive_exactly(client, len(data)) == data


def test_a_target_with_a_strange_certificate_is_refused_when_verifying(authority, edge, directory):
    stranger = Authority(directory).issue("backend.test")
    good = authority.issue("backend.test")
    settings = {"protocol": "TLS", "tls": {"ca_file": str(authority.root), "server_name": "backend.test"}}
    with tls_server(authority.server_context(stranger), echo) as bad, tls_server(
            authority.server_context(good), echo) as fine:
        weir, entrance = edge([bad.target, fine.target], group_settings=settings)
        for _ in range(8):
            with secure(authority.client_context(), entrance) as client:
                client.sendall(b"hello")
                assert receive_exactly(client, 5) == b"hello"


def test_tls_passes_through_a_tcp_listener_untouched(authority, make_weir, port):
    backend = authority.issue("through.test")
    entrance = port()
    with tls_server(authority.server_context(backend), echo) as server:
        make_weir(configuration([group("web", [server.target])], [listener(entrance, "web")]))
        with secure(authority.client_context(), entrance, "through.test") as client:
            client.sendall(b"hello")
            assert receive_exactly(client, 5) == b"hello"


# Clients that are up to no good


def test_garbage_and_silence_are_dropped_and_counted(authority, edge, tcp_server):
    weir, entrance = edge([tcp_server(echo).target], weir_settings={"tls": {"handshake_timeout": 1}})
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(300), b"\x16\x03\x01\xff\xff" + b"\0" * 100):
        with connect(entrance) as client:
            client.sendall(garbage)
            with contextlib.suppress(ConnectionError):
                assert len(receive_all(client)) < 20
    with connect(entrance) as silent:
        assert receive_all(silent) == b""
    with secure(authority.client_context(), entrance) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"


def test_mutual_tls_lets_in_only_whom_the_bundle_knows(authority, edge, tcp_server, directory):
    verify = {"mode": "verify", "ca_certificates": str(authority.root)}
    weir, entrance = edge([tcp_server(echo).target], mutual_authentication=verify)
    with secure(authority.client_context(authority.issue("client")), entrance) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
    stranger = Authority(directory).issue("stranger")
    for certificate in (None, stranger):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with secure(authority.client_context(certificate), entrance) as client:
                client.sendall(b"x")
                assert client.recv(1) == b"x"
                raise AssertionError("let in")


@pytest.mark.parametrize("advertised", ["on", "off"])
def test_names_of_authorities_are_told_as_configured(authority, edge, tcp_server, advertised):
    verify = {
        "mode": "verify", "ca_certificates": str(authority.root), "advertise_trust_store_ca_names": advertised}
    weir, entrance = edge([tcp_server(echo).target], mutual_authentication=verify)
    said = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{entrance}", "-servername", "site.test"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=30).stdout
    assert (b"Acceptable client certificate CA names" in said) == (advertised == "on")


# Certificates change


def test_new_certificates_are_taken_without_a_failed_handshake(authority, edge, tcp_server):
    entry = authority.issue("rotating", "site.test")
    weir, entrance = edge([tcp_server(echo).target], certificates=[entry])
    context = authority.client_context()
    lasting = secure(context, entrance)
    failures, count, is_over = [], [0], threading.Event()

    def hammer():
        while not is_over.is_set():
            try:
                with secure(context, entrance) as client:
                    client.sendall(b"x")
                    assert client.recv(1) == b"x"
                count[0] += 1
            except (OSError, AssertionError) as error:
                failures.append(error)

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()

    def serial():
        with secure(context, entrance) as client:
            return client.getpeercert()["serialNumber"]

    before = serial()
    for _ in range(3):
        authority.issue("rotating", "site.test")
        weir.cli("certificates", "reload")
        eventually(lambda: serial() != before)
        before = serial()
    # A bad one is refused, and the old one stays.
    with open(entry["certificate"], "w") as file:
        file.write("nonsense")
    result = weir.cli("certificates", "reload", check=False)
    assert result.returncode == 1 and entry["certificate"] in result.stderr
    assert serial() == before
    is_over.set()
    for thread in threads:
        thread.join()
    assert not failures and count[0] > 10
    lasting.sendall(b"still")
    assert receive_exactly(lasting, 5) == b"still"
    lasting.close()


# Who the client is


def read_proxy_v2(connection):
    head = receive_exactly(connection, 16)
    assert head[:12] == SIGNATURE and head[12] == 0x21
    body = receive_exactly(connection, struct.unpack("!H", head[14:])[0])
    family, length = {0x11: (socket.AF_INET, 4), 0x21: (socket.AF_INET6, 16)}[head[13]]
    source, destination = (socket.inet_ntop(family, body[at:at + length]) for at in (0, length))
    source_port, destination_port = struct.unpack("!HH", body[2 * length:2 * length + 4])
    return (source, source_port), (destination, destination_port), body[2 * length + 4:]


SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
# Of a client at 192.0.2.7, and at 2001:db8::7, port 4321.
HEADERS_V4 = [
    b"PROXY TCP4 192.0.2.7 192.0.2.8 4321 443\r\n",
    SIGNATURE + b"\x21\x11\0\x0c" + socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.8")
    + struct.pack("!HH", 4321, 443)]
HEADERS_V6 = [
    b"PROXY TCP6 2001:db8::7 2001:db8::8 4321 443\r\n",
    SIGNATURE + b"\x21\x21\0\x24" + socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::8") + struct.pack("!HH", 4321, 443)]


def test_targets_learn_the_client_by_proxy_protocol(authority, make_weir, port, proxied_server, site):
    server, seen = proxied_server
    plain, secured = port(), port()
    web = group("web", [server.target], attributes={"proxy_protocol_v2.enabled": True})
    make_weir(configuration(
        [web], [listener(plain, "web"), listener(secured, "web", protocol="TLS", certificates=[site])]))
    with connect(plain) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        assert seen[-1][:2] == (client.getsockname(), ("127.0.0.1", plain))
    with secure(authority.client_context(), secured) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        assert seen[-1][:2] == (client.getsockname(), ("127.0.0.1", secured))


@pytest.mark.parametrize("header", HEADERS_V4)
@pytest.mark.parametrize("is_split", [False, True])
def test_a_trusted_peer_names_the_client(make_weir, port, proxied_server, header, is_split):
    server, seen = proxied_server
    entrance = port()
    web = group("web", [server.target], attributes={"proxy_protocol_v2.enabled": True})
    make_weir(configuration([web], [listener(
        entrance, "web", proxy_protocol={"accept": ["v1", "v2"], "trusted": ["127.0.0.0/8"]})]))
    with connect(entrance) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [bytes([byte]) for byte in header] if is_split else [header]:
            client.sendall(piece)
        client.sendall(b"hello")
        assert receive_exactly(client, 5) == b"hello"
    assert seen[0][0] == ("192.0.2.7", 4321)


@pytest.mark.parametrize("header", HEADERS_V6)
def test_a_trusted_peer_over_ipv6_names_the_client(make_weir, port, proxied_server, header):
    server, seen = proxied_server
    entrance = port()
    web = group("web", [server.target], attributes={"proxy_protocol_v2.enabled": True})
    make_weir(configuration([web], [listener(
        entrance, "web", proxy_protocol={"accept": ["v1", "v2"], "trusted": ["::1/128"]})],
        ["::1", "127.0.0.1"]))
    with connect(entrance, "::1") as client:
        client.sendall(header + b"hello")
        assert receive_exactly(client, 5) == b"hello"
    assert seen[0][:2] == (("2001:db8::7", 4321), ("::1", entrance))
    # Whoever is not trusted speaks for itself, from its first byte.
    with connect(entrance) as client:
        client.sendall(b"hello")
        assert receive_exactly(client, 5) == b"hello"
        assert seen[1][:2] == (client.getsockname(), ("127.0.0.1", entrance))


@pytest.mark.parametrize("header", HEADERS_V4 + HEADERS_V6)
@pytest.mark.parametrize("way", ["together", "apart", "split"])
def test_a_header_in_front_of_tls_names_the_client(
        authority, make_weir, port, proxied_server, site, header, way):
    server, seen = proxied_server
    entrance = port()
    is_v6 = header in HEADERS_V6
    web = group("web", [server.target], attributes={"proxy_protocol_v2.enabled": True})
    make_weir(configuration([web], [listener(
        entrance, "web", protocol="TLS", certificates=[site],
        proxy_protocol={"accept": ["v1", "v2"], "trusted": ["127.0.0.0/8", "::1/128"]})],
        ["127.0.0.1", "::1"]))
    with connect(entrance, "::1" if is_v6 else "127.0.0.1") as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A corked header leaves in one segment with the ClientHello.
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, way == "together")
        for piece in [bytes([byte]) for byte in header] if way == "split" else [header]:
            raw.sendall(piece)
        with authority.client_context().wrap_socket(raw, server_hostname="site.test") as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
            client.sendall(b"hello")
            assert receive_exactly(client, 5) == b"hello"
    (source, destination, values), = seen
    assert source == ("2001:db8::7" if is_v6 else "192.0.2.7", 4321)
    assert destination == ("::1" if is_v6 else "127.0.0.1", entrance)
    # The name that the client asked for comes along (PP2_TYPE_AUTHORITY).
    assert b"\x02\x00\x09site.test" in values


@pytest.mark.parametrize("words", [b"", b"PROXY TCP4 192.0.2.7", b"GET / HTTP/1.0\r\n\r\n"])
def test_tls_without_a_header_from_a_trusted_peer_fails(authority, make_weir, port, tcp_server, site, words):
    entrance = port()
    weir = make_weir(configuration([group("web", [tcp_server(echo).target])], [listener(
        entrance, "web", protocol="TLS", certificates=[site],
        proxy_protocol={"accept": ["v2"], "trusted": ["127.0.0.0/8"]})]))
    with connect(entrance) as raw:
        raw.sendall(words)
        with pytest.raises(OSError):
            authority.client_context().wrap_socket(raw, server_hostname="site.test")
    # It was the header that failed, not a handshake.
    assert weir.api("/v1/listeners")[0]["statistics"].get("client_tls_negotiation_error_count", 0) == 0


def test_a_trusted_peer_without_a_header_is_cut_off(make_weir, port, tcp_server):
    entrance = port()
    weir = make_weir(configuration(
        [group("web", [tcp_server(echo).target])],
        [listener(entrance, "web", proxy_protocol={"accept": ["v2"], "trusted": ["127.0.0.0/8"]})]))
    for words in (b"GET / HTTP/1.0\r\n\r\n", b"PROXY TCP4 192.0.2.7 192.0.2.8 4321 443\r\n"):
        with connect(entrance) as client:
            client.sendall(words)
            with contextlib.suppress(ConnectionError):
                assert receive_all(client) == b""


def test_the_name_in_the_hello_chooses_the_group(authority, make_weir, port):
    entrance = port()
    backends = {name: authority.issue(name) for name in ("one.test", "two.test", "rest.test")}
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(tls_server(authority.server_context(backends[name]), echo)) for name in backends}
        groups = [group(name.replace(".", "-"), [server.target]) for name, server in servers.items()]
        rules = [
            {"priority": 10 * (i + 1), "conditions": [{"tls_server_name": {"values": [name]}}],
             "actions": [{"type": "forward", "target_group": name.replace(".", "-")}]}
            for i, name in enumerate(["one.test", "two.test"])]
        make_weir(configuration(groups, [listener(entrance, "rest-test", rules=rules)]))
        for name in backends:
            with secure(authority.client_context(), entrance, name) as client:
                client.sendall(b"hello")
                assert receive_exactly(client, 5) == b"hello"
        # Without a name the default action.
        with secure(authority.client_context(check_hostname=False), entrance, None) as client:
            subject = dict(pair for part in client.getpeercert()["subject"] for pair in part)
            assert subject["commonName"] == "rest.test"


def test_sessions_resume_across_an_upgrade(authority, edge, tcp_server):
    weir, entrance = edge([tcp_server(echo).target])
    context = authority.client_context()
    with secure(context, entrance) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        session = client.session
        weir.upgrade()
        # The flow goes on in the process that began it, and the next one resumes in the new one.
        client.sendall(b"y")
        assert client.recv(1) == b"y"
    for _ in range(4):
        with secure(context, entrance, session=session) as client:
            assert client.session_reused
            client.sendall(b"x")
            assert client.recv(1) == b"x"
