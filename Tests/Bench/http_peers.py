"""Weir in application mode and its peers: HTTP in front, HTTP/1.1 to the target, connections kept on both sides.

All forward the same ports of 127.0.0.1 to the same target, with X-Forwarded-For and X-Forwarded-Proto:

    HTTP1    HTTP/1.1
    HTTP2    HTTP/2, in clear text with prior knowledge

With a certificate in the shape both speak TLS as in peers.py, and HTTP2 chooses by ALPN. Nobody logs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from peers import BULK, DESCRIPTORS, ECHO, FLOWS, TARGET_ECHO, Envoy, HAProxy, NGINX, Proxy, Shape, Weir

HTTP1, HTTP2 = ECHO, BULK
TARGET_HTTP = TARGET_ECHO
# The path that the last rule of a shape with rules asks for, and none before it.
LAST_PATH = "/last"


class HTTPProxy(Proxy):
    is_udp_able = False

    def ports(self, shape: Shape) -> set[tuple[str, int]]:
        return {("tcp", HTTP1), ("tcp", HTTP2)}


def application_rules(count: int) -> list[dict]:
    """Of every kind that a request decides, by turns; the load's request meets the last one alone."""
    kinds = [
        lambda n: {"path_pattern": {"values": [f"/service-{n}/*"]}},
        lambda n: {"host_header": {"values": [f"host-{n}.bench.test"]}},
        lambda n: {"http_header": {"http_header_name": "X-Tenant", "values": [f"tenant-{n}"]}},
        lambda n: {"query_string": {"values": [{"key": "shard", "value": str(n)}]}},
        lambda n: {"source_ip": {"values": [f"10.{n // 250}.{n % 250}.0/24"]}},
    ]
    conditions = [kinds[n % len(kinds)](n) for n in range(count - 1)] + [
        {"path_pattern": {"values": [f"{LAST_PATH}/*"]}}]
    return [
        {"priority": n + 1, "conditions": [condition], "actions": [{"type": "forward", "target_group": "target"}]}
        for n, condition in enumerate(conditions)]


@dataclass
class HTTPWeir(HTTPProxy, Weir):
    """In application mode."""

    kind: str = "application"
    protocols: tuple[str, str, str] = ("HTTP", "HTTPS", "HTTP")

    def configuration(self, directory: Path, shape: Shape) -> tuple[str, str]:
        plain, secure, of_group = self.protocols
        tls: dict = {}
        if shape.certificate:
            path = f"{directory}/{shape.certificate}"
            tls = {
                "ssl_policy": "ELBSecurityPolicy-TLS13-1-3-2021-06",
                "certificates": [{"certificate": f"{path}.crt", "private_key": f"{path}.key"}]}
        action = {"type": "forward", "target_group": "target"}
        listeners: list[dict] = [
            {"port": port, "protocol": secure if tls else plain, "default_action": action, **tls}
            for port in (HTTP1, HTTP2)]
        if shape.rules:
            nowhere = {"status_code": "404", "content_type": "text/plain", "message_body": ""}
            listeners[0] |= {
                "rules": application_rules(shape.rules),
                "default_action": {"type": "fixed_response", "fixed_response": nowhere}}
        balancer: dict = {
            "name": "bench", "type": self.kind, "addresses": ["127.0.0.1"], "listeners": listeners}
        if self.kind == "application":
            balancer["attributes"] = {"idle_timeout.timeout_seconds": 600}
        settings = {
            "admin": {"listen": f"unix:{directory}/admin.sock"},
            "state": "memory",
            "workers": 1,
            "drain_timeout": 0,
            "log": {"level": "warning", "format": "text"},
            "limits": {"tcp_flows": FLOWS + 200, "udp_flows": 200},
            "target_groups": [{
                "name": "target", "protocol": of_group, "port": TARGET_HTTP, "health_check": {"enabled": False},
                "targets": ["127.0.0.1"]}],
            "load_balancers": [balancer]}
        return f"{self.name}.yaml", json.dumps(settings, indent=1)

    def command(self, directory: Path) -> list[str]:
        return [self.binary, "run", "--config", str(directory / f"{self.name}.yaml")]


@dataclass
class Network(HTTPWeir):
    """Weir in network mode on the same target, as a yardstick: it forwards bytes and knows no HTTP."""

    name: str = "network"
    kind: str = "network"
    protocols: tuple[str, str, str] = ("TCP", "TLS", "TCP")
    is_http2_able: bool = False


