"""Listeners and rules of application load balancers from the command line: check, apply, change, explain, restart."""

import http.client
import pathlib

import pytest

from harness.weir import group

CONFIG = pathlib.Path(__file__).parents[2] / "config"


@pytest.fixture
def site(make_weir, port):
    """A Weir with one HTTP listener that answers by itself: (weir, its port)."""
    entrance = port()
    weir = make_weir({
        "target_groups": [group("web", ["127.0.0.1:9"], "HTTP", 80), group("raw", ["127.0.0.1:9"])],
        "load_balancers": [{
            "name": "edge", "type": "application", "addresses": ["127.0.0.1"], "listeners": [{
                "port": entrance, "protocol": "HTTP",
                "default_action": {"type": "fixed_response", "fixed_response": {
                    "status_code": "404", "content_type": "text/plain", "message_body": "default"}}}]}]})
    return weir, entrance


def answer(code, body):
    return ["--fixed-response", code, "--content-type", "text/plain", "--message-body", body]


def get(port, path, host="a.example.com"):
    """(status, body)"""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_the_shipped_example_is_valid(make_weir):
    weir = make_weir({"load_balancers": []}, start=False)
    said = weir.cli("check", CONFIG / "application.yaml").stdout
    assert "is valid: 1 load balancer" in said


def test_a_wrong_rule_is_named_with_its_line(make_weir, directory):
    text = (CONFIG / "application.yaml").read_text()
    wrong = text.replace("path_pattern: { values", "path_patern: { values").replace("HTTP_301", "HTTP_307")
    file = directory / "wrong.yaml"
    file.write_text(wrong)
    weir = make_weir({"load_balancers": []}, start=False)
    result = weir.cli("check", file, check=False)
    assert result.returncode == 1
    line = 1 + wrong.splitlines().index(next(line for line in wrong.splitlines() if "path_patern" in line))
    assert f'{file}:{line}: load_balancers[0] "site": listeners[1]: rules[0]: unknown key' in result.stderr
    assert 'did you mean "path_pattern"?' in result.stderr
    assert "status_code" in result.stderr


def test_rules_are_followed_as_soon_as_they_are_confirmed(site):
    weir, port = site
    name = f"edge:{port}"
    assert get(port, "/a") == (404, "default")
    weir.cli("rules", "create", name, "--priority", 20, "--path-pattern", "/a*", *answer(200, "by path"))
    assert get(port, "/abc") == (200, "by path")
    weir.cli("rules", "create", name, "--priority", 10, "--host-header", "*.example.com",
             "--path-pattern-regex", "^/(a|b)$", *answer(200, "by host"))
    assert get(port, "/a") == (200, "by host")
    assert get(port, "/a", "other.example.org") == (200, "by path")

    weir.cli("rules", "set-priorities", name, "10=20", "20=10")
    assert get(port, "/a") == (200, "by path")
    weir.cli("rules", "modify", name, 10, *answer(503, "gone"))
    assert get(port, "/a") == (503, "gone")
    weir.cli("rules", "delete", name, 10)
    assert get(port, "/a") == (200, "by host")
    weir.cli("rules", "modify", name, "default", *answer(410, "nothing"))
    assert get(port, "/z") == (410, "nothing")


def test_rules_read_well_and_survive_kill_and_reload(site):
    weir, port = site
    name = f"edge:{port}"
    weir.cli("rules", "create", name, "--priority", 5, "--http-header", "X-Env: test*", "--query-string", "v=2",
             "--redirect", "https://#{host}:8443/new", "--redirect-status", 301)
    lines = weir.cli("rules", "list", name).stdout.splitlines()
    assert lines[0].split() == ["PRIORITY", "CONDITIONS", "ACTION"]
    assert lines[1].split(maxsplit=1) == [
        "5", "header X-Env: test* and query v=2  redirect 301 https://#{host}:8443/new?#{query}"]
    assert lines[2].split() == ["default", "otherwise", "answer", "404", "text/plain"]

    before = weir.json("rules", "list", name)
    weir.kill()
    weir.start()
    assert weir.json("rules", "list", name) == before
    # The file lists no rules, so that those made at runtime are not its business.
    weir.cli("apply", weir.config_path)
    assert weir.json("rules", "list", name) == before
    assert weir.json("rules", "show", name, 5) == before["rules"][0]
    assert "(1 rule)" in weir.cli("listeners", "list").stdout


def test_listeners_come_and_go(site, port):
    weir, first = site
    second = port()
    weir.cli("listeners", "create", "edge", "--port", second, "--protocol", "HTTP", *answer(200, "second"),
             "--attribute", "routing.http.response.server.enabled=false")
    assert get(second, "/") == (200, "second")
    weir.cli("listeners", "modify", f"edge:{second}", *answer(200, "changed"))
    assert get(second, "/") == (200, "changed")
    shown = weir.json("listeners", "show", f"edge:{second}")
    assert shown["attributes"]["routing.http.response.server.enabled"] == "false"
    weir.cli("listeners", "delete", f"edge:{second}")
    with pytest.raises(ConnectionRefusedError):
        get(second, "/")
    assert get(first, "/") == (404, "default")


def test_explain_says_what_the_workers_do(site):
    weir, port = site
    name = f"edge:{port}"
    for priority, path in [(1, "/one"), (2, "/t?o"), (3, "/t*")]:
        weir.cli("rules", "create", name, "--priority", priority, "--path-pattern", path,
                 *answer(200, f"rule {priority}"))
    for path, rule in [("/one", "1"), ("/two", "2"), ("/three", "3"), ("/four", "default")]:
        told = weir.json("explain", name, "127.0.0.1", "--host", "a.example.com", "--path", path)
        assert told["rule"] == rule
        assert get(port, path)[1] == ("default" if rule == "default" else f"rule {rule}")
    text = weir.cli("explain", name, "127.0.0.1", "--path", "/two").stdout
    assert 'Rule 1 does not apply: path_pattern "/two" is none of "/one".' in text
    assert text.endswith("→ 200 text/plain\n")
    weir.cli("rules", "modify", name, 1, "--forward", "web")
    told = weir.json("explain", name, "127.0.0.1", "--path", "/one")
    assert (told["target_group"], told["target"]) == ("web", "127.0.0.1:9")


@pytest.mark.parametrize("command, words", [
    (["create", "--priority", 5, "--path-pattern", "/a#", *answer(200, "x")], "path_pattern value \"/a#\""),
    (["create", "--priority", 5, "--path-pattern-regex", "(", *answer(200, "x")], "regular expression"),
    (["create", "--priority", 50001, "--path-pattern", "/a", *answer(200, "x")], "1 to 50000"),
    (["create", "--priority", 5, "--path-pattern", "/a", "--forward", "raw"], "forwards to HTTP and HTTPS groups"),
    (["create", "--priority", 5, "--path-pattern", "/a", "--forward", "none"], "does not exist"),
    (["delete", 9], "has no rule of priority"),
    (["set-priorities", "9=10"], "has no rule of priority"),
])
def test_what_cannot_be_is_refused_in_one_line(site, command, words):
    weir, port = site
    result = weir.cli("rules", command[0], f"edge:{port}", *command[1:], check=False)
    assert result.returncode == 1
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert len(weir.json("rules", "list", f"edge:{port}")["rules"]) == 1
