// Requests and responses made up from a seed: mostly well-formed, with what attackers and odd clients add.

import Foundation

struct MessageDice: RandomNumberGenerator {
    /// How many seeds a seeded test runs: `WEIR_SEEDS`, else 256.
    static let seedCount = ProcessInfo.processInfo.environment["WEIR_SEEDS"].flatMap(UInt64.init) ?? 256

    static let methods = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "PROPFIND"]

    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    /// Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }

    mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }
    mutating func one<Element>(_ elements: [Element]) -> Element { elements[number(0...elements.count - 1)] }
    mutating func isRare(_ chances: Int) -> Bool { number(1...chances) == 1 }

    // MARK: Messages

    /// A connection's bytes: up to three requests.
    mutating func requests() -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<number(1...3) { bytes += request() }
        if isRare(4) { mutate(&bytes) }
        return bytes
    }

    mutating func request() -> [UInt8] {
        let method = one(isRare(2) ? ["GET", "POST"] : Self.methods)
        var target = one([
            "/", "/a/b", "/a?b=c", "/?a?b", "//x", "/%41/../b", "/a;b=c,d", "/caf\u{E9}", "/[]{}|\\^\"<>`",
        ])
        if isRare(12) {
            target = one(["http://b.example/x", "https://b.example:8443", "http://b.example?q"])
        }
        if method == "OPTIONS", isRare(2) { target = "*" }
        let version = isRare(8) ? "HTTP/1.0" : "HTTP/1.1"
        var lines = [
            "Host:" + one([" ", "", "\t", "  "]) + one(["a.example", "127.0.0.1:8080", "[::1]", "a_b"])
        ]
        for _ in 0..<number(0...5) { lines.append(field()) }
        let (framing, content) = content(isRequest: true)
        lines.insert(contentsOf: framing, at: number(0...lines.count))
        let head = "\(method) \(target) \(version)\r\n" + lines.map { $0 + "\r\n" }.joined() + "\r\n"
        return (isRare(10) ? Array("\r\n".utf8) : []) + Array(head.utf8) + content
    }

    mutating func response() -> [UInt8] {
        let status = one([200, 200, 200, 201, 204, 206, 301, 304, 404, 500, 503, 599])
        var lines: [String] = []
        for _ in 0..<number(0...5) { lines.append(field()) }
        let (framing, content) = content(isRequest: false)
        lines.insert(contentsOf: framing, at: number(0...lines.count))
        let version = isRare(8) ? "HTTP/1.0" : "HTTP/1.1"
        let head =
            "\(version) \(status) " + one(["OK", "", "Not Found", "caf\u{E9}", "a\tb"]) + "\r\n"
            + lines.map { $0 + "\r\n" }.joined() + "\r\n"
        var bytes = Array(head.utf8) + content
        if isRare(4) { mutate(&bytes) }
        return bytes
    }

    private mutating func field() -> String {
        let name = one([
            "Accept", "User-Agent", "Cookie", "X-Custom", "x_odd", "X.Y", "Connection", "Expect", "TE",
            "Date", "!#$%&'*+-.^_`|~",
            "Content-Type", "Cache-Control", "Transfer_Encoding", "ContentLength", "X-Forwarded-For",
            "Keep-Alive",
        ])
        let value: String =
            switch name {
            case "Connection":
                one(["close", "keep-alive", "X-Custom", "keep-alive, X-Custom", ", ,close", "TE"])
            case "Expect": one(["100-continue", "other"])
            case "TE": one(["trailers", "gzip, trailers;q=0.5", "trailers, deflate"])
            default:
                one([
                    "1", "", "a b", "a\tb", "caf\u{E9}", "a:b", "\"a, b\"", "5, 5",
                    String(repeating: "x", count: 70),
                ])
            }
        return name + ":" + one([" ", "", "\t", "  ", " \t "]) + value + one(["", "", "", " ", "\t "])
    }

    /// Field lines and the bytes that go with them, or do not.
    private mutating func content(isRequest: Bool) -> ([String], [UInt8]) {
        let content = Array(repeating: UInt8(ascii: "c"), count: one([0, 1, 5, 16, 100]))
        let length = one(["Content-Length: ", "content-length:", "CONTENT-LENGTH:  "]) + "\(content.count)"
        let coding = one([
            "Transfer-Encoding: chunked", "transfer-encoding:Chunked", "Transfer-Encoding: \tchunked ",
        ])
        switch number(1...24) {
        case 1...8: return ([], isRequest ? [] : content)
        case 9...14: return ([length], content)
        case 15...20: return ([coding], chunked(content))
        case 21: return ([length, coding], chunked(content))
        case 22: return ([length, length], content)
        case 23:
            return (
                [
                    one([
                        "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: identity",
                        "Transfer-Encoding: x",
                    ])
                ],
                chunked(content)
            )
        default:
            return (
                [
                    one([
                        "Content-Length: +5", "Content-Length: 5,5", "Content-Length: 0005",
                        "Content-Length:",
                    ])
                ], content
            )
        }
    }

    private mutating func chunked(_ content: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = content[...]
        while !rest.isEmpty {
            let count = number(1...rest.count)
            let size = String(count, radix: 16, uppercase: isRare(2))
            let line =
                one(["", "", "0", "000"]) + size
                + one(["", "", "", ";a", ";a=b", ";a=\"b c\"", ";a=b;c", ";"])
            bytes += Array((line + "\r\n").utf8) + rest.prefix(count) + Array("\r\n".utf8)
            rest = rest.dropFirst(count)
        }
        let trailers = one(["", "", "", "X-Sum: 1\r\n", "A: b\r\nHost: x\r\n"])
        return bytes + Array(("0\r\n" + trailers + "\r\n").utf8)
    }

    /// Changes, takes away or adds a byte that matters, anywhere.
    mutating func mutate(_ bytes: inout [UInt8]) {
        let odd = Array("\r\n \t:;,\"0159afx/?#@\0\u{1}\u{7F}\u{E9}HTP.+-_".utf8)
        for _ in 0..<number(1...3) {
            guard !bytes.isEmpty else { return }
            let place = number(0...bytes.count - 1)
            switch number(1...4) {
            case 1: bytes[place] = one(odd)
            case 2: bytes.insert(one(odd), at: place)
            case 3: bytes.remove(at: place)
            default: bytes.removeLast(min(bytes.count, number(1...20)))
            }
        }
    }
}
