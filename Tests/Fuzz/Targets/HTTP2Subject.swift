// Any bytes as a connection of HTTP/2, to a server or to a client: the same events in whatever pieces they come, no
// stream that ends twice, and no request that means something else when it is written in HTTP/1.1.
#if DEBUG

import Balancing
import HTTPCore

enum HTTP2Subject {
    static func run(_ bytes: [UInt8]) {
        var source = ByteSource(bytes)
        let choice = source.byte()
        let isServer = choice & 1 == 0
        let wire = choice & 2 == 0 ? frames(&source, isServer: isServer) : source.remaining
        var whole = Listener(isServer: isServer)
        whole.hear(wire, pieceByteCount: .max)
        for pieceByteCount in [1, 7 + Int(choice >> 2)] {
            var parts = Listener(isServer: isServer)
            parts.hear(wire, pieceByteCount: pieceByteCount)
            if parts.isDone {
                // Nothing is read any more, however much came in the same piece.
                precondition(whole.told.starts(with: parts.told), "in pieces of \(pieceByteCount)")
            } else {
                precondition(parts.told == whole.told, "in pieces of \(pieceByteCount)")
                precondition(parts.failure == whole.failure)
            }
            parts.end()
        }
        whole.end()
    }

    /// Frames whose heads are right and whose rest the input chooses.
    private static func frames(_ source: inout ByteSource, isServer: Bool) -> [UInt8] {
        var bytes = isServer ? Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) : []
        bytes += [0, 0, 0, 4, 0, 0, 0, 0, 0]
        while !source.isAtEnd {
            let kind = UInt8(source.number(below: 11))
            let flags = source.byte()
            let stream = UInt8(source.number(below: 9))
            var payload = source.bytes(source.number(below: 200))
            // A head that begins well: the static table's GET (or a status), https, a path and an authority.
            if kind == 1, flags & 0x80 != 0 {
                payload = (isServer ? [0x82, 0x87, 0x84, 0x41, 1, 0x61] : [0x88]) + payload
            }
            bytes += [0, 0, UInt8(payload.count), kind, flags & 0x2D, 0, 0, 0, stream] + payload
        }
        return bytes
    }

    /// A session and what it told.
    private struct Listener: ~Copyable {
        let pool: HTTP2Pool
        var session: HTTP2Session
        var inbox = HTTP2Inbox()
        var block = HTTP2FieldBlock()
        var told: [String] = []
        var failure: HTTP2Failure?
        private var hasHeardGoAway = false
        private var closedStreams: Set<Int32> = []
        /// Told with the end: how much comes of content that breaks a rule depends on the pieces.
        private var contents: [Int32: [UInt8]] = [:]

        init(isServer: Bool) {
            let now = Instant(nanoseconds: 1)
            pool = HTTP2Pool()
            pool.countMemory()
            let made =
                isServer ? HTTP2Session(asServerIn: pool, at: now) : HTTP2Session(asClientIn: pool, at: now)
            session = made ?? .none
            precondition(session.isOpen)
            guard !isServer else { return }
            for (endsStream, method) in [(true, "GET"), (false, "POST"), (true, "HEAD")] {
                block.beginRequest(
                    method: Array(method.utf8).span, isSecure: true, authority: Array("a".utf8).span,
                    path: Array("/".utf8).span)
                precondition(session.submitRequest(block, endsStream: endsStream) != nil)
            }
            send()
        }

        /// All that there will be has been.
        var isDone: Bool { hasHeardGoAway && session.openStreamCount == 0 }

        mutating func hear(_ wire: [UInt8], pieceByteCount: Int) {
            var rest = wire[...]
            reading: while !rest.isEmpty {
                var piece = Array(rest.prefix(pieceByteCount))
                rest = rest.dropFirst(pieceByteCount)
                while true {
                    let reception = session.receive(piece.span, into: &inbox, at: Instant(nanoseconds: 1))
                    note(contentIn: piece)
                    switch reception {
                    case .complete: continue reading
                    case .paused(let byteCount): piece.removeFirst(byteCount)
                    case .failed(let failure):
                        self.failure = failure
                        break reading
                    }
                }
            }
        }

        /// What is pending goes out, and then nothing is left.
        mutating func end() {
            send()
            precondition(!session.wantsToSend, "everything that can be sent has been")
            if session.failure != nil { precondition(session.wantsToClose, "nothing more comes of it") }
            session.free()
            precondition(pool.queuedPieceCount == 0 && pool.memoryUse.byteCount == 0, "all given back")
        }

        private mutating func send() {
            for _ in 0..<1_000 where session.wantsToSend {
                var byteCount = 0
                _ = [UInt8](unsafeUninitializedCapacity: 20_000) { buffer, count in
                    var output = OutputSpan(buffer: buffer, initializedCount: 0)
                    _ = session.nextOutput(into: &output, inbox: &inbox)
                    count = output.finalize(for: buffer)
                    byteCount = count
                }
                note(contentIn: [])
                precondition(byteCount > 0 || !session.wantsToSend, "what wants to send does")
            }
        }

        private mutating func note(contentIn piece: [UInt8]) {
            for event in inbox.events {
                switch event {
                case .content(let stream, let place):
                    contents[stream, default: []] += piece[place.range]
                    session.consumed(stream: stream, byteCount: Int(place.count))
                    continue
                case .closed(let stream, _):
                    precondition(closedStreams.insert(stream).inserted, "ends once")
                case .endOfStream(let stream), .trailers(let stream, _):
                    told.append("content \(stream) \(contents[stream] ?? [])")
                case .goAway:
                    hasHeardGoAway = true
                case .request, .refusal, .malformed, .response, .reset, .writable, .settings:
                    break
                }
                told.append(text(of: event))
            }
        }

        private func text(of event: HTTP2Event) -> String {
            switch event {
            case .request(let stream, let index, let endsStream):
                let head = inbox.requestHeads[index]
                precondition(head.fields.count <= Limits.http2FieldCountMax + 1)
                if head.framing != .streamed { checkInHTTP1(head) }
                return "request \(stream) \(lines(head.fields)) \(head.desync) \(head.framing) \(endsStream)"
            case .response(let stream, let index, let endsStream):
                let head = inbox.responseHeads[index]
                precondition((100...999).contains(head.statusCode) && head.statusCode != 101)
                return "response \(stream) \(head.statusCode) \(lines(head.fields)) \(endsStream)"
            case .trailers(let stream, let section):
                return "trailers \(stream) \(lines(inbox.trailerSections[section]))"
            case .refusal, .malformed, .content, .endOfStream, .reset, .closed, .writable, .goAway, .settings:
                return "\(event)"
            }
        }

        private func lines(_ fields: [HeadField]) -> [[UInt8]] {
            fields.map { field in
                let line =
                    inbox.fieldBytes[field.name.range] + [UInt8(ascii: ":")]
                    + inbox.fieldBytes[field.value.range]
                precondition(
                    !line.contains { $0 == 0 || $0 == UInt8(ascii: "\r") || $0 == UInt8(ascii: "\n") })
                return Array(line)
            }
        }

        /// Written anew, another parser finds the same request in it and nothing behind it.
        private func checkInHTTP1(_ head: RequestHead) {
            let bytes = inbox.fieldBytes
            var output = OutputBuffer(capacity: 2 * head.byteCount + 8 * head.fields.count + 1_024)
            HeadWriter.appendRequestLine(of: head, bytes.span, to: &output)
            output.append("Host: ")
            output.append(bytes.span, head.authority)
            output.append("\r\n")
            let kept = head.fields.filter { !$0.isHopByHop && $0.id != .host && $0.id != .contentLength }
            for field in kept { HeadWriter.appendField(field, bytes.span, to: &output) }
            HeadWriter.appendFraming(head.framing, to: &output)
            HeadWriter.appendHeadEnd(to: &output)
            let written = output.withBytes { bytes in bytes.indices.map { bytes[$0] } }
            var again = RequestHead()
            let limits = HeadLimits(
                requestLineByteCountMax: 1 << 20, fieldLineByteCountMax: 1 << 20, headByteCountMax: 1 << 21,
                fieldCountMax: 1_000)
            let outcome = RequestParser.parse(written.span, into: &again, limits: limits)
            precondition(outcome == .complete, "a request of HTTP/1.1 too")
            precondition(again.byteCount == written.count, "nothing behind it")
            precondition(written[again.methodBytes.range] == bytes[head.methodBytes.range])
            precondition(written[again.path.range] == bytes[head.path.range])
            precondition(written[again.query.range] == bytes[head.query.range])
            precondition(written[again.authority.range] == bytes[head.authority.range])
            precondition(again.framing == head.framing && again.hasQuery == head.hasQuery)
        }
    }
}
#endif
