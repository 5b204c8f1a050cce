// What Weir tells targets of a request's way.

import Balancing
import CAllocationCount
import Foundation
import HTTPCore
import Testing

@Suite struct `Forwarded fields` {
    private let client = Endpoint(address: IPAddress(v4: 0xCB00_7107), port: 50_000)

    private func forwardedFor(
        _ values: [String], client: Endpoint? = nil, mode: ForwardedForMode = .append,
        tellsClientPort: Bool = false
    ) -> String? {
        let head = BuiltHead(values.map { (.forwardedFor, $0) } + [(.forwardedPort, "1")])
        var buffer = Array("x: ".utf8)
        let isSent = ForwardedFields.appendForwardedFor(
            of: head.request, head.bytes.span, client: client ?? self.client, mode: mode,
            tellsClientPort: tellsClientPort, to: &buffer)
        if !isSent { #expect(text(buffer) == "x: ") }
        return isSent ? text(Array(buffer.dropFirst(3))) : nil
    }

    @Test func `append puts the client behind what came`() {
        #expect(forwardedFor([]) == "203.0.113.7")
        #expect(forwardedFor(["198.51.100.1"]) == "198.51.100.1, 203.0.113.7")
        #expect(forwardedFor(["a, b", "c"]) == "a, b, c, 203.0.113.7")
        #expect(forwardedFor([""]) == "203.0.113.7")
    }

    @Test func `preserve and remove`() {
        #expect(forwardedFor(["a, b", "c"], mode: .preserve) == "a, b, c")
        #expect(forwardedFor([], mode: .preserve) == nil)
        #expect(forwardedFor(["a"], mode: .remove) == nil)
    }

    @Test func `the port is told when asked for`() throws {
        let v6 = try #require(Endpoint("[2001:db8::1]:443"))
        #expect(forwardedFor([], tellsClientPort: true) == "203.0.113.7:50000")
        #expect(forwardedFor(["a"], client: v6, tellsClientPort: true) == "a, [2001:db8::1]:443")
        #expect(forwardedFor([], client: v6) == "2001:db8::1")
        #expect(forwardedFor(["a"], mode: .preserve, tellsClientPort: true) == "a")
    }
}

@Suite struct `Request tracing` {
    private func trace(_ values: [String], headByteCount: Int = 100) -> String {
        var head = BuiltHead(values.map { (.amznTraceID, $0) })
        head.request.byteCount = headByteCount
        var buffer: [UInt8] = []
        TraceField.append(
            for: head.request, head.bytes.span, unixSeconds: 0x6789_1233,
            random: 0xFFFF_FFFF_ABCD_EF01_2345_6789_1234_5678, to: &buffer)
        return text(buffer)
    }

    private let new = "1-67891233-abcdef012345678912345678"

    @Test(arguments: [
        ([], "Root=NEW"),
        (["Root=1-5-6"], "Self=NEW;Root=1-5-6"),
        (["Root=1-5-6;CalledFrom=app"], "Self=NEW;Root=1-5-6;CalledFrom=app"),
        (["Self=1-2-3;Root=1-5-6"], "Self=NEW;Root=1-5-6"),
        (["Root=1-5-6; Self=1-2-3 ; Sampled=1"], "Self=NEW;Root=1-5-6;Sampled=1"),
        (["Root=1-5-6", "Self=1-2-3;Parent=4"], "Self=NEW;Root=1-5-6;Parent=4"),
        (["CalledFrom=app"], "Root=NEW;CalledFrom=app"),
        (["Self=1-2-3"], "Root=NEW"), ([""], "Root=NEW"), ([";;"], "Root=NEW"),
        (["Rooted=1;root=2"], "Root=NEW;Rooted=1;root=2"),
    ])
    func `a hop adds itself and keeps the rest`(values: [String], expected: String) {
        #expect(trace(values) == expected.replacingOccurrences(of: "NEW", with: new))
    }

    @Test func `a long head gets a root of its own`() {
        #expect(trace(["Root=1-5-6"], headByteCount: TraceField.headByteCountMax + 1) == "Root=\(new)")
        #expect(trace(["Root=1-5-6"], headByteCount: TraceField.headByteCountMax) == "Self=\(new);Root=1-5-6")
    }

    @Test func `whatever came, there is a root, and a self only in front of one`() {
        var state: UInt64 = 1
        func next(_ bound: UInt64) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % bound)
        }
        let pieces = ["Root=", "Self=", ";", "; ", "1-2-3", "=", "x", " ", "Root", "Self", "Lineage=a:1"]
        for _ in 0..<5_000 {
            let values = (0..<next(3)).map { _ in
                (0..<next(8)).map { _ in pieces[next(UInt64(pieces.count))] }.joined()
            }
            let parts = trace(values).components(separatedBy: ";")
            let (selves, roots) = (
                parts.filter { $0.hasPrefix("Self=") }, parts.filter { $0.hasPrefix("Root=") }
            )
            #expect(parts[0] == "Root=\(new)" || parts[0] == "Self=\(new)")
            #expect(selves.count == (parts[0].hasPrefix("Self=") ? 1 : 0))
            #expect(roots.count >= 1)
            #expect(parts.allSatisfy { !$0.isEmpty && $0.first != " " && $0.last != " " }, "\(values)")
        }
    }

    @Test func `connections have names as well`() {
        #expect(
            text { ConnectionTraceID(random: 0x1F).append(to: &$0) }
                == "TID_0000000000000000000000000000001f"
        )
    }

    @Test func `nothing allocates`() {
        var head = BuiltHead([
            (.forwardedFor, "a, b"), (.amznTraceID, "Self=1-2-3;Root=1-5-6;CalledFrom=app"),
        ])
        head.request.byteCount = head.bytes.count
        let client = Endpoint(address: IPAddress(v6High: 0x2001_0DB8_0000_0000, v6Low: 1), port: 50_000)
        var buffer: [UInt8] = []
        buffer.reserveCapacity(512)
        var allocations: UInt64 = 0
        for isCounted in [false, true] {
            allocation_count_take_part(isCounted)
            let before = allocation_own_count()
            buffer.removeAll(keepingCapacity: true)
            _ = ForwardedFields.appendForwardedFor(
                of: head.request, head.bytes.span, client: client, mode: .append, tellsClientPort: true,
                to: &buffer)
            TraceField.append(for: head.request, head.bytes.span, unixSeconds: 7, random: 9, to: &buffer)
            ConnectionTraceID(random: 1).append(to: &buffer)
            allocations = allocation_own_count() - before
            allocation_count_take_part(false)
        }
        #expect(buffer.count > 100)
        #expect(allocations == 0)
    }
}