@dataclass
class HTTPHAProxy(HTTPProxy, HAProxy):
    def configuration(self, directory: Path, shape: Shape) -> tuple[str, str]:
        def bind(protocol: str) -> str:
            if not shape.certificate:
                return " proto h2" if protocol == "h2" else ""
            return (
                f" ssl crt {directory}/{shape.certificate}.pem ssl-min-ver TLSv1.3 "
                f"ciphersuites TLS_AES_128_GCM_SHA256 curves X25519 alpn {protocol}")

        scheme = "https" if shape.certificate else "http"
        return "haproxy.cfg", f"""\
global
    nbthread 1
    maxconn {FLOWS + 200}
    maxpipes 64
    tune.pipesize 1048576
    tune.ssl.cachesize 0

defaults
    mode http
    option http-keep-alive
    http-reuse always
    option splice-response
    option forwardfor
    timeout connect 5s
    timeout http-request 10m
    timeout http-keep-alive 10m
    timeout client 10m
    timeout server 10m

listen bench
    bind 127.0.0.1:{HTTP1}{bind("http/1.1")}
    bind 127.0.0.1:{HTTP2}{bind("h2")}
    http-request set-header X-Forwarded-Proto {scheme}
    server target 127.0.0.1:{TARGET_HTTP} pool-purge-delay 10m
"""


@dataclass
class HTTPNGINX(HTTPProxy, NGINX):
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
        many = 1_000_000_000
        return "nginx.conf", f"""\
daemon off;
worker_processes 1;
worker_rlimit_nofile {DESCRIPTORS};
pid {directory}/nginx.pid;
error_log {directory}/nginx.log crit;
events {{
    worker_connections {DESCRIPTORS};
    multi_accept on;
}}
http {{
    access_log off;
    server_tokens off;
    keepalive_requests {many};
    keepalive_timeout 10m;
    client_header_timeout 10m;
    client_body_buffer_size 64k;
    client_max_body_size 0;
    client_body_temp_path {directory}/nginx-body;
    proxy_temp_path {directory}/nginx-proxy;
    fastcgi_temp_path {directory}/nginx-fastcgi;
    uwsgi_temp_path {directory}/nginx-uwsgi;
    scgi_temp_path {directory}/nginx-scgi;
    upstream target {{
        server 127.0.0.1:{TARGET_HTTP};
        keepalive 256;
        keepalive_requests {many};
        keepalive_timeout 10m;
    }}
{tls}    server {{
        listen 127.0.0.1:{HTTP1}{ssl} reuseport backlog=4096;
        listen 127.0.0.1:{HTTP2}{ssl} http2 reuseport backlog=4096;
        location / {{
            proxy_pass http://target;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            # Long answers in few pieces, and never by way of a file.
            proxy_buffers 16 64k;
            proxy_busy_buffers_size 128k;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"""


@dataclass
class HTTPEnvoy(HTTPProxy, Envoy):
    def configuration(self, directory: Path, shape: Shape) -> tuple[str, str]:
        def http(port: int, codec: str, protocol: str) -> dict:
            filters = "type.googleapis.com/envoy.extensions.filters"
            router = {"@type": f"{filters}.http.router.v3.Router", "suppress_envoy_headers": True}
            route = {"match": {"prefix": "/"}, "route": {"cluster": "target", "timeout": "0s"}}
            manager = {
                "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": f"port{port}", "codec_type": codec, "use_remote_address": True,
                # Counts and an identifier that the others have not.
                "generate_request_id": False, "stream_idle_timeout": "600s",
                "common_http_protocol_options": {"idle_timeout": "600s"},
                "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}}
            chain: dict = {"filters": [
                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
            if shape.certificate:
                chain["transport_socket"] = self.tls(directory, shape, [protocol])
            address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
            return {"name": f"port{port}", "address": address, "filter_chains": [chain]}

        bound = {
            "max_connections": DESCRIPTORS, "max_pending_requests": DESCRIPTORS, "max_requests": DESCRIPTORS}
        address = {"socket_address": {"address": "127.0.0.1", "port_value": TARGET_HTTP}}
        settings = {"static_resources": {
            "listeners": [http(HTTP1, "HTTP1", "http/1.1"), http(HTTP2, "HTTP2", "h2")],
            "clusters": [{
                "name": "target", "type": "STATIC", "connect_timeout": "5s",
                "circuit_breakers": {"thresholds": [bound]},
                "load_assignment": {
                    "cluster_name": "target", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}}]}}
        return "envoy.json", json.dumps(settings, indent=1)
