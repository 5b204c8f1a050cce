// What the tests of heads share: texts in, plain values out.

import HTTPCore

/// A request as a test can compare it.
struct ReadRequest: Equatable {
    var outcome: HeadOutcome
    var method = ""
    var version = HTTPVersion.http11
    var target = ""
    var authority = ""
    var path = ""
    var query: String?
    var fields: [ReadField] = []
    var framing = BodyFraming.none
    var isPersistent = true
    var expectsContinue = false
    var upgrade = UpgradeRequest.none
    var acceptsTrailers = false
    var byteCount = 0
    var desync = DesyncFinding.compliant

    init(_ text: String, limits: HeadLimits = .standard) { self.init(Array(text.utf8), limits: limits) }

    init(_ bytes: [UInt8], limits: HeadLimits = .standard) {
        var head = RequestHead()
        self.init(bytes, into: &head, limits: limits)
    }

    init(_ bytes: [UInt8], into head: inout RequestHead, limits: HeadLimits = .standard) {
        outcome = RequestParser.parse(bytes.span, into: &head, limits: limits)
        guard outcome != .needMore else { return }
        desync = head.desync
        guard outcome == .complete else { return }
        func text(_ place: ByteRange) -> String { String(decoding: bytes[place.range], as: UTF8.self) }
        method = text(head.methodBytes)
        version = head.version
        target = text(head.target)
        authority = text(head.authority)
        path = text(head.path)
        query = head.hasQuery ? text(head.query) : nil
        fields = head.fields.map { ReadField($0, bytes) }
        framing = head.framing
        isPersistent = head.isPersistent
        expectsContinue = head.expectsContinue
        upgrade = head.upgrade
        acceptsTrailers = head.acceptsTrailers
        byteCount = head.byteCount
    }

    subscript(name: String) -> String? { fields.first { $0.name == name }?.value }
    var hopByHopNames: [String] { fields.filter(\.isHopByHop).map(\.name) }
}

struct ReadField: Equatable {
    var name: String
    var value: String
    var id: FieldName
    var hasUnusualName: Bool
    var isHopByHop: Bool

    init(_ field: HeadField, _ bytes: [UInt8]) {
        name = String(decoding: bytes[field.name.range], as: UTF8.self)
        value = String(decoding: bytes[field.value.range], as: UTF8.self)
        id = field.id
        hasUnusualName = field.hasUnusualName
        isHopByHop = field.isHopByHop
    }
}

/// A response as a test can compare it.
struct ReadResponse: Equatable {
    var outcome: HeadOutcome
    var version = HTTPVersion.http11
    var statusCode = 0
    var reason = ""
    var fields: [ReadField] = []
    var framing = BodyFraming.none
    var isPersistent = true
    var byteCount = 0

    init(_ text: String, answering method: HTTPMethod = .get, limits: HeadLimits = .response) {
        self.init(Array(text.utf8), answering: method, limits: limits)
    }

    init(_ bytes: [UInt8], answering method: HTTPMethod = .get, limits: HeadLimits = .response) {
        var head = ResponseHead()
        outcome = ResponseParser.parse(bytes.span, answering: method, into: &head, limits: limits)
        guard outcome == .complete else { return }
        version = head.version
        statusCode = head.statusCode
        reason = String(decoding: bytes[head.reason.range], as: UTF8.self)
        fields = head.fields.map { ReadField($0, bytes) }
        framing = head.framing
        isPersistent = head.isPersistent
        byteCount = head.byteCount
    }
}

/// Content as it is read, however it is cut.
struct ReadBody: Equatable {
    var content: [UInt8] = []
    var trailers: [ReadField] = []
    var isComplete = false
    var fault: BodyFault?
    /// Bytes behind the message.
    var restByteCount = 0

    /// Reads `bytes`, which come in pieces that end at `cuts`.
    init(_ bytes: [UInt8], _ framing: BodyFraming, cuts: [Int] = [], isClosed: Bool = false) {
        var reader = BodyReader(framing)
        var position = 0
        read: for end in cuts + [bytes.count] {
            // Other bytes behind the cut would show if the reader looked beyond.
            let arrived = Array(bytes[..<end])
            while true {
                switch reader.next(arrived.span, from: &position) {
                case .content(let range):
                    content += arrived[range]
                    continue
                case .trailers(let range):
                    var fields: [HeadField] = []
                    TrailerSection.read(arrived.span, range, into: &fields)
                    trailers = fields.map { ReadField($0, arrived) }
                    continue
                case .needMore:
                    continue read
                case .end:
                    isComplete = true
                case .malformed(let bodyFault):
                    fault = bodyFault
                }
                break read
            }
        }
        if isClosed { isComplete = reader.close() }
        if isComplete { restByteCount = bytes.count - position }
    }

    init(_ text: String, _ framing: BodyFraming, cuts: [Int] = [], isClosed: Bool = false) {
        self.init(Array(text.utf8), framing, cuts: cuts, isClosed: isClosed)
    }

    var text: String { String(decoding: content, as: UTF8.self) }
}
