"""What an operator does: check, reload, crash, restart, stop, look."""

import contextlib
import os
import pwd
import random
import signal
import socket
import stat
import subprocess
import time

import pytest
import yaml

from harness.clients import Hammer, ask, connect, exchange, udp_client
from harness.servers import UDPServer, receive_line
from harness.waiting import eventually
from harness.weir import ALONE, configuration, group, listener


@pytest.fixture
def edge(make_weir, greeters, port):
    """A Weir in front of `count` greeters: (weir, its port, the greeters)."""

    def make(count=2, start=True, **settings):
        servers = greeters(count)
        entrance = port()
        weir = make_weir(configuration(
            [group("web", [s.target for s in servers])], [listener(entrance, "web")], **settings), start=start)
        return weir, entrance, servers

    return make


def is_alive(client):
    client.sendall(b"alive?")
    return client.recv(6, socket.MSG_WAITALL) == b"alive?"


# Checking a file

BAD = """\
admin: { listen: 127.0.0.1:0 }
workerz: 2
target_groups:
  - name: web
    protocol: TCP
    port: 80
    health_check: { interval: 5, timeout: 9, matcher: nonsense, healthy_threshold: 1 }
    attributes: { stickiness.enabled: maybe }
    targets: [ 127.0.0.1, not-an-address ]
  - name: web
    protocol: TCP
    port: 70000
load_balancers:
  - name: edge
    type: network
    addresses: [127.0.0.1]
    listeners:
      - { port: 80, protocol: TCP, default_action: { type: forward, target_group: wob } }
      - port: 81
        protocol: TCP
        attributes: { tcp.idle_timeout.seconds: 59 }
        default_action: { type: forward, target_group: web }
      - { port: 443, protocol: TLS, default_action: { type: forward, target_group: web } }
"""


def test_check_lists_every_error_with_its_line(make_weir):
    weir = make_weir(configuration([], []), start=False)
    weir.write_text(BAD)
    result = weir.cli("check", weir.config_path, check=False)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    # Line of the file, and words of the error.
    for number, *words in [
        (2, "workerz", "workers"), (7, "timeout", "9", "5"), (7, "matcher", "nonsense"),
        (7, "healthy_threshold", "1", "2"), (8, "stickiness.enabled", "maybe"), (9, "not-an-address"),
        (10, "web", "4"), (12, "70000", "65535"), (18, "wob", "web"), (21, "tcp.idle_timeout.seconds", "60"),
        (23, "certificates is missing", "private_key"),
    ]:
        assert any(f":{number}:" in line and all(word in line for word in words) for line in lines), (
            f"no error in line {number} about {words}:\n{result.stderr}")


def test_check_accepts_the_shipped_examples(make_weir):
    weir = make_weir(configuration([], []), start=False)
    root = os.path.join(os.path.dirname(__file__), "../../config")
    files = [os.path.join(root, name) for name in os.listdir(root) if name.endswith(".yaml")]
    assert files
    for file in files:
        weir.cli("check", file)


@pytest.mark.parametrize("text", ["", "{", "a: [", "- 1\n- 2\n", "\x00", "&a [*a]", "target_groups: 3\n"])
def test_check_survives_what_is_no_configuration(make_weir, text):
    weir = make_weir(configuration([], []), start=False)
    weir.write_text(text)
    result = weir.cli("check", weir.config_path, check=False)
    assert result.returncode == 1 and result.stderr.strip()


def test_run_refuses_a_bad_file_with_all_its_errors(make_weir):
    weir = make_weir(configuration([], []), start=False)
    weir.write_text(BAD)
    weir.launch()
    assert weir.process.wait(10) == 1
    assert "wob" in weir.log() and "70000" in weir.log()


def test_wrong_usage_and_an_unreachable_appliance_have_their_own_status(make_weir, directory):
    weir = make_weir(configuration([], []), start=False)
    assert weir.cli("frobnicate", check=False).returncode == 64
    assert weir.cli("status", "--output", "xml", check=False).returncode == 64
    result = weir.cli("status", check=False, admin=f"unix:{directory}/nobody.sock")
    assert result.returncode == 69
    assert len(result.stderr.strip().splitlines()) == 1


# Starting

def test_a_port_in_use_is_named_with_its_owner_to_blame(make_weir, greeters, port):
    one, two = greeters(2)
    entrance, other = port(), port()
    weir = make_weir(configuration(
        [group("web", [one.target])],
        # Both taken: both are reported.
        [listener(one.port, "web"), listener(two.port, "web"), listener(entrance, "web")]), start=False)
    weir.launch()
    assert weir.process.wait(10) == 1
    log = weir.log()
    assert f"127.0.0.1:{one.port}" in log and f"127.0.0.1:{two.port}" in log and "in use" in log


