// Why the head of a message is refused, and the bounds of a head. RFC 9112 sections 2 to 6.
//
// A fault stands for every mode of desync mitigation: there is no reading of such a head on which all parsers agree.

public enum HeadOutcome: Hashable, Sendable, BitwiseCopyable {
    /// Not yet a whole head, and nothing wrong so far: call again with the same bytes and more.
    case needMore
    case complete
    /// Nothing after this can be trusted: answer, and close.
    case refused(HeadFault)
}

public enum HeadFault: UInt8, Error, Hashable, Sendable, BitwiseCopyable, CaseIterable {
    // Request line.
    case tooManyEmptyLines
    case badMethod
    case badTarget
    case spaceInTarget
    case controlCharacterInTarget
    case breakInTarget
    case missingVersion
    case badVersion
    case unsupportedVersion
    case http2Preface
    case requestLineTooLong
    case connectMethod
    case traceMethod
    // Status line.
    case badStatusLine
    // Lines.
    case bareCarriageReturn
    case bareLineFeed
    case nullByte
    // Fields.
    case foldedField
    case emptyFieldName
    case badFieldName
    case whitespaceBeforeColon
    case missingColon
    case controlCharacterInField
    case fieldLineTooLong
    case headTooLong
    case tooManyFields
    case tooManyConnectionOptions
    case missingHost
    case duplicateHost
    case badHost
    // Framing.
    case badContentLength
    case conflictingContentLength
    case badTransferEncoding
    case repeatedChunked
    case unsupportedTransferCoding
    case transferEncodingInHTTP10
    case suspiciousFraming

    /// What the client is answered, with the meaning ELBv2 gives it. A target's fault is always 502.
    public var statusCode: Int {
        switch self {
        case .connectMethod, .traceMethod: 405
        case .requestLineTooLong: 414
        case .fieldLineTooLong, .headTooLong, .tooManyFields: 431
        case .unsupportedTransferCoding: 501
        case .unsupportedVersion, .http2Preface: 505
        case .tooManyEmptyLines, .badMethod, .badTarget, .spaceInTarget, .controlCharacterInTarget,
            .breakInTarget, .missingVersion, .badVersion, .badStatusLine, .bareCarriageReturn, .bareLineFeed,
            .nullByte,
            .foldedField, .emptyFieldName, .badFieldName, .whitespaceBeforeColon, .missingColon,
            .controlCharacterInField, .tooManyConnectionOptions, .missingHost, .duplicateHost, .badHost,
            .badContentLength, .conflictingContentLength, .badTransferEncoding, .repeatedChunked,
            .transferEncodingInHTTP10, .suspiciousFraming:
            400
        }
    }

    /// How ELBv2 classifies it; `none` where it has no word.
    public var desyncReason: DesyncFinding.Reason {
        switch self {
        case .badMethod: .badMethod
        case .badTarget, .breakInTarget: .badURI
        case .spaceInTarget: .spaceInURI
        case .controlCharacterInTarget: .ambiguousURI
        case .missingVersion, .unsupportedVersion: .nonCompliantVersion
        case .badVersion: .badVersion
        case .foldedField, .emptyFieldName: .emptyHeader
        case .bareCarriageReturn, .bareLineFeed, .nullByte, .badFieldName, .missingColon: .badHeader
        case .controlCharacterInField: .nonCompliantHeader
        case .whitespaceBeforeColon: .suspiciousHeader
        case .badContentLength: .badContentLength
        case .conflictingContentLength: .multipleContentLength
        case .badTransferEncoding, .unsupportedTransferCoding: .badTransferEncoding
        case .repeatedChunked: .multipleTransferEncodingChunked
        case .transferEncodingInHTTP10: .undefinedTransferEncodingSemantics
        case .suspiciousFraming: .suspiciousTEAndCLPresent
        case .tooManyEmptyLines, .http2Preface, .requestLineTooLong, .connectMethod, .traceMethod,
            .badStatusLine, .fieldLineTooLong, .headTooLong, .tooManyFields, .tooManyConnectionOptions,
            .missingHost, .duplicateHost, .badHost:
            .none
        }
    }

