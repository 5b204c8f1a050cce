// A line of the access log, in the field order of ELBv2's application load balancers: 34 fields, of which newer ones
// stand at the end, so that readers of older lines read these as well.
//
// Weir differs in this: names and files stand where ELBv2 has ARNs.

import Balancing

public enum ExchangeLine {
    /// What the record's numbers are called; nil where there is none.
    public struct Names: Sendable {
        public var loadBalancer: String
        /// Such as `TLSv1.3`.
        public var tlsVersion: String?
        /// Such as `ECDHE-RSA-AES128-GCM-SHA256`.
        public var tlsCipher: String?
        /// The certificate's file.
        public var certificate: String?

        public init(
            loadBalancer: String, tlsVersion: String? = nil, tlsCipher: String? = nil,
            certificate: String? = nil
        ) {
            self.loadBalancer = loadBalancer
            self.tlsVersion = tlsVersion
            self.tlsCipher = tlsCipher
            self.certificate = certificate
        }
    }

    /// Appends the line with its end.
    ///
    /// - Parameters:
    ///   - texts: Those gathered for this record.
    ///   - unixNanoseconds: What the wall clock says at the monotonic instant `now`.
    public static func append(
        _ record: ExchangeRecord, texts: Span<UInt8>, names: Names, unixNanoseconds: UInt64, at now: Instant,
        to line: inout [UInt8]
    ) {
        let clock = LogText.WallClock(unixNanoseconds: unixNanoseconds, at: now)
        ByteText.append(type(of: record), to: &line)
        line.append(UInt8(ascii: " "))
        clock.append(
            record.kind.isWebSocket ? record.endedAt : record.respondedAt ?? record.endedAt, to: &line)
        LogText.appendField(names.loadBalancer, to: &line)
        line.append(UInt8(ascii: " "))
        ByteText.append(record.client, to: &line)
        appendTarget(of: record, to: &line)
        appendTimes(of: record, to: &line)
        appendStatus(record.statusCode, to: &line)
        appendStatus(record.targetStatusCode, to: &line)
        LogText.appendNumber(record.receivedByteCount, to: &line)
        LogText.appendNumber(record.sentByteCount, to: &line)
        appendRequest(of: record, texts, to: &line)
        appendQuoted(.userAgent, of: record, texts, to: &line)
        LogText.appendField(names.tlsCipher, to: &line)
        LogText.appendField(names.tlsVersion, to: &line)
        appendPlain(.group, of: record, texts, to: &line)
        appendQuoted(.traceID, of: record, texts, to: &line)
        appendQuoted(.serverName, of: record, texts, to: &line)
        LogText.appendQuotedField(
            record.isTLSSessionReused ? "session-reused" : names.certificate, to: &line)
        appendPriority(record.rulePriority, to: &line)
        line.append(UInt8(ascii: " "))
        clock.append(record.receivedAt, to: &line)
        LogText.appendQuotedField(record.action.name, to: &line)
        appendQuoted(.redirectURL, of: record, texts, to: &line)
        LogText.appendQuotedField(record.isGroupCookieInvalid ? "AWSALBTGCookieInvalid" : nil, to: &line)
        appendQuotedTarget(of: record, to: &line)
        LogText.appendQuotedField(
            record.targetStatusCode == 0 ? nil : "\(record.targetStatusCode)", to: &line)
        LogText.appendQuotedField(
            record.finding.classification == .compliant ? nil : "\(record.finding.classification.name)",
            to: &line)
        LogText.appendQuotedField(
            record.finding.reason == .none ? nil : "\(record.finding.reason.name)", to: &line)
        line.append(UInt8(ascii: " "))
        record.connection.append(to: &line)
        appendQuoted(.transformedHost, of: record, texts, to: &line)
        appendQuoted(.transformedTarget, of: record, texts, to: &line)
        LogText.appendQuotedField(record.transformStatus.name, to: &line)
        line.append(UInt8(ascii: " "))
        ByteText.append(record.local.address, to: &line)
        line.append(UInt8(ascii: "\n"))
    }

    private static func type(of record: ExchangeRecord) -> String {
        switch record.kind {
        case .http: "http"
        case .https: "https"
        case .http2: "h2"
        case .grpc: "grpcs"
        case .webSocket: "ws"
        case .secureWebSocket: "wss"
        }
    }

    private static func appendTarget(of record: ExchangeRecord, to line: inout [UInt8]) {
        line.append(UInt8(ascii: " "))
        if let target = record.target {
            ByteText.append(target, to: &line)
        } else {
            line.append(UInt8(ascii: "-"))
        }
    }

    private static func appendQuotedTarget(of record: ExchangeRecord, to line: inout [UInt8]) {
        ByteText.append(" \"", to: &line)
        if let target = record.target {
            ByteText.append(target, to: &line)
        } else {
            line.append(UInt8(ascii: "-"))
        }
        line.append(UInt8(ascii: "\""))
    }