def test_an_address_of_another_machine_offers_freebind(make_weir, greeters, port):
    config = configuration(
        [group("web", [greeters(1)[0].target])], [listener(port(), "web")], addresses=["192.0.2.7"])
    weir = make_weir(config, start=False)
    weir.launch()
    assert weir.process.wait(10) == 1
    assert "192.0.2.7" in weir.log() and "ip_freebind" in weir.log()
    config["load_balancers"][0]["ip_freebind"] = True
    weir.write(config)
    weir.start()
    assert weir.api("/v1/load-balancers/edge")["addresses"] == ["192.0.2.7"]


@pytest.mark.parametrize("processors, count", [("0", 1), ("0,1", 2)])
def test_one_worker_per_allowed_processor(edge, processors, count):
    if not {int(p) for p in processors.split(",")} <= os.sched_getaffinity(0):
        pytest.skip("this machine has other processors")
    weir, entrance, _ = edge(1, start=False, workers="auto")
    weir.start(prefix=["taskset", "--cpu-list", processors])
    assert weir.api("/v1/status")["worker_count"] == count
    assert ask(entrance) == "one"


def test_the_admin_socket_is_private(edge):
    weir, _, _ = edge()
    assert stat.S_IMODE(os.stat(weir.socket_path).st_mode) == 0o600
    assert weir.stop() == 0
    assert not os.path.exists(weir.socket_path)


def test_the_admin_api_on_a_port(edge, port):
    weir, _, _ = edge(start=False)
    admin = f"127.0.0.1:{port()}"
    weir.launch("--admin", admin)
    eventually(lambda: weir.cli("status", check=False, admin=admin).returncode == 0)
    with socket.create_connection(tuple(admin.split(":"))) as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.")
    assert weir.stop() == 0


# Reading the configuration again

def test_reloading_under_load_fails_no_connection(edge, greeters, port):
    weir, entrance, servers = edge(2)
    extra = port()
    config = weir.config
    with connect(entrance) as live, Hammer(entrance) as hammer:
        receive_line(live)
        hammer.wait_for(100)
        pid = weir.process.pid
        for turn in range(6):
            # A listener comes and goes, a group changes; the listener under load stays.
            listeners = [listener(entrance, "web")] + ([listener(extra, "web")] if turn % 2 == 0 else [])
            groups = [group("web", [s.target for s in servers], connect_timeout=5 + turn)]
            weir.reload(configuration(groups, listeners))
            eventually(lambda: len(weir.api("/v1/listeners")) == len(listeners))
            begin = time.monotonic()
            hammer.wait_for(100, since=begin)
            assert is_alive(live)
        assert weir.process.pid == pid
    assert hammer.errors == []
    assert config["load_balancers"][0]["listeners"][0]["port"] == entrance


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_no_order_of_changes_loses_a_connection(edge, greeters, port, seed):
    """Targets come and go, weights and listeners change, all under load; one target always stays."""
    weir, entrance, servers = edge(4)
    generator = random.Random(seed)
    extra = port()
    with connect(entrance) as live, Hammer(entrance) as hammer:
        receive_line(live)
        begin = time.monotonic()
        while time.monotonic() - begin < 6:
            target = generator.choice(servers[1:]).target
            match generator.randrange(5):
                case 0:
                    weir.cli("targets", "deregister", "web", target, check=False)
                case 1:
                    weir.cli("targets", "register", "web", target, "--weight", generator.randrange(4))
                case 2:
                    # A different set each time, and the listener beside the loaded one comes or goes.
                    listeners = [listener(entrance, "web")] + [listener(extra, "web")] * generator.randrange(2)
                    some = [servers[0], *generator.sample(servers[1:], generator.randrange(4))]
                    weir.reload(configuration([group("web", [s.target for s in some])], listeners))
                case 3:
                    weir.cli("status", "--output", "json")
                case 4:
                    weir.api("/v1/flows")
        # The live flow may have been on a target that the file no longer lists: it drains, and lives.
        assert is_alive(live)
        hammer.wait_for(100, since=time.monotonic())
    assert hammer.errors == []
    assert "rror" not in weir.log().replace("error_count", "")


