// Reads the answer to an HTTP probe, in whatever pieces it arrives; RFC 9112 sections 4 to 7.
//
// Bytes are judged in order and one by one, so how they were cut into pieces changes nothing. Strict where a
// stranger would pass for HTTP, lenient where small servers err (a bare LF ends a line, the reason phrase may
// be missing with its space). Bounded: Limits.probeResponseByteCountMax for all heads together, and as much of
// the body. Reads no trailers and undoes no content coding.

import Balancing

package struct ProbeResponseParser: Sendable {
    package enum State: Hashable, Sendable {
        case head
        case body
        /// All that is wanted has been read: the head, or with `isBodyWanted` as much body as may be kept.
        case complete
        /// What is wrong, as the second half of a sentence that ends "something that is not HTTP: …".
        case malformed(String)
    }

    private enum Part: Sendable {
        case statusLine
        case fields
        case bodyUntilClose
        case countedBody(remainingByteCount: Int)
        case chunkSize
        case chunkData(remainingByteCount: Int)
        case chunkEnd
        case complete
        case malformed(String)
    }

    private struct Field: Sendable {
        /// In lower case.
        let name: [UInt8]
        var value: [UInt8]
    }

    private static let versionPrefix = Array("HTTP/1.".utf8)
    private static let contentLength = Array("content-length".utf8)
    private static let transferEncoding = Array("transfer-encoding".utf8)
    /// A chunk size with extensions; longer ones have no honest use.
    private static let chunkLineByteCountMax = 256

    private var part = Part.statusLine
    private let isBodyWanted: Bool
    private let keptFieldNames: [[UInt8]]
    private var line: [UInt8] = []
    private var headByteCount = 0
    private var lineStatusCode = 0
    private var fieldCount = 0
    /// True while a folded line would continue a kept field.
    private var isLastFieldKept = false
    private var keptFields: [Field] = []

    /// The status code, known once the head is whole. Interim answers (1xx) do not count.
    package private(set) var statusCode: Int?
    /// Empty unless wanted; at most Limits.probeResponseByteCountMax bytes, transfer coding undone.
    package private(set) var body: [UInt8] = []

    /// - Parameters:
    ///   - fieldNames: The header fields to keep for `values(of:)`; others are checked and dropped.
    ///   - isBodyWanted: False completes with the head.
    package init(keeping fieldNames: [String] = [], isBodyWanted: Bool = false) {
        self.isBodyWanted = isBodyWanted
        keptFieldNames =
            fieldNames.map { FieldSyntax.lowercased($0.utf8) } + [Self.contentLength, Self.transferEncoding]
    }

    package var state: State {
        switch part {
        case .statusLine, .fields: .head
        case .bodyUntilClose, .countedBody, .chunkSize, .chunkData, .chunkEnd: .body
        case .complete: .complete
        case .malformed(let what): .malformed(what)
        }
    }

    /// The values of a field that was asked for in `init`, one per line of the header, without outer whitespace.
    package func values(of name: String) -> [String] {
        let wanted = FieldSyntax.lowercased(name.utf8)
        return keptFields.filter { $0.name == wanted }.map { String(decoding: $0.value, as: UTF8.self) }
    }

    /// Reads on. Bytes after completion, or after the first wrong one, are ignored.
    package mutating func feed(_ bytes: ArraySlice<UInt8>) {
        var rest = bytes
        while let byte = rest.first {
            switch part {
            case .statusLine, .fields:
                rest.removeFirst()
                takeHeadByte(byte)
            case .bodyUntilClose:
                takeBody(from: &rest, countMax: .max)
            case .countedBody(let remaining):
                let count = takeBody(from: &rest, countMax: remaining)
                guard case .countedBody = part else { break }
                part = count == remaining ? .complete : .countedBody(remainingByteCount: remaining - count)
            case .chunkData(let remaining):
                let count = takeBody(from: &rest, countMax: remaining)
                guard case .chunkData = part else { break }
                part = count == remaining ? .chunkEnd : .chunkData(remainingByteCount: remaining - count)
            case .chunkSize, .chunkEnd:
                rest.removeFirst()
                takeChunkLineByte(byte)
            case .complete, .malformed:
                return
            }
        }
    }

    /// The target has closed: the end of a body without a length, too early for anything else.
    package mutating func finish() {
        if case .bodyUntilClose = part { part = .complete }
    }
}

// MARK: - Head

extension ProbeResponseParser {
    private mutating func takeHeadByte(_ byte: UInt8) {
        headByteCount += 1
        guard headByteCount <= Limits.probeResponseByteCountMax else {
            part = .malformed("its header has more than \(Limits.probeResponseByteCountMax) bytes")
            return
        }
        if case .statusLine = part, line.count < Self.versionPrefix.count,
            byte != Self.versionPrefix[line.count]
        {
            // A TLS record of type alert or handshake; RFC 8446 section 5.1.
            let isTLS = line.isEmpty && (byte == 0x15 || byte == 0x16)
            part = .malformed(isTLS ? "it speaks TLS" : "it does not begin with \"HTTP/1.\"")
            return
        }
        guard byte == UInt8(ascii: "\n") else {
            line.append(byte)
            return
        }
        let text = endLine()
        if let wrong = text.first(where: { !FieldSyntax.isFieldContent($0) }) {
            part = .malformed("its header has a control character (\(wrong))")
        } else if case .statusLine = part {
            takeStatusLine(text)
        } else {
            takeFieldLine(text)
        }
    }

