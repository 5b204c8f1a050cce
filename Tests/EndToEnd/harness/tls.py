"""An authority of the tests, and clients and servers that speak TLS."""

import contextlib
import os
import socket
import ssl
import subprocess
import threading


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


class UncountedServer:
    """A target whose bytes are not those that Weir counts: TLS records, or headers of Weir's own."""

    def __init__(self, handler, context=None):
        self.notes = []
        self._handler, self._context = handler, context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.target = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(20)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        # Probes and clients that give up end it early.
        with contextlib.suppress(OSError), connection:
            if self._context:
                with self._context.wrap_socket(connection, server_side=True) as secured:
                    self._handler(secured, self)
            else:
                self._handler(connection, self)

    def stop(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