def test_live_datagram_flows_outlive_a_reload(make_weir, serve, port):
    one, two = serve(UDPServer()), serve(UDPServer())
    entrance, extra = port(), port()
    config = configuration([group("dns", [one.target], "UDP")], [listener(entrance, "dns", "UDP")])
    weir = make_weir(config)
    with udp_client(entrance) as client:
        for turn in range(5):
            # The file lists another target and another listener each time.
            groups = [group("dns", [one.target, two.target][: 1 + turn % 2], "UDP")]
            ports = [entrance, extra][: 1 + turn % 2]
            weir.reload(configuration(groups, [listener(p, "dns", "UDP") for p in ports]))
            for number in range(50):
                message = b"%d/%d" % (turn, number)
                assert exchange(client, message) == message
            eventually(lambda: len(weir.api("/v1/listeners")) == len(ports))
    assert len(two.received) == 0
    assert weir.statistics()["new_flow_count_udp"] == 1


def is_refused(entrance):
    try:
        connect(entrance).close()
    except ConnectionRefusedError:
        return True
    return False


def test_reloading_opens_and_closes_listeners(edge, port):
    weir, entrance, servers = edge(1)
    other = port()
    with connect(entrance) as live:
        receive_line(live)
        weir.reload(configuration([group("web", [s.target for s in servers])], [listener(other, "web")]))
        eventually(lambda: ask(other) == "one")
        eventually(lambda: is_refused(entrance))
        # The listener is gone, its flows are not.
        assert is_alive(live)


def test_what_the_file_no_longer_names_stays_until_it_is_pruned(edge, port):
    weir, entrance, _ = edge(1)
    spare = configuration([group("spare", [])], [listener(port(), "spare")])
    spare["load_balancers"][0]["name"] = "other"
    weir.write(spare)
    weir.cli("apply", weir.config_path)
    weir.has_changed = True
    assert {b["name"] for b in weir.api("/v1/load-balancers")} == {"edge", "other"}
    assert ask(entrance) == "one"
    said = weir.json("apply", weir.config_path, "--prune")
    assert {c["action"] for c in said["changes"]} >= {"delete"}
    assert {b["name"] for b in weir.api("/v1/load-balancers")} == {"other"}
    assert {g["name"] for g in weir.api("/v1/target-groups")} == {"spare"}
    eventually(lambda: is_refused(entrance))


def test_reloading_changes_where_flows_go(edge, greeters):
    weir, entrance, servers = edge(2)
    one, two = servers
    weir.reload(configuration([group("web", [two.target])], [listener(entrance, "web")]))
    eventually(lambda: set(weir.targets("web")) == {two.port})
    assert {ask(entrance) for _ in range(20)} == {"two"}


def test_reloading_an_erroneous_file_changes_nothing(edge):
    weir, entrance, servers = edge(2)
    before = weir.api("/v1/target-groups")
    weir.write_text(BAD)
    weir.reload()
    eventually(lambda: "wob" in weir.log())
    assert {ask(entrance) for _ in range(20)} == {"one", "two"}
    after = weir.api("/v1/target-groups")
    assert [(g["name"], g["port"], g["attributes"]) for g in before] == [
        (g["name"], g["port"], g["attributes"]) for g in after]


def test_reloading_onto_a_taken_port_changes_nothing(edge, greeters, port):
    weir, entrance, servers = edge(2)
    (taken,) = greeters(1)
    weir.reload(configuration(
        [group("web", [servers[0].target])], [listener(entrance, "web"), listener(taken.port, "web")]))
    eventually(lambda: f"{taken.port}" in weir.log() and "in use" in weir.log())
    # All or nothing: the group did not change either.
    assert {ask(entrance) for _ in range(20)} == {"one", "two"}
    assert len(weir.api("/v1/listeners")) == 1


def test_a_dry_run_shows_the_difference_and_makes_none(edge, port):
    weir, entrance, servers = edge(2)
    weir.write(configuration(
        [group("web", [servers[0].target])], [listener(entrance, "web"), listener(port(), "web")]))
    said = weir.json("apply", weir.config_path, "--dry-run")
    assert not said["is_applied"]
    assert {change["action"] for change in said["changes"]} == {"create", "deregister"}
    assert len(weir.targets("web")) == 2 and len(weir.api("/v1/listeners")) == 1
    said = weir.json("apply", weir.config_path)
    assert said["is_applied"]
    assert len(weir.api("/v1/listeners")) == 2
    # The same file again is no change.
    assert weir.json("apply", weir.config_path)["changes"] == []


# Crashing and ending

def test_registrations_survive_a_crash(make_weir, greeters, port):
    servers = greeters(3)
    entrance = port()
    # The file lists no targets, so those registered at runtime are the truth.
    weir = make_weir(configuration([group("web", None)], [listener(entrance, "web")]))
    weir.cli("targets", "register", "web", *[s.target for s in servers], "--weight", "7")
    weir.cli("targets", "deregister", "web", servers[0].target, "--wait")
    weir.kill()
    weir.start()
    targets = weir.targets("web")
    assert set(targets) == {servers[1].port, servers[2].port}
    assert {t["weight"] for t in targets.values()} == {7}
    assert {ask(entrance) for _ in range(30)} == {"two", "three"}


