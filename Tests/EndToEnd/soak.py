"""Mixed traffic and a restless operator for a long time: memory and descriptors must be flat, and nobody harmed.

    soak.py [MINUTES]        30 by default; of WEIR_BINARY, which scripts/soak builds first

Through one Weir: short connections, long-lived TCP and UDP flows that check every answer, bulk echoes,
connections abandoned midway, datagrams of ever new sources; beside them a target whose health turns, targets
that come and go, reloads, and an admin API that is asked all the time. A row a minute, or twelve in all when the
time is short. Ends with 1 and the reasons when a flow was harmed, something grew, or the accounts do not add up.

"Flat": the median of the last quarter of the rows is at most 6 MiB, 24 descriptors (two for each live TCP flow and
one for each UDP flow left out) and 2 threads above that of the second quarter; the first is for warming up, in which
pools and tables fill to their size.
"""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import accounting
from harness.clients import Hammer, connect, udp_client
from harness.crowds import CrowdServer, Pulse
from harness.ports import PortAllocator
from harness.servers import TCPServer, UDPServer, greeting, http_server, receive_exactly, receive_line, reset
from harness.weir import BINARY, FAST_CHECK, Weir, configuration, group, listener

MEBIBYTE = 1 << 20
COLUMNS = ("minute", "MiB", "fds", "threads", "CPU %", "active TCP", "active UDP", "new TCP/s", "new UDP/s",
           "MB/s", "errors", "worst ms")


class Busy:
    """Runs `step()` again and again in a thread; an exception is noted and ends nothing."""

    def __init__(self, step, pause=0.0):
        self.errors, self.count = [], 0
        self._is_done = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(step, pause), daemon=True)

    def _run(self, step, pause):
        while not self._is_done.is_set():
            try:
                step()
                self.count += 1
            except (OSError, AssertionError) as error:
                self.errors.append(repr(error))
                # Or a Weir that has ended would fill memory with the same error.
                self._is_done.wait(0.1)
            self._is_done.wait(pause)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_done.set()
        self._thread.join(30)


