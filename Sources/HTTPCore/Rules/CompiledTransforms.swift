// What a rule rewrites in a request before it is forwarded: the host, and the path with its query.
//
// The expression is searched for and its leftmost match is replaced, as ELBv2 documents it; what stands around the
// match stays, so that an expression for the whole begins with `^` and ends with `$`. Without a match the request
// goes on as it is. A match whose result cannot be sent is answered with 500, as ELBv2 does.

import Balancing

/// The transforms of one rule.
public struct CompiledTransforms: Sendable {
    public enum Outcome: Sendable, BitwiseCopyable {
        /// There is no such transform or the expression did not match: the request goes on as it came.
        case unchanged
        /// The new text was appended.
        case rewritten
        /// The result is no host or no request-target; nothing was appended. ELBv2 answers 500.
        case failed
    }

    /// One piece of a replacement: some of its text, or what a group matched.
    private struct Piece: Sendable, BitwiseCopyable {
        /// Nil for text.
        var group: Int?
        var start = 0
        var count = 0
    }

    /// A class, so that handing transforms around counts one reference and not one for each of its arrays.
    private final class Compiled: Sendable {
        let expression: RegularExpression
        let pieces: [Piece]
        /// The text of all pieces.
        let text: [UInt8]

        init(_ expression: RegularExpression, replacement: String) {
            self.expression = expression
            (pieces, text) = CompiledTransforms.pieces(of: replacement)
        }
    }

    /// What a request-target may have after a rewrite.
    public static let targetByteCountMax = 16 << 10
    /// A host with its port.
    public static let hostByteCountMax = 255 + 6

    private var hostRewrite: Compiled?
    private var urlRewrite: Compiled?

    /// Compiles what `RuleFault.check` has passed; a transform that does not compile never matches.
    public init(_ transforms: [RuleTransform]) {
        for transform in transforms {
            switch transform {
            case .hostHeaderRewrite(let rewrite): hostRewrite = Self.compile(rewrite, ignoringCase: true)
            case .urlRewrite(let rewrite): urlRewrite = Self.compile(rewrite, ignoringCase: false)
            }
        }
    }

    private static func compile(_ rewrite: Rewrite, ignoringCase: Bool) -> Compiled? {
        guard
            let expression = try? RegularExpression(rewrite.regularExpression, ignoringCase: ignoringCase)
        else { return nil }
        return Compiled(expression, replacement: rewrite.replacement)
    }

    /// The groups that a replacement names, with their places counted from one.
    static func references(in replacement: String) -> [(group: Int, position: Int)] {
        let bytes = Array(replacement.utf8)
        var result: [(group: Int, position: Int)] = []
        var index = 0
        while index + 1 < bytes.count {
            if bytes[index] == UInt8(ascii: "$") {
                if let group = digit(bytes[index + 1]) { result.append((group, index + 1)) }
                index += 1
            }
            index += 1
        }
        return result
    }

