"""Changes while HTTP is served: nobody's request fails because of one."""

import signal
import threading
import time

import pytest

from harness.http import (
    Client, Load, Target, application, ask, fixed, head, http_group, http_listener, request, response, rule, site)
from harness.waiting import eventually

CHECK = {"path": "/", "interval": 2, "timeout": 1, "healthy_threshold": 2, "unhealthy_threshold": 2}


@pytest.fixture
def entrance(port):
    return port()


def slowly(seconds=0.02):
    """Answers after a moment, so that there are always exchanges under way."""
    def answer(request, peer):
        threading.Event().wait(seconds)
        return response(body=b"ok")

    return answer


def named(*names, serve, seconds=0.0):
    def answer(name):
        def act(request, peer):
            if seconds:
                threading.Event().wait(seconds)
            return response(body=name.encode())
        return act

    return [serve(Target(answer(name), name)) for name in names]


def delay(seconds):
    return {"deregistration_delay.timeout_seconds": seconds}


# Targets

def test_deregistration_under_load_fails_no_request(make_weir, serve, entrance):
    targets = named("one", "two", "three", serve=serve, seconds=0.005)
    weir = make_weir(site(entrance, targets, group={"attributes": delay(30)}))
    make = lambda number: ("POST", "/", (), b"x" * (number % 5_000)) if number % 2 else ("GET", "/", (), None)
    with Load(entrance, thread_count=6, make=make, repeats=False) as load:
        load.wait_for(50)
        for turn in range(4):
            gone = targets[turn % 3]
            weir.cli("targets", "deregister", "web", gone.target)
            # What was under way is finished; nothing new comes.
            eventually(lambda: gone.port not in weir.targets("web") or weir.targets("web")[gone.port][
                "health"]["state"] == "draining")
            load.wait_for(30)
            count = len(gone.requests)
            load.wait_for(60)
            assert len(gone.requests) == count, "a deregistered target gets no request"
            weir.cli("targets", "register", "web", gone.target)
            load.wait_for(30)
    load.expect_only(200)


def test_a_request_that_takes_its_time_outlives_its_targets_registration(make_weir, serve, entrance):
    is_open = threading.Event()

    def answer(request, peer):
        peer.send(head("HTTP/1.1 200 OK", [("Content-Length", 10)]) + b"first")
        is_open.wait(20)
        return b"after"

    target = serve(Target(answer))
    weir = make_weir(site(entrance, [target], group={"attributes": delay(30)}))
    with Client(entrance) as client:
        client.send(request())
        client.read_head()
        weir.cli("targets", "deregister", "web", target.target)
        assert ask(entrance).status == 503
        is_open.set()
        assert client.read_exactly(10) == b"firstafter"
    # With its last exchange the target is gone, long before its delay is over.
    eventually(lambda: target.port not in weir.targets("web"), 10)
    target.wait_for_end_of_all()


def test_the_end_of_a_deregistration_delay_cuts_exchanges_off(make_weir, serve, entrance):
    def answer(request, peer):
        peer.send(head("HTTP/1.1 200 OK", [("Content-Length", 10)]) + b"first")
        peer.read_some()

    target = serve(Target(answer))
    weir = make_weir(site(entrance, [target], group={"attributes": delay(1)}))
    with Client(entrance, timeout=10) as client:
        client.send(request())
        client.read_head()
        weir.cli("targets", "deregister", "web", target.target)
        with pytest.raises(ConnectionResetError):
            client.rest()
    target.wait_for_end_of_all()


def test_a_target_that_turns_unhealthy_gets_nothing_new(make_weir, serve, entrance):
    targets = named("one", "two", serve=serve)
    weir = make_weir(site(entrance, targets, group={"check": CHECK}))
    weir.wait_for_states("web", {t.port: "healthy" for t in targets})
    with Load(entrance) as load:
        load.wait_for(50)
        targets[0].stop_listening()
        weir.wait_for_states("web", {targets[0].port: "unhealthy", targets[1].port: "healthy"})
        load.wait_for(50)
        count = len(targets[0].requests)
        load.wait_for(100)
        assert len(targets[0].requests) == count
    load.expect_only(200)