    /// For logs.
    public var reason: StaticString {
        switch self {
        case .tooManyEmptyLines: "too many empty lines before the request line"
        case .badMethod: "the method is not a token"
        case .badTarget: "the request target is not one"
        case .spaceInTarget: "the request target contains a space"
        case .controlCharacterInTarget: "the request target contains a control character"
        case .breakInTarget: "the request target contains a NUL or half a line break"
        case .missingVersion: "the request line has no HTTP version"
        case .badVersion: "the HTTP version is malformed"
        case .unsupportedVersion: "the HTTP version is neither 1.0 nor 1.1"
        case .http2Preface: "an HTTP/2 connection preface where HTTP/1.1 is spoken"
        case .requestLineTooLong: "the request line is too long"
        case .connectMethod: "CONNECT is not supported"
        case .traceMethod: "TRACE is not supported"
        case .badStatusLine: "the status line is malformed"
        case .bareCarriageReturn: "a carriage return without a line feed"
        case .bareLineFeed: "a line feed without a carriage return"
        case .nullByte: "a field contains a NUL byte"
        case .foldedField: "a field line begins with whitespace"
        case .emptyFieldName: "a field has no name"
        case .badFieldName: "a field name is not a token"
        case .whitespaceBeforeColon: "whitespace between a field name and its colon"
        case .missingColon: "a field line has no colon"
        case .controlCharacterInField: "a field value contains a control character"
        case .fieldLineTooLong: "a field line is too long"
        case .headTooLong: "the header is too long"
        case .tooManyFields: "the header has too many fields"
        case .tooManyConnectionOptions: "Connection names too many fields"
        case .missingHost: "no Host field"
        case .duplicateHost: "more than one Host field"
        case .badHost: "the host is not one"
        case .badContentLength: "Content-Length is not one plain number"
        case .conflictingContentLength: "Content-Length fields that differ"
        case .badTransferEncoding: "Transfer-Encoding is malformed or does not end in chunked"
        case .repeatedChunked: "chunked is named more than once"
        case .unsupportedTransferCoding: "a transfer coding other than chunked"
        case .transferEncodingInHTTP10: "Transfer-Encoding in HTTP/1.0"
        case .suspiciousFraming: "a disguised Transfer-Encoding or Content-Length beside the other"
        }
    }
}

/// The bounds of a head; one byte or field more is refused.
public struct HeadLimits: Hashable, Sendable, BitwiseCopyable {
    /// With its line break.
    public var requestLineByteCountMax: Int
    /// Of one field, with its line break.
    public var fieldLineByteCountMax: Int
    /// Of the whole head, with its empty line.
    public var headByteCountMax: Int
    public var fieldCountMax: Int

    public init(
        requestLineByteCountMax: Int, fieldLineByteCountMax: Int, headByteCountMax: Int, fieldCountMax: Int
    ) {
        self.requestLineByteCountMax = requestLineByteCountMax
        self.fieldLineByteCountMax = fieldLineByteCountMax
        self.headByteCountMax = headByteCountMax
        self.fieldCountMax = fieldCountMax
    }

    /// Those of ELBv2's application load balancers for requests; it does not say how many fields it takes.
    public static let standard = HeadLimits(
        requestLineByteCountMax: 16 << 10, fieldLineByteCountMax: 16 << 10, headByteCountMax: 64 << 10,
        fieldCountMax: 256)
    /// For responses: ELBv2 takes 32 KiB.
    public static let response = HeadLimits(
        requestLineByteCountMax: 16 << 10, fieldLineByteCountMax: 16 << 10, headByteCountMax: 32 << 10,
        fieldCountMax: 256)
}