    /// From the request to its dispatch, from there to the target's head, from there to the response; -1 for what
    /// did not come to be.
    private static func appendTimes(of record: ExchangeRecord, to line: inout [UInt8]) {
        appendTime(from: record.receivedAt, to: record.dispatchedAt, to: &line)
        appendTime(from: record.dispatchedAt, to: record.answeredAt, to: &line)
        appendTime(from: record.answeredAt, to: record.respondedAt, to: &line)
    }

    private static func appendTime(from start: Instant?, to end: Instant?, to line: inout [UInt8]) {
        guard let start, let end else { return ByteText.append(" -1", to: &line) }
        LogText.appendSeconds(nanoseconds: end.nanoseconds(since: start), to: &line)
    }

    private static func appendStatus(_ code: UInt16, to line: inout [UInt8]) {
        if code == 0 {
            ByteText.append(" -", to: &line)
        } else {
            LogText.appendNumber(UInt64(code), to: &line)
        }
    }

    private static func appendPriority(_ priority: Int32?, to line: inout [UInt8]) {
        switch priority {
        case .none: ByteText.append(" -", to: &line)
        case .some(..<0): ByteText.append(" -1", to: &line)
        case .some(let priority): LogText.appendNumber(UInt64(priority), to: &line)
        }
    }

    /// `"GET https://www.example.com:443/path?query HTTP/1.1"`. Of a request that could not be read,
    /// `"- http://192.0.2.1:80- -"`, as ELBv2 writes it.
    private static func appendRequest(of record: ExchangeRecord, _ texts: Span<UInt8>, to line: inout [UInt8])
    {
        ByteText.append(" \"", to: &line)
        appendText(.method, of: record, texts, to: &line)
        ByteText.append(record.kind.isEncrypted ? " https://" : " http://", to: &line)
        let authority = record.texts.range(of: .authority, in: texts)
        if authority.isEmpty {
            ByteText.append(record.local, to: &line)
        } else {
            appendText(.authority, of: record, texts, to: &line)
            if !HostSyntax.hasPort(texts.extracting(authority)) {
                line.append(UInt8(ascii: ":"))
                ByteText.append(UInt64(record.local.port), to: &line)
            }
        }
        appendText(.target, of: record, texts, to: &line)
        let isRead = !record.texts.range(of: .method, in: texts).isEmpty
        switch (isRead, record.version) {
        case (false, _): ByteText.append(" -\"", to: &line)
        case (true, .http10): ByteText.append(" HTTP/1.0\"", to: &line)
        case (true, .http11): ByteText.append(" HTTP/1.1\"", to: &line)
        case (true, .http2): ByteText.append(" HTTP/2.0\"", to: &line)
        }
    }

    /// The text, or `-`.
    private static func appendText(
        _ field: ExchangeTexts.Field, of record: ExchangeRecord, _ texts: Span<UInt8>, isQuoted: Bool = true,
        to line: inout [UInt8]
    ) {
        let range = record.texts.range(of: field, in: texts)
        guard !range.isEmpty else { return line.append(UInt8(ascii: "-")) }
        LogText.appendEscaped(
            texts.extracting(range), isCut: record.texts.isCut(field), isQuoted: isQuoted, to: &line)
    }

    private static func appendPlain(
        _ field: ExchangeTexts.Field, of record: ExchangeRecord, _ texts: Span<UInt8>, to line: inout [UInt8]
    ) {
        line.append(UInt8(ascii: " "))
        appendText(field, of: record, texts, isQuoted: false, to: &line)
    }

    private static func appendQuoted(
        _ field: ExchangeTexts.Field, of record: ExchangeRecord, _ texts: Span<UInt8>, to line: inout [UInt8]
    ) {
        ByteText.append(" \"", to: &line)
        appendText(field, of: record, texts, to: &line)
        line.append(UInt8(ascii: "\""))
    }
}

extension ExchangeRecord.Kind {
    var isWebSocket: Bool {
        switch self {
        case .webSocket, .secureWebSocket: true
        case .http, .https, .http2, .grpc: false
        }
    }

    var isEncrypted: Bool {
        switch self {
        case .https, .http2, .grpc, .secureWebSocket: true
        case .http, .webSocket: false
        }
    }
}

extension ExchangeRecord.Action {
    var name: String? {
        switch self {
        case .none: nil
        case .forward: "forward"
        case .redirect: "redirect"
        case .fixedResponse: "fixed-response"
        }
    }
}

extension ExchangeRecord.TransformStatus {
    var name: String? {
        switch self {
        case .none: nil
        case .success: "TransformSuccess"
        case .invalidHost: "TransformInvalidHost"
        case .invalidPath: "TransformInvalidPath"
        case .bufferTooSmall: "TransformBufferTooSmall"
        case .replaceError: "TransformReplaceError"
        }
    }
}