def test_without_targets_it_is_503(make_weir, serve, entrance):
    weir = make_weir(site(entrance, []))
    with Client(entrance) as client:
        for _ in range(3):
            got = client.ask()
            assert (got.status, got.is_persistent, got.get("server")) == (503, True, "weir")
        got = client.ask("POST", body=b"abc")
        assert (got.status, got.is_persistent) == (503, True)


# Rules

def test_rules_change_under_load_without_a_failed_request(make_weir, serve, entrance):
    old, new = named("old", "new", serve=serve, seconds=0.002)

    def config(number):
        group = "new" if number % 2 else "old"
        rules = [rule(n, fixed(404), {"path_pattern": {"values": [f"/none/{n}/{number}/*"]}}) for n in range(1, 20)]
        rules += [rule(100, {"type": "forward", "target_group": group}, {"path_pattern": {"values": ["/a*"]}})]
        return application([http_group("old", [old.target]), http_group("new", [new.target])],
                           [http_listener(entrance, fixed(200, "default"), rules)])

    weir = make_weir(config(0))
    make = lambda number: ("GET", "/a" if number % 3 else "/b", (), None)
    with Load(entrance, make=make, repeats=False) as load:
        for number in range(1, 15):
            load.wait_for(20)
            weir.reload(config(number))
        load.wait_for(100)
        eventually(lambda: ask(entrance, target="/a").body == b"old")
    load.expect_only(200)
    assert old.requests and new.requests


def test_groups_and_listeners_come_and_go_under_load(make_weir, serve, port):
    steady, other = named("steady", "other", serve=serve, seconds=0.002)
    entrance, second = port(), port()

    def config(number):
        groups = [http_group("steady", [steady.target])]
        listeners = [http_listener(entrance, "steady")]
        if number % 2:
            # Before the other one, so that every group and listener changes its place.
            groups.insert(0, http_group(f"other{number}", [other.target]))
            listeners.insert(0, http_listener(second, f"other{number}"))
        return application(groups, listeners)

    weir = make_weir(config(0))
    with Load(entrance, repeats=False) as load:
        for number in range(1, 12):
            load.wait_for(20)
            if number % 2 == 0:
                weir.write(config(number))
                weir.has_changed = True
                weir.cli("apply", weir.config_path, "--prune")
            else:
                weir.reload(config(number))
                eventually(lambda: ask(second).body == b"other")
    load.expect_only(200)


# Ends

def test_sigterm_lets_exchanges_finish_and_takes_no_new_connection(make_weir, serve, entrance):
    is_open = threading.Event()

    def answer(request, peer):
        if request.target == "/slow":
            is_open.wait(20)
        return response(body=b"whole")

    target = serve(Target(answer))
    weir = make_weir(site(entrance, [target], drain_timeout=20))
    idle, busy, between = Client(entrance), Client(entrance), Client(entrance)
    assert idle.ask().status == between.ask().status == 200
    busy.send(request(target="/slow"))
    eventually(lambda: len([p for p in target.peers if not p.has_ended.is_set()]) >= 1 and target.open_count >= 1)
    eventually(lambda: weir.active_tcp_count() == 3)
    weir.baseline_fd_count = None
    weir.process.send_signal(signal.SIGTERM)

    def is_refused():
        try:
            Client(entrance).close()
        except ConnectionRefusedError:
            return True
        return False

    eventually(is_refused, message="nobody listens any more")
    # A request that is on its way just then is answered, and told that it was the last.
    got = between.ask()
    assert (got.status, got.is_persistent) == (200, False)
    assert between.is_ended()
    assert idle.is_ended(5), "who asks nothing is left"
    begin = time.monotonic()
    is_open.set()
    got = busy.read_response()
    assert (got.body, got.is_persistent) == (b"whole", False)
    assert busy.is_ended()
    assert weir.process.wait(10) == 0
    assert time.monotonic() - begin < 8, "it ends with its last connection, not with the drain timeout"
    for client in (idle, busy, between):
        client.close()


def test_sigterm_under_load_fails_no_request(make_weir, serve, entrance):
    target = serve(Target(slowly(0.005)))
    weir = make_weir(site(entrance, [target], drain_timeout=20))
    with Load(entrance, thread_count=6, repeats=False) as load:
        load.wait_for(100)
        weir.baseline_fd_count = None
        weir.process.send_signal(signal.SIGTERM)
        assert weir.process.wait(15) == 0
    failed = [e for e in load.errors if not isinstance(e[2], ConnectionRefusedError)]
    assert not failed, failed[:3]
    assert set(load.statuses) == {200}, load.statuses


