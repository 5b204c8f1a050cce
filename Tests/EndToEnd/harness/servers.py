"""Targets: scripted servers in this process, and real ones as processes of their own."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading

from .accounting import CountedSocket, Tally, TallyBook
from .waiting import eventually

TIMEOUT = 20
SO_MEMINFO = 55


def reset(connection):
    """Closes with a reset instead of a FIN; see socket(7), SO_LINGER."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def receive_all(connection):
    """Everything until the peer's FIN."""
    parts = []
    while part := connection.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def receive_exactly(connection, byte_count):
    """So many bytes; MSG_WAITALL does not wait on a socket with a timeout."""
    data = bytearray()
    while len(data) < byte_count:
        part = connection.recv(byte_count - len(data))
        if not part:
            raise ConnectionError(f"end of stream after {len(data)} of {byte_count} bytes")
        data += part
    return bytes(data)


def receive_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        part = connection.recv(1)
        if not part:
            raise ConnectionError(f"end of stream after {line!r}")
        line += part
    return line


class TCPServer:
    """Runs `handler(connection, server)` in a thread for each connection, then closes it.

    What handlers raise goes to `failures`, unless it is the ConnectionError or timeout of a client that
    left; `accepted` are the peers' addresses in order.
    """

    def __init__(self, handler, name="", address="127.0.0.1", port=0, backlog=1024):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.name = name
        self.handler = handler
        self.accepted = []
        self.failures = []
        self.notes = []
        self._book = TallyBook()
        self._connections = set()
        self._lock = threading.Lock()
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((address, port))
        self._socket.listen(backlog)
        self.address, self.port = self._socket.getsockname()[:2]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def target(self):
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def tally(self):
        """What it saw; see harness/accounting.py."""
        return self._book.total()

    def _accept(self):
        while True:
            try:
                connection, peer = self._socket.accept()
            except OSError:
                return
            connection = CountedSocket(connection)
            self._book.open(connection.account)
            connection.settimeout(TIMEOUT)
            with self._lock:
                self.accepted.append(peer)
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            self.handler(connection, self)
        except (ConnectionError, TimeoutError):
            pass
        except OSError as error:
            if connection.fileno() >= 0:
                self.failures.append(error)
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()
            self._book.close(connection.account)

    def stop_listening(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def stop(self):
        self.stop_listening()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)


class FullBacklog:
    """A listener whose accept queue is full, so that connection attempts are left without an answer."""

    def __init__(self):
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port = self._listener.getsockname()[1]
        self.target = f"127.0.0.1:{self.port}"
        self._fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(("127.0.0.1", self.port))
            self._fillers.append(filler)

    def stop(self):
        for filler in self._fillers:
            filler.close()
        self._listener.close()


def greeting(connection, server):
    """Says its name at once, then answers every byte with the same."""
    connection.sendall(server.name.encode() + b"\n")
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def http_server(server_name, status="200 OK", headers=(), body="ok\n"):
    """A handler that answers every request alike. Its parts may be functions, to change between requests."""

    def value(part):
        return part() if callable(part) else part

    def handler(connection, server):
        request = b""
        while b"\r\n\r\n" not in request:
            part = connection.recv(4096)
            if not part:
                return
            request += part
        server.notes.append(request)
        content = value(body)
        head = [f"HTTP/1.1 {value(status)}", f"Content-Length: {len(content)}", "Connection: close"]
        head += [f"Server: {server_name}", *value(headers)]
        connection.sendall(("\r\n".join(head) + "\r\n\r\n" + content).encode())

    return handler