def test_every_acknowledged_registration_survives(make_weir, greeters, port):
    """Killed at any moment, what was acknowledged is there; nothing else is."""
    weir = make_weir(configuration([group("web", None)], [listener(port(), "web")]))
    for turn in range(3):
        acknowledged = set(weir.targets("web"))
        for number in range(5):
            target = 1000 + turn * 100 + number
            weir.cli("targets", "register", "web", f"127.0.0.1:{target}")
            acknowledged.add(target)
        weir.kill()
        weir.start()
        assert set(weir.targets("web")) == acknowledged


def test_memory_keeps_nothing(make_weir, greeters, port):
    weir = make_weir(configuration([group("web", None)], [listener(port(), "web")], state="memory"))
    weir.cli("targets", "register", "web", greeters(1)[0].target)
    weir.kill()
    weir.start()
    assert weir.targets("web") == {}


def test_a_crash_leaves_no_port_and_no_socket_in_the_way(edge):
    weir, entrance, _ = edge(1)
    for _ in range(3):
        with connect(entrance) as client:
            receive_line(client)
            weir.kill()
        weir.start()
        assert ask(entrance) == "one"


def test_sigterm_lets_live_flows_end(edge):
    weir, entrance, _ = edge(1, drain_timeout=30)
    with connect(entrance) as live:
        receive_line(live)
        weir.process.send_signal(signal.SIGTERM)
        eventually(lambda: is_refused(entrance))
        assert weir.is_running and is_alive(live)
        assert weir.api("/v1/status")["is_draining"]
    assert weir.stop() == 0


def test_sigterm_waits_no_longer_than_the_drain_timeout(edge):
    weir, entrance, _ = edge(1, drain_timeout=1)
    with connect(entrance) as live:
        receive_line(live)
        begin = time.monotonic()
        assert weir.stop() == 0
        assert 0.5 < time.monotonic() - begin < 8
        with pytest.raises(ConnectionError):
            if live.recv(1) == b"":
                raise ConnectionError("end of stream")


def test_a_second_sigterm_ends_at_once(edge):
    weir, entrance, _ = edge(1, drain_timeout=300)
    with connect(entrance) as live:
        receive_line(live)
        weir.process.send_signal(signal.SIGTERM)
        eventually(lambda: weir.api("/v1/status")["is_draining"])
        begin = time.monotonic()
        weir.stop()
        assert time.monotonic() - begin < 5


# Looking

def test_metrics_are_what_promtool_accepts(edge):
    weir, entrance, _ = edge(2)
    for _ in range(5):
        ask(entrance)
    eventually(lambda: weir.active_tcp_count() == 0)
    text = weir.metrics()
    result = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stdout + result.stderr
    for name in ("ActiveFlowCount", "NewFlowCount", "ProcessedBytes", "TCP_Client_Reset_Count", "TCP_Target_Reset_Count",
                 "TCP_ELB_Reset_Count", "HealthyHostCount", "UnHealthyHostCount"):
        assert name in text
    line = f'weir_new_flows_total{{load_balancer="edge",transport="tcp"}} 5'
    assert line in text.splitlines(), text


@pytest.mark.parametrize("command", [
    ["status"], ["health"], ["health", "web"], ["targets", "list", "web"], ["target-groups", "list"],
    ["target-groups", "show", "web"], ["load-balancers", "list"], ["load-balancers", "show", "edge"],
    ["listeners", "list"], ["flows"],
], ids=" ".join)
def test_every_view_as_table_json_and_yaml(edge, command):
    weir, entrance, _ = edge(1)
    with connect(entrance) as live:
        receive_line(live)
        table = weir.cli(*command).stdout
        assert table.strip() and "\x1b" not in table
        said = yaml.safe_load(weir.cli(*command, "--output", "yaml").stdout)
        assert shape(weir.json(*command)) == shape(said)


