"""What two scanners of other people's making find at TLS listeners: testssl.sh and sslscan, from Debian."""

import json
import shutil
import subprocess
import xml.etree.ElementTree

import pytest

from harness.servers import TCPServer
from harness.tls import Authority
from harness.weir import configuration, group, listener

pytestmark = pytest.mark.heavy

POLICIES = [
    "ELBSecurityPolicy-TLS13-1-2-2021-06", "ELBSecurityPolicy-TLS13-1-3-2021-06",
    "ELBSecurityPolicy-TLS13-1-2-Res-2021-06", "ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04",
    "ELBSecurityPolicy-2016-08", "ELBSecurityPolicy-FS-1-2-Res-2020-10",
]
DEFAULT = POLICIES[0]


def scanner(name):
    path = shutil.which(name)
    assert path, f"{name} is not installed; run scripts/bootstrap"
    return path


def echo(connection, server):
    while data := connection.recv(1 << 16):
        connection.sendall(data)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Of both key types, so that every cipher of a policy can be had."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    return [
        authority.issue("ecdsa", "site.test", days=90), authority.issue("rsa", "site.test", rsa=True, days=90)]


@pytest.fixture
def entrance(make_weir, serve, port, certificates):
    """The port of a TLS listener with a policy, and the appliance."""

    def make(policy=None):
        at = port()
        target = serve(TCPServer(echo))
        settings = {"ssl_policy": policy} if policy else {}
        # Scanners break connections in every way, so that what targets saw is not what was sent.
        weir = make_weir(configuration(
            [group("web", [target.target])],
            [listener(at, "web", protocol="TLS", certificates=certificates, **settings)]), checks=False)
        return weir, at

    return make


def policy_of(weir, name):
    return json.loads(weir.cli("ssl-policies", name, "--output", "json").stdout)


def is_sha1(cipher):
    """A CBC cipher with SHA-1: all that TLS 1.0 and 1.1 have of Weir's policies."""
    return cipher.endswith("-SHA")


def ciphers_of(policy):
    """From (version, cipher) to nothing: what a listener of the policy must accept, and no more."""
    tls13 = {c for c in policy["ciphers"] if c.startswith("TLS_")}
    legacy = set(policy["ciphers"]) - tls13
    by_version = {
        "TLSv1.3": tls13, "TLSv1.2": legacy, "TLSv1.1": {c for c in legacy if is_sha1(c)},
        "TLSv1": {c for c in legacy if is_sha1(c)},
    }
    return {(version, cipher) for version in policy["ssl_protocols"] for cipher in by_version[version]}


def sslscan(at):
    result = subprocess.run(
        [scanner("sslscan"), "--no-colour", "--sni-name=site.test", "--xml=-", f"127.0.0.1:{at}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=True)
    test = xml.etree.ElementTree.fromstring(result.stdout).find("ssltest")
    assert test is not None, result.stdout
    return test


@pytest.mark.parametrize("name", POLICIES)
def test_sslscan_finds_the_policy_and_nothing_else(entrance, name):
    weir, at = entrance(name)
    policy = policy_of(weir, name)
    found = sslscan(at)
    enabled = {(p.get("type"), p.get("version")) for p in found.iter("protocol") if p.get("enabled") == "1"}
    expected = {("tls", {"TLSv1": "1.0"}.get(v, v.removeprefix("TLSv"))) for v in policy["ssl_protocols"]}
    assert enabled == expected
    accepted = {
        ({"TLSv1.0": "TLSv1"}.get(c.get("sslversion"), c.get("sslversion")), c.get("cipher"))
        for c in found.iter("cipher")}
    assert accepted == ciphers_of(policy)
    groups = {g.get("name") for g in found.iter("group")}
    curves = {"secp256r1 (NIST P-256)", "secp384r1 (NIST P-384)", "secp521r1 (NIST P-521)"}
    assert groups == curves | (set() if "-FIPS-" in name else {"x25519"})
    # Debian's sslscan cannot look for compression when its OpenSSL has none; testssl.sh does.
    compression = found.find("compression")
    assert compression is None or compression.get("supported") == "0"
    assert [h for h in found.iter("heartbleed") if h.get("vulnerable") != "0"] == []
    # sslscan asks in the oldest version it finds, and TLS 1.3 has no renegotiation at all: what it must not find is
    # the kind before RFC 5746. That a second handshake is refused, testssl.sh tries.
    renegotiation = found.find("renegotiation")
    assert (renegotiation.get("supported"), renegotiation.get("secure")) in {("0", "0"), ("1", "1")}
    names = {c.findtext("subject") for c in found.iter("certificate")}
    assert names <= {"ecdsa", "rsa"} and names


# What the test's own authority and its short-lived certificates bring about, and a CAA record of a real domain.
BESIDE_THE_POINT = ("cert_trust", "cert_chain_of_trust", "cert_revocation", "cert_expirationStatus", "DNS_CAArecord")
VULNERABILITIES = [
    "heartbleed", "CCS", "ticketbleed", "ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS", "POODLE_SSL",
    "fallback_SCSV", "SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "RC4",
]
WEAK = ["SSLv2", "SSLv3", "TLS1", "TLS1_1", "cipherlist_NULL", "cipherlist_aNULL", "cipherlist_EXPORT",
        "cipherlist_LOW", "cipherlist_3DES_IDEA"]
OBJECTIONS = {"MEDIUM", "HIGH", "CRITICAL"}


def test_testssl_finds_nothing_to_object_to_in_the_default_policy(entrance, directory):
    weir, at = entrance()
    report = directory / "testssl.json"
    result = subprocess.run(
        [scanner("testssl"), "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--jsonfile", report,
         f"127.0.0.1:{at}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=580)
    findings = json.loads(report.read_text())
    severities = {}
    for finding in findings:
        severities.setdefault(finding["id"].split(" ")[0], []).append(finding["severity"])
    for name in VULNERABILITIES + WEAK:
        assert severities.get(name), f"{name} was not looked at:\n{result.stdout[-4000:]}"
        assert set(severities[name]) <= {"OK", "INFO"}, (name, [f for f in findings if f["id"] == name])
    objections = [
        f for f in findings
        if f["severity"] in OBJECTIONS and not f["id"].startswith(BESIDE_THE_POINT)]
    assert objections == []
    # It looked as long as it says, and Weir is none the worse for it.
    assert weir.is_running
    assert weir.counters()["internal_errors"] == 0
