// Heads of requests: what is read of them. What is refused stands in the table of hostile requests.

import Balancing
import HTTPCore
import Testing

@Suite struct `Request parser` {
    @Test func `reads a common request`() {
        let text =
            "GET /a/b?c=d?e HTTP/1.1\r\nHost: example.com:8080\r\nUser-Agent:\t curl/8 \t\r\nAccept: */*\r\n"
            + "X_Odd: 1\r\nEmpty:\r\n\r\nrest"
        let request = ReadRequest(text)
        #expect(request.outcome == .complete)
        #expect(request.method == "GET" && request.version == .http11)
        #expect(request.target == "/a/b?c=d?e" && request.path == "/a/b" && request.query == "c=d?e")
        #expect(request.authority == "example.com:8080")
        #expect(request.fields.map(\.name) == ["Host", "User-Agent", "Accept", "X_Odd", "Empty"])
        #expect(request.fields.map(\.value) == ["example.com:8080", "curl/8", "*/*", "1", ""])
        #expect(request.fields.map(\.id) == [.host, .userAgent, .other, .other, .other])
        #expect(request.fields.map(\.hasUnusualName) == [false, false, false, true, false])
        #expect(request.hopByHopNames == [])
        #expect(request.framing == .none && request.isPersistent && request.desync == .compliant)
        #expect(request.byteCount == text.utf8.count - 4)
    }

    @Test func `a head that is used again keeps nothing of the last one`() {
        var head = RequestHead()
        let first =
            "OPTIONS http://a.example?q HTTP/1.1\r\nHost: a\r\nConnection: close, upgrade\r\nUpgrade: x\r\n"
            + "TE: trailers\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\nX: \u{E9}\r\n\r\n"
        #expect(ReadRequest(Array(first.utf8), into: &head).outcome == .complete)
        let second = Array("GET / HTTP/1.0\r\n\r\n".utf8)
        #expect(ReadRequest(second, into: &head) == ReadRequest(second))
    }

    @Test(arguments: [
        ("GET / HTTP/1.1", "", true), ("GET / HTTP/1.1", "Connection: close", false),
        ("GET / HTTP/1.1", "Connection: keep-alive", true),
        ("GET / HTTP/1.1", "Connection: keep-alive\r\nConnection: x, CLOSE", false),
        ("GET / HTTP/1.0", "", false), ("GET / HTTP/1.0", "Connection: Keep-Alive", true),
        ("GET / HTTP/1.0", "Connection: keep-alive, close", false),
        ("GET / HTTP/1.1", "Proxy-Connection: close", true),
    ])
    func `persistence follows version and Connection`(line: String, field: String, isPersistent: Bool) {
        let request = ReadRequest("\(line)\r\nHost: a\r\n" + (field.isEmpty ? "" : field + "\r\n") + "\r\n")
        #expect(request.outcome == .complete)
        #expect(request.isPersistent == isPersistent)
    }

    @Test func `fields that Connection names are hop-by-hop, but for those a message needs`() {
        let request = ReadRequest(
            "POST / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nConnection: x-one, HOST,, content-length\r\n"
                + "Connection: Cookie , X-Two\r\nContent-Length: 0\r\nCookie: a\r\nx-TWO: 1\r\nX-Three: 1\r\n"
                + "Keep-Alive: 1\r\nTE: x\r\nProxy-Connection: x\r\n\r\n")
        #expect(
            request.hopByHopNames == [
                "X-One", "Connection", "Connection", "x-TWO", "Keep-Alive", "TE", "Proxy-Connection",
            ])
    }

    @Test(arguments: [
        ("POST", "HTTP/1.1", "100-continue", "Content-Length: 1", true),
        ("POST", "HTTP/1.1", "100-Continue", "Transfer-Encoding: chunked", true),
        ("POST", "HTTP/1.1", "100-continue", "Content-Length: 0", false),
        ("POST", "HTTP/1.1", "100-continue", "X: 1", false),
        ("POST", "HTTP/1.0", "100-continue", "Content-Length: 1", false),
        ("POST", "HTTP/1.1", "200-ok", "Content-Length: 1", false),
    ])
    func `a client waits for 100 only if it has content to send`(
        method: String, version: String, expectation: String, field: String, expects: Bool
    ) {
        let request = ReadRequest(
            "\(method) / \(version)\r\nHost: a\r\nExpect: \(expectation)\r\n\(field)\r\n\r\n")
        #expect(request.outcome == .complete)
        #expect(request.expectsContinue == expects)
    }

    @Test(arguments: [
        ("trailers", true), ("gzip, Trailers", true), ("", false), ("trailers;q=1", false),
        ("trailer", false),
    ])
    func `TE says whether trailers are welcome`(value: String, isWelcome: Bool) {
        let request = ReadRequest("GET / HTTP/1.1\r\nHost: a\r\nTE: \(value)\r\n\r\n")
        #expect(request.acceptsTrailers == isWelcome)
    }

    @Test func `the worst finding is kept, and the first of equals`() {
        let request = ReadRequest(
            "GET / HTTP/1.1\r\nHost: a\r\nX: \u{E9}\r\nTransfer_Encoding: x\r\n\r\n")
        #expect(request.desync == DesyncFinding(.suspiciousHeader))
        let other = ReadRequest(
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n")
        #expect(other.desync == DesyncFinding(.duplicateContentLength))
    }

    @Test func `bounds are those of the caller`() {
        let limits = HeadLimits(
            requestLineByteCountMax: 16, fieldLineByteCountMax: 9, headByteCountMax: 36, fieldCountMax: 2)
        #expect(
            ReadRequest("GET / HTTP/1.1\r\nHost: a\r\nX: 12\r\n\r\n", limits: limits).outcome == .complete)
        #expect(
            ReadRequest("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", limits: limits).outcome
                == .refused(.requestLineTooLong))
        #expect(
            ReadRequest("GET / HTTP/1.1\r\nHost: ab\r\n\r\n", limits: limits).outcome
                == .refused(.fieldLineTooLong))
        #expect(
            ReadRequest("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 1\r\n\r\n", limits: limits).outcome
                == .refused(.headTooLong))
        var fewer = limits
        fewer.headByteCountMax = 100
        #expect(
            ReadRequest("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 1\r\n\r\n", limits: fewer).outcome
                == .refused(.tooManyFields))
    }

    /// Under the bounds of a request, and at them, with no other reason before.
    @Test func `a head of exactly the allowed size is read`() {
        let start = "GET / HTTP/1.1\r\nHost: a\r\n"
        let line = "X: " + String(repeating: "a", count: 8_192 - 5) + "\r\n"
        let rest = HeadLimits.standard.headByteCountMax - start.utf8.count - 7 * 8_192 - 2
        let last = "X: " + String(repeating: "a", count: rest - 5) + "\r\n"
        let head = start + String(repeating: line, count: 7) + last + "\r\n"
        #expect(head.utf8.count == HeadLimits.standard.headByteCountMax)
        #expect(ReadRequest(head).outcome == .complete)
        #expect(
            ReadRequest(start + "Y: 1\r\n" + head.dropFirst(start.count)).outcome == .refused(.headTooLong))
    }
}

