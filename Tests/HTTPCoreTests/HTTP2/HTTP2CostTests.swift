// What HTTP/2 costs: memory of an idle connection, allocations of an exchange.
//
// Counts, not times: they are the same on a busy machine.

import Balancing
import CAllocationCount
import HTTPCore
import Testing

@Suite("HTTP/2 costs")
struct HTTP2CostTests {
    /// As browsers and application servers send them.
    private static let requestFields = [
        TestField("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        TestField("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        TestField("accept-language", "en-US,en;q=0.5"),
        TestField("accept-encoding", "gzip, deflate, br, zstd"),
        TestField("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
    ]
    private static let responseFields = [
        TestField("content-type", "text/html; charset=utf-8"), TestField("server", "nginx/1.22.1"),
        TestField("date", "Tue, 24 Nov 2026 15:00:00 GMT"), TestField("cache-control", "no-store"),
    ]

    private func exchangeOnce(_ conversation: TestConversation) {
        let (client, server) = (conversation.client, conversation.server)
        client.request("GET", "/some/path?query", fields: Self.requestFields)
        conversation.exchange()
        for event in server.takeEvents() {
            guard case .request(let stream, _, _, _, _) = event else { continue }
            server.respond(stream, fields: Self.responseFields, endsStream: false)
            server.write([UInt8](repeating: 1, count: 1_000), stream: stream)
            server.session.finish(stream: stream)
        }
        conversation.exchange()
        _ = (client.takeEvents(), server.takeEvents())
    }

    @Test func `an idle connection holds little`() {
        let conversation = TestConversation(isCountingMemory: true)
        conversation.exchange()
        let fresh = conversation.server.pool.memoryUse.byteCount
        // A session of the library, its empty tables, and not its frame buffer of 16 KiB.
        #expect((8_000..<10_000).contains(fresh), "\(fresh) bytes")
        exchangeOnce(conversation)
        let used = conversation.server.pool.memoryUse.byteCount
        #expect(used < 12_000, "\(used) bytes")
        for _ in 0..<200 { exchangeOnce(conversation) }
        #expect(conversation.server.pool.memoryUse.byteCount == used)
        #expect(conversation.server.pool.queuedPieceCount == 0)
        conversation.server.session.free()
        #expect(conversation.server.pool.memoryUse.byteCount == 0)
        #expect(conversation.server.pool.memoryUse.pieceCount == 0)
    }

    /// The smallest pair of sessions, whose own machinery allocates nothing.
    private final class Side {
        let pool = HTTP2Pool()
        var inbox = HTTP2Inbox()
        var session: HTTP2Session
        var block = HTTP2FieldBlock()
        var wire = [UInt8](repeating: 0, count: 64 << 10)
        var byteCount = 0
        let now = Instant(nanoseconds: 1)

        init(isServer: Bool) {
            pool.countMemory()
            session =
                (isServer ? HTTP2Session(asServerIn: pool, at: now) : HTTP2Session(asClientIn: pool, at: now))
                ?? .none
        }

        deinit { session.free() }

        func send() {
            wire.withUnsafeMutableBufferPointer { buffer in
                var output = OutputSpan(buffer: buffer, initializedCount: 0)
                _ = session.nextOutput(into: &output, inbox: &inbox)
                byteCount = output.finalize(for: buffer)
            }
        }

        func receive(from other: Side) -> Bool {
            other.wire.withUnsafeBufferPointer { bytes in
                let sent = UnsafeBufferPointer(rebasing: bytes[..<other.byteCount])
                return session.receive(sent.span, into: &inbox, at: now) == .complete
            }
        }
    }

    @Test func `an exchange allocates what nghttp2 does and no more`() {
        let (client, server) = (Side(isServer: false), Side(isServer: true))
        let fields = Self.requestFields.map { (name: Array($0.name.utf8), value: Array($0.value.utf8)) }
        let (method, authority, path) = (Array("GET".utf8), Array("weir.example".utf8), Array("/a?b".utf8))
        let content = [UInt8](repeating: 1, count: 1_000)
        func exchange() -> Bool {
            client.block.beginRequest(
                method: method.span, isSecure: true, authority: authority.span, path: path.span)
            for field in fields { client.block.append(field.name.span, value: field.value.span) }
            var isRight = client.session.submitRequest(client.block, endsStream: true) != nil
            client.send()
            isRight = server.receive(from: client) && isRight
            for index in server.inbox.events.indices {
                guard case .request(let stream, let head, _) = server.inbox.events[index] else { continue }
                isRight = isRight && server.inbox.requestHeads[head].fields.count == fields.count + 1
                server.block.beginResponse(statusCode: 200)
                server.block.append("content-type", value: "text/plain")
                server.block.append("content-length", number: content.count)
                isRight =
                    server.session.submitResponse(server.block, stream: stream, endsStream: false) && isRight
                isRight = server.session.write(content.span, stream: stream) == content.count && isRight
                server.session.finish(stream: stream)
            }
            server.send()
            isRight = client.receive(from: server) && isRight
            for index in client.inbox.events.indices {
                if case .content(let stream, let bytes) = client.inbox.events[index] {
                    client.session.consumed(stream: stream, byteCount: Int(bytes.count))
                }
            }
            return isRight && client.session.openStreamCount == 0
        }
        var isRight = true
        for _ in 0..<10 { isRight = exchange() && isRight }
        let requested = client.pool.memoryUse.requestCount + server.pool.memoryUse.requestCount
        allocation_count_take_part(true)
        let before = allocation_own_count()
        let liveBefore = allocation_live_byte_count()
        for _ in 0..<100 { isRight = exchange() && isRight }
        let after = allocation_own_count()
        let liveByteCount = allocation_live_byte_count() - liveBefore
        allocation_count_take_part(false)
        let byLibrary = client.pool.memoryUse.requestCount + server.pool.memoryUse.requestCount - requested
        #expect(isRight)
        #if !DEBUG
        // Without optimisation the language's own temporaries allocate.
        #expect(Int(after - before) == byLibrary)
        #endif
        #expect(liveByteCount == 0)
        // A stream on each side, frames that wait, and a head's fields until they are sent.
        #expect(byLibrary <= 100 * 12, "\(byLibrary)")
    }
}
