"""Raw clients and scripted targets of HTTP/1, and the parts of a configuration with an application load balancer.

Both read messages as strictly as RFC 9112 is written: what another program might read in another way raises
`Malformed`. A target keeps every byte that came, and what it could not read is a failure of its test.
"""

import contextlib
import re
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field

from .servers import TIMEOUT, reset
from .waiting import eventually
from .weir import NO_CHECK, group, listener

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~\x80-\xff]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d) ([\t -~\x80-\xff]*)")
_FIELD = re.compile(rb"(" + _TOKEN + rb"): ?([\t -~\x80-\xff]*)")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})")


class Malformed(Exception):
    """A message that is none, or that could be read in two ways."""


class Ended(ConnectionError):
    """The stream ended; `data` came before."""

    def __init__(self, data=b""):
        super().__init__(f"end of stream after {data[:200]!r}")
        self.data = data


# The configuration

def http_group(name, targets=None, check=NO_CHECK, **more):
    return group(name, targets, protocol="HTTP", port=80, check=check, **more)


def forward(groups, stickiness=None):
    """An action; `groups` is a group's name or a list of (name, weight)."""
    if isinstance(groups, str):
        return {"type": "forward", "target_group": groups}
    action = {"type": "forward", "forward": [{"target_group": name, "weight": weight} for name, weight in groups]}
    if stickiness is not None:
        action["stickiness"] = stickiness
    return action


def fixed(status=200, body="", content_type="text/plain"):
    return {"type": "fixed_response",
            "fixed_response": {"status_code": str(status), "content_type": content_type, "message_body": body}}


def redirect(status="HTTP_302", **parts):
    return {"type": "redirect", "redirect": {"status_code": status, **parts}}


def rule(priority, action, *conditions, transforms=None):
    result = {"priority": priority, "conditions": list(conditions), "actions": [action]}
    if transforms:
        result["transforms"] = transforms
    return result


def http_listener(port, action, rules=(), **more):
    """`action` is an action, or the name of the group to forward to."""
    action = forward(action) if isinstance(action, str) else action
    made = {"port": port, "protocol": "HTTP", "default_action": action, **more}
    if rules:
        made["rules"] = list(rules)
    return made


def application(groups, listeners, addresses=("127.0.0.1",), attributes=None, **settings):
    """A whole file with one application load balancer, "edge"."""
    edge = {"name": "edge", "type": "application", "addresses": list(addresses), "listeners": list(listeners)}
    if attributes:
        edge["attributes"] = dict(attributes)
    return {**settings, "target_groups": list(groups), "load_balancers": [edge]}


def self_signed(directory):
    """The paths of a certificate and its key."""
    certificate, key = str(directory / "site.crt"), str(directory / "site.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
         "/CN=test.example", "-days", "2", "-keyout", key, "-out", certificate],
        check=True, capture_output=True, timeout=60)
    return certificate, key


def site(port, targets, rules=(), attributes=None, group=None, listener=None, **settings):
    """A configuration with one listener and one group, "web"."""
    return application(
        [http_group("web", [t if isinstance(t, (str, dict)) else t.target for t in targets], **(group or {}))],
        [http_listener(port, "web", rules, **(listener or {}))], attributes=attributes, **settings)


# Messages

@dataclass
class Message:
    first_line: tuple
    version: str
    fields: list
    body: bytes = b""
    trailers: list = field(default_factory=list)
    # Chunked, counted, until close, or none.
    framing: str = "none"
    # As it came, framing included.
    raw: bytes = b""

    def all(self, name):
        return [value for known, value in self.fields if known.lower() == name.lower()]

    def get(self, name, default=None):
        """The one value of a field; several are joined as RFC 9110 section 5.3 says."""
        values = self.all(name)
        return ", ".join(values) if values else default

    @property
    def is_persistent(self):
        options = [option.strip().lower() for value in self.all("connection") for option in value.split(",")]
        if self.framing == "until close" or "close" in options:
            return False
        return self.version == "1.1" or "keep-alive" in options


class Request(Message):
    @property
    def method(self):
        return self.first_line[0]

    @property
    def target(self):
        return self.first_line[1]


class Response(Message):
    interims = ()

    @property
    def status(self):
        return self.first_line[0]


