"""The admin API under hostile and careless clients: it refuses, it stays up, and it takes nothing from traffic."""

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time

import pytest

from harness.clients import ask, connect
from harness.servers import TCPServer
from harness.waiting import eventually
from harness.weir import configuration, group, listener

TOKEN = "0123456789abcdef0123456789abcdef"


def echo(connection, server):
    while data := connection.recv(65_536):
        connection.sendall(data)


@pytest.fixture
def open_weir(make_weir, greeters, port, directory):
    """A Weir whose admin API other machines can reach: (weir, port of the API)."""
    admin = port()
    token_file = directory / "token"
    token_file.write_text(TOKEN + "\n")
    servers = greeters(2)
    weir = make_weir(
        configuration(
            [group("web", [servers[0].target])], [listener(port(), "web")],
            admin={"listen": f"0.0.0.0:{admin}", "token_file": str(token_file)}),
        start=False)
    weir.launch()
    weir.second_target = servers[1].target

    def serves():
        assert weir.is_running, weir.log()
        return call(admin, "GET", "/healthz")[0] == 200

    eventually(serves, timeout=20, message="the admin API serves")
    return weir, admin


def call(port, method, path, body=None, token=None, source=None, headers=()):
    """One request on a connection of its own: (status, report or text, headers)."""
    client = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=20, source_address=(source, 0) if source else None)
    try:
        fields = dict(headers)
        if token is not None:
            fields["Authorization"] = f"Bearer {token}"
        if body is not None:
            fields.setdefault("Content-Type", "application/json")
        client.request(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body), fields)
        response = client.getresponse()
        text = response.read()
        is_json = response.headers.get("Content-Type") == "application/json"
        return response.status, json.loads(text) if is_json and text else text, response.headers
    finally:
        client.close()


# Who may ask

CHANGES = [
    ("/v1/target-groups/web/targets", {"targets": [{"id": "127.0.0.1:9"}]}),
    ("/v1/target-groups/web/targets/deregister", {"targets": [{"id": "127.0.0.1"}]}),
    ("/v1/apply", {"configuration": "target_groups: []", "dry_run": False, "prune": True}),
]


@pytest.mark.parametrize("listen", ["0.0.0.0:{}", "[::]:{}"])
@pytest.mark.parametrize("token", [None, "", "short", "with a space in its middle", "\u00e9" * 20])
def test_an_open_address_needs_a_token_that_cannot_be_guessed(make_weir, port, directory, listen, token):
    admin = {"listen": listen.format(port())}
    if token is not None:
        (directory / "token").write_text(token)
        admin["token_file"] = str(directory / "token")
    weir = make_weir(configuration([group("web")], [listener(port(), "web")], admin=admin), start=False)
    weir.launch()
    assert weir.process.wait(10) == 1
    assert "token_file" in weir.log()


@pytest.mark.parametrize("token", [None, "", TOKEN[:-1], TOKEN + "0", TOKEN.upper()])
def test_no_change_without_the_token(open_weir, token):
    weir, admin = open_weir
    before = call(admin, "GET", "/v1/status", token=TOKEN)[1]["target_groups"][0]
    for path, body in CHANGES:
        status, report, _ = call(admin, "POST", path, body, token)
        assert status in (401, 429) and report["code"] in ("UnrecognizedClientException", "Throttling")
    after = call(admin, "GET", "/v1/status", token=TOKEN)[1]["target_groups"][0]
    assert [t["id"] for t in after["targets"]] == [t["id"] for t in before["targets"]]
    assert after["target_count"] == before["target_count"] == 1


def test_guessing_is_refused_and_locks_nobody_out(open_weir):
    weir, admin = open_weir
    statuses = [call(admin, "GET", "/v1/status", token=f"guess{n}")[0] for n in range(40)]
    assert set(statuses) == {401, 429} and statuses[0] == 401
    status, report, headers = call(admin, "GET", "/v1/status", token="guess")
    assert status == 429 and 1 <= int(headers["Retry-After"]) <= 3 and report["code"] == "Throttling"
    # The operator behind the same address, and somebody mistaken at another one.
    assert call(admin, "GET", "/v1/status", token=TOKEN)[0] == 200
    assert call(admin, "GET", "/v1/status", token="guess", source="127.0.0.9")[0] == 401
    change = {"targets": [{"id": weir.second_target}]}
    assert call(admin, "POST", "/v1/target-groups/web/targets", change, TOKEN)[0] == 200


