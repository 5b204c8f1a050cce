"""iperf3 both ways: throughput that is not absurd, and nothing lost."""

import json
import subprocess

import pytest

from harness.servers import iperf3_server
from harness.weir import configuration, group, listener


@pytest.mark.slow
@pytest.mark.parametrize("direction", [[], ["--reverse"], ["--bidir"]], ids=["up", "down", "both"])
def test_iperf3(make_weir, serve, directory, port, direction):
    # One target: iperf3's control and data connections must meet.
    server = serve(iperf3_server(directory, port()))
    entrance = port()
    weir = make_weir(configuration([group("iperf", [server.target])], [listener(entrance, "iperf")]))
    result = subprocess.run(
        ["iperf3", "--client", "127.0.0.1", "--port", str(entrance), "--time", "2", "--parallel", "2", "--json",
         *direction],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    report = json.loads(result.stdout)
    assert "error" not in report, report["error"]
    byte_count = report["end"]["sum_received"]["bytes"]
    assert byte_count > 50 << 20
    statistics = weir.statistics()
    assert statistics["client_bytes"] + statistics["target_bytes"] >= byte_count
