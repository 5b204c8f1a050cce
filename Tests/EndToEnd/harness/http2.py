"""Clients and scripted targets of HTTP/2, on the h2 package; frames by hand where a test breaks the rules.

Import after `packages.need("h2")`.
"""

import contextlib
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from .servers import TIMEOUT

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 8, 9, 11
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


@dataclass
class Stream:
    """What one side has heard of a stream."""
    number: int
    fields: list = None
    interims: list = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    byte_count: int = 0
    trailers: list = None
    is_ended: bool = False
    reset_code: int = None
    # Of a target's side: its peer's and the test's.
    peer: object = None

    @property
    def is_over(self):
        return self.is_ended or self.reset_code is not None

    def get(self, name, default=None):
        values = [value for known, value in self.fields if known == name]
        return ", ".join(values) if values else default

    def all(self, name):
        return [value for known, value in self.fields if known == name]

    @property
    def status(self):
        return int(self.get(":status"))

    @property
    def method(self):
        return self.get(":method")

    @property
    def target(self):
        return self.get(":path")


class Endpoint:
    """One side of a connection. `reads` false: windows are never opened again."""

    def __init__(self, connection, is_client, settings=None, reads=True, keeps=True, on_content=None):
        self.socket = connection
        self.lock = threading.RLock()
        self.reads, self.keeps, self.on_content = reads, keeps, on_content
        self.streams = {}
        self.goaways = []
        self.has_ended = False
        config = h2.config.H2Configuration(
            client_side=is_client, header_encoding="latin-1", validate_outbound_headers=False,
            normalize_outbound_headers=False, validate_inbound_headers=True)
        self.http2 = h2.connection.H2Connection(config)
        if settings:
            self.http2.local_settings.update(settings)
            # What is told at first is what the package takes for agreed.
            self.http2.local_settings.acknowledge()
        self.http2.initiate_connection()
        self.flush()

    def flush(self):
        with self.lock:
            data = self.http2.data_to_send()
            if data:
                self.socket.sendall(data)

    def send_raw(self, data):
        self.socket.sendall(data)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def stream(self, number):
        return self.streams.setdefault(number, Stream(number, peer=self))

    # In

    def step(self, timeout=TIMEOUT):
        """Reads once; false at the end."""
        self.socket.settimeout(timeout)
        try:
            data = self.socket.recv(1 << 18)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if not data:
            self.has_ended = True
            return False
        with self.lock:
            try:
                events = self.http2.receive_data(data)
            except h2.exceptions.ProtocolError:
                with contextlib.suppress(OSError):
                    self.flush()
                raise
            for event in events:
                self.note(event)
            self.flush()
        return True

    def note(self, event):
        if isinstance(event, (h2.events.ResponseReceived, h2.events.RequestReceived)):
            self.stream(event.stream_id).fields = list(event.headers)
        elif isinstance(event, h2.events.InformationalResponseReceived):
            self.stream(event.stream_id).interims.append(list(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            stream = self.stream(event.stream_id)
            stream.byte_count += len(event.data)
            if self.keeps:
                stream.body += event.data
            if self.on_content:
                self.on_content(stream, event.data)
            if self.reads and event.flow_controlled_length:
                self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.stream(event.stream_id).trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            self.stream(event.stream_id).is_ended = True
        elif isinstance(event, h2.events.StreamReset):
            if self.stream(event.stream_id).reset_code is None:
                self.stream(event.stream_id).reset_code = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append((int(event.error_code), event.last_stream_id))
            # The package would refuse all that streams under way still do.
            self.http2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN \
                if self.http2.config.client_side else h2.connection.ConnectionState.SERVER_OPEN

    def until(self, condition, timeout=TIMEOUT):
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if not self.step(left):
                break
        return condition()

    # Out

    def send_fields(self, stream, fields, end=False):
        with self.lock:
            self.http2.send_headers(stream, fields, end_stream=end)
            self.flush()

    def send_body(self, stream, data, end=True, step=None):
        """All of it, as windows open; false when the stream ended before."""
        step = step or self.step
        position = 0
        while position < len(data) or (end and not data):
            if self.stream(stream).reset_code is not None:
                return False
            with self.lock:
                try:
                    room = min(self.http2.local_flow_control_window(stream), self.http2.max_outbound_frame_size)
                except h2.exceptions.ProtocolError:
                    return False
                if room > 0 or not data:
                    part = data[position:position + room]
                    position += len(part)
                    self.http2.send_data(stream, part, end_stream=end and position == len(data))
                    self.flush()
                    if not data:
                        return True
                    continue
            if not step():
                return False
        return True

    def reset(self, stream, code=CANCEL):
        with self.lock:
            self.http2.reset_stream(stream, code)
            self.flush()


class Client(Endpoint):
    def __init__(self, port, context=None, name="site.test", settings=None, receive_buffer=None, **more):
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(TIMEOUT)
        connection.connect(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            context.set_alpn_protocols(["h2"])
            connection = context.wrap_socket(connection, server_hostname=name)
            assert connection.selected_alpn_protocol() == "h2"
        self.scheme = "https" if context else "http"
        super().__init__(connection, True, settings, **more)

    def begin(self, method="GET", target="/", fields=(), end=True, host="test.example", pseudo=None):
        """Sends a head; the number of its stream."""
        with self.lock:
            number = self.http2.get_next_available_stream_id()
            lead = pseudo if pseudo is not None else [
                (":method", method), (":scheme", self.scheme), (":authority", host), (":path", target)]
            self.send_fields(number, [*lead, *fields], end)
        return number

    def finish(self, number):
        """Waits for the end of a stream."""
        stream = self.stream(number)
        assert self.until(lambda: stream.is_over), f"the connection ended: {self.goaways}"
        return stream

    def ask(self, method="GET", target="/", fields=(), body=None, trailers=None, **more):
        number = self.begin(method, target, fields, end=body is None and trailers is None, **more)
        if body is not None:
            self.send_body(number, body, end=trailers is None)
        if trailers is not None:
            self.send_fields(number, trailers, end=True)
        return self.finish(number)


class RawClient:
    """Frames by hand; what comes back is parsed for resets, GOAWAY and the end."""

    def __init__(self, port, settings=b""):
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.socket.sendall(PREFACE + frame(SETTINGS, payload=settings))
        self._buffer = b""
        self.frames = []

    def send(self, *frames):
        """False when the other side is gone."""
        try:
            self.socket.sendall(b"".join(frames))
            return True
        except OSError:
            return False

    def read(self, timeout=0.0):
        """Takes what has come; false at the end."""
        self.socket.settimeout(max(timeout, 0.001))
        try:
            data = self.socket.recv(1 << 18)
        except (TimeoutError, BlockingIOError):
            return True
        except OSError:
            return False
        self._buffer += data
        while len(self._buffer) >= 9:
            size = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + size:
                break
            kind, flags, stream = self._buffer[3], self._buffer[4], struct.unpack(">I", self._buffer[5:9])[0]
            self.frames.append((kind, flags, stream, self._buffer[9:9 + size]))
            self._buffer = self._buffer[9 + size:]
        return bool(data)

    def rest(self, timeout=TIMEOUT):
        """Everything until the end."""
        deadline = time.monotonic() + timeout
        while self.read(0.2):
            assert time.monotonic() < deadline, f"the connection does not end: {self.frames[-5:]}"
        return self.frames

    @property
    def goaway_code(self):
        codes = [struct.unpack(">I", payload[4:8])[0] for kind, _, _, payload in self.frames if kind == GOAWAY]
        return codes[-1] if codes else None

    def reset_codes(self):
        return {stream: struct.unpack(">I", payload)[0] for kind, _, stream, payload in self.frames
                if kind == RST_STREAM}

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class TargetPeer(Endpoint):
    """A target's side of one connection of Weir's."""

    def __init__(self, connection, owner, number):
        self.owner, self.number = owner, number
        self.seen = set()
        super().__init__(connection, False, owner.settings, owner.reads, owner.keeps, owner.on_content)

    def respond(self, stream, status=200, fields=(), body=b"", trailers=None):
        number = getattr(stream, "number", stream)
        has_more = bool(body) or trailers is not None
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.send_fields(number, [(":status", str(status)), *fields], end=not has_more)
            if body and not self.send_body(number, body, end=trailers is None):
                return
            if trailers is not None:
                self.send_fields(number, trailers, end=True)

    def step(self, timeout=None):
        return super().step(timeout)

    def run(self):
        try:
            while self.step():
                self.work()
        except (OSError, h2.exceptions.ProtocolError) as problem:
            self.owner.problems.append(problem)
        finally:
            self.has_ended = True
            with contextlib.suppress(OSError):
                self.socket.close()

    def work(self):
        progressing = True
        while progressing:
            progressing = False
            for stream in list(self.streams.values()):
                if stream.fields is None:
                    continue
                if self.owner.on_head and ("head", stream.number) not in self.seen:
                    self.seen.add(("head", stream.number))
                    self.owner.on_head(stream, self)
                    progressing = True
                if stream.is_ended and ("end", stream.number) not in self.seen:
                    self.seen.add(("end", stream.number))
                    with self.owner.lock:
                        self.owner.requests.append(stream)
                    if self.owner.answer:
                        self.owner.answer(stream, self)
                    progressing = True


def hello(stream, peer):
    peer.respond(stream, body=b"hello")


class Target:
    """Answers whole requests by `answer(stream, peer)`, on one thread for each connection; `on_head` comes first."""

    def __init__(self, answer=hello, on_head=None, on_content=None, settings=None, reads=True, keeps=True,
                 context=None, port=0):
        self.answer, self.on_head, self.on_content = answer, on_head, on_content
        self.settings, self.reads, self.keeps, self.context = settings, reads, keeps, context
        self.requests, self.peers, self.problems, self.failures = [], [], [], []
        self.lock = threading.Lock()
        self._listen(port)

    def _listen(self, port):
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self._socket.listen(1024)
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._socket,), daemon=True).start()

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"

    @property
    def open_peers(self):
        return [peer for peer in self.peers if not peer.has_ended]

    def _accept(self, listening):
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            peer = TargetPeer(connection, self, len(self.peers))
        except OSError as problem:
            self.problems.append(problem)
            connection.close()
            return
        with self.lock:
            self.peers.append(peer)
        try:
            peer.run()
        except Exception as problem:
            self.failures.append(problem)

    def end_connections(self, with_reset=False):
        for peer in self.open_peers:
            with contextlib.suppress(OSError):
                if with_reset:
                    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.socket.shutdown(socket.SHUT_RDWR)

    def stop_listening(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def stop(self):
        self.stop_listening()
        self.end_connections()
