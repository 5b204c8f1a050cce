"""Clients: one question, or many without a pause."""

import socket
import threading
import time

from .servers import TIMEOUT, receive_line


def connect(port, address="127.0.0.1", source=None, timeout=TIMEOUT):
    return socket.create_connection((address, port), timeout=timeout, source_address=source)


def ask(port, address="127.0.0.1", source=None, timeout=TIMEOUT):
    """The name of the target that a new connection reaches."""
    with connect(port, address, source, timeout) as connection:
        return receive_line(connection).decode().strip()


def is_reset(port, address="127.0.0.1"):
    """True when a new connection is reset without a byte, as early as in connect(2)."""
    try:
        with connect(port, address) as connection:
            connection.recv(1)
    except ConnectionResetError:
        return True
    return False


def udp_client(port, address="127.0.0.1", source=None, timeout=TIMEOUT):
    """A connected socket: answers from any other address do not reach it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    client = socket.socket(family, socket.SOCK_DGRAM)
    client.settimeout(timeout)
    if source is not None:
        client.bind(source)
    client.connect((address, port))
    return client


def exchange(client, data):
    """One datagram there and one back."""
    client.send(data)
    return client.recv(1 << 16)


class Hammer:
    """Opens connection after connection from several threads and notes where each went.

    `answers` are (time before connect, name) and `errors` (time before connect, exception), in no order
    across threads.
    """

    def __init__(self, port, address="127.0.0.1", thread_count=4):
        self.answers = []
        self.errors = []
        self._is_done = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(port, address), daemon=True) for _ in range(thread_count)
        ]

    def _run(self, port, address):
        while not self._is_done.is_set():
            begin = time.monotonic()
            try:
                self.answers.append((begin, ask(port, address)))
            except OSError as error:
                self.errors.append((begin, error))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._is_done.set()
        for thread in self._threads:
            thread.join(TIMEOUT)

    def names_since(self, moment):
        return [name for begin, name in list(self.answers) if begin > moment]

    def wait_for(self, count, since=0.0):
        """Until `count` more connections that began after `since` were answered."""
        from .waiting import eventually
        eventually(lambda: len(self.names_since(since)) >= count, 20, f"{count} answers")
