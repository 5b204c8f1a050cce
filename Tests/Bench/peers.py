"""Weir, its peers and the floor: how each is configured for this benchmark, by whom knows it well.

All forward the same ports of 127.0.0.1 to the same targets:

    TCP ECHO, TCP BULK    to echo and bulk targets
    UDP DATAGRAMS         long flows, many datagrams each
    UDP QUESTIONS         flows of one datagram and its answer

HTTP is in http_peers.py. With a certificate in the shape both TCP ports speak TLS with clients, and plainly with the targets as before:
TLS 1.3 alone, X25519, TLS_AES_128_GCM_SHA256, stateless tickets.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ECHO, BULK, DATAGRAMS, QUESTIONS = 8000, 8001, 8002, 8003
TARGET_ECHO, TARGET_BULK = 9000, 9001
# Further listeners of the growth rows, all to the echo target.
FURTHER = 10_000

DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
# A proxied connection takes two descriptors; some are left for all else.
FLOWS = min(20_000, (DESCRIPTORS - 2_000) // 2)


@dataclass(frozen=True)
class Shape:
    """What a measurement asks of the proxy beyond the ordinary. Peers are asked for the certificate alone."""

    workers: int = 1
    targets: int = 1
    listeners: int = 1
    # Which side gets the descriptors.
    for_datagrams: bool = False
    # The TCP ports present the certificate of this name: NAME.crt, NAME.key, and both in NAME.pem.
    certificate: str = ""
    # HTTP, by the proxies of http_peers.py; and how many rules the first listener has.
    is_http: bool = False
    rules: int = 0


# Names for `Shape.certificate`, and what openssl-req(1) makes a key of.
CERTIFICATES = {
    "ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "rsa": ["rsa:2048"],
}


def make_certificates(directory: Path) -> None:
    """Signed by themselves, for the one name that tls_load asks for; the keys for the owner's eyes alone."""
    for name, key in CERTIFICATES.items():
        paths = [directory / f"{name}.{ending}" for ending in ("key", "crt", "pem")]
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", *key, "-nodes", "-days", "2", "-subj", "/CN=bench.test",
             "-addext", "subjectAltName=DNS:bench.test", "-keyout", str(paths[0]), "-out", str(paths[1])],
            check=True, capture_output=True, umask=0o077)
        paths[2].touch(mode=0o600)
        paths[2].write_text(paths[1].read_text() + paths[0].read_text())


class Proxy:
    name = ""
    is_udp_able = True
    is_tls_able = True
    is_http2_able = True

    def ports(self, shape: Shape) -> set[tuple[str, int]]:
        """What listens once it is ready."""
        found = {("tcp", ECHO), ("tcp", BULK)}
        if self.is_udp_able:
            found |= {("udp", DATAGRAMS), ("udp", QUESTIONS)}
        return found | {("tcp", FURTHER + n) for n in range(shape.listeners - 1)}

    def configuration(self, directory: Path, shape: Shape) -> tuple[str, str]:
        """File name and text."""
        raise NotImplementedError

    def command(self, directory: Path) -> list[str]:
        raise NotImplementedError

    def version(self) -> str:
        raise NotImplementedError


