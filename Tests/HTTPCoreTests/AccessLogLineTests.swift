// Lines of the access log and of the connection log, against ELBv2's documented examples and against forgers.

import Balancing
import CAllocationCount
import Foundation
import HTTPCore
import Testing

private func endpoint(_ text: String) throws -> Endpoint {
    try #require(Endpoint(text))
}

@Suite struct `Access log lines` {
    /// 2018-07-02T22:23:00.186641Z on the wall is second 5,000 on the monotonic clock.
    private let now = Instant(nanoseconds: 5_000_000_000_000)
    private let unixNanoseconds: UInt64 = 1_530_570_180_186_641_000

    private func before(_ milliseconds: UInt64) -> Instant {
        Instant(nanoseconds: now.nanoseconds - milliseconds * 1_000_000)
    }

    private func record() throws -> ExchangeRecord {
        ExchangeRecord(
            client: try endpoint("192.168.131.39:2817"),
            local: try endpoint("10.0.0.9:80"),
            connection: ConnectionTraceID(random: 0x1234_ABCD_5678_EF90_0000_0000_0000_0001),
            receivedAt: before(12_000),
            endedAt: now)
    }

    private func line(
        _ record: ExchangeRecord, _ fields: [(ExchangeTexts.Field, String)],
        names: ExchangeLine.Names = ExchangeLine.Names(loadBalancer: "edge")
    ) -> String {
        var record = record
        var texts: [UInt8] = []
        for (field, text) in fields { record.texts.append(field, text.utf8.span, to: &texts) }
        var line: [UInt8] = []
        ExchangeLine.append(
            record, texts: texts.span, names: names, unixNanoseconds: unixNanoseconds, at: now, to: &line)
        return text(line)
    }