    private mutating func endLine() -> [UInt8] {
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        defer { line.removeAll(keepingCapacity: true) }
        return line
    }

    /// `HTTP/1.1 200 OK`, of which the phrase may be missing.
    private mutating func takeStatusLine(_ text: [UInt8]) {
        let space = UInt8(ascii: " ")
        guard text.count >= 12, text[7] == UInt8(ascii: "0") || text[7] == UInt8(ascii: "1"),
            text[8] == space,
            text.count == 12 || text[12] == space, let code = FieldSyntax.number(text[9..<12]), code >= 100
        else {
            part = .malformed("its status line is not one of HTTP/1.0 or HTTP/1.1")
            return
        }
        lineStatusCode = code
        fieldCount = 0
        isLastFieldKept = false
        part = .fields
    }

    private mutating func takeFieldLine(_ text: [UInt8]) {
        guard let first = text.first else {
            headIsWhole()
            return
        }
        if FieldSyntax.isWhitespace(first) {
            continueField(text)
            return
        }
        guard let colon = text.firstIndex(of: UInt8(ascii: ":")), colon > 0,
            text[..<colon].allSatisfy(FieldSyntax.isTokenCharacter)
        else {
            part = .malformed("its header has a line that is no \"name: value\"")
            return
        }
        fieldCount += 1
        let name = FieldSyntax.lowercased(text[..<colon])
        isLastFieldKept = keptFieldNames.contains(name)
        if isLastFieldKept {
            keptFields.append(Field(name: name, value: Array(FieldSyntax.trimmed(text[(colon + 1)...]))))
        }
    }

    /// A line that begins with whitespace continues the field before it; RFC 9112 section 5.2.
    private mutating func continueField(_ text: [UInt8]) {
        guard fieldCount > 0 else {
            part = .malformed("its header begins with a space")
            return
        }
        // Grown in place: joined anew for each line, a header of many short lines costs its length squared.
        let continuation = FieldSyntax.trimmed(text[...])
        if isLastFieldKept, !continuation.isEmpty, let last = keptFields.indices.last {
            if !keptFields[last].value.isEmpty { keptFields[last].value.append(UInt8(ascii: " ")) }
            keptFields[last].value.append(contentsOf: continuation)
        }
    }

    private mutating func headIsWhole() {
        if lineStatusCode == 101 {
            part = .malformed("it switches protocols without being asked")
            return
        }
        if lineStatusCode < 200 {
            keptFields = []
            part = .statusLine
            return
        }
        part = bodyPart()
        if case .malformed = part { return }
        statusCode = lineStatusCode
        if !isBodyWanted { part = .complete }
    }

    /// How the body ends; RFC 9112 section 6.3. A transfer coding outranks a length.
    private func bodyPart() -> Part {
        if lineStatusCode == 204 || lineStatusCode == 304 { return .complete }
        let codings = listElements(of: Self.transferEncoding)
        if let last = codings.last {
            return FieldSyntax.lowercased(last) == Array("chunked".utf8) ? .chunkSize : .bodyUntilClose
        }
        let lengths = listElements(of: Self.contentLength)
        guard let first = lengths.first else { return .bodyUntilClose }
        // The same length said twice is tolerated, as RFC 9112 section 6.3 allows.
        guard let count = FieldSyntax.number(first), lengths.allSatisfy({ FieldSyntax.number($0) == count })
        else {
            return .malformed("its Content-Length is no single number")
        }
        return count == 0 ? .complete : .countedBody(remainingByteCount: count)
    }

    /// The elements of a comma-separated field, over all its lines; empty when the field is absent.
    private func listElements(of name: [UInt8]) -> [ArraySlice<UInt8>] {
        keptFields.filter { $0.name == name }.flatMap { field in
            field.value.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false).map(
                FieldSyntax.trimmed)
        }
    }
}

// MARK: - Body

extension ProbeResponseParser {
    /// Takes up to `countMax` bytes; completes when as much is kept as may be.
    @discardableResult
    private mutating func takeBody(from rest: inout ArraySlice<UInt8>, countMax: Int) -> Int {
        let room = Limits.probeResponseByteCountMax - body.count
        let count = min(rest.count, countMax, room)
        body.append(contentsOf: rest.prefix(count))
        rest.removeFirst(count)
        if count == room { part = .complete }
        return count
    }

    private mutating func takeChunkLineByte(_ byte: UInt8) {
        if case .chunkEnd = part, byte != UInt8(ascii: "\r"), byte != UInt8(ascii: "\n") {
            part = .malformed("a chunk of its body is longer than announced")
            return
        }
        guard byte == UInt8(ascii: "\n") else {
            line.append(byte)
            if line.count > Self.chunkLineByteCountMax {
                part = .malformed("a chunk size of its body has no end")
            }
            return
        }
        let text = endLine()
        if case .chunkEnd = part {
            part = .chunkSize
            return
        }
        let digits = text.prefix { hexDigitValue($0) != nil }
        let tail = text[digits.endIndex...].first { !FieldSyntax.isWhitespace($0) }
        // 15 hexadecimal digits fit a signed word.
        guard (1...15).contains(digits.count), tail == nil || tail == UInt8(ascii: ";") else {
            part = .malformed("a chunk size of its body is no hexadecimal number")
            return
        }
        let size = digits.reduce(0) { $0 << 4 | Int(hexDigitValue($1) ?? 0) }
        part = size == 0 ? .complete : .chunkData(remainingByteCount: size)
    }
}
