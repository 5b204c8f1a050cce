// The table of hostile requests: what Weir makes of each, in every mode, however it is cut.
//
// Tests/EndToEnd/hostile_requests.json is read by the end-to-end tests as well. Its texts are Latin-1; a pair of text
// and number in a request stands for so many copies of the text.

import Balancing
import Foundation
import HTTPCore
import Testing

struct HostileRequest: Decodable, Sendable, CustomTestStringConvertible {
    enum Outcome: String, Decodable {
        /// The head is answered with `status`, for `fault`.
        case refused
        /// Read as written here.
        case accepted
        /// The head is, its content is not.
        case malformed
        /// Waited for.
        case incomplete
    }

    let name: String
    let outcome: Outcome
    let bytes: [UInt8]
    var status: Int?
    var fault: String?
    /// In ELBv2's words.
    var desyncClass: String?
    var reason: String?
    /// What is understood to be content, and what to be the next request.
    var content: String?
    var rest: String?
    var framing: String?
    var authority: String?
    var path: String?
    var upgrade: String?
    /// The connection ends with this exchange, whatever the mode.
    var closes: Bool?
    /// Fields that are not passed on.
    var dropped: [String]?
    /// Trailers that are.
    var trailers: [String]?

    private enum Key: String, CodingKey {
        case name, outcome, request, status, fault, reason, content, rest, framing, authority, path, upgrade
        case closes, dropped, trailers
        case desyncClass = "class"
    }

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        name = try values.decode(String.self, forKey: .name)
        outcome = try values.decode(Outcome.self, forKey: .outcome)
        if let text = try? values.decode(String.self, forKey: .request) {
            bytes = latin1(text)
        } else {
            bytes = try values.decode([Part].self, forKey: .request).flatMap(\.bytes)
        }
        status = try values.decodeIfPresent(Int.self, forKey: .status)
        fault = try values.decodeIfPresent(String.self, forKey: .fault)
        desyncClass = try values.decodeIfPresent(String.self, forKey: .desyncClass)
        reason = try values.decodeIfPresent(String.self, forKey: .reason)
        content = try values.decodeIfPresent(String.self, forKey: .content)
        rest = try values.decodeIfPresent(String.self, forKey: .rest)
        framing = try values.decodeIfPresent(String.self, forKey: .framing)
        authority = try values.decodeIfPresent(String.self, forKey: .authority)
        path = try values.decodeIfPresent(String.self, forKey: .path)
        upgrade = try values.decodeIfPresent(String.self, forKey: .upgrade)
        closes = try values.decodeIfPresent(Bool.self, forKey: .closes)
        dropped = try values.decodeIfPresent([String].self, forKey: .dropped)
        trailers = try values.decodeIfPresent([String].self, forKey: .trailers)
    }

    private struct Part: Decodable {
        let bytes: [UInt8]

        init(from decoder: any Decoder) throws {
            if let text = try? decoder.singleValueContainer().decode(String.self) {
                bytes = latin1(text)
                return
            }
            var pair = try decoder.unkeyedContainer()
            let text = try pair.decode(String.self)
            let count = try pair.decode(Int.self)
            bytes = (0..<count).flatMap { _ in latin1(text) }
        }
    }

    var testDescription: String { name }

    static let all: [HostileRequest] = {
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "EndToEnd/hostile_requests.json")
        do {
            return try JSONDecoder().decode([HostileRequest].self, from: Data(contentsOf: file))
        } catch {
            Issue.record(error, "hostile_requests.json cannot be read")
            return []
        }
    }()
}

private func latin1(_ text: String) -> [UInt8] {
    text.unicodeScalars.map { UInt8(clamping: $0.value) }
}

@Suite struct `Hostile requests` {
    @Test func `there are enough of them`() {
        #expect(HostileRequest.all.count >= 300)
    }

