"""Processes that nobody here has started: what an upgrade leaves serving, and sockets passed as systemd does."""

import ctypes
import os
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """A process whose parent has ended becomes our child, so that its exit status can be told."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class AdoptedProcess:
    """The part of Popen that the harness uses, for a process that its former process has started.

    While that one lives the exit status is not ours to take: `returncode` is then -1 once it is gone.
    """

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid == self.pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            except ChildProcessError:
                if self._is_gone():
                    self.returncode = -1
        return self.returncode

    def _is_gone(self):
        try:
            with open(f"/proc/{self.pid}/stat") as file:
                return file.read().rsplit(")", 1)[1].split()[0] in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return True

    def wait(self, timeout=None):
        deadline = time.monotonic() + (timeout or 60)
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


# Puts descriptors where systemd puts them, and becomes the program; see sd_listen_fds(3).
_PASSER = """
import fcntl, os, sys
numbers = [int(n) for n in sys.argv[1].split(",")]
high = [fcntl.fcntl(n, fcntl.F_DUPFD, 100) for n in numbers]
for place, number in enumerate(high, 3):
    os.dup2(number, place)
    os.close(number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""


def passing(sockets):
    """Words before a command, and the descriptors to leave open, that pass `sockets`: (name, socket) in order."""
    numbers = [s.fileno() for _, s in sockets]
    names = ":".join(name for name, _ in sockets)
    return (sys.executable, "-c", _PASSER, ",".join(map(str, numbers)), names), numbers