class UDPServer:
    """Answers each datagram with `handler(data, peer, server)`: bytes, a list of bytes, or None for silence."""

    def __init__(self, handler=None, name="", address="127.0.0.1", port=0):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.name = name
        self.handler = handler or (lambda data, peer, server: data)
        self.received = []
        self._bytes_received = self._bytes_sent = self._lost_count = 0
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind((address, port))
        self.address, self.port = self._socket.getsockname()[:2]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def target(self):
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def _serve(self):
        while True:
            try:
                data, peer = self._socket.recvfrom(1 << 16)
            except ConnectionRefusedError:
                continue
            except OSError:
                return
            if data == b"\0stop":
                return
            self.received.append((data, peer))
            self._bytes_received += len(data)
            answer = self.handler(data, peer, self)
            for part in answer if isinstance(answer, list) else [answer]:
                if part is not None:
                    # Before it is sent: Weir may have counted it when the call returns.
                    self._bytes_sent += len(part)
                    with contextlib.suppress(OSError):
                        self._socket.sendto(part, peer)

    def tally(self):
        if self._socket.fileno() >= 0:
            memory = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
            # The last of nine numbers counts drops; see SK_MEMINFO_DROPS in linux/sock_diag.h.
            self._lost_count = struct.unpack("9I", memory)[8]
        return Tally(
            datagram_bytes_received=self._bytes_received, datagram_bytes_sent=self._bytes_sent,
            datagrams_lost=self._lost_count)

    def stop(self):
        if self._socket.fileno() < 0:
            return
        # From its own socket: in its network namespace it may be out of everybody else's reach.
        self._socket.sendto(b"\0stop", (self.address, self.port))
        self._thread.join(5)
        self.tally()
        self._socket.close()


class UDPSink:
    """A socket that takes datagrams and reads none: no answer, no refusal, and no work for anybody."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.target = f"127.0.0.1:{self.port}"

    def stop(self):
        self._socket.close()


class ProcessServer:
    """A server that is a process, started by hand and ended through its handle."""

    def __init__(self, arguments, directory, name, port, is_ready):
        self.name = name
        self.port = port
        self.target = f"127.0.0.1:{port}"
        self._log_path = os.path.join(str(directory), f"{name}.log")
        with open(self._log_path, "ab") as log:
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=str(directory),
                start_new_session=True, env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
        try:
            eventually(lambda: self._check_alive() and is_ready(), message=f"{name} is ready")
        except BaseException:
            self.stop()
            raise

    def _check_alive(self):
        if self.process.poll() is not None:
            with open(self._log_path, errors="replace") as log:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{log.read()}")
        return True

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()


def accepts(port):
    """True when something accepts TCP connections there."""
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


NGINX = """
daemon off;
worker_processes 1;
{user}
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{servers}
}}
"""
NGINX_SERVER = """
    server {{
        listen 127.0.0.1:{port} {protocol} backlog=4096;
        root {directory}/files;
        default_type text/plain;
        location = / {{ return 200 "{name}\\n"; }}
        location = /healthz {{ return 200 "ok\\n"; }}
    }}
"""


def nginx(directory, sites, protocol=""):
    """One nginx with a site per (name, port); serves `directory`/files as well. `protocol` "http2" speaks only that."""
    directory = str(directory)
    os.makedirs(os.path.join(directory, "files"), exist_ok=True)
    servers = "".join(NGINX_SERVER.format(name=n, port=p, directory=directory, protocol=protocol) for n, p in sites)
    path = os.path.join(directory, "nginx.conf")
    with open(path, "w") as file:
        # A worker that stays root can read the test's private directory.
        user = "user root;" if os.getuid() == 0 else ""
        file.write(NGINX.format(directory=directory, servers=servers, user=user))
    port = sites[0][1]
    return ProcessServer(
        ["nginx", "-c", path, "-p", directory, "-e", os.path.join(directory, "nginx.log")], directory, "nginx",
        port, lambda: accepts(port))


def redis(directory, port):
    return ProcessServer(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)],
        directory, "redis", port, lambda: accepts(port))


def dnsmasq(directory, port):
    """Answers for weir.test from its own table and asks nobody else."""
    return ProcessServer(
        ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--no-daemon",
         f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file=",
         "--address=/weir.test/192.0.2.53"],
        directory, "dnsmasq", port, lambda: accepts(port))


def iperf3_server(directory, port):
    return ProcessServer(
        ["iperf3", "--server", "--bind", "127.0.0.1", "--port", str(port)], directory, "iperf3", port,
        lambda: accepts(port))


def greeter_process(directory, name, port):
    """`greeting` as a process of its own, to be killed."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from harness.servers import *; import threading;"
        "TCPServer(greeting, sys.argv[2], port=int(sys.argv[3])); threading.Event().wait()"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return ProcessServer(
        [sys.executable, "-c", code, root, name, str(port)], directory, name, port, lambda: accepts(port))