class Soak:
    def __init__(self, home, minutes):
        self.minutes = minutes
        ports = PortAllocator()
        self.generator = random.Random(1)
        begin = time.monotonic()
        self.greeters = [TCPServer(greeting, name) for name in ("one", "two", "three")]
        self.crowd, self.echo, self.bulk_target = CrowdServer(greeting=b"hello\n"), UDPServer(), CrowdServer()
        # Healthy for eight seconds, unhealthy for eight.
        self.turning = TCPServer(http_server("turning", status=lambda: (
            "200 OK" if int(time.monotonic() - begin) // 8 % 2 == 0 else "503 Service Unavailable")))
        self.web, self.calm, self.dns, self.bulk = (ports.take() for _ in range(4))
        turning_check = {**FAST_CHECK, "protocol": "HTTP", "path": "/", "port": self.turning.port}
        keep = {"target_health_state.unhealthy.connection_termination.enabled": False,
                "deregistration_delay.timeout_seconds": 10}
        self.configuration = configuration(
            [group("web", None, check=FAST_CHECK, attributes=keep),
             group("turning", [self.greeters[0].target], check=turning_check, attributes=keep),
             group("calm", [self.crowd.target]), group("bulk", [self.bulk_target.target]),
             group("dns", [self.echo.target], "UDP")],
            [listener(self.web, [("web", 4), ("turning", 1)]), listener(self.calm, "calm"),
             listener(self.bulk, "bulk"), listener(self.dns, "dns", "UDP")],
            limits={"udp_flows": 2_000})
        self.weir = Weir(BINARY, home, self.configuration)
        self.servers = [*self.greeters, self.crowd, self.echo, self.bulk_target, self.turning]
        self.content = self.generator.randbytes(MEBIBYTE)
        self.away = None

    # What happens all the time

    def transfer(self):
        with connect(self.bulk) as client:
            sender = threading.Thread(target=client.sendall, args=(self.content,), daemon=True)
            sender.start()
            received = receive_exactly(client, len(self.content))
            sender.join(30)
        if hashlib.sha256(received).digest() != hashlib.sha256(self.content).digest():
            raise AssertionError("a transfer came back changed")

    def abandon(self):
        client = connect(self.calm)
        match self.generator.randrange(4):
            case 0: reset(client)
            case 1: client.sendall(b"x" * 5000); client.close()
            case 2: client.sendall(b"x" * 5000); reset(client)
            case 3: receive_line(client); client.close()

    def ask_once_by_udp(self):
        with udp_client(self.dns) as client:
            client.send(b"once")
            client.recv(100)

    def operate(self):
        """One target of three leaves, and comes back."""
        if self.away is None:
            self.away = self.generator.choice(self.greeters)
            self.weir.cli("targets", "deregister", "web", self.away.target)
        else:
            self.weir.cli("targets", "register", "web", self.away.target)
            self.away = None

    def reload(self):
        self.weir.reload(self.configuration)

    def look(self):
        self.weir.api("/v1/status")
        self.weir.metrics()

    # The run

    def run(self):
        self.weir.start()
        for server in self.greeters:
            self.weir.cli("targets", "register", "web", server.target)
        with contextlib.ExitStack() as stack:
            hammer = stack.enter_context(Hammer(self.web, thread_count=2))
            pulses = [
                stack.enter_context(Pulse(self.calm, flow_count=8, pause=0.05, greeting=b"hello\n")),
                stack.enter_context(Pulse(self.dns, transport="udp", flow_count=4, pause=0.05))]
            jobs = [Busy(self.transfer, 0.2), Busy(self.abandon, 0.01), Busy(self.ask_once_by_udp, 0.02),
                    Busy(self.operate, 5), Busy(self.reload, 29), Busy(self.look, 2)]
            for job in jobs:
                stack.enter_context(job)
            rows = self.watch(hammer, pulses, jobs)
            errors = [repr(error) for _, error in hammer.errors]
            errors += [error for worker in [*pulses, *jobs] for error in worker.errors]
            errors += ["a datagram was lost"] * sum(pulse.lost for pulse in pulses)
        return rows, errors

    def watch(self, hammer, pulses, jobs):
        print("  ".join(f"{name:>10}" for name in COLUMNS), flush=True)
        begin = last = time.monotonic()
        count = max(12, int(self.minutes))
        before, rows = self.read(), []
        for number in range(1, count + 1):
            time.sleep(max(0, begin + self.minutes * 60 * number / count - time.monotonic()))
            now, reading = time.monotonic(), self.read()
            rate = {key: (reading[key] - before[key]) / (now - last) for key in ("tcp", "udp", "bytes", "cpu")}
            error_count = len(hammer.errors) + sum(len(worker.errors) for worker in [*pulses, *jobs])
            worst = max(pulse.worst for pulse in pulses)
            row = ((now - begin) / 60, reading["memory"] / MEBIBYTE, reading["descriptors"], reading["threads"],
                   rate["cpu"] * 100, reading["active_tcp"], reading["active_udp"], rate["tcp"], rate["udp"],
                   rate["bytes"] / 1e6, error_count, worst * 1000)
            print("  ".join(f"{value:10.1f}" if isinstance(value, float) else f"{value:10}" for value in row),
                  flush=True)
            rows.append(row)
            before, last = reading, now
            # A row's worst is its own; and this process must not be what runs out of memory.
            for pulse in pulses:
                pulse.round_trips.clear()
            hammer.answers.clear()
            self.echo.received.clear()
            for server in [*self.greeters, self.turning]:
                server.accepted.clear()
                server.notes.clear()
        return rows

    def read(self):
        says = self.weir.statistics()
        return {
            "memory": self.weir.resident_bytes(), "descriptors": self.weir.fd_count(),
            "threads": int(self.weir.process_status()["Threads"]), "cpu": self.weir.cpu_seconds(),
            "active_tcp": says["active_flow_count_tcp"], "active_udp": says["active_flow_count_udp"],
            "tcp": says["new_flow_count_tcp"], "udp": says["new_flow_count_udp"],
            "bytes": says["client_bytes"] + says["target_bytes"]}

    def stop(self):
        if self.weir.process is not None:
            self.weir.kill()
        for server in self.servers:
            server.stop()


def growth(rows):
    """What grew from the second quarter of the rows to the last, as sentences."""
    quarter = len(rows) // 4
    reasons = []
    measures = (
        ("MiB", 6, lambda row: row[1]), ("descriptors beside flows", 24, lambda row: row[2] - 2 * row[5] - row[6]),
        ("threads", 2, lambda row: row[3]))
    for unit, allowed, measure in measures:
        early = statistics.median(map(measure, rows[quarter:2 * quarter]))
        late = statistics.median(map(measure, rows[-quarter:]))
        print(f"{unit}: {early:.1f} in the second quarter, {late:.1f} in the last")
        if late - early > allowed:
            reasons.append(f"{unit} grew from {early:.1f} to {late:.1f}, by more than {allowed}")
    return reasons


def main(minutes):
    # As Ctrl-C does, it ends Weir too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before its time"))
    home = tempfile.mkdtemp(prefix="weir-soak-")
    soak = Soak(home, minutes)
    reasons = []
    try:
        rows, errors = soak.run()
        reasons += growth(rows)
        reasons += [f"{len(errors)} errors: {errors[:5]}"] if errors else []
        for name, check in (("invariants", soak.weir.check_invariants),
                            ("accounts", lambda: accounting.check_against_servers(soak.weir, soak.servers))):
            try:
                check()
            except AssertionError as problem:
                reasons.append(f"{name}: {problem}")
        counters = soak.weir.counters()
        print({name: value for name, value in counters.items() if value and name != "snapshot_version"})
        print(soak.weir.statistics())
        if soak.weir.stop() != 0:
            reasons.append("SIGTERM did not end Weir with status 0")
    finally:
        soak.stop()
        if reasons:
            print(soak.weir.log()[-5_000:])
        shutil.rmtree(home, ignore_errors=True)
    print("\n".join(reasons) or "flat, and nobody was harmed")
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 30))
