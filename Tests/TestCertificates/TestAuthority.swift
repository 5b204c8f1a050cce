// Certificates for tests, made once with the `openssl` command in a directory that goes with the process.

import Balancing
import Foundation

/// Authorities, certificates, keys, revocation lists and OCSP responses by name.
package final class TestAuthority: Sendable {
    package static let shared = TestAuthority()

    private let directory: URL

    private init() {
        directory = FileManager.default.temporaryDirectory.appending(path: "weir-tls-\(UUID().uuidString)")
        do {
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            atexit { try? FileManager.default.removeItem(at: TestAuthority.shared.directory) }
            try makeAuthorities()
            try makeServerCertificates()
            try makeClientCertificates()
            try makeStaples()
        } catch {
            preconditionFailure("cannot make test certificates: \(error)")
        }
    }

    package func path(_ name: String) -> String { directory.appending(path: name).path() }

    package func files(_ name: String, staple: String? = nil) -> CertificateFiles {
        CertificateFiles(
            certificate: path("\(name).crt"), privateKey: path("\(name).key"), ocspResponse: staple.map(path))
    }

    /// A file of its own for one test, closed to others unless told.
    package func write(_ name: String, _ bytes: [UInt8], mode: Int = 0o600) throws -> String {
        let file = path("\(UUID().uuidString)-\(name)")
        try Data(bytes).write(to: URL(filePath: file))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: file)
        return file
    }

    package func read(_ name: String) throws -> [UInt8] {
        try Array(Data(contentsOf: URL(filePath: path(name))))
    }

    package func openssl(_ arguments: String...) throws { try openssl(arguments) }

    // MARK: - What there is

    private func makeAuthorities() throws {
        for name in ["root", "other-root"] {
            try key(name, .ecdsa)
            try openssl([
                "req", "-x509", "-new", "-key", "\(name).key", "-subj", "/CN=\(name)", "-days", "3650",
                "-out",
                "\(name).crt", "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
                "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
            ])
        }
        try issue(
            "intermediate", .ecdsa, by: "root",
            extensions: "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign")
    }

    private func makeServerCertificates() throws {
        try issue("fallback", .rsa, by: "root", names: ["fallback.test"])
        try issue("both-rsa", .rsa, by: "root", names: ["both.test", "only-rsa.test"])
        try issue("both-ecdsa", .ecdsa, by: "root", names: ["both.test"])
        try issue("exact", .ecdsa, by: "root", names: ["a.example.test"])
        try issue("wildcard", .ecdsa, by: "root", names: ["*.example.test"])
        try issue("ed25519", .ed25519, by: "root", names: ["ed.test"])
        try issue("chained", .ecdsa, by: "intermediate", names: ["chained.test"])
        try joinChain("chained", "intermediate")
        try issue("expired", .ecdsa, by: "root", names: ["expired.test"], days: "-1")
        try issue("address", .ecdsa, by: "root", names: [], extensions: "subjectAltName=IP:192.0.2.1")
    }

    private func makeClientCertificates() throws {
        try issue("client", .ecdsa, by: "root")
        try issue("client-chained", .ecdsa, by: "intermediate")
        try joinChain("client-chained", "intermediate")
        try issue("client-revoked", .ecdsa, by: "root")
        try issue("client-expired", .ecdsa, by: "root", days: "-1")
        try issue("client-weak", .weakRSA, by: "root")
        try issue("client-stranger", .ecdsa, by: "other-root")
        try write(
            "ca.cnf", "[ca]\ndefault_ca=d\n[d]\ndatabase=index\ndefault_md=sha256\ndefault_crl_days=30\n")
        try write("index", "")
        try openssl([
            "ca", "-config", "ca.cnf", "-keyfile", "root.key", "-cert", "root.crt", "-revoke",
            "client-revoked.crt",
        ])
        try openssl([
            "ca", "-config", "ca.cnf", "-keyfile", "root.key", "-cert", "root.crt", "-gencrl", "-out",
            "root.crl",
        ])
    }

    private func makeStaples() throws {
        // The index of `openssl ca` lists what it issued; an entry is made by hand for what `x509` issued.
        try write("ocsp-index", "")
        for (name, state) in [("exact", "V"), ("both-ecdsa", "V"), ("wildcard", "R")] {
            let serial =
                try output(["x509", "-in", "\(name).crt", "-noout", "-serial"])
                .split(separator: "=").last.map { $0.trimmingCharacters(in: .whitespacesAndNewlines) } ?? ""
            let revoked = state == "R" ? "200101000000Z" : ""
            let line = "\(state)\t400101000000Z\t\(revoked)\t\(serial)\tunknown\t/CN=\(name)\n"
            let old = try String(decoding: read("ocsp-index"), as: UTF8.self)
            try write("ocsp-index", old + line)
            try openssl([
                "ocsp", "-issuer", "root.crt", "-cert", "\(name).crt", "-no_nonce", "-reqout", "\(name).req",
            ])
            try openssl([
                "ocsp", "-index", "ocsp-index", "-rsigner", "root.crt", "-rkey", "root.key", "-CA",
                "root.crt",
                "-reqin", "\(name).req", "-respout", "\(name).ocsp", "-ndays", "30",
            ])
        }
    }

    // MARK: - Making it

    private enum Kind { case rsa, weakRSA, ecdsa, ed25519 }

    private func key(_ name: String, _ kind: Kind) throws {
        let arguments =
            switch kind {
            case .rsa: ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
            case .weakRSA: ["RSA", "-pkeyopt", "rsa_keygen_bits:1024"]
            case .ecdsa: ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
            case .ed25519: ["ED25519"]
            }
        try openssl(["genpkey", "-out", "\(name).key", "-algorithm"] + arguments)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path("\(name).key"))
    }

    private func issue(
        _ name: String, _ kind: Kind, by issuer: String, names: [String] = [], days: String = "365",
        extensions: String = ""
    ) throws {
        try key(name, kind)
        let alternatives = names.map { "DNS:\($0)" }.joined(separator: ",")
        try write(
            "\(name).ext",
            (alternatives.isEmpty ? "" : "subjectAltName=\(alternatives)\n") + extensions + "\n")
        try openssl([
            "req", "-new", "-key", "\(name).key", "-subj", "/O=Weir/CN=\(name)", "-out", "\(name).csr",
        ])
        try openssl([
            "x509", "-req", "-in", "\(name).csr", "-CA", "\(issuer).crt", "-CAkey", "\(issuer).key",
            "-CAcreateserial", "-days", days, "-extfile", "\(name).ext", "-out", "\(name).crt",
        ])
    }

    private func joinChain(_ name: String, _ issuer: String) throws {
        let joined = try read("\(name).crt") + read("\(issuer).crt")
        try write("\(name).crt", String(decoding: joined, as: UTF8.self))
    }

    private func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(filePath: path(name)))
    }

    private func openssl(_ arguments: [String]) throws { _ = try output(arguments) }

    private func output(_ arguments: [String]) throws -> String {
        struct Failed: Error, CustomStringConvertible {
            let description: String
        }
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/openssl")
        process.arguments = arguments
        process.currentDirectoryURL = directory
        process.standardInput = FileHandle.nullDevice
        let (output, errors) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        let complaint = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Failed(description: "openssl \(arguments.joined(separator: " ")): \(complaint)")
        }
        return text
    }
}
