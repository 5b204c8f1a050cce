"""The access log of TLS listeners, in the field order of ELBv2's network load balancers."""

import datetime
import os
import socket
import ssl
import struct
import threading

import pytest

from harness.tls import Authority, secure
from harness.waiting import eventually
from harness.weir import configuration, group, listener

FIELDS = """type version time elb listener client destination connection_time tls_handshake_time received_bytes
    sent_bytes incoming_tls_alert chosen_cert_arn chosen_cert_serial tls_cipher tls_protocol_version tls_named_group
    domain_name alpn_fe_protocol alpn_be_protocol alpn_client_preference_list tls_connection_creation_time""".split()


def echo(connection, server):
    while data := connection.recv(1 << 16):
        connection.sendall(data)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def site(authority):
    return authority.issue("site.test", "site.test", "*.site.test")


@pytest.fixture(scope="module")
def other(authority):
    return authority.issue("other.test", "other.test", rsa=True)


class Log:
    def __init__(self, path):
        self.path = path

    def lines(self, path=None):
        try:
            text = open(path or self.path).read()
        except FileNotFoundError:
            return []
        assert text == "" or text.endswith("\n"), "lines are whole"
        entries = []
        for line in text.splitlines():
            values = line.split(" ")
            assert len(values) == len(FIELDS), line
            entries.append(dict(zip(FIELDS, values)))
        return entries

    def wait(self, count, path=None):
        eventually(lambda: len(self.lines(path)) >= count, message=f"{count} lines in {path or self.path}")
        entries = self.lines(path)
        assert len(entries) == count, entries
        return entries

    def last(self, count):
        return self.wait(count)[-1]


@pytest.fixture
def edge(make_weir, serve, port, site, other, directory):
    """A Weir with a logged TLS listener before an echo: (weir, its port, its log, make a configuration)."""
    from harness.servers import TCPServer

    def make(path=None, checks=True, enabled=True, **more):
        entrance = port()
        log = Log(str(path or directory / "access.log"))
        target = serve(TCPServer(echo))

        def config(**logs):
            made = configuration(
                [group("web", [target.target])],
                [listener(
                    entrance, "web", protocol="TLS", certificates=[site, other], alpn_policy="HTTP2Optional", **more)])
            made["load_balancers"][0]["access_logs"] = {"enabled": enabled, "path": log.path, **logs}
            return made

        return make_weir(config(), checks=checks), entrance, log, config

    return make


def exchange(connection, data=b"hello"):
    connection.sendall(data)
    received = b""
    while len(received) < len(data):
        received += connection.recv(1 << 16)
    assert received == data


def finish(connection):
    """close_notify both ways, then the end."""
    connection.unwrap().close()


def serial_of(entry):
    return ssl._ssl._test_decode_cert(entry["certificate"])["serialNumber"]


def check_times(entry):
    created, ended = (
        datetime.datetime.fromisoformat(entry[key]).replace(tzinfo=datetime.timezone.utc)
        for key in ("tls_connection_creation_time", "time"))
    now = datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(0) <= ended - created <= datetime.timedelta(seconds=30)
    assert now - datetime.timedelta(seconds=60) <= ended <= now + datetime.timedelta(seconds=1)


@pytest.mark.parametrize("version, protocol", [
    (ssl.TLSVersion.TLSv1_2, "tlsv12"), (ssl.TLSVersion.TLSv1_3, "tlsv13")])
def test_a_connection_is_one_line(edge, authority, site, version, protocol):
    _, entrance, log, _ = edge()
    context = authority.client_context(minimum_version=version, maximum_version=version)
    context.set_alpn_protocols(["http/1.1", "h2"])
    connection = secure(context, entrance)
    client = "{}:{}".format(*connection.getsockname())
    exchange(connection, b"x" * 100_000)
    cipher = connection.cipher()[0]
    assert log.lines() == [], "a line is written at the end of its connection"
    finish(connection)
    entry = log.last(1)
    check_times(entry)
    assert entry["type"] == "tls" and entry["version"] == "2.0"
    assert entry["elb"] == "edge" and entry["listener"] == f"edge:{entrance}"
    assert entry["client"] == client and entry["destination"] == f"127.0.0.1:{entrance}"
    assert 0 <= int(entry["tls_handshake_time"]) <= int(entry["connection_time"]) < 30_000
    assert entry["received_bytes"] == entry["sent_bytes"] == "100000"
    assert entry["incoming_tls_alert"] == "-"
    assert entry["chosen_cert_arn"] == site["certificate"]
    assert entry["chosen_cert_serial"] == serial_of(site)
    assert entry["tls_cipher"] == cipher and entry["tls_protocol_version"] == protocol
    assert entry["tls_named_group"] in ("x25519", "secp256r1")
    assert entry["domain_name"] == "site.test"
    # The listener's order decides: HTTP2Optional prefers HTTP/1.1.
    assert entry["alpn_fe_protocol"] == "http/1.1" and entry["alpn_be_protocol"] == "-"
    assert entry["alpn_client_preference_list"] == '"http/1.1","h2"'


