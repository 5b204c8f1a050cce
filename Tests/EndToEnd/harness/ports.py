"""Ports that nobody else takes between their choice and their use.

They come from below the kernel's ephemeral range, so that no outgoing connection is given one. A
process locks blocks of them, so that two runs of the suite on one machine do not meet.
"""

import fcntl
import os
import socket
import tempfile

FIRST, LAST, BLOCK = 12000, 32000, 100


class PortAllocator:
    def __init__(self):
        directory = os.path.join(tempfile.gettempdir(), f"weir-test-ports-{os.getuid()}")
        os.makedirs(directory, exist_ok=True)
        self._directory = directory
        self._locks = []
        self._free = iter(())

    def take(self):
        """A port that is free for TCP and UDP on every loopback address, and is not given out again."""
        while True:
            for port in self._free:
                if self._is_free(port):
                    return port
            self._free = iter(self._lock_block())

    def _lock_block(self):
        for first in range(FIRST, LAST, BLOCK):
            if any(first == held for held, _ in self._locks):
                continue
            lock = open(os.path.join(self._directory, str(first)), "w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                continue
            self._locks.append((first, lock))
            return range(first, first + BLOCK)
        raise RuntimeError("every block of test ports is locked by other test runs")

    @staticmethod
    def _is_free(port):
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(family, kind) as probe:
                    if family == socket.AF_INET6:
                        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    try:
                        probe.bind((address, port))
                    except OSError:
                        return False
        return True
