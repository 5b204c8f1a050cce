"""Which target a flow goes to: weights, stickiness, and what explain says."""

import collections

from harness.clients import ask
from harness.servers import TCPServer, greeting
from harness.weir import configuration, group, listener


def count_names(count, entrance):
    return collections.Counter(ask(entrance) for _ in range(count))


def test_equal_targets_get_equal_shares(make_weir, greeters, port):
    entrance = port()
    make_weir(configuration([group("web", [g.target for g in greeters(3)])], [listener(entrance, "web")]))
    counts = count_names(600, entrance)
    # Five standard deviations of a binomial of 600 at 1/3: 58.
    assert all(abs(counts[name] - 200) < 58 for name in ("one", "two", "three")), counts


def test_targets_get_flows_by_weight(make_weir, greeters, port):
    entrance = port()
    one, two, three = greeters(3)
    targets = [
        {"id": "127.0.0.1", "port": one.port, "weight": 9},
        {"id": "127.0.0.1", "port": two.port, "weight": 1},
        {"id": "127.0.0.1", "port": three.port, "weight": 0},
    ]
    weir = make_weir(configuration([group("web", targets)], [listener(entrance, "web")]))
    counts = count_names(500, entrance)
    assert counts["three"] == 0
    # Five standard deviations of a binomial of 500 at 1/10: 34.
    assert abs(counts["two"] - 50) < 34, counts

    weir.cli("targets", "register", "web", one.target, "--weight", "0")
    assert set(count_names(50, entrance)) == {"two"}
    assert weir.targets("web")[one.port]["weight"] == 0


def test_groups_of_one_action_get_flows_by_weight(make_weir, greeters, port):
    entrance = port()
    one, two = greeters(2)
    make_weir(configuration(
        [group("stable", [one.target]), group("canary", [two.target])],
        [listener(entrance, [("stable", 80), ("canary", 20)])]))
    counts = count_names(500, entrance)
    # Five standard deviations of a binomial of 500 at 1/5: 45.
    assert abs(counts["two"] - 100) < 45, counts


def test_a_sticky_group_keeps_each_client_on_one_target(make_weir, greeters, port):
    entrance = port()
    attributes = {"stickiness.enabled": True, "stickiness.type": "source_ip"}
    make_weir(configuration(
        [group("web", [g.target for g in greeters(4)], attributes=attributes)], [listener(entrance, "web")]))
    seen = set()
    for host in range(2, 42):
        names = {ask(entrance, source=(f"127.0.0.{host}", 0)) for _ in range(5)}
        assert len(names) == 1
        seen |= names
    assert len(seen) == 4


def test_group_stickiness_keeps_each_client_on_one_group(make_weir, greeters, port):
    entrance = port()
    stable, canary = greeters(2), greeters(4)[2:]
    make_weir(configuration(
        [group("stable", [g.target for g in stable]), group("canary", [g.target for g in canary])],
        [listener(entrance, [("stable", 50), ("canary", 50)], stickiness=True)]))
    seen = set()
    for host in range(2, 22):
        names = frozenset(ask(entrance, source=(f"127.0.0.{host}", 0)) for _ in range(12))
        assert names <= {"one", "two"} or names <= {"three", "four"}
        seen.add(names)
    assert any(names <= {"one", "two"} for names in seen) and any(names <= {"three", "four"} for names in seen)


def test_explain_says_where_flows_really_go(make_weir, serve, port):
    entrance = port()
    servers = {s.target: s for s in (serve(TCPServer(greeting, f"target{i}")) for i in range(5))}
    weir = make_weir(configuration(
        [group("left", list(servers)[:3]), group("right", list(servers)[3:])],
        [listener(entrance, [("left", 3), ("right", 2)])]))
    for host in range(2, 26):
        source = (f"127.0.0.{host}", port())
        said = weir.json("explain", f"edge:{entrance}", f"{source[0]}:{source[1]}")
        assert said["steps"], said
        assert servers[said["target"]].name == ask(entrance, source=source), said
        assert said["target_group"] == ("left" if said["target"] in list(servers)[:3] else "right")


def test_explain_of_a_sticky_client_needs_no_port(make_weir, greeters, port):
    entrance = port()
    servers = {g.target: g.name for g in greeters(4)}
    weir = make_weir(configuration(
        [group("web", servers, attributes={"stickiness.enabled": True})], [listener(entrance, "web")]))
    for host in range(2, 12):
        said = weir.json("explain", f"edge:{entrance}", f"127.0.0.{host}")
        assert servers[said["target"]] == ask(entrance, source=(f"127.0.0.{host}", 0))


def test_explain_of_an_unknown_listener_says_which_there_are(make_weir, greeters, port):
    entrance = port()
    weir = make_weir(configuration([group("web", [g.target for g in greeters(1)])], [listener(entrance, "web")]))
    result = weir.cli("explain", f"edge:{port()}", "127.0.0.1:1", check=False)
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_a_configured_seed_chooses_alike_in_every_process(make_weir, greeters, port):
    seed = "000102030405060708090a0b0c0d0e0f"
    targets = [g.target for g in greeters(4)]
    answers = []
    entrance = port()
    for _ in range(2):
        weir = make_weir(configuration(
            [group("web", targets)], [listener(entrance, "web")], hash_seed=seed))
        answers.append([
            weir.json("explain", f"edge:{entrance}", f"192.0.2.1:{p}")["target"] for p in range(1000, 1020)
        ])
        assert weir.stop() == 0
    assert answers[0] == answers[1]
    assert len(set(answers[0])) > 1