# What they may send

def raw(port, data, timeout=40):
    """Sends bytes and returns all that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        try:
            client.sendall(data)
        except OSError:
            # It has seen enough and closed.
            pass
        answer = b""
        try:
            while part := client.recv(65_536):
                answer += part
        except ConnectionResetError:
            pass
        return answer


def test_bodies_beyond_their_bounds(open_weir):
    _, admin = open_weir
    path = "/v1/target-groups/web/targets"
    assert call(admin, "POST", path, b" " * 70_000, TOKEN)[0] == 413
    assert call(admin, "POST", "/v1/apply", b" " * (9 << 20), TOKEN)[0] == 413
    for body in (b"[" * 60_000, b'{"targets":' * 5_000, b'{"a":[' * 9 + b"]}" * 9, b"\xff\xfe", b"{}", b"null"):
        status, report, _ = call(admin, "POST", path, body, TOKEN)
        assert status == 400 and report["message"].endswith(".")
    many = {"targets": [{"id": f"10.0.{n // 250}.{n % 250 + 1}"} for n in range(1_001)]}
    assert call(admin, "POST", path, many, TOKEN)[0] == 400
    # Not a number that fits, a port that is none, a name in several lines.
    for target in ({"id": "10.0.0.1", "port": 1 << 70}, {"id": "10.0.0.1", "weight": 1e300}, {"id": "a\nb"}):
        assert call(admin, "POST", path, {"targets": [target]}, TOKEN)[0] == 400
    assert call(admin, "GET", "/v1/status", token=TOKEN)[0] == 200


def test_slow_clients_have_deadlines_and_hold_up_nobody(open_weir):
    """Heads and bodies that drip, and an answer that is not taken, in more connections than there are places."""
    _, admin = open_weir
    head = f"Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    post = b"POST /v1/apply HTTP/1.1\r\n" + head + b"Content-Type: application/json\r\nContent-Length: 99999\r\n\r\n"
    begun = time.monotonic()
    slow = {}
    for number in range(90):
        client = socket.create_connection(("127.0.0.1", admin), timeout=60)
        client.sendall((b"GET /v1/status HTTP/1.1\r\nX: ", post, b"")[number % 3])
        slow[client] = number % 3
    # Everybody else is served at once, by a connection for each request.
    for _ in range(20):
        assert call(admin, "GET", "/v1/status", token=TOKEN)[0] == 200
    waiting = dict(slow)

    def drip():
        for client in list(waiting):
            try:
                if waiting[client] < 2:
                    client.sendall(b"a")
                client.setblocking(False)
                if client.recv(4_096, socket.MSG_PEEK) == b"":
                    del waiting[client]
                elif waiting[client] == 1:
                    assert client.recv(4_096).startswith(b"HTTP/1.1 408 ")
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                del waiting[client]
            finally:
                client.setblocking(True)
        return not waiting

    eventually(drip, timeout=60, message="every slow connection is closed")
    assert time.monotonic() - begun < 45
    for client in slow:
        client.close()
    assert call(admin, "GET", "/v1/status", token=TOKEN)[0] == 200


def test_silent_crowds_lock_nobody_out(open_weir):
    _, admin = open_weir
    crowd = [socket.create_connection(("127.0.0.1", admin), timeout=20) for _ in range(400)]
    for _ in range(10):
        assert call(admin, "GET", "/v1/status", token=TOKEN)[0] == 200
    for client in crowd:
        client.close()


def test_bytes_that_are_no_request(open_weir):
    """Every beginning of a request, requests with any one byte exchanged, and pure noise: never a crash."""
    weir, admin = open_weir
    good = (
        f"POST /v1/target-groups/web/targets?x=%20 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Type: application/json\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        "2\r\n{}\r\n0\r\n\r\n").encode()
    pid = weir.process.pid
    for count in range(0, len(good), 7):
        client = socket.create_connection(("127.0.0.1", admin), timeout=20)
        client.sendall(good[:count])
        client.close()
    for index in range(0, len(good) - 20, 3):
        for byte in (0, 10, 32, 0xFF):
            data = good[:index] + bytes([byte]) + good[index + 1:]
            with socket.create_connection(("127.0.0.1", admin), timeout=20) as client:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                answer = client.recv(4_096)
            # A change that went through would have said 200; this body names no target.
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), (index, byte, answer)
    for seed in range(50):
        noise = os.urandom(200)
        with socket.create_connection(("127.0.0.1", admin), timeout=20) as client:
            client.sendall(noise)
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(4_096)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), (seed, noise, answer)
    assert weir.process.pid == pid and weir.is_running
    assert call(admin, "GET", "/v1/status", token=TOKEN)[0] == 200


# What they may take from traffic

FLOW_COUNT = 3_000
PATHS = [
    "/metrics", "/v1/status", "/v1/flows?limit=10000", "/v1/load-balancers", "/v1/listeners", "/v1/target-groups",
    "/v1/target-groups/echo", "/v1/target-groups/echo/targets", "/v1/load-balancers/edge", "/healthz",
]

# Asks for everything, over and over, until it is killed; or only burns as much time, for comparison.
HAMMER = r"""
import json, socket, sys, time
path, paths = sys.argv[1], sys.argv[2:]
def ask(path, target):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    client.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    size = 0
    first = client.recv(65536)
    assert first.startswith(b"HTTP/1.1 200 ") or first.startswith(b"HTTP/1.1 503 "), first
    while client.recv(262144):
        pass