class Wire:
    """One end of a connection: bytes out, messages in."""

    def __init__(self, connection):
        self.socket = connection
        self._buffer = bytearray()
        # Every byte that came, kept while it is wanted.
        self.seen = bytearray()
        self.keeps = True

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
        self.socket.close()

    def reset(self):
        reset(self.socket)

    def finish(self):
        """Half-close."""
        self.socket.shutdown(socket.SHUT_WR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Bytes in

    def _receive(self):
        part = self.socket.recv(1 << 18)
        if not part:
            raise Ended(bytes(self._buffer))
        self._buffer += part
        if self.keeps:
            self.seen += part

    def _take(self, count):
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def read_exactly(self, count):
        while len(self._buffer) < count:
            self._receive()
        return self._take(count)

    def read_some(self):
        if not self._buffer:
            self._receive()
        return self._take(len(self._buffer))

    def read_line(self):
        """Up to CR LF, which is left out; a bare CR or LF is a fault."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > 1 << 20:
                raise Malformed(f"a line of more than 1 MiB: {bytes(self._buffer[:80])!r}")
            self._receive()
        line = self._take(end + 1)
        if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
            raise Malformed(f"a line that does not end in CR LF alone: {line[:200]!r}")
        return line[:-2]

    def rest(self):
        """Everything until the peer's end. A reset raises."""
        while True:
            try:
                self._receive()
            except Ended:
                return self._take(len(self._buffer))

    def is_ended(self, timeout=TIMEOUT):
        """True when the peer ends, in order or not, without another byte."""
        self.socket.settimeout(timeout)
        try:
            return not self._buffer and self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def is_quiet(self, seconds):
        """True when nothing comes for so long: neither byte nor end."""
        self.socket.settimeout(seconds)
        try:
            return not self._buffer and self.socket.recv(1, socket.MSG_PEEK) is None
        except TimeoutError:
            return True
        except ConnectionError:
            return False
        finally:
            self.socket.settimeout(TIMEOUT)

    # Messages in

    def _read_fields(self):
        fields = []
        while line := self.read_line():
            match = _FIELD.fullmatch(line)
            if not match:
                raise Malformed(f"no field: {line[:200]!r}")
            fields.append((match[1].decode(), match[2].strip(b" \t").decode("latin-1")))
        return fields

    def _read_chunked(self, message, on_content):
        while True:
            line = self.read_line()
            if not _CHUNK_SIZE.fullmatch(line):
                raise Malformed(f"no chunk size: {line[:80]!r}")
            size = int(line, 16)
            if size == 0:
                message.trailers = self._read_fields()
                return
            on_content(self.read_exactly(size))
            if self.read_exactly(2) != b"\r\n":
                raise Malformed("a chunk that does not end where its size says")

    def _read_content(self, message, is_response, on_content):
        codings, lengths = message.all("transfer-encoding"), message.all("content-length")
        if len(codings) + len(lengths) > 1 or any(coding != "chunked" for coding in codings):
            raise Malformed(f"framing that could be read in two ways: {message.fields}")
        if codings:
            message.framing = "chunked"
            self._read_chunked(message, on_content)
        elif lengths:
            if not re.fullmatch(r"0|[1-9]\d*", lengths[0]):
                raise Malformed(f"no length: {lengths[0]!r}")
            message.framing = "counted"
            left = int(lengths[0])
            while left > 0:
                if not self._buffer:
                    self._receive()
                part = self._take(min(left, len(self._buffer)))
                left -= len(part)
                on_content(part)
        elif is_response:
            message.framing = "until close"
            on_content(self.rest())

    def _start(self):
        return len(self.seen) - len(self._buffer)

    def _end(self, message, start):
        message.raw = bytes(self.seen[start:len(self.seen) - len(self._buffer)]) if self.keeps else b""
        return message

    def read_request(self, on_head=None, on_content=None):
        """The next request; `on_head` is called with it before its content is read."""
        if not self._buffer:
            self._receive()
        start = self._start()
        line = self.read_line()
        match = _REQUEST_LINE.fullmatch(line)
        if not match:
            raise Malformed(f"no request line: {line[:200]!r}")
        method, target, minor = match[1].decode(), match[2].decode("latin-1"), match[3].decode()
        request = Request((method, target), f"1.{minor}", self._read_fields())
        if len(request.all("host")) != 1:
            raise Malformed(f"not exactly one Host: {request.fields}")
        if on_head is not None:
            on_head(request)
        parts = []
        self._read_content(request, False, on_content or parts.append)
        request.body = b"".join(parts)
        return self._end(request, start)

    def read_head(self):
        """The next response without its content: interim or final."""
        line = self.read_line()
        match = _STATUS_LINE.fullmatch(line)
        if not match:
            raise Malformed(f"no status line: {line[:200]!r}")
        return Response((int(match[2]), match[3].decode("latin-1")), f"1.{match[1].decode()}", self._read_fields())

    def rest_of_chunks(self):
        """The content and trailers behind a head that `read_head` has read."""
        message, parts = Message((), "1.1", []), []
        self._read_chunked(message, parts.append)
        return b"".join(parts), message.trailers

    def read_response(self, method="GET", on_content=None):
        """The next final response with what came before it in `interims`."""
        start = self._start()
        interims = []
        while (response := self.read_head()).status < 200 and response.status != 101:
            if response.all("content-length") or response.all("transfer-encoding"):
                raise Malformed(f"an interim response with content: {response.fields}")
            interims.append(response)
        response.interims = interims
        parts = []
        if method != "HEAD" and response.status not in (101, 204, 304):
            self._read_content(response, True, on_content or parts.append)
        elif response.status in (101, 204) and (
                response.all("content-length") or response.all("transfer-encoding")):
            raise Malformed(f"a {response.status} with a length: {response.fields}")
        response.body = b"".join(parts)
        return self._end(response, start)


def head(first_line, fields):
    lines = [first_line, *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def chunked(*parts, trailers=()):
    """Content as chunks, one for each part."""
    data = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return data + b"0\r\n" + b"".join(f"{n}: {v}\r\n".encode() for n, v in trailers) + b"\r\n"


def request(method="GET", target="/", fields=(), body=None, host="test.example", version="1.1"):
    """The bytes of a request; a body gets its length."""
    fields = list(fields)
    if host is not None:
        fields.insert(0, ("Host", host))
    if body is not None:
        fields.append(("Content-Length", len(body)))
    return head(f"{method} {target} HTTP/{version}", fields) + (body or b"")


def response(status=200, body=b"", fields=(), reason="OK", version="1.1"):
    """The bytes of a response with its length."""
    return head(f"HTTP/{version} {status} {reason}", [*fields, ("Content-Length", len(body))]) + body


# Clients

class Client(Wire):
    """A connection to Weir."""

    def __init__(self, port, address="127.0.0.1", source=None, receive_buffer=None, timeout=TIMEOUT):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source is not None:
            connection.bind((source, 0))
        try:
            connection.connect((address, port))
        except BaseException:
            connection.close()
            raise
        super().__init__(connection)

    def ask(self, method="GET", target="/", fields=(), body=None, **more):
        """One request and its response."""
        self.send(request(method, target, fields, body, **more))
        return self.read_response(method)


def ask(port, method="GET", target="/", fields=(), body=None, address="127.0.0.1", source=None, **more):
    """One request and its response on a connection of its own."""
    with Client(port, address, source) as client:
        return client.ask(method, target, fields, body, **more)


# Targets

class Peer(Wire):
    """A target's side of one connection of Weir's."""

    def __init__(self, connection, number):
        super().__init__(connection)
        self.number = number
        self.request_count = 0
        # Read to its end, or reset by the other side.
        self.has_ended = threading.Event()
        self.problem = None


class Target:
    """Answers requests by `answer(request, peer)`: bytes to send, or None when it has done all itself.

    `requests` are all that came whole, `peers` all connections; a request that is none is in `failures`. With
    `on_head` the head is seen before the content is read: what it returns is sent, and `False` ends the connection.
    """

    def __init__(self, answer=None, name="target", port=0, address="127.0.0.1", on_head=None, on_content=None,
                 keeps=True, backlog=4096):
        self.name = name
        self._answer = answer or (lambda request, peer: response(body=name.encode()))
        self._on_head, self._on_content = on_head, on_content
        self._keeps = keeps
        self.requests = []
        self.peers = []
        self.failures = []
        self.accepts_failures = False
        self._lock = threading.Lock()
        self._backlog = backlog
        self.address, self.port = address, port
        self._socket = None
        self._thread = None
        self.listen()

    @property
    def target(self):
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def listen(self):
        """Begins to listen, for the first time or again."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((self.address, self.port))
        self._socket.listen(self._backlog)
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, args=(self._socket,), daemon=True)
        self._thread.start()

    def _accept(self, listening):
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connection.settimeout(None)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                peer = Peer(connection, len(self.peers))
                peer.keeps = self._keeps
                self.peers.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        is_within = False

        def on_head(request):
            nonlocal is_within
            is_within = True
            data = self._on_head(request, peer) if self._on_head else None
            if data is False:
                raise Ended
            if data:
                peer.send(data)

        try:
            while True:
                came = peer.read_request(
                    on_head, self._on_content and (lambda part: self._on_content(part, peer)))
                is_within = False
                peer.request_count += 1
                with self._lock:
                    self.requests.append(came)
                data = self._answer(came, peer)
                if data is False:
                    return
                if data is not None:
                    peer.send(data)
                if not came.is_persistent:
                    return
        except Ended as end:
            if end.data or is_within:
                peer.problem = end
        except (ConnectionError, TimeoutError) as problem:
            peer.problem = problem
        except OSError as problem:
            if peer.socket.fileno() >= 0:
                self.failures.append(problem)
        except Exception as problem:
            if not self.accepts_failures:
                self.failures.append(problem)
            peer.problem = problem
        finally:
            peer.has_ended.set()
            peer.close()

    @property
    def open_count(self):
        return sum(not peer.has_ended.is_set() for peer in list(self.peers))

    def wait_for_requests(self, count, timeout=10):
        eventually(lambda: len(self.requests) >= count, timeout, f"{count} requests at {self.name}")
        return self.requests

    def wait_for_end_of_all(self, timeout=10):
        eventually(lambda: self.open_count == 0, timeout, f"every connection of {self.name} has ended")

    def stop_listening(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def end_connections(self, with_reset=False):
        for peer in list(self.peers):
            if peer.has_ended.is_set():
                continue
            with contextlib.suppress(OSError):
                if with_reset:
                    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.socket.shutdown(socket.SHUT_RDWR)

    def stop(self):
        self.stop_listening()
        self.end_connections()


class Load:
    """Requests without a pause from several threads, over connections that are kept as long as Weir keeps them.

    `statuses` counts answers, `errors` lists what went wrong. A connection that ends between two requests, before a
    byte of the next answer, is asked once more on a new one, as every HTTP client does (RFC 9110 section 9.2.2);
    with `repeats=False` that is an error as well.
    """

    def __init__(self, port, thread_count=4, make=None, is_kept=True, repeats=True, check=None, address="127.0.0.1"):
        self.statuses = {}
        self.errors = []
        self.repeated_count = 0
        self._make = make or (lambda number: ("GET", "/", (), None))
        self._check = check
        self._port, self._address, self._is_kept, self._repeats = port, address, is_kept, repeats
        self._is_done = threading.Event()
        self._lock = threading.Lock()
        self.count = 0
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(thread_count)]

    def _run(self):
        client = None
        while not self._is_done.is_set():
            with self._lock:
                number = self.count
                self.count += 1
            method, target, fields, body = self._make(number)
            begin = time.monotonic()
            is_fresh = client is None
            try:
                if client is None:
                    client = Client(self._port, self._address)
                    client.keeps = False
                try:
                    answer = client.ask(method, target, fields, body)
                except ConnectionError as error:
                    if is_fresh or not self._repeats or getattr(error, "data", b""):
                        raise
                    client.close()
                    self.repeated_count += 1
                    client = Client(self._port, self._address)
                    answer = client.ask(method, target, fields, body)
                if self._check:
                    self._check(number, answer)
                with self._lock:
                    self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
                if not self._is_kept or not answer.is_persistent:
                    client.close()
                    client = None
            except (OSError, Malformed, AssertionError) as error:
                self.errors.append((time.monotonic(), time.monotonic() - begin, error))
                if client is not None:
                    client.close()
                client = None
        if client is not None:
            client.close()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._is_done.set()
        for thread in self._threads:
            thread.join(TIMEOUT)

    @property
    def answered_count(self):
        return sum(self.statuses.values())

    def wait_for(self, count, timeout=20):
        """Until `count` more requests were answered."""
        goal = self.answered_count + count
        eventually(lambda: self.answered_count >= goal, timeout, f"{count} more answers")

    def expect_only(self, *statuses):
        assert not self.errors, self.errors[:5]
        assert set(self.statuses) <= set(statuses), self.statuses
