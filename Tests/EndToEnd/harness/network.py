"""Network namespaces on veth pairs: machines of their own, whose links can be cut and whose packets can be lost.

    net = Network()
    with net.client:                  # sockets, threads and processes begun here belong to that machine
        connect(80, "10.77.0.1")

A socket belongs to the namespace in which it was made, so servers and clients of the test's own process
live in any of them. Weir starts behind `net.weir.prefix`; its admin socket is a file, and files are shared.
"""

import contextlib
import ctypes
import ipaddress
import os
import re
import subprocess
import threading

CLONE_NEWNET = 0x40000000
TARGET_NAMES = ("one", "two", "three", "four", "five", "six", "seven", "eight")
_libc = ctypes.CDLL(None, use_errno=True)
_names = (number for number in range(1_000_000))
_entered = threading.local()


def _enter(descriptor):
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    def __init__(self, label):
        self.name = f"weir-{os.getpid()}-{next(_names)}-{label}"
        _run("ip", "netns", "add", self.name)
        self.ip("link set lo up")

    @property
    def prefix(self):
        """The words before a command that make it run here."""
        return ("nsenter", f"--net=/run/netns/{self.name}")

    def run(self, *arguments, text=None):
        return _run(*self.prefix, *arguments, text=text)

    def ip(self, *lines):
        """Lines for ip(8), in order."""
        _run("ip", "-netns", self.name, "-batch", "-", text="\n".join(lines) + "\n")

    def set(self, **settings):
        """sysctl(8) below net: `set(ipv4__tcp_syn_retries=2)`."""
        for key, value in settings.items():
            self.run("sysctl", "-q", "-w", f"net.{key.replace('__', '.')}={value}")

    @contextlib.contextmanager
    def rules(self, *rules, hook="input"):
        """nftables rules in one chain while the block runs: `rules("tcp dport 80 drop")`."""
        body = "\n".join(rules)
        self.run("nft", "-f", "-", text=(
            f"table inet weir_{hook} {{ chain rules {{ type filter hook {hook} priority 0; policy accept;\n"
            f"{body}\n}}\n}}\n"))
        try:
            yield
        finally:
            self.run("nft", "delete", "table", "inet", f"weir_{hook}")

    def __enter__(self):
        """Only the calling thread moves, and what it begins."""
        stack = _entered.__dict__.setdefault("stack", [])
        stack.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        finally:
            os.close(there)
        return self

    def __exit__(self, *_):
        back = _entered.stack.pop()
        try:
            _enter(back)
        finally:
            os.close(back)

    def delete(self):
        with contextlib.suppress(RuntimeError):
            _run("ip", "netns", "del", self.name)


class Network:
    """A client, Weir in the middle, and targets "one", "two", …, each on a link of its own to Weir.

    Link n is 10.77.n.0/24 and fd77:n::/64; Weir has .1 there and the other side .2. The client's is link 0.
    Interfaces are named after whom they lead to. Targets know no way but to Weir.
    """

    def __init__(self, target_count=2, families=(4, 6)):
        self._namespaces = []
        self.families = families
        self.weir = self.namespace("weir")
        self.client = self.namespace("client")
        self.targets = [self.namespace(name) for name in TARGET_NAMES[:target_count]]
        self.weir.set(ipv4__ip_forward=0)
        for number, other in enumerate([self.client, *self.targets]):
            self.link(self.weir, other, number)

    def namespace(self, label):
        namespace = Namespace(label)
        namespace.label = label
        self._namespaces.append(namespace)
        return namespace

    def link(self, near, far, number, near_name=None, far_name=None):
        near_name, far_name = near_name or far.label, far_name or near.label
        near.ip(f"link add {near_name} type veth peer name {far_name} netns {far.name}")
        for namespace, name, host in ((near, near_name, 1), (far, far_name, 2)):
            lines = [f"link set {name} up"]
            if 4 in self.families:
                lines.append(f"address add 10.77.{number}.{host}/24 dev {name}")
            if 6 in self.families:
                # nodad: the address works at once.
                lines.append(f"address add fd77:{number}::{host}/64 dev {name} nodad")
            namespace.ip(*lines)

    @staticmethod
    def address(number, host=2, family=4):
        """Of target `number` (from 1), or of the client (0); with `host=1` Weir's own on that link."""
        # As the kernel writes it: link 0 has "fd77::1".
        return f"10.77.{number}.{host}" if family == 4 else str(ipaddress.ip_address(f"fd77:{number}::{host}"))

    def delete(self):
        for namespace in reversed(self._namespaces):
            namespace.delete()


def _run(*arguments, text=None):
    result = subprocess.run(
        arguments, input=text, stdin=None if text is not None else subprocess.DEVNULL, capture_output=True,
        text=True, timeout=30, env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with {result.returncode}: {result.stderr}\n{text or ''}")
    return result.stdout


def why_not():
    """Why this machine has no namespaces for us; None when it has."""
    if os.getuid() != 0:
        return "only root can make network namespaces"
    try:
        namespace = Namespace("probe")
    except (RuntimeError, OSError) as error:
        return f"no network namespace can be made: {error}"
    try:
        with namespace.rules("tcp dport 9 drop"):
            return None
    except (RuntimeError, OSError) as error:
        return f"no nftables in a network namespace: {error}"
    finally:
        namespace.delete()


def delete_leftovers():
    """Namespaces of test runs that were killed."""
    if os.getuid() != 0 or not os.path.isdir("/run/netns"):
        return
    for name in os.listdir("/run/netns"):
        match = re.fullmatch(r"weir-(\d+)-\d+-\w+", name)
        if match and not os.path.exists(f"/proc/{match[1]}"):
            subprocess.run(["ip", "netns", "del", name], stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
