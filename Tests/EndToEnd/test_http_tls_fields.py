"""What targets are told of their clients' TLS and certificates, and that clients cannot say it themselves; and the
cookie that follows the application's own."""

import datetime
import ssl
import urllib.parse

import pytest

from harness.http import (
    Target, Wire, application, ask, chunked, head, http_group, http_listener, request, response)
from harness.tls import Authority, openssl, secure

MUTUAL = "x-amzn-mtls-clientcert"
ALL_OF_A_CERTIFICATE = [MUTUAL + end for end in ("", "-serial-number", "-issuer", "-subject", "-validity", "-leaf")]
TOLD = {"routing.http.x_amzn_tls_version_and_cipher_suite.enabled": "true",
        "routing.http.x_amzn_tls_kx.enabled": "true"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.issue("site.test", "site.test")


@pytest.fixture
def edge(make_weir, serve, port, certificate):
    """An HTTPS listener before one target: (its port, the target, Weir, make a configuration)."""

    def make(told=None, protocol="HTTPS", **more):
        entrance, target = port(), serve(Target())
        if protocol == "HTTPS":
            more["certificates"] = [certificate]

        def config(**changes):
            return application(
                [http_group("web", [target.target])],
                [http_listener(entrance, "web", protocol=protocol, **{**more, **changes})], attributes=told)

        return entrance, target, make_weir(config()), config

    return make


def visit(entrance, context, fields=(), count=1):
    with secure(context, entrance) as raw:
        wire = Wire(raw)
        for _ in range(count):
            wire.send(request("GET", "/", fields))
            assert wire.read_response().status == 200


def spoofed(names):
    """Each name in three spellings, with a value that nobody may believe."""
    return [(spell(name), "spoofed") for name in names for spell in (str, str.upper, lambda n: n.replace("-", "_"))]


def none_is_spoofed(came):
    assert [field for field in came.fields if "spoofed" in field[1]] == []


@pytest.mark.parametrize("version, name", [
    (ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")])
def test_version_cipher_and_key_exchange_are_told(edge, authority, version, name):
    entrance, target, _, _ = edge(TOLD)
    names = ["x-amzn-tls-version", "x-amzn-tls-cipher-suite", "x-amzn-tls-kx"]
    context = authority.client_context(maximum_version=version, minimum_version=version)
    with secure(context, entrance) as raw:
        cipher = raw.cipher()[0]
        wire = Wire(raw)
        for _ in range(2):
            wire.send(request("GET", "/", spoofed(names)))
            assert wire.read_response().status == 200
    for came in target.requests:
        none_is_spoofed(came)
        assert came.all("x-amzn-tls-version") == [name]
        assert came.all("x-amzn-tls-cipher-suite") == [cipher]
        assert len(came.all("x-amzn-tls-kx")) == 1
        assert came.get("x-amzn-tls-kx") in ("x25519", "secp256r1", "X25519MLKEM768")


def test_without_the_attributes_nothing_is_told_nor_dropped(edge, authority):
    entrance, target, _, _ = edge()
    visit(entrance, authority.client_context(), [("X-Amzn-Tls-Version", "mine")])
    assert target.requests[0].all("x-amzn-tls-version") == ["mine"]
    assert target.requests[0].get("x-amzn-tls-cipher-suite") is None


def test_a_plain_listener_tells_nothing_and_believes_nobody(edge):
    entrance, target, _, _ = edge(TOLD, protocol="HTTP")
    ask(entrance, "GET", "/", spoofed(["X-Amzn-Tls-Version", "X-Amzn-Tls-Cipher-Suite", "X-Amzn-Tls-Kx"]))
    none_is_spoofed(target.requests[0])
    assert target.requests[0].get("x-amzn-tls-version") is None


def test_a_verified_certificate_is_told(edge, authority):
    entrance, target, _, _ = edge(
        mutual_authentication={"mode": "verify", "ca_certificates": str(authority.root)})
    client = authority.issue("client")
    visit(entrance, authority.client_context(client), spoofed(ALL_OF_A_CERTIFICATE), count=2)
    decoded = ssl._ssl._test_decode_cert(client["certificate"])
    times = [datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(decoded[key]), datetime.timezone.utc)
             .strftime("%Y-%m-%dT%H:%M:%SZ") for key in ("notBefore", "notAfter")]
    pem = openssl("x509", "-in", client["certificate"]).decode()
    for came in target.requests:
        none_is_spoofed(came)
        assert came.all(MUTUAL + "-serial-number") == [decoded["serialNumber"]]
        assert came.all(MUTUAL + "-issuer") == ["CN=root"]
        assert came.all(MUTUAL + "-subject") == ["CN=client"]
        assert came.all(MUTUAL + "-validity") == ["NotBefore={};NotAfter={}".format(*times)]
        (leaf,) = came.all(MUTUAL + "-leaf")
        assert leaf == urllib.parse.quote(pem, safe="+=/")
        assert came.get(MUTUAL) is None


def test_any_certificate_is_passed_through_with_its_chain(edge, authority, directory):
    entrance, target, _, _ = edge(mutual_authentication={"mode": "passthrough"})
    stranger = Authority(directory)
    client = stranger.issue("client")
    chain = directory / "chain.pem"
    pems = [openssl("x509", "-in", client["certificate"]).decode(), openssl("x509", "-in", stranger.root).decode()]
    chain.write_text("".join(pems))
    context = authority.client_context({**client, "certificate": str(chain)})
    visit(entrance, context, spoofed(ALL_OF_A_CERTIFICATE))
    came = target.requests[0]
    none_is_spoofed(came)
    assert urllib.parse.unquote(came.get(MUTUAL)) == "".join(pems)
    assert came.get(MUTUAL + "-subject") is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_that_comes_back_brings_its_chain_again(edge, authority, version):
    entrance, target, _, _ = edge(mutual_authentication={"mode": "passthrough"})
    context = authority.client_context(authority.issue("client"), maximum_version=version, minimum_version=version)
    session = None
    for _ in range(2):
        with secure(context, entrance, session=session) as raw:
            assert not raw.session_reused, "a ticket would not bring the chain"
            wire = Wire(raw)
            wire.send(request())
            wire.read_response()
            session = raw.session
    assert len({came.get(MUTUAL) for came in target.requests}) == 1 and target.requests[1].get(MUTUAL)


def test_trailers_claim_nothing(edge, authority):
    entrance, target, _, _ = edge(mutual_authentication={"mode": "passthrough"})
    with secure(authority.client_context(), entrance) as raw:
        wire = Wire(raw)
        fields = [("Host", "a"), ("Transfer-Encoding", "chunked")]
        wire.send(head("POST / HTTP/1.1", fields)
                  + chunked(b"x", trailers=[(MUTUAL, "spoofed"), ("X-Amzn-Mtls_Clientcert", "spoofed"), ("X-A", "b")]))
        assert wire.read_response().status == 200
    assert target.requests[0].trailers == [("X-A", "b")]


def test_who_comes_without_a_certificate_cannot_claim_one(edge, authority):
    entrance, target, _, _ = edge(mutual_authentication={"mode": "passthrough"})
    visit(entrance, authority.client_context(), spoofed(ALL_OF_A_CERTIFICATE))
    none_is_spoofed(target.requests[0])
    assert target.requests[0].get(MUTUAL) is None


def test_a_listener_gives_the_fields_other_names(edge, authority):
    names = {"x_amzn_tls_version": "X-Version", "x_amzn_mtls_clientcert_subject": "X-Who"}
    entrance, target, _, _ = edge(
        TOLD, mutual_authentication={"mode": "verify", "ca_certificates": str(authority.root)},
        attributes={f"routing.http.request.{key}.header_name": name for key, name in names.items()})
    context = authority.client_context(authority.issue("client"))
    visit(entrance, context, spoofed(["X-Version", "X-Who", "X-Amzn-Tls-Version", *ALL_OF_A_CERTIFICATE]))
    came = target.requests[0]
    none_is_spoofed(came)
    assert came.all("x-version") == ["TLSv1.3"] and came.all("x-who") == ["CN=client"]
    assert came.get("x-amzn-tls-version") is None and came.get(MUTUAL + "-subject") is None
    assert came.get(MUTUAL + "-issuer") == "CN=root"


def test_a_change_of_names_reaches_connections_that_live(edge, authority):
    entrance, target, weir, config = edge(TOLD)
    with secure(authority.client_context(), entrance) as raw:
        wire = Wire(raw)
        wire.send(request())
        wire.read_response()
        weir.write(config(attributes={"routing.http.request.x_amzn_tls_version.header_name": "X-Version"}))
        weir.cli("apply", weir.config_path)
        wire.send(request("GET", "/", spoofed(["X-Version", "X-Amzn-Tls-Version"])))
        wire.read_response()
    first, second = target.requests
    assert first.all("x-amzn-tls-version") == ["TLSv1.3"] and first.get("x-version") is None
    none_is_spoofed(second)
    assert second.all("x-version") == ["TLSv1.3"] and second.get("x-amzn-tls-version") is None


# The application's cookie

def cookies(answer):
    return dict(value.split(";")[0].split("=", 1) for value in answer.all("set-cookie"))


def test_the_applications_cookie_is_followed_renewed_and_moved(make_weir, serve, port):
    def answer(name):
        def say(request, peer):
            fields = [("Set-Cookie", f"SESSION={name}; Path=/")] if request.target == "/login" else []
            return response(body=name.encode(), fields=fields)
        return say

    entrance = port()
    targets = {name: serve(Target(answer(name), name)) for name in ("one", "two", "three")}

    def config(names):
        return application(
            [http_group("web", [targets[name].target for name in names], attributes={
                "stickiness.enabled": "true", "stickiness.type": "app_cookie",
                "stickiness.app_cookie.cookie_name": "SESSION", "deregistration_delay.timeout_seconds": "0"})],
            [http_listener(entrance, "web")])

    weir = make_weir(config(["one", "two", "three"]))
    assert "AWSALBAPP-0" not in cookies(ask(entrance)), "the application has not begun a session"
    first = ask(entrance, "GET", "/login")
    jar = cookies(first)
    home = first.body.decode()
    assert jar.keys() == {"SESSION", "AWSALBAPP-0"} and jar["SESSION"] == home

    def again():
        answer = ask(entrance, "GET", "/", [("Cookie", "; ".join(f"{k}={v}" for k, v in jar.items()))])
        jar.update(cookies(answer))
        return answer

    for _ in range(6):
        answer = again()
        assert answer.body.decode() == home
        assert cookies(answer).keys() == {"AWSALBAPP-0"}, "renewed with every answer"
    only = {"AWSALBAPP-0": jar["AWSALBAPP-0"]}
    answer = ask(entrance, "GET", "/", [("Cookie", f"AWSALBAPP-0={only['AWSALBAPP-0']}")])
    assert not answer.all("set-cookie"), "without the application's cookie nobody is bound"
    weir.write(config([name for name in targets if name != home]))
    weir.cli("apply", weir.config_path)
    moved = again()
    new_home = moved.body.decode()
    assert new_home != home and cookies(moved).keys() == {"AWSALBAPP-0"}
    assert {again().body.decode() for _ in range(6)} == {new_home}, "moved with the first answer"