def test_the_line_says_which_certificate_was_served(edge, authority, site, other):
    _, entrance, log, _ = edge()
    for count, (name, served) in enumerate(
            [("a.site.test", site), ("other.test", other), (None, site), ("unknown.test", site)], 1):
        context = authority.client_context(check_hostname=False)
        finish(secure(context, entrance, name=name))
        entry = log.last(count)
        assert entry["chosen_cert_arn"] == served["certificate"], name
        assert entry["chosen_cert_serial"] == serial_of(served)
        assert entry["domain_name"] == (name or "-")
        assert entry["alpn_client_preference_list"] == "-" and entry["alpn_fe_protocol"] == "-"


def test_a_resumed_session_was_served_no_certificate(edge, authority):
    _, entrance, log, _ = edge()
    context = authority.client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    first = secure(context, entrance)
    exchange(first)
    session = first.session
    finish(first)
    second = secure(context, entrance, session=session)
    assert second.session_reused
    exchange(second)
    finish(second)
    entry = log.last(2)
    assert entry["chosen_cert_arn"] == entry["chosen_cert_serial"] == "-"
    assert entry["tls_cipher"] != "-" and entry["tls_handshake_time"] != "-"


def test_failed_handshakes_are_logged(edge, authority, site):
    weir, entrance, log, _ = edge()

    def check_failed(entry, **expected):
        check_times(entry)
        for key in ("tls_handshake_time", "tls_cipher", "tls_protocol_version", "tls_named_group", "alpn_fe_protocol"):
            assert entry[key] == "-", (key, entry)
        for key, value in expected.items():
            assert entry[key] == value, (key, entry)

    # The client does not trust the certificate, and says so.
    stranger = ssl.create_default_context()
    with pytest.raises(ssl.SSLError):
        secure(stranger, entrance)
    check_failed(
        log.last(1), incoming_tls_alert="48", domain_name="site.test", chosen_cert_arn=site["certificate"],
        received_bytes="0", sent_bytes="0")

    # No version in common.
    old = authority.client_context()
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        secure(old, entrance)
    check_failed(log.last(2), incoming_tls_alert="-", domain_name="site.test")

    # Not TLS, and nothing at all.
    for count, first in enumerate([b"GET / HTTP/1.1\r\n\r\n", b""], 3):
        with socket.create_connection(("127.0.0.1", entrance), 10) as plain:
            plain.sendall(first)
            if not first:
                plain.shutdown(socket.SHUT_WR)
            try:
                while plain.recv(4096):
                    pass
            except ConnectionResetError:
                pass
        check_failed(
            log.last(count), incoming_tls_alert="-", domain_name="-", chosen_cert_arn="-", chosen_cert_serial="-",
            alpn_client_preference_list="-")
    assert weir.statistics()["client_tls_negotiation_error_count"] == 4


def test_an_alert_in_the_middle_is_logged(edge, authority):
    _, entrance, log, _ = edge()
    context = authority.client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    raw = socket.create_connection(("127.0.0.1", entrance), 10)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname="site.test")
    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            raw.sendall(outgoing.read())
            incoming.write(raw.recv(1 << 16))
    raw.sendall(outgoing.read())
    session.write(b"hello")
    raw.sendall(outgoing.read())
    # A record that this client cannot decrypt makes it send bad_record_mac (20).
    incoming.write(struct.pack("!BHH", 23, 0x0303, 40) + bytes(40))
    with pytest.raises(ssl.SSLError):
        session.read(100)
    raw.sendall(outgoing.read())
    entry = log.last(1)
    raw.close()
    assert entry["incoming_tls_alert"] == "20"
    assert entry["received_bytes"] == "5"
    assert entry["tls_protocol_version"] == "tlsv12"


