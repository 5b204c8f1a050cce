"""Thousands of connections at once: a target for them, and flows that must not notice any of it."""

import contextlib
import os
import resource
import selectors
import socket
import subprocess
import sys
import threading
import time

from .accounting import Account, TallyBook
from .clients import connect, udp_client
from .servers import TIMEOUT, receive_exactly


class CrowdServer:
    """An echo target for thousands of connections, in one thread. Counts payload of both directions.

    Nothing is read from a connection while more than `pending_max` bytes wait to be sent back on it.
    """

    def __init__(self, address="127.0.0.1", port=0, pending_max=1 << 18, greeting=b""):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.received_bytes = self.sent_bytes = self.accepted_count = 0
        self._greeting = greeting
        self._pending_max = pending_max
        self._pending = {}
        self._accounts = {}
        self._book = TallyBook()
        self._ended = set()
        self._is_done = False
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, port))
        self._listener.listen(4096)
        self._listener.setblocking(False)
        self.address, self.port = self._listener.getsockname()[:2]
        self._selector = selectors.EpollSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def target(self):
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def live_count(self):
        return len(self._pending)

    def _run(self):
        while not self._is_done:
            for key, events in self._selector.select(0.1):
                if key.fileobj is self._listener:
                    self._accept()
                    continue
                try:
                    with self._accounts[key.fileobj].noting_resets():
                        self._move(key.fileobj, events)
                except OSError:
                    self._close(key.fileobj)

    def _accept(self):
        with contextlib.suppress(BlockingIOError, ConnectionError):
            for _ in range(256):
                connection, _ = self._listener.accept()
                self.accepted_count += 1
                connection.setblocking(False)
                self._pending[connection] = bytearray(self._greeting)
                self._accounts[connection] = Account()
                self._book.open(self._accounts[connection])
                self._selector.register(connection, selectors.EVENT_READ)
                if self._greeting:
                    with contextlib.suppress(OSError):
                        self._send(connection)

    def _move(self, connection, events):
        pending = self._pending[connection]
        if events & selectors.EVENT_READ and len(pending) <= self._pending_max:
            data = connection.recv(1 << 16)
            self.received_bytes += len(data)
            self._accounts[connection].note_received(data)
            pending += data
            if not data:
                self._ended.add(connection)
        self._send(connection)

    def _send(self, connection):
        pending = self._pending[connection]
        if pending:
            with contextlib.suppress(BlockingIOError):
                count = connection.send(pending)
                self.sent_bytes += count
                self._accounts[connection].sent += count
                del pending[:count]
        if connection in self._ended and not pending:
            self._close(connection)
            return
        wanted = selectors.EVENT_WRITE if pending else 0
        if connection not in self._ended and len(pending) <= self._pending_max:
            wanted |= selectors.EVENT_READ
        self._selector.modify(connection, wanted)

    def tally(self):
        return self._book.total()

    def _close(self, connection):
        self._pending.pop(connection, None)
        self._book.close(self._accounts.pop(connection, None))
        self._ended.discard(connection)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection)
        connection.close()

    def stop(self):
        self._is_done = True
        self._thread.join(5)
        for connection in list(self._pending):
            self._close(connection)
        self._listener.close()
        self._selector.close()


class Pulse:
    """Flows that go there and back without a pause, and what they noticed: the legitimate clients of a test.

    The target must echo. A wrong answer, an end or a reset goes to `errors`; `worst` is the longest round trip in
    seconds. A datagram that has no answer within a second is `lost` and sent again, since a socket's buffer may
    have had no room for it; thirty in a row are an error.
    """

    def __init__(self, port, address="127.0.0.1", transport="tcp", flow_count=2, pause=0.002, greeting=b"",
                 sources=None):
        self.errors = []
        self.round_trips = []
        self.lost = 0
        # Of the clients, as Weir names them.
        self.addresses = []
        self._is_done = threading.Event()
        self._arguments = (port, address, transport, pause, greeting)
        self._sources = sources or [None] * flow_count
        self._threads = []

    @property
    def worst(self):
        return max(self.round_trips, default=0.0)

    @property
    def count(self):
        return len(self.round_trips)

    def __enter__(self):
        port, address, transport, pause, greeting = self._arguments
        for number, source in enumerate(self._sources):
            client = connect(port, address, source) if transport == "tcp" else udp_client(port, address, source)
            self.addresses.append("%s:%d" % client.getsockname()[:2])
            if greeting:
                assert receive_exactly(client, len(greeting)) == greeting
            thread = threading.Thread(target=self._run, args=(client, number, transport, pause), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def _run(self, client, number, transport, pause):
        turn = 0
        try:
            with client:
                client.settimeout(TIMEOUT if transport == "tcp" else 1)
                while not self._is_done.is_set():
                    message = b"%04d %010d." % (number, turn)
                    begin = time.monotonic()
                    if transport == "tcp":
                        client.sendall(message)
                        answer = receive_exactly(client, len(message))
                    else:
                        answer = self._exchange(client, message)
                    if answer != message:
                        raise ConnectionError(f"{answer!r} instead of {message!r}")
                    self.round_trips.append(time.monotonic() - begin)
                    turn += 1
                    time.sleep(pause)
        except OSError as error:
            self.errors.append(f"flow {number}, turn {turn}: {error!r}")

    def _exchange(self, client, message):
        for _ in range(30):
            client.send(message)
            with contextlib.suppress(TimeoutError):
                # Skips answers to earlier ones that were only late.
                while (answer := client.recv(1 << 16)) < message and answer[:5] == message[:5]:
                    pass
                return answer
            self.lost += 1
        raise TimeoutError("thirty datagrams in a row have no answer")

    def __exit__(self, *_):
        self._is_done.set()
        for thread in self._threads:
            thread.join(TIMEOUT + 1)

    def beat(self, count=20):
        """Waits for so many more round trips of all flows together."""
        from .waiting import eventually
        goal = self.count + count
        eventually(lambda: self.count >= goal or self.errors, TIMEOUT, f"{count} more round trips")
        assert not self.errors, self.errors


def datagrams_without_room(*ports):
    """How many the kernel has dropped at UDP sockets with one of these ports at either end, for want of room."""
    count = 0
    for family in ("udp", "udp6"):
        with open(f"/proc/net/{family}") as table:
            for line in table.readlines()[1:]:
                columns = line.split()
                ends = {int(end.rsplit(":", 1)[1], 16) for end in columns[1:3]}
                count += int(columns[-1]) if not ends.isdisjoint(ports) else 0
    return count


def descriptors_left(reserve=500):
    """How many sockets this process may open yet."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft - len(os.listdir("/proc/self/fd")) - reserve


def flood(kind, *arguments, prefix=()):
    """Starts one of `floods.py`; its `wait` gives what it printed."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "floods.py")
    return Flood([*prefix, sys.executable, script, kind, *map(str, arguments)])


class Flood:
    def __init__(self, arguments):
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def wait(self, timeout=300):
        try:
            output, _ = self.process.communicate(timeout=timeout)
        finally:
            self.stop()
        assert self.process.returncode == 0, output
        return output

    @property
    def is_running(self):
        return self.process.poll() is None

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