def shape(value):
    """The value without its numbers, which change from one moment to the next."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value]
    return 0 if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def test_bytes_and_flows_add_up_at_every_level(edge):
    weir, entrance, _ = edge(2)
    for _ in range(20):
        with connect(entrance) as client:
            receive_line(client)
            client.sendall(b"x" * 1000)
            assert len(client.recv(1000, socket.MSG_WAITALL)) == 1000
    eventually(lambda: weir.active_tcp_count() == 0)
    (group_description,) = weir.api("/v1/target-groups")
    levels = [weir.statistics(), weir.api(f"/v1/listeners/edge:{entrance}")["statistics"],
              group_description["statistics"]]
    for statistics in levels:
        assert statistics["new_flow_count_tcp"] == 20
        assert statistics["client_bytes"] == 20 * 1000
        assert statistics["target_bytes"] == 20 * (1000 + 4)
        assert statistics["processed_bytes_tcp"] == 20 * 2004
    per_target = [t["statistics"]["new_flow_count_tcp"] for t in group_description["targets"]]
    assert sum(per_target) == 20 and min(per_target) > 0


# Privileges

NET_BIND_SERVICE = 1 << 10


@pytest.mark.skipif(os.getuid() != 0, reason="only root has privileges to drop")
def test_privileges_are_dropped_after_start(edge):
    weir, entrance, _ = edge(1)
    status = weir.process_status()
    assert int(status["CapEff"], 16) & ~NET_BIND_SERVICE == 0
    assert int(status["CapPrm"], 16) & ~NET_BIND_SERVICE == 0
    assert int(status["CapInh"], 16) == 0
    assert int(status["CapBnd"], 16) & ~NET_BIND_SERVICE == 0
    assert status["NoNewPrivs"].strip() == "1"
    # Every thread, not only the first.
    for task in os.listdir(f"/proc/{weir.process.pid}/task"):
        with open(f"/proc/{weir.process.pid}/task/{task}/status") as file:
            text = file.read()
        (effective,) = [line.split()[1] for line in text.splitlines() if line.startswith("CapEff")]
        assert int(effective, 16) & ~NET_BIND_SERVICE == 0, text
    assert ask(entrance) == "one"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_it_runs_as_whom_it_is_told(make_weir, greeters, port, directory):
    nobody = pwd.getpwnam("nobody")
    entrance = port()
    weir = make_weir(configuration(
        [group("web", None)], [listener(entrance, "web")], run_as="nobody"), start=False)
    os.chmod(directory, 0o755)
    os.chown(weir.directory, nobody.pw_uid, nobody.pw_gid)
    weir.start()
    for task in os.listdir(f"/proc/{weir.process.pid}/task"):
        with open(f"/proc/{weir.process.pid}/task/{task}/status") as file:
            text = file.read()
        (uids,) = [line.split()[1:] for line in text.splitlines() if line.startswith("Uid:")]
        assert set(uids) == {str(nobody.pw_uid)}, text
    # It still writes its state.
    (one,) = greeters(1)
    weir.cli("targets", "register", "web", one.target)
    assert ask(entrance) == "one"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a network namespace")
def test_a_port_below_1024_can_still_be_added_after_start(make_weir, directory):
    nobody = pwd.getpwnam("nobody")
    groups = [group("web", None)]
    weir = make_weir(configuration(groups, [listener(80, "web")], run_as="nobody"), start=False)
    os.chmod(directory, 0o755)
    os.chown(weir.directory, nobody.pw_uid, nobody.pw_gid)
    weir.start(prefix=ALONE)
    weir.reload(configuration(groups, [listener(80, "web"), listener(443, "web")], run_as="nobody"))
    eventually(lambda: len(weir.api("/v1/listeners")) == 2)


def test_fewer_descriptors_mean_fewer_flows_and_one_line_says_so(edge):
    weir, entrance, _ = edge(1, start=False)
    weir.start(prefix=["prlimit", "--nofile=2000:2000"])
    warnings = weir.api("/v1/status")["warnings"]
    assert any("2000" in line for line in warnings), warnings
    # More connections than fit: the rest is shed and counted, live ones go on, and it recovers.
    clients = []
    try:
        for _ in range(1_500):
            with contextlib.suppress(ConnectionResetError):
                clients.append(connect(entrance))
        assert receive_line(clients[0]) == b"one\n" and is_alive(clients[0])
        eventually(lambda: weir.statistics()["rejected_flow_count"] > 100)
        assert is_alive(clients[0])
    finally:
        for client in clients:
            client.close()
    eventually(lambda: weir.active_tcp_count() == 0, 20)
    assert ask(entrance) == "one"


def test_it_does_not_spin_when_idle(edge):
    weir, entrance, _ = edge(1)

    def ticks():
        with open(f"/proc/{weir.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    with connect(entrance) as live:
        receive_line(live)
        before, begin = ticks(), time.monotonic()
        eventually(lambda: time.monotonic() - begin > 2, 5)
        # At most a tenth of one core.
        assert ticks() - before < 0.1 * 2 * os.sysconf("SC_CLK_TCK")
        assert is_alive(live)