def test_rotation_by_mv_and_hup_loses_no_line(edge, authority):
    weir, entrance, log, _ = edge()
    context = authority.client_context()
    stopping = threading.Event()
    counts = [0, 0]

    def visit(index):
        while not stopping.is_set():
            connection = secure(context, entrance)
            exchange(connection)
            finish(connection)
            counts[index] += 1

    visitors = [threading.Thread(target=visit, args=(index,)) for index in range(2)]
    for visitor in visitors:
        visitor.start()
    olds = []
    try:
        for number in range(3):
            eventually(lambda: len(log.lines()) >= 10, message="lines come")
            olds.append(f"{log.path}.{number}")
            os.rename(log.path, olds[-1])
            weir.reload()
            eventually(lambda: os.path.exists(log.path), message="a new file is there")
    finally:
        stopping.set()
        for visitor in visitors:
            visitor.join(20)
    total = sum(counts)
    eventually(
        lambda: sum(len(log.lines(path)) for path in [*olds, log.path]) == total, message=f"{total} lines in all")
    assert weir.counters()["dropped_access_log_lines"] == 0


def test_the_log_goes_off_and_elsewhere_by_configuration(edge, authority, directory):
    weir, entrance, log, config = edge()
    context = authority.client_context()
    elsewhere = str(directory / "elsewhere.log")

    def visit():
        finish(secure(context, entrance))

    visit()
    log.wait(1)
    weir.write(config(enabled=False))
    weir.cli("apply", weir.config_path)
    visit()
    weir.write(config(path=elsewhere))
    weir.cli("apply", weir.config_path)
    visit()
    log.wait(1, elsewhere)
    log.wait(1)
    open_files = [os.readlink(f"/proc/{weir.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{weir.process.pid}/fd")]
    assert elsewhere in open_files and log.path not in open_files


def test_standard_output_carries_the_log(edge, authority):
    weir, entrance, _, _ = edge(path="stdout")
    finish(secure(authority.client_context(), entrance))
    line = eventually(
        lambda: [line for line in weir.log().splitlines() if line.startswith("tls 2.0 ")], message="a line of the log")
    assert len(line) == 1 and len(line[0].split(" ")) == len(FIELDS)


def test_the_last_lines_are_written_at_the_end(edge, authority):
    weir, entrance, log, _ = edge(checks=False)
    connection = secure(authority.client_context(), entrance)
    exchange(connection)
    assert weir.stop() == 0
    assert log.last(1)["received_bytes"] == "5"
    connection.close()


def test_a_log_that_takes_nothing_holds_up_nobody_and_is_counted(edge, authority, directory):
    fifo = directory / "fifo.log"
    os.mkfifo(fifo)
    # Nobody ever reads, and a page is all it holds.
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        import fcntl
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        weir, entrance, _, _ = edge(path=fifo)
        context = authority.client_context()

        def visit_until_dropped():
            connection = secure(context, entrance, timeout=5)
            exchange(connection)
            finish(connection)
            return weir.counters()["dropped_access_log_lines"] > 0

        eventually(visit_until_dropped, timeout=30, message="lines are dropped")
        exchange(secure(context, entrance, timeout=5))
        assert "weir_worker_dropped_access_log_lines_total" in weir.metrics()
        status = weir.cli("status").stdout
        assert "lines of access logs were dropped" in status
        assert str(fifo) in status
    finally:
        os.close(reader)


def test_a_file_that_cannot_be_opened_is_a_warning(edge, authority, directory):
    weir, entrance, _, config = edge(enabled=False)
    missing = directory / "missing" / "access.log"
    weir.write(config(enabled=True, path=str(missing)))
    weir.cli("apply", weir.config_path)
    eventually(lambda: str(missing) in weir.cli("status").stdout, message="weir status warns")
    finish(secure(authority.client_context(), entrance))
    eventually(lambda: weir.counters()["dropped_access_log_lines"] == 1, message="the line is counted")
    missing.parent.mkdir()
    weir.reload()
    eventually(missing.exists, message="the file is there")
    finish(secure(authority.client_context(), entrance))
    assert Log(str(missing)).last(1)["domain_name"] == "site.test"