    @Test func `a forwarded request`() throws {
        var record = try record()
        record.target = try endpoint("10.0.0.1:8080")
        record.dispatchedAt = before(11_999)
        record.answeredAt = before(10_500)
        record.respondedAt = before(10_499)
        record.statusCode = 200
        record.targetStatusCode = 201
        record.receivedByteCount = 34
        record.sentByteCount = 366
        record.rulePriority = 0
        record.action = .forward
        let line = line(
            record,
            [
                (.group, "web"), (.method, "GET"), (.authority, "www.example.com"), (.target, "/a?b=c"),
                (.userAgent, "curl/7.46.0"), (.traceID, "Root=1-58337262-36d228ad5d99923122bbe354"),
            ])
        #expect(
            line == """
                http 2018-07-02T22:22:49.687641Z edge 192.168.131.39:2817 10.0.0.1:8080 0.001 1.499 0.001 200 201 \
                34 366 "GET http://www.example.com:80/a?b=c HTTP/1.1" "curl/7.46.0" - - web \
                "Root=1-58337262-36d228ad5d99923122bbe354" "-" "-" 0 2018-07-02T22:22:48.186641Z "forward" "-" "-" \
                "10.0.0.1:8080" "201" "-" "-" TID_1234abcd5678ef900000000000000001 "-" "-" "-" 10.0.0.9

                """)
    }

    @Test func `a redirect over HTTP2 with rewrites`() throws {
        var record = try record()
        record.kind = .http2
        record.version = .http2
        record.local = try endpoint("[2001:db8::9]:443")
        record.client = try endpoint("[2001:db8::1]:5000")
        record.respondedAt = now
        record.statusCode = 301
        record.rulePriority = 50_000
        record.action = .redirect
        record.transformStatus = .success
        record.isGroupCookieInvalid = true
        record.finding = DesyncFinding(.bothTEAndCLPresent)
        let line = line(
            record,
            [
                (.method, "POST"), (.authority, "[2001:db8::9]"), (.target, "/"),
                (.serverName, "www.example.com"),
                (.redirectURL, "https://example.com:443/"), (.transformedHost, "h.example"),
                (.transformedTarget, "/t"),
            ],
            names: ExchangeLine.Names(
                loadBalancer: "edge", tlsVersion: "TLSv1.3", tlsCipher: "TLS_AES_128_GCM_SHA256",
                certificate: "/etc/weir/site.crt"))
        #expect(
            line == """
                h2 2018-07-02T22:23:00.186641Z edge [2001:db8::1]:5000 - -1 -1 -1 301 - 0 0 \
                "POST https://[2001:db8::9]:443/ HTTP/2.0" "-" TLS_AES_128_GCM_SHA256 TLSv1.3 - "-" \
                "www.example.com" "/etc/weir/site.crt" 50000 2018-07-02T22:22:48.186641Z "redirect" \
                "https://example.com:443/" "AWSALBTGCookieInvalid" "-" "-" "Ambiguous" "BothTeClPresent" \
                TID_1234abcd5678ef900000000000000001 "h.example" "/t" "TransformSuccess" 2001:db8::9

                """)
    }

    @Test func `what could not be read`() throws {
        var record = try record()
        record.statusCode = 400
        record.finding = DesyncFinding(.badMethod)
        #expect(
            line(record, []) == """
                http 2018-07-02T22:23:00.186641Z edge 192.168.131.39:2817 - -1 -1 -1 400 - 0 0 \
                "- http://10.0.0.9:80- -" "-" - - - "-" "-" "-" - 2018-07-02T22:22:48.186641Z "-" "-" "-" "-" "-" \
                "Severe" "BadMethod" TID_1234abcd5678ef900000000000000001 "-" "-" "-" 10.0.0.9

                """)
    }

    /// ELBv2 tells how far an exchange came: dispatched, but never answered.
    @Test func `a target that did not answer`() throws {
        var record = try record()
        record.target = try endpoint("10.0.0.1:80")
        record.dispatchedAt = before(11_000)
        record.respondedAt = now
        record.statusCode = 504
        record.rulePriority = -1
        record.isTLSSessionReused = true
        let line = line(record, [])
        #expect(line.contains(" 10.0.0.1:80 1.000 -1 -1 504 - "))
        #expect(line.contains(" \"session-reused\" -1 "))
    }

    @Test(arguments: [
        (ExchangeRecord.Kind.http, "http"), (.https, "https"), (.http2, "h2"), (.grpc, "grpcs"),
        (.webSocket, "ws"), (.secureWebSocket, "wss"),
    ])
    func `kinds`(kind: ExchangeRecord.Kind, name: String) throws {
        var record = try record()
        record.kind = kind
        record.respondedAt = before(10_000)
        let time = name.hasPrefix("ws") ? "2018-07-02T22:23:00.186641Z" : "2018-07-02T22:22:50.186641Z"
        #expect(line(record, []).hasPrefix("\(name) \(time) edge "))
    }

    /// Splits a line as log readers do: at blanks outside of quotes.
    private func fields(_ line: String) -> [String] {
        var fields = [""]
        var isQuoted = false
        for character in line {
            if character == "\"" { isQuoted.toggle() }
            if character == " ", !isQuoted {
                fields.append("")
            } else {
                fields[fields.count - 1].append(character)
            }
        }
        return fields
    }

    @Test func `no text forges a field or a line`() throws {
        let record = try record()
        for byte in UInt8.min ... .max {
            let evil = [UInt8(ascii: "a"), byte, UInt8(ascii: "b")]
            for field in ExchangeTexts.Field.allCases {
                var record = record
                var texts: [UInt8] = []
                record.texts.append(.method, "GET".utf8.span, to: &texts)
                if field != .method { record.texts.append(field, evil.span, to: &texts) }
                var line: [UInt8] = []
                ExchangeLine.append(
                    record, texts: texts.span, names: ExchangeLine.Names(loadBalancer: "edge"),
                    unixNanoseconds: unixNanoseconds, at: now, to: &line)
                #expect(line.count { $0 == UInt8(ascii: "\n") } == 1 && line.last == UInt8(ascii: "\n"))
                #expect(line.dropLast().allSatisfy { (0x20...0x7E).contains($0) })
                #expect(fields(text(line)).count == 34, "\(field) with byte \(byte)")
            }
        }
    }

    @Test func `quotes, backslashes and strange bytes are coded`() throws {
        let line = line(try record(), [(.method, "GET"), (.userAgent, "a\"b\\c\r\n\té d")])
        #expect(line.contains(#" "a\x22b\x5Cc\x0D\x0A\x09\xC3\xA9 d" "#))
    }

    @Test func `what is too long is cut, and shows it`() throws {
        var record = try record()
        var texts: [UInt8] = []
        for field in ExchangeTexts.Field.allCases {
            let long = [UInt8](repeating: UInt8(ascii: "x"), count: field.byteCountMax + 1)
            record.texts.append(field, long.span, to: &texts)
        }
        #expect(texts.count == ExchangeTexts.Field.allCases.map(\.byteCountMax).reduce(0, +))
        #expect(texts.count == Int(record.texts.byteCount))
        var line: [UInt8] = []
        ExchangeLine.append(
            record, texts: texts.span, names: ExchangeLine.Names(loadBalancer: "edge"),
            unixNanoseconds: unixNanoseconds, at: now, to: &line)
        let shown = text(line)
        #expect(shown.components(separatedBy: #"\..."#).count - 1 == ExchangeTexts.Field.allCases.count)
        #expect(fields(shown).count == 34)

        var whole = try self.record()
        var wholeTexts: [UInt8] = []
        let fitting = [UInt8](repeating: UInt8(ascii: "x"), count: Limits.accessLogTextByteCountMax)
        whole.texts.append(.target, fitting.span, to: &wholeTexts)
        #expect(!whole.texts.isCut(.target))
    }

    /// The ring of texts may have lost them.
    @Test func `places beyond the texts are empty`() throws {
        var record = try record()
        var texts: [UInt8] = []
        record.texts.append(.method, "GET".utf8.span, to: &texts)
        record.texts.append(.userAgent, "curl".utf8.span, to: &texts)
        for count in 0..<texts.count {
            var line: [UInt8] = []
            ExchangeLine.append(
                record, texts: Array(texts.prefix(count)).span,
                names: ExchangeLine.Names(loadBalancer: "edge"),
                unixNanoseconds: unixNanoseconds, at: now, to: &line)
            #expect(fields(text(line)).count == 34)
        }
    }

    @Test func `gathering allocates nothing`() throws {
        var record = try record()
        let (method, target, agent) = (
            Array("GET".utf8), Array("/path?query=value".utf8), Array("curl/8".utf8)
        )
        var buffer: [UInt8] = []
        buffer.reserveCapacity(1_024)
        var allocations: UInt64 = 0
        for isCounted in [false, true] {
            allocation_count_take_part(isCounted)
            let before = allocation_own_count()
            buffer.removeAll(keepingCapacity: true)
            record.texts = ExchangeTexts()
            record.texts.append(.method, method.span, to: &buffer)
            record.texts.append(.target, target.span, to: &buffer)
            record.texts.append(.userAgent, agent.span, to: &buffer)
            allocations = allocation_own_count() - before
            allocation_count_take_part(false)
        }
        #expect(buffer.count == 26)
        #expect(allocations == 0)
    }
}