def test_an_upgrade_under_load_fails_no_request(make_weir, serve, entrance):
    targets = named("one", "two", serve=serve, seconds=0.003)
    weir = make_weir(site(entrance, targets, upgrade_drain_timeout=30))
    make = lambda number: ("POST", "/", (), bytes(number % 3_000)) if number % 2 else ("GET", "/", (), None)
    with Load(entrance, thread_count=4, make=make, repeats=False) as kept, \
            Load(entrance, thread_count=2, is_kept=False) as fresh:
        for _ in range(2):
            kept.wait_for(50)
            fresh.wait_for(20)
            weir.upgrade()
            kept.wait_for(100)
            fresh.wait_for(40)
        eventually(lambda: all(p.poll() is not None for p in weir.former), 20, "who has handed over ends")
    kept.expect_only(200)
    fresh.expect_only(200)


def test_an_exchange_outlives_an_upgrade(make_weir, serve, entrance):
    is_open = threading.Event()

    def answer(request, peer):
        peer.send(head("HTTP/1.1 200 OK", [("Content-Length", 10)]) + b"first")
        is_open.wait(20)
        return b"after"

    target = serve(Target(answer))
    weir = make_weir(site(entrance, [target], upgrade_drain_timeout=30))
    with Client(entrance) as client:
        client.send(request())
        client.read_head()
        weir.upgrade()
        is_open.set()
        assert client.read_exactly(10) == b"firstafter"
        assert client.is_ended(), "the next request belongs to the new process"
    assert ask(entrance).status == 200


# How long connections last

@pytest.mark.heavy
def test_client_keep_alive_ends_old_connections_with_an_answer(make_weir, serve, entrance):
    target = serve(Target())
    make_weir(site(entrance, [target], attributes={"client_keep_alive.seconds": 60}))
    with Client(entrance) as client:
        begin = time.monotonic()
        while (got := client.ask()).is_persistent:
            assert time.monotonic() - begin < 70
            threading.Event().wait(1)
        assert got.status == 200 and time.monotonic() - begin > 55
        assert client.is_ended()


@pytest.mark.heavy
def test_thousands_of_idle_clients_and_their_requests(make_weir, serve, entrance):
    target = serve(Target())
    weir = make_weir(site(entrance, [target]))
    clients = [Client(entrance) for _ in range(3_000)]
    for turn in range(3):
        for client in clients:
            client.send(request())
        for client in clients:
            assert client.read_response().status == 200
    assert weir.resident_bytes() < 400_000_000
    for client in clients:
        client.close()
    eventually(lambda: weir.active_tcp_count() == 0)


@pytest.mark.heavy
def test_a_soak_of_everything_at_once(make_weir, serve, entrance):
    """Sizes, methods, pipelines, ends and resets in one crowd, seeded; afterwards everything adds up."""
    import random

    target = serve(Target(lambda r, p: response(body=r.body[::-1] if len(r.body) < 1_000_000 else b"large")))
    weir = make_weir(site(entrance, [target]))
    problems = []
    deadline = time.monotonic() + 60

    def run(seed):
        dice = random.Random(seed)
        while time.monotonic() < deadline and not problems:
            try:
                with Client(entrance) as client:
                    client.keeps = False
                    for _ in range(dice.randrange(1, 8)):
                        body = dice.randbytes(dice.choice([0, 1, 100, 5_000, 70_000, 400_000]))
                        action = dice.randrange(12)
                        if action == 0:
                            client.send(request("POST", body=body)[:dice.randrange(1, 200)])
                            if dice.randrange(2):
                                client.reset()
                            break
                        got = client.ask("POST", body=body)
                        if (got.status, got.body) != (200, body[::-1]):
                            problems.append((seed, got.status, len(body), len(got.body)))
            except OSError as error:
                problems.append((seed, repr(error)))

    threads = [threading.Thread(target=run, args=(seed,), daemon=True) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not problems, problems[:5]
    eventually(lambda: weir.active_tcp_count() == 0)