    @Test(arguments: HostileRequest.all)
    func `each is read as the table says`(request: HostileRequest) {
        let read = ReadRequest(request.bytes)
        switch request.outcome {
        case .refused:
            guard case .refused(let fault) = read.outcome else {
                Issue.record("\(read.outcome)")
                return
            }
            #expect("\(fault)" == request.fault)
            #expect(fault.statusCode == request.status)
            #expect("\(read.desync.reason.name)" == request.reason)
        case .accepted:
            #expect(read.outcome == .complete)
            #expect("\(read.desync.classification.name)" == request.desyncClass)
            #expect("\(read.desync.reason.name)" == request.reason)
            #expect(read.authority == request.authority ?? "a.example")
            if let path = request.path { #expect(read.path == String(decoding: latin1(path), as: UTF8.self)) }
            if let framing = request.framing { #expect("\(read.framing)".prefix { $0 != "(" } == framing) }
            if let upgrade = request.upgrade { #expect("\(read.upgrade)" == upgrade) }
            #expect(read.isPersistent != (request.closes ?? false))
            let dropped = (request.dropped ?? []) + ["Connection", "Transfer-Encoding", "TRANSFER-ENCODING"]
            #expect(Set(read.hopByHopNames).subtracting(dropped) == [])
            #expect(Set(request.dropped ?? []).subtracting(read.hopByHopNames) == [])
            let body = readBody(request, read)
            #expect(body.isComplete && body.fault == nil)
            #expect(body.content == latin1(request.content ?? ""))
            #expect(Array(request.bytes.suffix(body.restByteCount)) == latin1(request.rest ?? ""))
            #expect(body.trailers.filter { !$0.isHopByHop }.map(\.name) == request.trailers ?? [])
        case .malformed:
            #expect(read.outcome == .complete)
            let body = readBody(request, read)
            #expect(body.fault.map { "\($0)" } == request.fault)
            #expect(!body.isComplete)
        case .incomplete:
            guard read.outcome == .complete else {
                #expect(read.outcome == .needMore)
                return
            }
            let body = readBody(request, read)
            #expect(!body.isComplete && body.fault == nil)
        }
    }

    /// However a head comes in pieces: refused for the same fault, or read to the same values, and never earlier
    /// for another.
    @Test(arguments: HostileRequest.all)
    func `each beginning leads to the same end`(request: HostileRequest) {
        let whole = ReadRequest(request.bytes)
        let end = whole.outcome == .complete ? whole.byteCount : request.bytes.count
        var head = RequestHead()
        for count in prefixCounts(end) {
            let beginning = ReadRequest(Array(request.bytes[..<count]), into: &head)
            if count < end, beginning.outcome == .needMore { continue }
            if case .refused = beginning.outcome, case .refused = whole.outcome {
                #expect(beginning.outcome == whole.outcome, "after \(count)")
            } else {
                #expect(beginning == whole, "after \(count)")
            }
        }
    }

    @Test(arguments: HostileRequest.all)
    func `content cut anywhere is the same content`(request: HostileRequest) {
        let head = ReadRequest(request.bytes)
        guard head.outcome == .complete, head.framing != .none else { return }
        let bytes = Array(request.bytes[head.byteCount...])
        let whole = ReadBody(bytes, head.framing)
        for cut in prefixCounts(bytes.count) where cut <= bytes.count {
            #expect(ReadBody(bytes, head.framing, cuts: [cut]) == whole, "at \(cut)")
        }
        if bytes.count < 2_000 {
            #expect(ReadBody(bytes, head.framing, cuts: Array(0...bytes.count)) == whole)
        }
    }

    @Test(arguments: HostileRequest.all)
    func `whatever is forwarded in some mode has one meaning`(request: HostileRequest) {
        let read = ReadRequest(request.bytes)
        guard read.outcome == .complete else { return }
        let verdicts = DesyncMitigationMode.allCases.map { verdict(for: read.desync, mode: $0) }
        switch read.desync.classification {
        case .compliant: #expect(verdicts == [.forward, .forward, .forward])
        case .acceptable: #expect(verdicts == [.forward, .forward, .refuse])
        case .ambiguous: #expect(verdicts == [.forward, .forwardThenClose, .refuse])
        case .severe: Issue.record("a severe head is not accepted")
        }
    }

    private func readBody(_ request: HostileRequest, _ head: ReadRequest) -> ReadBody {
        ReadBody(Array(request.bytes[head.byteCount...]), head.framing)
    }

    /// Every length of a short text; of a long one those near its ends and bounds, and some between.
    private func prefixCounts(_ end: Int) -> [Int] {
        guard end > 2_000 else { return Array(0...end) }
        let bounds = [0, 16 << 10, 64 << 10, end]
        return (0...end).filter { count in count % 997 == 0 || bounds.contains { abs($0 - count) < 40 } }
    }
}