@Suite struct `Connection log lines` {
    private let now = Instant(nanoseconds: 5_000_000_000_000)
    private let unixNanoseconds: UInt64 = 1_696_439_115_514_108_000

    private func record() throws -> ConnectionRecord {
        ConnectionRecord(
            client: try endpoint("203.0.113.1:36280"),
            local: try endpoint("198.51.100.2:443"),
            openedAt: now,
            connection: ConnectionTraceID(random: 0x3180_A730_13C8_CA4B_AC2F_7311_59D4_B0FE))
    }

    private func line(
        _ record: ConnectionRecord, texts: [UInt8] = [],
        names: ConnectionRecord.Names = ConnectionRecord.Names(loadBalancer: "edge")
    ) -> String {
        text {
            record.appendLine(
                texts: texts.span, names: names, unixNanoseconds: unixNanoseconds, at: now, to: &$0)
        }
    }

    @Test func `mutual TLS`() throws {
        var record = try record()
        record.status = .success
        record.handshakeNanoseconds = 4_036_900_000
        record.validFrom = 1_695_336_201
        record.validUntil = 1_781_736_201
        var texts: [UInt8] = []
        record.appendTexts(
            subject: "CN=client,O=A \"B\"".utf8.span, serial: "FEF257372D5C14D4".utf8.span, to: &texts)
        let names = ConnectionRecord.Names(
            loadBalancer: "edge", tlsVersion: "TLSv1.2", tlsCipher: "ECDHE-RSA-AES128-GCM-SHA256",
            keyExchange: "X25519MLKEM768")
        #expect(
            line(record, texts: texts, names: names) == #"""
                2023-10-04T17:05:15.514108Z 203.0.113.1 36280 443 TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 4.036 \#
                "CN=client,O=A \x22B\x22" NotBefore=2023-09-21T22:43:21Z;NotAfter=2026-06-17T22:43:21Z \#
                FEF257372D5C14D4 Success TID_3180a73013c8ca4bac2f731159d4b0fe X25519MLKEM768 edge 198.51.100.2

                """#)
    }

    @Test func `a plain connection`() throws {
        #expect(
            line(try record()) == #"""
                2023-10-04T17:05:15.514108Z 203.0.113.1 36280 443 - - - "-" - - - \#
                TID_3180a73013c8ca4bac2f731159d4b0fe - edge 198.51.100.2

                """#)
    }

    @Test func `failures have ELBv2's codes`() throws {
        var record = try record()
        record.status = .clientCertificateRevoked
        #expect(line(record).contains(" Failed:ClientCertCrlHit TID_"))
        var names: Set<String> = []
        for status in ConnectionRecord.Status.allCases {
            record.status = status
            names.insert(line(record).components(separatedBy: " ")[10])
        }
        #expect(names.count == ConnectionRecord.Status.allCases.count)
    }

    @Test func `a long subject is cut, and shows it`() throws {
        var record = try record()
        var texts: [UInt8] = []
        let subject = [UInt8](repeating: UInt8(ascii: "s"), count: ConnectionRecord.subjectByteCountMax + 1)
        let serial = [UInt8](repeating: UInt8(ascii: "0"), count: 1_000)
        record.appendTexts(subject: subject.span, serial: serial.span, to: &texts)
        #expect(texts.count == ConnectionRecord.subjectByteCountMax + ConnectionRecord.serialByteCountMax)
        #expect(line(record, texts: texts).contains(#"ss\..." - 000"#))
        #expect(line(record, texts: Array(texts.prefix(10))).contains(#" "ssssssssss\..." - - "#))
    }
}
