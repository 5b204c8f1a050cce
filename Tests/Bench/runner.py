"""One measurement: a fresh namespace, fresh targets, a fresh proxy, one load, and what it cost."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from measure import (
    BenchError, Namespace, SystemCallCount, busy_seconds, descendants, namespace, pace, resident_anonymous_bytes, running,
    thread_nanoseconds, user_share, wait_until,
)
from http_peers import TARGET_HTTP
from peers import ECHO, TARGET_BULK, TARGET_ECHO, Proxy, Shape
from workloads import UNEVEN, Sample, Variant, Workload, load

LOAD_TIMEOUT = 120.0
# After the last answer the proxy still closes; then its counters rest.
SETTLE = 0.05
# What is usual is the median of so many looks; for a usual moment a measurement waits this long.
LOOKS, WAIT_FOR_PACE = 25, 2.0


class Load:
    """A load generator that has warmed up and waits."""

    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self.process = process
        self._log = log

    def expect(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BenchError(f"the load ended with status {self.process.wait()}: {self.complaint()}")
        return line

    def complaint(self) -> str:
        """Its first error, if any, and its last."""
        return "; ".join(line.removeprefix("load: ").strip() for line in self._log.read_text().splitlines())

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()


class Pace:
    """How fast the proxy's core usually is, and how far from that it is now."""

    def __init__(self, core: int) -> None:
        self._core = core
        self._looks: deque[float] = deque(maxlen=LOOKS)
        for _ in range(LOOKS // 2):
            self.look()

    def look(self) -> float:
        """Now, as a ratio to the usual; above 1 is slow."""
        now = pace(self._core)
        self._looks.append(now)
        return now / median(self._looks)

    def await_usual(self) -> float:
        deadline = time.monotonic() + WAIT_FOR_PACE
        while abs((now := self.look()) - 1) > UNEVEN and time.monotonic() < deadline:
            time.sleep(0.1)
        return now


@dataclass
class Runner:
    # Of the C files beside this one, by name; those that no workload needs may be missing.
    binaries: dict[str, str]
    directory: Path
    # The proxy has the last core, the load and the targets the others.
    cores: list[int]
    patience: int = 0

    def __post_init__(self) -> None:
        self._pace = Pace(self.cores[-1])
        self._load_count = 0

    def _start_load(self, net: Namespace, arguments: list[str], cores: list[int], shape: Shape) -> Load:
        program = "http_load" if shape.is_http else "tls_load" if shape.certificate else "load"
        command = ["timeout", "--foreground", str(int(LOAD_TIMEOUT)), self.binaries[program], *arguments]
        if shape.certificate:
            command += ["--certificate", str(self.directory / f"{shape.certificate}.crt")]
        self._load_count += 1
        log = self.directory / f"load-{self._load_count}.log"
        with log.open("w") as output:
            process = net.spawn(
                command, cores, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True)
        return Load(process, log)

    def _target(self, shape: Shape) -> tuple[list[str], int]:
        """What serves, and the last port that it opens."""
        if shape.is_http:
            return [self.binaries["http_target"], "--port", str(TARGET_HTTP)], TARGET_HTTP
        return [self.binaries["load"], "serve", "--port", str(TARGET_ECHO)], TARGET_BULK

    def measure(
        self, proxy: Proxy, name: str, loads: list[list[str]], shape: Shape, *, live_flows: int = 0,
        is_pinned: bool = True, counts_calls: bool = False,
    ) -> Sample:
        """Again while it is disturbed, as far as patience goes; the least disturbed counts."""
        samples = []
        for _ in range(1 + self.patience):
            samples.append(self._measure(proxy, name, loads, shape, live_flows, is_pinned, counts_calls))
            if not samples[-1].is_disturbed:
                break
        return min(samples, key=lambda sample: sample.disturbance)

    def _measure(
        self, proxy: Proxy, name: str, loads: list[list[str]], shape: Shape, live_flows: int, is_pinned: bool,
        counts_calls: bool,
    ) -> Sample:
        proxy_cores = self.cores[-1:] if is_pinned else self.cores
        load_cores = self.cores[:-1] or self.cores if is_pinned else self.cores
        file, text = proxy.configuration(self.directory, shape)
        (self.directory / file).write_text(text)
        log = self.directory / f"{proxy.name}.log"
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(log.open("w"))
            net = stack.enter_context(namespace())
            serve, last_port = self._target(shape)
            target = stack.enter_context(running(net.spawn(serve, load_cores)))
            wait_until(lambda: ("tcp", last_port) in net.listening(), "the targets to listen")
            process = stack.enter_context(running(net.spawn(
                proxy.command(self.directory), proxy_cores, stdin=subprocess.DEVNULL, stdout=output, stderr=output)))
            ports = proxy.ports(shape)
            wait_until(
                lambda: process.poll() is not None or ports <= net.listening(), f"{proxy.name} to listen, see {log}")
            if process.poll() is not None:
                raise BenchError(f"{proxy.name} ended: {log.read_text()[-500:]}")
            # What starts in the background is done after a moment.
            time.sleep(0.2)
            pids = descendants(process.pid)
            memory_before = resident_anonymous_bytes(pids)
            if live_flows:
                words = list(load("idle", ECHO, flows=live_flows, size=64))
                resting = self._start_load(net, words, load_cores, Shape())
                stack.enter_context(running(resting.process))
                resting.expect()
            started = [self._start_load(net, words, load_cores, shape) for words in loads]
            for one in started:
                stack.enter_context(running(one.process))
            for one in started:
                one.expect()
            own = [*pids, target.pid, *(pid for one in started for pid in descendants(one.process.pid))]
            calls = SystemCallCount(pids, self.directory / "calls") if counts_calls else None
            time.sleep(SETTLE)

            memory_after = resident_anonymous_bytes(pids)
            pace_before = self._pace.await_usual()
            own_before, busy_before = sum(thread_nanoseconds(own).values()), busy_seconds(self.cores)
            before, user_before, began = thread_nanoseconds(pids), user_share(pids), time.monotonic()
            for one in started:
                one.begin()
            results = [json.loads(one.expect()) for one in started]
            for one in started:
                if complaint := one.complaint():
                    print(f"bench: {proxy.name} in {name}: {complaint}", file=sys.stderr, flush=True)
            time.sleep(SETTLE)
            after, user_after, seconds = thread_nanoseconds(pids), user_share(pids), time.monotonic() - began
            own_seconds = (sum(thread_nanoseconds(own).values()) - own_before) / 1e9
            foreign = (busy_seconds(self.cores) - busy_before - own_seconds) / (seconds * len(self.cores))

            if not all(result["units"] for result in results):
                raise BenchError(f"{proxy.name} did none of the work of {name}, see {log}")
            spent = {thread: after[thread] - before.get(thread, 0) for thread in after}
            ticks = user_after[1] - user_before[1]
            return Sample(
                subject=proxy.name, name=name, units=sum(result["units"] for result in results),
                seconds=max(result["seconds"] for result in results), cpu_nanoseconds=sum(spent.values()),
                threads=sorted((value for value in spent.values() if value > 0), reverse=True)[:8],
                user_share=(user_after[0] - user_before[0]) / ticks if ticks else 0.0,
                p50_us=max(result["p50_us"] for result in results),
                p99_us=max(result["p99_us"] for result in results),
                lost=sum(result["lost"] for result in results),
                errors=sum(result["errors"] for result in results), memory_bytes=memory_after - memory_before,
                pace=(pace_before, self._pace.look()), foreign=max(0.0, foreign), system_calls=calls.finish() if calls else {})

    def workload(self, proxy: Proxy, workload: Workload, scale: float, *, counts_calls: bool = False) -> Sample:
        arguments = workload.arguments(scale)
        return self.measure(proxy, workload.name, [arguments], workload.shape, counts_calls=counts_calls)

    def variant(self, proxy: Proxy, variant: Variant, scale: float) -> Sample:
        return self.measure(
            proxy, variant.name, [variant.arguments(scale)] * variant.loads, variant.shape, live_flows=variant.live_flows,
            is_pinned=variant.loads == 1)
