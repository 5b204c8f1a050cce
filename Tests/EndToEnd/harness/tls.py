"""An authority of the tests, and clients that speak TLS."""

import os
import socket
import ssl
import subprocess


def openssl(*arguments, input=None):
    return subprocess.run(
        ["openssl", *map(str, arguments)], input=input, capture_output=True, check=True, timeout=30).stdout


class Authority:
    """A root, and certificates that it signed, as files."""

    def __init__(self, directory):
        self.directory = directory
        self.root = directory / "root.crt"
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=root",
            "-days", 10, "-keyout", directory / "root.key", "-out", self.root)

    def issue(self, name, *names, rsa=False, days=5):
        """A certificate for `names`; the configuration's entry for it."""
        key, request, certificate = (self.directory / f"{name}.{end}" for end in ("key", "csr", "crt"))
        kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        extension = self.directory / f"{name}.ext"
        extension.write_text("subjectAltName=" + ",".join(f"DNS:{n}" for n in names or [name]) + "\n")
        openssl("req", "-new", "-newkey", *kind, "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl(
            "x509", "-req", "-in", request, "-CA", self.root, "-CAkey", self.directory / "root.key", "-CAcreateserial",
            "-days", days, "-extfile", extension, "-out", certificate)
        os.chmod(key, 0o600)
        return {"certificate": str(certificate), "private_key": str(key)}

    def client_context(self, certificate=None, **settings):
        context = ssl.create_default_context(cafile=str(self.root))
        if certificate:
            context.load_cert_chain(certificate["certificate"], certificate["private_key"])
        for name, value in settings.items():
            setattr(context, name, value)
        return context

    def server_context(self, certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate["certificate"], certificate["private_key"])
        return context


def secure(context, port, name="site.test", timeout=20, **more):
    raw = socket.create_connection(("127.0.0.1", port), timeout)
    try:
        return context.wrap_socket(raw, server_hostname=name, **more)
    except BaseException:
        raw.close()
        raise