def first_version(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+[\w.+~-]*", result.stdout + result.stderr)
    return found.group() if found else "unknown"


@dataclass
class Weir(Proxy):
    binary: str
    name: str = "weir"

    def configuration(self, directory: Path, shape: Shape) -> tuple[str, str]:
        def group(name: str, protocol: str, port: int, count: int = 1) -> dict:
            targets = ["127.0.0.1"] + [f"127.1.{n // 250}.{1 + n % 250}" for n in range(count - 1)]
            return {
                "name": name, "protocol": protocol, "port": port, "health_check": {"enabled": False},
                "targets": targets}

        def listener(port: int, protocol: str, group: str, **more) -> dict:
            action = {"type": "forward", "target_group": group}
            return {"port": port, "protocol": protocol, "default_action": action, **more}

        tls: dict = {}
        if shape.certificate:
            path = f"{directory}/{shape.certificate}"
            tls = {
                "ssl_policy": "ELBSecurityPolicy-TLS13-1-3-2021-06",
                "certificates": [{"certificate": f"{path}.crt", "private_key": f"{path}.key"}]}
        protocol = "TLS" if tls else "TCP"
        listeners = [
            listener(ECHO, protocol, "echo", **tls), listener(BULK, protocol, "bulk", **tls),
            listener(DATAGRAMS, "UDP", "datagrams"), listener(QUESTIONS, "UDP", "datagrams")]
        listeners += [listener(FURTHER + n, "TCP", "echo") for n in range(shape.listeners - 1)]
        few = 200
        settings = {
            "admin": {"listen": f"unix:{directory}/admin.sock"},
            "state": "memory",
            "workers": shape.workers,
            "drain_timeout": 0,
            "log": {"level": "warning", "format": "text"},
            "limits": {
                "tcp_flows": few if shape.for_datagrams else FLOWS + few,
                "udp_flows": FLOWS if shape.for_datagrams else few},
            "target_groups": [
                group("echo", "TCP", TARGET_ECHO, shape.targets), group("bulk", "TCP", TARGET_BULK),
                group("datagrams", "UDP", TARGET_ECHO)],
            "load_balancers": [
                {"name": "bench", "type": "network", "addresses": ["127.0.0.1"], "listeners": listeners}]}
        # JSON is YAML.
        return "weir.yaml", json.dumps(settings, indent=1)

    def command(self, directory: Path) -> list[str]:
        return [self.binary, "run", "--config", str(directory / "weir.yaml")]

    def version(self) -> str:
        return first_version(self.binary, "--version")


@dataclass
class Floor(Proxy):
    binary: str
    name: str = "floor"
    is_tls_able: bool = False

    def configuration(self, directory: Path, shape: Shape) -> tuple[str, str]:
        return "floor.arguments", " ".join(self.command(directory)[1:])

    def command(self, directory: Path) -> list[str]:
        return [
            self.binary, f"tcp:{ECHO}:{TARGET_ECHO}", f"tcp:{BULK}:{TARGET_BULK}", f"udp:{DATAGRAMS}:{TARGET_ECHO}",
            f"udp:{QUESTIONS}:{TARGET_ECHO}"]

    def version(self) -> str:
        return "Tests/Bench/floor.c"


@dataclass
class HAProxy(Proxy):
    name: str = "haproxy"
    is_udp_able: bool = False

    def configuration(self, directory: Path, shape: Shape) -> tuple[str, str]:
        tls = (
            f" ssl crt {directory}/{shape.certificate}.pem ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256 "
            "curves X25519" if shape.certificate else "")
        # Without splicing bulk costs a third less in pieces of 256 KiB, as with nginx; all else costs the same, and
        # idle flows have no buffer.
        pieces = "\n    tune.bufsize 262144" if shape.certificate else ""
        return "haproxy.cfg", f"""\
global
    nbthread 1
    maxconn {FLOWS + 200}
    maxpipes 64
    tune.pipesize 1048576
    # With tickets it would be written at each handshake and never read.
    tune.ssl.cachesize 0{pieces}

defaults
    mode tcp
    option splice-auto
    timeout connect 5s
    timeout client 10m
    timeout server 10m

listen echo
    bind 127.0.0.1:{ECHO}{tls}
    server target 127.0.0.1:{TARGET_ECHO}

listen bulk
    # "auto" splices next to nothing here, and costs three times as much.
    option splice-request
    option splice-response
    bind 127.0.0.1:{BULK}{tls}
    server target 127.0.0.1:{TARGET_BULK}
"""

    def command(self, directory: Path) -> list[str]:
        return ["haproxy", "-db", "-f", str(directory / "haproxy.cfg")]

    def version(self) -> str:
        return first_version("haproxy", "-v")


@dataclass
class NGINX(Proxy):
    name: str = "nginx"

    def configuration(self, directory: Path, shape: Shape) -> tuple[str, str]:
        path = f"{directory}/{shape.certificate}"
        tls = f"""\
    ssl_certificate {path}.crt;
    ssl_certificate_key {path}.key;
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    ssl_ecdh_curve X25519;
""" if shape.certificate else ""
        ssl = " ssl" if tls else ""
        return "nginx.conf", f"""\
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
worker_processes 1;
worker_rlimit_nofile {DESCRIPTORS};
pid {directory}/nginx.pid;
error_log {directory}/nginx.log crit;
events {{
    worker_connections {DESCRIPTORS};
    multi_accept on;
}}
stream {{
    access_log off;
    proxy_timeout 10m;
{tls}    server {{
        listen 127.0.0.1:{ECHO}{ssl} reuseport backlog=4096;
        proxy_pass 127.0.0.1:{TARGET_ECHO};
    }}
    server {{
        listen 127.0.0.1:{BULK}{ssl} reuseport backlog=4096;
        proxy_buffer_size 256k;
        proxy_pass 127.0.0.1:{TARGET_BULK};
    }}
    server {{
        listen 127.0.0.1:{DATAGRAMS} udp reuseport rcvbuf=4m;
        proxy_pass 127.0.0.1:{TARGET_ECHO};
    }}
    server {{
        listen 127.0.0.1:{QUESTIONS} udp reuseport rcvbuf=4m;
        proxy_responses 1;
        proxy_pass 127.0.0.1:{TARGET_ECHO};
    }}
}}
"""

    def command(self, directory: Path) -> list[str]:
        return ["nginx", "-c", f"{directory}/nginx.conf", "-p", str(directory), "-e", f"{directory}/nginx.log"]

    def version(self) -> str:
        return first_version("nginx", "-v")


@dataclass
class Envoy(Proxy):
    binary: str
    name: str = "envoy"

    def configuration(self, directory: Path, shape: Shape) -> tuple[str, str]:
        def address(port: int, **more) -> dict:
            return {"socket_address": {"address": "127.0.0.1", "port_value": port, **more}}

        def cluster(name: str, port: int) -> dict:
            bound = {"max_connections": DESCRIPTORS, "max_pending_requests": DESCRIPTORS}
            endpoint = {"endpoint": {"address": address(port)}}
            return {
                "name": name, "type": "STATIC", "connect_timeout": "5s",
                "circuit_breakers": {"thresholds": [bound]},
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}}

        def tcp(name: str, port: int) -> dict:
            kind = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
            proxy = {"@type": kind, "stat_prefix": name, "cluster": name, "idle_timeout": "600s"}
            chain = {"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]}
            if shape.certificate:
                chain["transport_socket"] = self.tls(directory, shape)
            return {"name": name, "address": address(port), "filter_chains": [chain]}

        def udp(name: str, port: int, idle_timeout: str) -> dict:
            filters = "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3"
            route = {"@type": f"{filters}.Route", "cluster": "echo"}
            action = {"name": "route", "typed_config": route}
            proxy = {
                "@type": f"{filters}.UdpProxyConfig", "stat_prefix": name, "idle_timeout": idle_timeout,
                "matcher": {"on_no_match": {"action": action}}}
            return {
                "name": name, "address": address(port, protocol="UDP"),
                "listener_filters": [{"name": "envoy.filters.udp_listener.udp_proxy", "typed_config": proxy}]}

        settings = {"static_resources": {
            "listeners": [
                tcp("echo", ECHO), tcp("bulk", BULK), udp("datagrams", DATAGRAMS, "60s"),
                udp("questions", QUESTIONS, "0.2s")],
            "clusters": [cluster("echo", TARGET_ECHO), cluster("bulk", TARGET_BULK)]}}
        return "envoy.json", json.dumps(settings, indent=1)

    @staticmethod
    def tls(directory: Path, shape: Shape, protocols: list[str] | None = None) -> dict:
        """The transport socket of a listener; with protocols for ALPN."""
        kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
        path = f"{directory}/{shape.certificate}"
        # It has no choice of ciphers in TLS 1.3: the client's one decides.
        common: dict = {
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3",
                "ecdh_curves": ["X25519"]},
            "tls_certificates": [{
                "certificate_chain": {"filename": f"{path}.crt"}, "private_key": {"filename": f"{path}.key"}}]}
        if protocols:
            common["alpn_protocols"] = protocols
        return {
            "name": "envoy.transport_sockets.tls", "typed_config": {"@type": kind, "common_tls_context": common}}

    def command(self, directory: Path) -> list[str]:
        return [
            self.binary, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error",
            "-c", str(directory / "envoy.json")]

    def version(self) -> str:
        return first_version(self.binary, "--version")