print("ready", flush=True)
while True:
    for target in paths:
        if path:
            ask(path, target)
        else:
            deadline = time.monotonic() + 0.001
            while time.monotonic() < deadline:
                pass
"""


def ping_pong(client, count):
    """Round trips in seconds, sorted."""
    times = []
    for number in range(count):
        data = number.to_bytes(8, "big")
        begun = time.perf_counter()
        client.sendall(data)
        assert client.recv(8, socket.MSG_WAITALL) == data
        times.append(time.perf_counter() - begun)
    return sorted(times)


def test_hammering_the_api_holds_up_no_flow(make_weir, serve, port):
    """Compared with the same ping-pong beside as many processes that only burn time: two cores are all there is."""
    target = serve(TCPServer(echo, "echo"))
    entrance = port()
    weir = make_weir(configuration([group("echo", [target.target])], [listener(entrance, "echo")]))
    flows = [connect(entrance) for _ in range(FLOW_COUNT)]
    eventually(lambda: len(weir.api("/v1/flows?limit=10000")["flows"]) >= FLOW_COUNT, timeout=30)

    def measure(arguments):
        processes = [
            subprocess.Popen([sys.executable, "-c", HAMMER, *arguments], stdout=subprocess.PIPE)
            for _ in range(4)
        ]
        try:
            for process in processes:
                assert process.stdout.readline() == b"ready\n"
            times = ping_pong(flows[0], 1_500)
            assert all(process.poll() is None for process in processes), "the API answered every request"
            return times
        finally:
            for process in processes:
                process.kill()
                process.wait()

    # The better of two each: what the API does to flows it does every time, what others do comes and goes.
    burnt = [measure(["", *PATHS]) for _ in range(2)]
    hammered = [measure([weir.socket_path, *PATHS]) for _ in range(2)]

    def percentile(runs, share):
        return min(times[int(len(times) * share)] for times in runs)

    for share in (0.5, 0.99):
        allowed = percentile(burnt, share) * 4 + 0.005
        assert percentile(hammered, share) < allowed, f"{share}: {percentile(hammered, share)} s"
    # One turn that went through all flows for everybody at once would stand out here.
    assert min(times[-1] for times in hammered) < min(times[-1] for times in burnt) * 4 + 0.05
    for client in flows:
        client.close()
