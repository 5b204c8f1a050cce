"""The checks that end every other test, themselves: each wrong count is found."""

import pytest

from harness.accounting import Account, Circumstances, Metrics, Tally, TallyBook, own_problems, server_problems
from harness.clients import ask, connect, exchange, udp_client
from harness.servers import TCPServer, UDPServer, greeting, receive_exactly, receive_line
from harness.waiting import eventually
from harness.weir import FAST_CHECK, configuration, group, listener


def metrics(new=5, active=0, gone=0, target_resets=0, listener_new=None, attempts=None, resets=0, recycled=0,
            errors=0, to_targets=100, to_clients=200, udp_bytes=0, listener_active=None):
    lines = ["# HELP weir_new_flows_total of two load balancers"]

    def add(name, value, **labels):
        text = ",".join(f'{key}="{said}"' for key, said in labels.items())
        lines.append(f"{name}{{{text}}} {value}")

    for balancer, share in (("edge", new), ("other", 0)):
        add("weir_new_flows_total", share, load_balancer=balancer, transport="tcp")
    levels = (("weir", new, active), ("weir_listener", listener_new, listener_active),
              ("weir_target_group", attempts, active))
    for prefix, begun, live in levels:
        if prefix != "weir":
            add(f"{prefix}_new_flows_total", new if begun is None else begun, x="y", transport="tcp")
        add(f"{prefix}_active_flows", active if live is None else live, transport="tcp")
    add("weir_tcp_resets_total", resets, by="elb")
    add("weir_tcp_resets_total", gone, by="client")
    add("weir_listener_tcp_resets_total", gone, by="client")
    add("weir_target_group_tcp_resets_total", target_resets, by="target")
    lines.append(f"weir_worker_recycled_flows_total {recycled}")
    add("weir_target_group_target_connection_errors_total", errors, target_group="web")
    add("weir_target_connection_errors_total", errors, load_balancer="edge")
    add("weir_processed_bytes_total", to_targets, direction="client_to_target")
    add("weir_processed_bytes_total", to_clients, direction="target_to_client")
    add("weir_transport_processed_bytes_total", udp_bytes, transport="udp")
    return Metrics("\n".join(lines) + "\n")


def tally(**changes):
    return Tally(**{"connections": 5, "received": 100, "sent": 200, **changes})


NOBODY = {"tcp": 0, "udp": 0}
CHECKED = Circumstances(has_stream_checks=True)


def test_what_adds_up_is_no_problem():
    assert own_problems(metrics(), NOBODY) == []
    assert own_problems(metrics(new=6, active=1, attempts=8, errors=3), {"tcp": 1, "udp": 0}) == []
    assert own_problems(metrics(gone=2, attempts=3), NOBODY) == []
    assert server_problems(metrics(), tally(), Circumstances()) == []
    assert server_problems(metrics(gone=2), tally(connections=3), Circumstances()) == []
    assert server_problems(metrics(new=6, resets=1, target_resets=1), tally(), Circumstances()) == []
    lossy = tally(datagram_bytes_received=50, datagrams_lost=1)
    assert server_problems(metrics(to_targets=160, udp_bytes=60), lossy, Circumstances()) == []
    assert server_problems(metrics(), tally(connections=9, silent=4, sent=220, sent_to_silent=20), CHECKED) == []


@pytest.mark.parametrize("changes", [
    {"active": 1}, {"listener_active": 1}, {"resets": 6}, {"recycled": 1}, {"attempts": 4}, {"attempts": 6},
    {"listener_new": 4}, {"attempts": 9, "errors": 3}, {"gone": 1}, {"gone": -1, "attempts": 6},
])
def test_a_flow_that_is_counted_wrongly_is_found(changes):
    assert own_problems(metrics(**changes), NOBODY)


@pytest.mark.parametrize("counted, seen, circumstances", [
    ({"new": 6}, {}, Circumstances()),
    ({"new": 4}, {}, Circumstances()),
    ({"new": 4}, {"silent": 0}, CHECKED),
    ({"gone": 1}, {}, Circumstances()),
    ({"new": 7, "errors": 1}, {}, Circumstances()),
    ({"to_targets": 99}, {}, Circumstances()),
    ({"to_targets": 101}, {}, Circumstances()),
    ({"to_clients": 199}, {}, Circumstances()),
    ({"to_clients": 199}, {}, CHECKED),
    ({"to_clients": 201}, {}, CHECKED),
    ({"to_targets": 99, "resets": 1}, {}, Circumstances()),
    ({"to_clients": 201, "resets": 1}, {}, Circumstances()),
    ({"to_targets": 99}, {"unread": 1}, Circumstances(is_whole=False)),
    ({"to_targets": 151, "udp_bytes": 50}, {"datagram_bytes_received": 50}, Circumstances()),
    ({"to_targets": 149, "udp_bytes": 50}, {"datagram_bytes_received": 50, "datagrams_lost": 1}, Circumstances()),
])
def test_a_byte_or_flow_that_servers_did_not_see_is_found(counted, seen, circumstances):
    assert server_problems(metrics(**counted), tally(**seen), circumstances)


def test_a_book_tells_probes_by_their_user_agent_and_silence_by_itself():
    book = TallyBook()
    for parts in ([b"GET / HTTP/1.1\r\nUser-", b"Agent: Weir-HealthChecker/1.0\r\n\r\n"], [b"hello", b""], [b""]):
        account = Account()
        book.open(account)
        account.sent = 7
        for part in parts:
            account.note_received(part)
        if parts != [b""]:
            book.close(account)
    assert book.total() == Tally(
        connections=2, open_connections=1, received=5, sent=14, silent=1, sent_to_silent=7)


@pytest.mark.parametrize("check", [None, FAST_CHECK])
def test_the_harness_counts_what_it_serves(make_weir, serve, port, check):
    """Both transports through one Weir: the servers' own counts are the test's."""
    server, echo = serve(TCPServer(greeting, "one")), serve(UDPServer())
    entrance, datagrams = port(), port()
    weir = make_weir(configuration(
        [group("web", [server.target], **({"check": check} if check else {})), group("dns", [echo.target], "UDP")],
        [listener(entrance, "web"), listener(datagrams, "dns", "UDP")]))
    assert ask(entrance) == "one"
    with connect(entrance) as client:
        receive_line(client)
        client.sendall(b"x" * 1000)
        receive_exactly(client, 1000)
    with udp_client(datagrams) as client:
        assert exchange(client, b"y" * 50) == b"y" * 50
    eventually(lambda: server.tally().open_connections == 0)
    said = server.tally()
    assert (said.received, said.sent - said.sent_to_silent) == (1000, 1004), said
    assert said.connections - said.silent == 1 and said.silent >= 1 and said.unread == 0, said
    assert echo.tally() == Tally(datagram_bytes_received=50, datagram_bytes_sent=50)
    weir.check_bytes(1050, 1058)
