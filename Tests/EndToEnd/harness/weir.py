"""A running Weir: its configuration, its process, its command line and its admin API."""

import copy
import http.client
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess

import yaml

from .accounting import check_own
from .upgrades import AdoptedProcess
from .waiting import eventually

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
BINARY = pathlib.Path(os.environ.get("WEIR_BINARY", REPOSITORY / ".build/debug/weir"))

# A network namespace with nothing but loopback: no route leads anywhere, and every port is free.
ALONE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")

FAST_CHECK = {
    "protocol": "TCP", "interval": 2, "timeout": 1, "healthy_threshold": 2, "unhealthy_threshold": 2,
}
NO_CHECK = {"enabled": False}


class _Dumper(yaml.SafeDumper):
    """Writes shared values out: Weir refuses aliases."""

    def ignore_aliases(self, data):
        return True



def group(name, targets=None, protocol="TCP", port=9, check=NO_CHECK, attributes=None, **more):
    """A target group of the configuration file."""
    result = {"name": name, "protocol": protocol, "port": port, "health_check": dict(check), **more}
    if attributes:
        result["attributes"] = dict(attributes)
    if targets is not None:
        result["targets"] = [t if isinstance(t, dict) else str(t) for t in targets]
    return result


def listener(port, forward, protocol="TCP", stickiness=None, **more):
    """A listener; `forward` is a group's name or a list of (name, weight)."""
    action = {"type": "forward"}
    if isinstance(forward, str):
        action["target_group"] = forward
    else:
        action["forward"] = [{"target_group": name, "weight": weight} for name, weight in forward]
    if stickiness is not None:
        action["stickiness"] = {"enabled": stickiness}
    return {"port": port, "protocol": protocol, "default_action": action, **more}


def configuration(groups, listeners, addresses=("127.0.0.1",), **settings):
    """A whole file with one load balancer, "edge"."""
    edge = {"name": "edge", "type": "network", "addresses": list(addresses), "listeners": list(listeners)}
    return {**settings, "target_groups": list(groups), "load_balancers": [edge]}


class UnixHTTPConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=10):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Weir:
    """One appliance. Its admin API is a Unix socket in `directory`, its state a file there."""

    def __init__(self, binary, directory, config):
        self.binary = str(binary)
        self.directory = str(directory)
        self.config_path = os.path.join(self.directory, "weir.yaml")
        self.log_path = os.path.join(self.directory, "weir.log")
        self.socket_path = os.path.join(self.directory, "admin.sock")
        self.admin = f"unix:{self.socket_path}"
        self.process = None
        # Processes that have handed over; they end by themselves.
        self.former = []
        # True once listeners may have come and gone.
        self.has_changed = False
        # True once targets may have left and taken their counts along.
        self.has_lost_targets = False
        self.start_count = 0
        self.is_in_namespace = False
        # Known while the process is expected to run.
        self.baseline_fd_count = None
        self.write(config)

    # The process

    def write(self, config):
        """Writes the configuration file; the test's own directory is filled in."""
        config = copy.deepcopy(config)
        config.setdefault("admin", {"listen": self.admin})
        config.setdefault("state", os.path.join(self.directory, "state.sqlite"))
        config.setdefault("workers", 2)
        config.setdefault("drain_timeout", 1)
        self.config = config
        self.write_text(yaml.dump(config, Dumper=_Dumper, sort_keys=False))

    def write_text(self, text):
        """Replaced in one step: the process may be reading the file."""
        with open(self.config_path + ".new", "w") as file:
            file.write(text)
        os.replace(self.config_path + ".new", self.config_path)

    def launch(self, *arguments, prefix=(), pass_fds=()):
        """Starts the process, behind the words of `prefix`, without waiting for it to serve."""
        self.start_count += 1
        self.is_in_namespace |= bool(prefix)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*prefix, self.binary, "run", "--config", self.config_path, *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, pass_fds=pass_fds)
        return self

    def start(self, *arguments, prefix=(), pass_fds=()):
        """Starts the process and waits until it serves."""
        self.launch(*arguments, prefix=prefix, pass_fds=pass_fds)
        eventually(self._is_serving, timeout=20, message="Weir serves /healthz")
        self.baseline_fd_count = self.fd_count()
        return self

    def _is_serving(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"Weir ended with {self.process.returncode}:\n{self.log()}")
        status, body = self.request("GET", "/healthz")
        return status == 200

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        try:
            with open(self.log_path, errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def reload(self, config=None):
        """SIGHUP, with another configuration if given. Returns at once."""
        if config is not None:
            self.write(config)
        self.has_changed = True
        self.process.send_signal(signal.SIGHUP)

    def upgrade(self, *arguments):
        """Hands over to a new process, which is the appliance from then on."""
        answer = self.json("upgrade", *arguments)
        self.follow(answer["process_id"])
        return answer

    def follow(self, pid):
        """Another process serves."""
        self.start_count += 1
        self.former.append(self.process)
        self.process = AdoptedProcess(pid)
        eventually(self._is_serving, message="the new process serves /healthz")
        self.baseline_fd_count = self.fd_count()

    def wait_for_former(self, timeout=20):
        """Until every process that has handed over has ended; their exit statuses."""
        return [process.wait(timeout) for process in self.former]

    def stop(self, timeout=20):
        """SIGTERM; returns the exit status."""
        self.baseline_fd_count = None
        if self.is_running:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self):
        """SIGKILL, as a crash would end it."""
        self.baseline_fd_count = None
        for process in [*self.former, self.process]:
            if process.poll() is None:
                process.kill()
            process.wait(10)

    # Its two faces

    def cli(self, *arguments, check=True, timeout=30, admin=None):
        """Runs a command against this appliance; with `check` it must succeed."""
        self.has_lost_targets |= not {"deregister", "apply", "modify", "delete"}.isdisjoint(map(str, arguments))
        self.has_changed |= [str(word) for word in arguments[:2]] in (
            ["listeners", "delete"], ["listeners", "modify"])
        environment = {**os.environ, "WEIR_ADMIN": admin or self.admin, "NO_COLOR": "1"}
        result = subprocess.run(
            [self.binary, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout, env=environment)
        if check:
            assert result.returncode == 0, (
                f"weir {' '.join(map(str, arguments))} ended with {result.returncode}:\n{result.stderr}")
        return result

    def json(self, *arguments):
        return json.loads(self.cli(*arguments, "--output", "json").stdout)

    def request(self, method, path, body=None):
        self.has_lost_targets |= method == "DELETE" or "deregister" in path or "apply" in path
        connection = UnixHTTPConnection(self.socket_path)
        try:
            payload = None if body is None else json.dumps(body)
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, payload, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def api(self, path):
        status, body = self.request("GET", path)
        assert status == 200, f"GET {path}: {status} {body!r}"
        return json.loads(body)

    def metrics(self):
        status, body = self.request("GET", "/metrics")
        assert status == 200
        return body.decode()

    # What it says of itself

    @property
    def is_application(self):
        return any(b.get("type") == "application" for b in self.config["load_balancers"])

    def pooled_connection_count(self):
        """Connections to targets, of exchanges and of none."""
        return sum(g["statistics"]["active_flow_count_tcp"] for g in self.api("/v1/status")["target_groups"])

    def group(self, name):
        return self.api(f"/v1/target-groups/{name}")

    def targets(self, name):
        """By port: the tests give each target a port of its own."""
        return {target["port"]: target for target in self.group(name)["targets"]}

    def states(self, name):
        return {port: target["health"]["state"] for port, target in self.targets(name).items()}

    def wait_for_states(self, name, states, timeout=15):
        return eventually(
            lambda: self.states(name) == states, timeout, f"the targets of {name} are {states}: {self.states(name)}")

    def statistics(self):
        """Those of the load balancer."""
        return self.api("/v1/load-balancers/edge")["statistics"]

    def active_tcp_count(self):
        return sum(b["statistics"]["active_flow_count_tcp"] for b in self.api("/v1/load-balancers"))

    def fd_count(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def cpu_seconds(self):
        """What all its threads have used, to the nanosecond; threads that ended do not count."""
        total = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
        return total / 1e9

    def set_descriptor_limit(self, count=None):
        """Of the running process, which reads its limit only at start; None gives everything back."""
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (hard if count is None else count, hard))

    def counters(self):
        return self.api("/v1/status")["counters"]

    def process_status(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)

    # What must hold after every test

    def check_invariants(self):
        assert self.is_running, f"Weir ended with {self.process.returncode}"
        assert set(self.wait_for_former()) <= {0, -1}, "a process that has handed over ends well"
        eventually(lambda: self.active_tcp_count() == 0, message="every TCP flow has ended")
        eventually(self._descriptors_are_back, message="descriptors are back at the baseline")
        self._check_accounting()
        check_own(self)

    def _descriptors_are_back(self):
        """UDP flows live on until they are idle, and pipes stay in their pool."""
        status = self.api("/v1/status")
        udp = sum(b["statistics"]["active_flow_count_udp"] for b in status["load_balancers"])
        pipes = status["counters"].get("pipes_open", 0)
        # Application mode keeps connections to targets for the next request.
        pooled = self.pooled_connection_count() if self.is_application else 0
        # Probes in flight, admin connections and the store's files come and go.
        allowance = 8 + len([t for g in status["target_groups"] for t in g["targets"]])
        count = self.fd_count()
        limit = self.baseline_fd_count + udp + 2 * pipes + pooled + allowance
        assert count <= limit, f"{count} descriptors, {self.baseline_fd_count} at start, at most {limit} expected"
        return True

    def check_bytes(self, to_targets, to_clients, group=None):
        """What the test knows to have passed is what is counted, at every level and at the targets."""

        def add_up():
            status = self.api("/v1/status")
            groups = [g for g in status["target_groups"] if group in (None, g["name"])]
            levels = {
                "load balancers": [] if group else [b["statistics"] for b in status["load_balancers"]],
                "groups": [g["statistics"] for g in groups],
                "targets": [t["statistics"] for g in groups for t in g["targets"]],
            }
            for level, statistics in levels.items():
                if not statistics:
                    continue
                said = tuple(sum(s[key] for s in statistics) for key in ("client_bytes", "target_bytes"))
                assert said == (to_targets, to_clients), f"{said} at {level}, {(to_targets, to_clients)} passed"
            return True

        eventually(add_up, 5, "bytes add up")

    def _check_accounting(self):
        """One flow is counted once at each level, and what is active is what is listed."""
        eventually(self._bytes_add_up, 5, "bytes add up")
        status = self.api("/v1/status")
        assert status["counters"].get("internal_errors", 0) == 0, status["counters"]
        for balancer in status["load_balancers"]:
            for key, total in balancer["statistics"].items():
                if isinstance(total, dict):
                    continue  # Requests: those that a listener refuses are its own.
                parts = sum(listener["statistics"][key] for listener in balancer["listeners"])
                # What a listener has counted stays in the total when the listener goes.
                assert total == parts or (self.has_changed and total > parts), (
                    f"{key}: {total} at {balancer['name']}, {parts} at its listeners")
            for listener in balancer["listeners"]:
                statistics = listener["statistics"]
                for transport in ("tcp", "udp"):
                    active = statistics[f"active_flow_count_{transport}"]
                    assert 0 <= active <= statistics[f"new_flow_count_{transport}"], listener

    def _bytes_add_up(self):
        """What listeners took and gave is what targets got and gave; it may lag a moment behind traffic."""
        status = self.api("/v1/status")
        for key in ("client_bytes", "target_bytes", "processed_bytes_tcp", "processed_bytes_udp"):
            balancers = sum(b["statistics"][key] for b in status["load_balancers"])
            groups = sum(g["statistics"][key] for g in status["target_groups"])
            # Targets and listeners that left take their counts with them.
            # In application mode some content is read off and reaches no target.
            assert balancers == groups or self.has_changed or (self.is_application and balancers > groups), (
                f"{key}: {balancers} at load balancers, {groups} at target groups")
        for balancer in status["load_balancers"]:
            statistics = balancer["statistics"]
            processed = statistics["processed_bytes_tcp"] + statistics["processed_bytes_udp"]
            assert processed == statistics["client_bytes"] + statistics["target_bytes"], statistics
        return True