    private static func digit(_ byte: UInt8) -> Int? {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) ? Int(byte - UInt8(ascii: "0")) : nil
    }

    /// `$0` is the whole match, `$1` to `$9` are groups, `$$` is a dollar sign, and any other `$` is itself.
    private static func pieces(of replacement: String) -> ([Piece], text: [UInt8]) {
        let bytes = Array(replacement.utf8)
        var pieces: [Piece] = []
        var text: [UInt8] = []
        /// Where the text begins that is in no piece yet.
        var start = 0
        func endText() {
            if text.count > start { pieces.append(Piece(start: start, count: text.count - start)) }
            start = text.count
        }
        var index = 0
        while index < bytes.count {
            let following = index + 1 < bytes.count ? bytes[index + 1] : nil
            if bytes[index] == UInt8(ascii: "$"), let following {
                if let group = digit(following) {
                    endText()
                    pieces.append(Piece(group: group))
                    index += 2
                    continue
                }
                if following == UInt8(ascii: "$") { index += 1 }
            }
            text.append(bytes[index])
            index += 1
        }
        endText()
        return (pieces, text)
    }

    /// Appends what the Host field becomes.
    ///
    /// The expression sees the host without its port and ignores case. The port stays, unless the result has one.
    public func rewriteHost(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, scratch: inout RuleScratch,
        to output: inout [UInt8]
    ) -> Outcome {
        guard let hostRewrite, let host = RequestText.host(of: head, bytes) else { return .unchanged }
        let start = output.count
        let outcome = Self.rewrite(
            hostRewrite, bytes, host, byteCountMax: Self.hostByteCountMax, &scratch, to: &output)
        guard outcome == .rewritten else { return outcome }
        let authority = head.authority.range.clamped(to: bytes.indices)
        var port = host.upperBound
        while port < authority.upperBound, bytes[port] != UInt8(ascii: ":") { port += 1 }
        if !HostSyntax.hasPort(output.span.extracting(start..<output.count)) {
            for position in port..<authority.upperBound { output.append(bytes[position]) }
        }
        let isAuthority = HostSyntax.isAuthority(output.span.extracting(start..<output.count))
        guard isAuthority, output.count - start <= Self.hostByteCountMax else {
            return Self.fail(from: start, &output)
        }
        return .rewritten
    }

    /// Appends what the request-target becomes, in origin form.
    ///
    /// The expression sees the path, and behind a question mark the query, percent-encoded as they came.
    public func rewriteTarget(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, scratch: inout RuleScratch,
        to output: inout [UInt8]
    ) -> Outcome {
        guard let urlRewrite else { return .unchanged }
        let path = RequestText.path(of: head, bytes)
        let query = head.query.range.clamped(to: bytes.indices)
        let start = output.count
        let outcome: Outcome
        if !head.hasQuery || query.lowerBound == path.upperBound + 1 {
            let url = path.lowerBound..<(head.hasQuery ? query.upperBound : path.upperBound)
            outcome = Self.rewrite(
                urlRewrite, bytes, url, byteCountMax: Self.targetByteCountMax, &scratch, to: &output)
        } else {
            // An absolute-form target with a query and no path: rare, and the only one that must be put together.
            var url = path.map { bytes[$0] } + [UInt8(ascii: "?")]
            for position in query { url.append(bytes[position]) }
            outcome = Self.rewrite(
                urlRewrite, url.span, 0..<url.count, byteCountMax: Self.targetByteCountMax, &scratch,
                to: &output)
        }
        guard outcome == .rewritten else { return outcome }
        guard output.count > start, output[start] == UInt8(ascii: "/") else {
            return Self.fail(from: start, &output)
        }
        for index in start..<output.count
        where output[index] <= 0x20 || output[index] == 0x7F || output[index] == UInt8(ascii: "#") {
            return Self.fail(from: start, &output)
        }
        return .rewritten
    }

    /// Appends the text with the leftmost match replaced, whatever it then is.
    private static func rewrite(
        _ compiled: Compiled, _ bytes: Span<UInt8>, _ range: Range<Int>, byteCountMax: Int,
        _ scratch: inout RuleScratch, to output: inout [UInt8]
    ) -> Outcome {
        guard compiled.expression.firstMatch(in: bytes, range, &scratch.expressions),
            let match = scratch.expressions.range(ofGroup: 0)
        else { return .unchanged }
        let start = output.count
        for position in range.lowerBound..<match.lowerBound { output.append(bytes[position]) }
        for index in compiled.pieces.indices {
            let piece = compiled.pieces[index]
            if let number = piece.group {
                // A group that took no part stands for nothing.
                guard let group = scratch.expressions.range(ofGroup: number) else { continue }
                for position in group { output.append(bytes[position]) }
            } else {
                for place in piece.start..<piece.start + piece.count { output.append(compiled.text[place]) }
            }
            // A replacement may name a long group many times.
            guard output.count - start <= byteCountMax else { return fail(from: start, &output) }
        }
        for position in match.upperBound..<range.upperBound { output.append(bytes[position]) }
        guard output.count - start <= byteCountMax else { return fail(from: start, &output) }
        return .rewritten
    }

    private static func fail(from start: Int, _ output: inout [UInt8]) -> Outcome {
        output.removeSubrange(start...)
        return .failed
    }
}
