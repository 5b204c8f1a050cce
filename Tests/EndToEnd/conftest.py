"""Fixtures of the end-to-end tests: a Weir per test, targets, ports, and what must hold afterwards.

WEIR_BINARY names the binary under test; by default it is the debug build of this checkout.
"""

import os
import pathlib
import resource
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import accounting, network, servers, upgrades
from harness.ports import PortAllocator
from harness.weir import BINARY, Weir


def pytest_sessionstart(session):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if not BINARY.exists():
        pytest.exit(f"{BINARY} is not built; run scripts/test, or set WEIR_BINARY", returncode=2)
    network.delete_leftovers()
    upgrades.adopt_orphans()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Attaches the logs of a failed test, wherever it failed."""
    outcome = yield
    report = outcome.get_result()
    if call.excinfo is not None and report.when == "call":
        item.has_failed = True
    if report.failed:
        for weir in getattr(item, "weirs", []):
            report.sections.append((f"log of Weir in {weir.directory}", weir.log()[-20_000:]))


_ports = PortAllocator()


@pytest.fixture
def port():
    """Each call takes a port for TCP and UDP that nobody else has."""
    return _ports.take


@pytest.fixture
def directory():
    """Short, because the path of a Unix socket has 107 bytes at most."""
    path = tempfile.mkdtemp(prefix="weir-")
    yield pathlib.Path(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def make_weir(request, directory):
    """Makes an appliance from a configuration, started unless told otherwise, and checks it afterwards."""
    weirs = []

    def make(config, start=True, checks=True):
        home = directory / f"weir{len(weirs)}"
        home.mkdir()
        weir = Weir(BINARY, home, config)
        weirs.append((weir, checks))
        request.node.weirs = [w for w, _ in weirs]
        return weir.start() if start else weir

    yield make
    problems = []
    for weir, checks in weirs:
        if weir.process is None:
            continue
        try:
            # A test that failed midway has left its clients as they were: one report is enough.
            has_failed = getattr(request.node, "has_failed", False)
            if checks and not has_failed and weir.baseline_fd_count is not None:
                weir.check_invariants()
                if len(weirs) == 1:
                    accounting.check_against_servers(weir, getattr(request.node, "servers", []))
                assert weir.stop() == 0, "SIGTERM ends with status 0"
        except Exception as problem:
            problems.append(problem)
        finally:
            weir.kill()
    if problems:
        raise problems[0]


@pytest.fixture
def serve(request):
    """Keeps a server of any kind until the end of the test: `serve(TCPServer(greeting, "one"))`."""
    running = request.node.servers = []

    def keep(server):
        running.append(server)
        return server

    yield keep
    for server in reversed(running):
        server.stop()
    failures = [failure for server in running for failure in getattr(server, "failures", [])]
    assert not failures, f"handlers of targets failed: {failures}"


@pytest.fixture
def greeters(serve):
    """Makes targets that say their name: one, two, three, …"""
    names = ["one", "two", "three", "four", "five", "six", "seven", "eight"]

    def make(count, **options):
        return [serve(servers.TCPServer(servers.greeting, name, **options)) for name in names[:count]]

    return make


@pytest.fixture(scope="session")
def _namespaces():
    reason = network.why_not()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def make_network(_namespaces):
    """Makes a client, Weir and targets on links of their own; see harness/network.py."""
    networks = []

    def make(*arguments, **options):
        networks.append(network.Network(*arguments, **options))
        return networks[-1]

    yield make
    for made in networks:
        made.delete()
