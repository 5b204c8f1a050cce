// What checks of HTTP/2 and gRPC targets add to a probe: a session that asks one question, and what came of it.
//
// The question of a gRPC check is a call with an empty message; its answer is the status in the trailers, or in the
// head where a call has nothing else (gRPC over HTTP/2, "Responses").

import Balancing
import HTTPCore
import LinuxIO
import TLSTermination

extension ProberLoop {
    /// A message of no bytes: not compressed, of length zero.
    private static let emptyMessage: [UInt8] = [0, 0, 0, 0, 0]

    /// Begins the session and asks.
    mutating func askHTTP2(_ slot: Int, _ question: ProbeQuestion, at now: Instant) {
        guard var session = HTTP2Session(asClientIn: http2Pool, at: now) else {
            step(slot, .failed(.balancerFault("out of memory")))
            return
        }
        fieldBlock.beginRequest(
            method: (question.isCall ? "POST" : "GET").utf8.span, isSecure: question.isSecure,
            authority: question.authority.utf8.span, path: question.path.utf8.span)
        fieldBlock.append("user-agent", value: "Weir-HealthChecker/1.0")
        if question.isCall {
            fieldBlock.append("content-type", value: "application/grpc")
            fieldBlock.append("te", value: "trailers")
        } else {
            fieldBlock.append("accept", value: "*/*")
        }
        guard let stream = session.submitRequest(fieldBlock, endsStream: !question.isCall) else {
            session.free()
            step(slot, .failed(.balancerFault("the check's path is no request")))
            return
        }
        if question.isCall {
            _ = session.write(Self.emptyMessage.span, stream: stream)
            session.finish(stream: stream)
        }
        probes[slot]?.http2 = session
        sendHTTP2(slot)
    }

    /// Gives what came to the session, and the answer to the probe.
    mutating func receiveHTTP2(_ slot: Int, _ bytes: ArraySlice<UInt8>, at now: Instant) {
        guard let token = probes[slot]?.connection.token, let session = probes[slot]?.http2, session.isOpen,
            var inbox = http2Inbox.take()
        else { return }
        var events: [ProbeExchange.Event] = []
        var start = 0
        reading: while true {
            let reception = session.receive(bytes.span.extracting(start..<bytes.count), into: &inbox, at: now)
            for index in 0..<inbox.events.count { note(inbox.events[index], inbox, into: &events) }
            switch reception {
            case .complete: break reading
            case .paused(let count): start += count
            case .failed:
                events.append(.failed(.malformedAnswer("it breaks the rules of HTTP/2")))
                break reading
            }
        }
        http2Inbox = consume inbox
        sendHTTP2(slot)
        for event in events where isCurrent(token) { step(slot, event) }
    }

    private func note(
        _ event: HTTP2Event, _ inbox: borrowing HTTP2Inbox, into events: inout [ProbeExchange.Event]
    ) {
        switch event {
        case .response(_, let head, let endsStream):
            let head = inbox.responseHeads[head]
            guard !head.isInterim else { return }
            events.append(
                .answered(
                    statusCode: head.statusCode, callStatus: callStatus(head.fields, inbox),
                    isWhole: endsStream))
        case .trailers(_, let section):
            events.append(
                .answered(
                    statusCode: nil, callStatus: callStatus(inbox.trailerSections[section], inbox),
                    isWhole: true))
        case .endOfStream:
            events.append(.answered(statusCode: nil, callStatus: nil, isWhole: true))
        case .reset:
            events.append(.failed(.malformedAnswer("it resets the request")))
        case .content, .closed, .writable, .goAway, .settings, .request, .refusal, .malformed:
            break
        }
    }

    /// The number in `grpc-status`, if there is one.
    private func callStatus(_ fields: [HeadField], _ inbox: borrowing HTTP2Inbox) -> Int? {
        guard let field = fields.first(where: { $0.id == .grpcStatus }), (1...3).contains(field.value.count)
        else { return nil }
        var number = 0
        for index in field.value.range {
            let digit = inbox.fieldBytes[index] &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            number = number * 10 + Int(digit)
        }
        return number
    }

    /// Sends what the session has to say.
    private mutating func sendHTTP2(_ slot: Int) {
        guard let session = probes[slot]?.http2, session.isOpen, var inbox = http2Inbox.take() else { return }
        var output = OutputBuffer(capacity: ProberLoop.streamReceiveByteCountMax)
        while session.wantsToSend {
            output.removeAll()
            _ = session.nextOutput(into: &output, inbox: &inbox)
            guard output.count > 0 else { break }
            probes[slot]?.unsent.append(contentsOf: output.storage[..<output.count])
        }
        http2Inbox = consume inbox
        sendUnsent(slot)
    }
}
