"""What a benchmark needs of the kernel: a network of its own, processes on a core, and counters.

CPU time comes from the scheduler's nanosecond counts, /proc/PID/task/TID/schedstat. It includes what the
kernel does on behalf of a process inside its system calls; on loopback that is the receiver's softirq too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

START_TIMEOUT = 20.0
END_TIMEOUT = 5.0

# Cubic is what most networks run, and some systems default to something else: the routes ask for it, because
# the default of a namespace may only be what the host allows. All else is the kernel's default.
SET_UP = """
set -e
ip link set lo up
for route in 127.0.0.0/8 127.0.0.1; do
    ip route replace local $route dev lo table local proto kernel scope host src 127.0.0.1 congctl cubic
done
echo ready
exec cat
"""


class BenchError(Exception):
    """What a person can do something about, in one line."""


def wait_until(condition, what: str, timeout: float = START_TIMEOUT) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {timeout:g} s")
        time.sleep(0.01)


class Namespace:
    """A network namespace with nothing but loopback, alive as long as one process in it.

    Nothing outlives it: no port in use, no TIME_WAIT, no setting. Needs root or user namespaces.
    """

    def __init__(self) -> None:
        as_user = [] if os.geteuid() == 0 else ["--map-current-user", "--keep-caps"]
        self._holder = subprocess.Popen(
            ["unshare", "--net", *as_user, "sh", "-c", SET_UP],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            raise BenchError("no network namespace could be made; run as root, or allow user namespaces")
        entered = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        self._enter = ["nsenter", *entered, "--net", "--target", str(self._holder.pid)]

    def spawn(self, command: list[str], cores: list[int], **more) -> subprocess.Popen:
        """Starts a process inside; it has the pid that is returned, for every step is an exec."""
        pin = ["taskset", "--cpu-list", ",".join(map(str, cores))]
        return subprocess.Popen([*self._enter, *pin, *command], start_new_session=True, **more)

    def listening(self) -> set[tuple[str, int]]:
        """("tcp", port) and ("udp", port) of every bound socket inside."""
        found = set()
        for kind, wanted in (("tcp", "0A"), ("udp", "07")):
            for line in Path(f"/proc/{self._holder.pid}/net/{kind}").read_text().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                if state == wanted:
                    found.add((kind, int(local.split(":")[1], 16)))
        return found

    def close(self) -> None:
        self._holder.communicate()


def descendants(pid: int) -> list[int]:
    """The process and all that it started, and those in turn."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def thread_nanoseconds(pids: list[int]) -> dict[int, int]:
    """CPU time of each thread so far."""
    times = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    times[int(task.name)] = int((task / "schedstat").read_text().split()[0])
    return times


def user_share(pids: list[int]) -> tuple[int, int]:
    """Ticks in user mode and in all, as far as a tick can tell."""
    user = total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            user += int(fields[11])
            total += int(fields[11]) + int(fields[12])
    return user, total


def resident_anonymous_bytes(pids: list[int]) -> int:
    """User memory that is really there, without code and other pages of files."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1]) * 1024
    return total


def busy_seconds(cores: list[int]) -> float:
    """Everything these cores did but rest, whoever asked for it, stolen time included."""
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in {f"cpu{core}" for core in cores}:
            user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(int, fields)
            ticks += user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


def pace(core: int) -> float:
    """Nanoseconds of CPU for one fixed piece of work on this core: how fast the machine is just now.

    On a shared host that changes by half within seconds, without any sign in the guest's own counters.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    read_end, write_end = os.pipe()
    piece = bytes(4096)
    try:
        began = time.thread_time_ns()
        for _ in range(10_000):
            os.write(write_end, piece)
            os.read(read_end, len(piece))
        return (time.thread_time_ns() - began) / 10_000
    finally:
        os.close(read_end)
        os.close(write_end)
        os.sched_setaffinity(0, before)


def stop(process: subprocess.Popen) -> None:
    """SIGTERM, and SIGKILL for it and what it started if that does not help."""
    pids = descendants(process.pid)
    process.terminate()
    try:
        process.wait(END_TIMEOUT)
    except subprocess.TimeoutExpired:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def running(process: subprocess.Popen) -> Iterator[subprocess.Popen]:
    try:
        yield process
    finally:
        stop(process)


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    made = Namespace()
    try:
        yield made
    finally:
        made.close()


class SystemCallCount:
    """`strace -c` on a running process with all its threads and children."""

    def __init__(self, pids: list[int], path: Path) -> None:
        self._path = path
        targets = [word for pid in pids for word in ("-p", str(pid))]
        self._strace = subprocess.Popen(
            ["strace", "-f", "-qq", "-c", "-U", "calls,name", "-o", str(path), *targets], start_new_session=True)
        wait_until(lambda: all(map(self._is_traced, pids)), "strace to attach")

    @staticmethod
    def _is_traced(pid: int) -> bool:
        states = (task / "status" for task in Path(f"/proc/{pid}/task").iterdir())
        return all("TracerPid:\t0\n" not in state.read_text() for state in states)

    def finish(self) -> dict[str, int]:
        self._strace.send_signal(signal.SIGINT)
        self._strace.wait(START_TIMEOUT)
        rows = (line.split() for line in self._path.read_text().splitlines())
        counts = {row[1]: int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit()}
        counts.pop("total", None)
        return counts