@Suite struct `Field names` {
    @Test(arguments: FieldName.allCases.filter { $0 != .other })
    func `are recognised in any case and nothing near them`(name: FieldName) {
        let letters = Array("\(name.spelling)".utf8)
        func recognised(_ bytes: [UInt8]) -> FieldName {
            // At the end of the bytes, and with others behind.
            let alone = FieldName(naming: bytes.span)
            let within = [0x58, 0x3A] + bytes + Array(": value\r\n".utf8)
            #expect(FieldName(naming: within.span.extracting(2..<(2 + bytes.count))) == alone)
            return alone
        }
        #expect(recognised(letters) == name)
        #expect(recognised(letters.map { (0x61...0x7A).contains($0) ? $0 ^ 0x20 : $0 }) == name)
        #expect(recognised(letters + [0x73]) == .other)
        #expect(recognised(Array(letters.dropLast())) == .other)
        for place in letters.indices {
            // Every other byte in this place, but the same letter in the other case.
            for byte in 0...UInt8.max
            where byte != letters[place] && !((0x41...0x5A).contains(byte) && byte | 0x20 == letters[place]) {
                var other = letters
                other[place] = byte
                #expect(recognised(other) == .other, "\(String(decoding: other, as: UTF8.self))")
            }
        }
    }

    private func isToken(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte & 0xDF) && byte >= 0x41
            || "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }

    /// Each byte in the middle of a name, and of a value, as the grammar has it.
    @Test func `and values have the characters of the grammar`() {
        for byte in 0...UInt8.max {
            for padding in [0, 3, 8, 13] {
                let pad = [UInt8](repeating: 0x61, count: padding)
                let start = Array("GET / HTTP/1.1\r\nHost: a\r\n".utf8)
                let name = ReadRequest(start + pad + [0x62, byte, 0x62] + pad + Array(": 1\r\n\r\n".utf8))
                // A colon there ends the name; it is part of the value then.
                #expect((name.outcome == .complete) == (isToken(byte) || byte == 0x3A), "name \(byte)")
                let value = ReadRequest(
                    start + Array("X: ".utf8) + pad + [0x62, byte, 0x62] + pad + Array("\r\n\r\n".utf8))
                let isContent = byte == 0x09 || byte >= 0x20 && byte != 0x7F
                #expect((value.outcome == .complete) == isContent, "value \(byte)")
                #expect((value.desync.reason == .nonCompliantHeader) == (byte >= 0x80) || !isContent)
                let method = ReadRequest(
                    pad + [0x62, byte, 0x62] + Array(" / HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
                #expect((method.outcome == .complete) == isToken(byte), "method \(byte)")
                let path = ReadRequest(
                    Array("GET /".utf8) + pad + [byte, 0x62] + pad
                        + Array(" HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
                let isTarget = byte > 0x20 && byte != 0x7F && byte != 0x23
                #expect((path.outcome == .complete) == isTarget, "path \(byte)")
            }
        }
    }
}

@Suite struct `Connection preface` {
    private func match(_ bytes: some Sequence<UInt8>) -> ConnectionPreface.Match {
        ConnectionPreface.match(Array(bytes).span)
    }

    @Test func `is recognised from its first byte on`() {
        let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
        #expect(preface.count == ConnectionPreface.byteCount)
        for count in 0..<preface.count {
            #expect(match(preface[..<count]) == .partial)
            var other = Array(preface[...count])
            other[count] ^= 1
            #expect(match(other) == .no)
        }
        #expect(match(preface + [0, 0, 0]) == .yes)
        #expect(match("GET / HTTP/1.1".utf8) == .no)
    }
}

@Suite struct `Head end finder` {
    @Test func `finds an empty line however it is cut`() {
        let head = Array("\r\nGET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n".utf8)
        func isFound(_ counts: [Int]) -> [Bool] {
            var finder = HeadEndFinder()
            return counts.map { finder.mayBeComplete(Array(head[..<$0]).span) }
        }
        for cut in 0..<head.count { #expect(isFound([cut, head.count]) == [false, true], "\(cut)") }
        let byBytes = isFound(Array(0...head.count))
        #expect(byBytes.firstIndex(of: true) == head.count)
    }
}
