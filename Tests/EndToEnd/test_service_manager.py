"""What Weir tells systemd: sd_notify(3), with the socket that systemd would listen on."""

import os
import socket

import pytest

from harness.weir import configuration, group, listener


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """A bound notification socket, named in the environment of whatever is started."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@weir-test-{os.getpid()}-{id(tmp_path)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name[1:] if name.startswith("@") else name)
        receiver.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield receiver


def test_the_service_manager_hears_of_start_reload_and_end(make_weir, port, manager):
    appliance = make_weir(configuration([group("web", [])], [listener(port(), "web")]))
    assert manager.recv(4096) == b"READY=1"
    appliance.reload()
    reloading = manager.recv(4096).decode().splitlines()
    assert reloading[0] == "RELOADING=1"
    assert reloading[1].startswith("MONOTONIC_USEC=")
    assert manager.recv(4096) == b"READY=1"
    appliance.stop()
    assert manager.recv(4096) == b"STOPPING=1"
