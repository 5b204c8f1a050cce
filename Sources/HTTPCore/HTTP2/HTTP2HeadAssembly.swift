// Heads and trailers from the fields that nghttp2 decodes one by one; RFC 9113 sections 8.1 to 8.3.
//
// nghttp2 has refused upper-case names, fields of one connection, missing, repeated and misplaced pseudo-headers,
// and control characters. Here the rest is refused which would mean something else to the next reader: see
// `HTTP2MessageFault`.

import Balancing
import CNGHTTP2

/// The head that is being read on a connection: there is one at most.
struct HeadAssembly: BitwiseCopyable {
    enum Kind: UInt8, BitwiseCopyable {
        case none
        case request
        /// Of a response, or trailers: known by whether there is a status.
        case response
        case trailers
    }

    var kind = Kind.none
    var fault: HTTP2MessageFault?
    var isOversized = false
    var stream: Int32 = 0
    /// Where its bytes begin in the area.
    var areaStart: Int32 = 0
    var listByteCount: Int32 = 0
    var byteCount: Int32 = 0
    var fieldCount: Int32 = 0
    var cookieCount: Int32 = 0

    var methodBytes = ByteRange.none
    var path = ByteRange.none
    var authority = ByteRange.none
    /// What the fields say together, as in HTTP/1.1.
    var facts = MessageFacts()
    var hasHighBytes = false
    var method = HTTPMethod.other
    var statusCode: Int16 = 0
    var hasStatus = false

    var isTrailers: Bool { kind == .trailers || (kind == .response && !hasStatus) }
}

extension UnsafeMutablePointer<SessionState> {
    // MARK: Fields

    func beginHead(_ frame: UnsafePointer<nghttp2_frame>) {
        guard unsafe UInt32(frame.pointee.hd.type) == NGHTTP2_HEADERS.rawValue else { return }
        let stream = unsafe frame.pointee.hd.stream_id
        let category = unsafe UInt32(weir_frame_headers_category(frame))
        var block = HeadAssembly()
        block.stream = stream
        block.areaStart = unsafe Int32(pointee.inbox?.pointee.fieldByteCount ?? 0)
        switch category {
        case NGHTTP2_HCAT_REQUEST.rawValue:
            block.kind = .request
            let record = unsafe openRecord(stream)
            _ = unsafe nghttp2_session_set_stream_user_data(pointee.session, stream, record)
        case NGHTTP2_HCAT_RESPONSE.rawValue: block.kind = .response
        // Trailers, or the head after an interim one.
        default: block.kind = unsafe pointee.isServer ? .trailers : .response
        }
        unsafe pointee.block = block
        unsafe pointee.inbox?.pointee.openFields.removeAll(keepingCapacity: true)
        if block.kind == .request {
            // Its place is kept for the host, which comes first as in HTTP/1.1.
            unsafe pointee.inbox?.pointee.openFields.append(HeadField(name: .none, value: .none, id: .host))
        }
    }

    func noteFault(_ fault: HTTP2MessageFault) {
        if unsafe pointee.block.fault == nil { unsafe pointee.block.fault = fault }
    }

    /// Takes one field; returns what nghttp2 is to do.
    func appendField(name: UnsafeBufferPointer<UInt8>, value: UnsafeBufferPointer<UInt8>) -> Int32 {
        let count = name.count + value.count
        unsafe pointee.block.listByteCount += Int32(clamping: count + 32)
        guard unsafe pointee.block.listByteCount <= Limits.http2HeaderBombByteCountMax else {
            return unsafe stop(.headerBomb) ? 0 : Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
        }
        unsafe pointee.block.fieldCount += 1
        if unsafe Int(pointee.block.listByteCount) > Limits.http2HeaderListByteCountMax
            || Int(pointee.block.fieldCount) > Limits.http2FieldCountMax,
            unsafe !pointee.block.isOversized
        {
            unsafe pointee.block.isOversized = true
            unsafe dropFields()
        }
        guard unsafe pointee.block.fault == nil, unsafe !pointee.block.isOversized,
            unsafe pointee.block.kind != .none
        else { return 0 }
        unsafe restoreHead()
        unsafe pointee.block.byteCount += Int32(clamping: count)
        let isPseudo = unsafe name.first == UInt8(ascii: ":")
        if isPseudo {
            unsafe appendPseudoHeader(name: name, value: value)
        } else {
            unsafe appendPlainField(name: name, value: value)
        }
        return unsafe pauseWhenFull()
    }

    /// Copies to the area; there is room for a whole head when one is begun.
    private func store(_ bytes: UnsafeBufferPointer<UInt8>) -> ByteRange {
        guard let area = unsafe pointee.fieldArea, let inbox = unsafe pointee.inbox else { return .none }
        let start = unsafe inbox.pointee.fieldByteCount
        precondition(start + bytes.count <= Limits.http2FieldAreaByteCount)
        if let source = bytes.baseAddress {
            unsafe (area + start).update(from: source, count: bytes.count)
        }
        unsafe inbox.pointee.fieldByteCount = start + bytes.count
        return ByteRange(start..<start + bytes.count)
    }

    private func appendPseudoHeader(name: UnsafeBufferPointer<UInt8>, value: UnsafeBufferPointer<UInt8>) {
        // nghttp2 lets through the known ones, once each.
        switch name.count {
        case 5:
            unsafe pointee.block.path = store(value)
        case 7 where unsafe name[1] == UInt8(ascii: "m"):
            unsafe pointee.block.methodBytes = store(value)
            unsafe pointee.block.method = HTTPMethod.recognised(value.span, 0..<value.count)
        case 7 where unsafe name[2] == UInt8(ascii: "c"):
            if unsafe !HTTP2Syntax.isWebScheme(value) { unsafe noteFault(.scheme) }
        case 7:
            guard let status = unsafe HTTP2Syntax.number(value), (100...999).contains(status) else {
                return unsafe noteFault(.status)
            }
            unsafe pointee.block.statusCode = Int16(status)
            unsafe pointee.block.hasStatus = true
        case 10:
            unsafe pointee.block.authority = store(value)
        default:
            unsafe noteFault(.message)
        }
    }

    private func appendPlainField(name: UnsafeBufferPointer<UInt8>, value: UnsafeBufferPointer<UInt8>) {
        let namePlace = unsafe store(name)
        let valuePlace = unsafe store(value)
        guard let area = unsafe pointee.fieldArea, let inbox = unsafe pointee.inbox else { return }
        // Stored just now, up to there.
        let bytes = unsafe UnsafeBufferPointer(start: UnsafePointer(area), count: valuePlace.upperBound).span
        var isUnusual = false
        let nameEnd = ByteScanning.endOfName(
            bytes, from: namePlace.lowerBound, to: namePlace.upperBound, isUnusual: &isUnusual)
        guard nameEnd == namePlace.upperBound else { return unsafe noteFault(.field) }
        _ = unsafe ByteScanning.endOfFieldValue(
            bytes, from: valuePlace.lowerBound, to: valuePlace.upperBound,
            hasHighBytes: &pointee.block.hasHighBytes)
        let id = isUnusual ? .other : FieldName.recognised(bytes, namePlace.range)
        var field = HeadField(name: namePlace, value: valuePlace, id: id, hasUnusualName: isUnusual)
        if unsafe pointee.block.isTrailers {
            field.isHopByHop = TrailerSection.isForbidden(field, bytes)
            unsafe inbox.pointee.openFields.append(field)
            return
        }
        unsafe inbox.pointee.openFields.append(field)
        if unsafe pointee.block.facts.takeLast(id, of: &inbox.pointee.openFields, bytes) != nil {
            return unsafe noteFault(.field)
        }
        switch id {
        // It becomes the first field again, or shows itself to be the authority.
        case .host: unsafe inbox.pointee.openFields.removeLast()
        case .cookie: unsafe pointee.block.cookieCount += 1
        default: break
        }
    }

    /// When the area is used up the rest waits, together with the head that is being read.
    private func pauseWhenFull() -> Int32 {
        guard unsafe pointee.block.areaStart > 0,
            unsafe Int(pointee.block.areaStart) + 2 * HTTP2Inbox.roomPerHead > Limits.http2FieldAreaByteCount
                || (pointee.inbox?.pointee.headCount ?? 0) >= Limits.http2HeadsPerReceptionMax
        else { return 0 }
        unsafe pointee.hasPaused = true
        return Int32(NGHTTP2_ERR_PAUSE.rawValue)
    }

    // MARK: The whole head

    func dropHead() {
        guard unsafe pointee.block.kind != .none else { return }
        unsafe dropFields()
        unsafe pointee.block.kind = .none
    }

    /// Reports the head or trailers that are complete now; false ends the session.
    func endHead(stream: Int32, endsStream: Bool) -> Bool {
        guard unsafe pointee.block.kind != .none, unsafe pointee.block.stream == stream,
            let record = unsafe record(stream), let inbox = unsafe pointee.inbox
        else {
            unsafe dropHead()
            return true
        }
        unsafe restoreHead()
        unsafe pointee.budget.creditFrame()
        if unsafe pointee.block.fault == nil, unsafe !pointee.block.isOversized { unsafe checkHead() }
        if let fault = unsafe pointee.block.fault { return unsafe refuseHead(record, fault: fault) }
        defer { unsafe pointee.block.kind = .none }
        switch unsafe pointee.block.kind {
        case .none: break
        case .request:
            unsafe record.pointee.isReported = true
            if unsafe pointee.block.isOversized {
                unsafe dropFields()
                unsafe report(.refusal(stream: stream, reason: .headTooLarge, endsStream: endsStream))
            } else if unsafe pointee.block.method == .connect {
                unsafe dropFields()
                unsafe report(.refusal(stream: stream, reason: .connectMethod, endsStream: endsStream))
            } else if unsafe pointee.block.method == .trace {
                unsafe dropFields()
                unsafe report(.refusal(stream: stream, reason: .traceMethod, endsStream: endsStream))
            } else {
                let index = unsafe inbox.pointee.nextRequestHead()
                unsafe fillRequest(index, endsStream: endsStream)
                unsafe report(.request(stream: stream, head: index, endsStream: endsStream))
            }
        case .response where unsafe pointee.block.hasStatus && !pointee.block.isOversized:
            let index = unsafe inbox.pointee.nextResponseHead()
            unsafe fillResponse(index, endsStream: endsStream)
            unsafe report(.response(stream: stream, head: index, endsStream: endsStream))
        case .response where unsafe pointee.block.isOversized,
            .trailers where unsafe pointee.block.isOversized:
            return unsafe refuseHead(record, fault: .field)
        case .response, .trailers:
            let section = unsafe inbox.pointee.nextTrailerSection()
            unsafe report(.trailers(stream: stream, section: section))
        }
        return true
    }

    private func dropFields() {
        if let spill = unsafe pointee.spill {
            unsafe spill.deallocate()
            unsafe pointee.spill = nil
        } else {
            unsafe pointee.inbox?.pointee.fieldByteCount = unsafe Int(pointee.block.areaStart)
        }
    }

    private func refuseHead(_ record: UnsafeMutablePointer<StreamRecord>, fault: HTTP2MessageFault) -> Bool {
        let stream = unsafe record.pointee.id
        unsafe dropHead()
        _ = unsafe nghttp2_submit_rst_stream(
            pointee.session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, NGHTTP2_PROTOCOL_ERROR.rawValue)
        if unsafe !record.pointee.isReported { unsafe report(.malformed(stream: stream, fault: fault)) }
        unsafe reset(record, code: .protocolError, origin: .violation)
        return unsafe pointee.budget.takeReset(at: pointee.now) || stop(.resetFlood)
    }

    private func checkHead() {
        guard unsafe pointee.block.kind == .request, unsafe pointee.block.method != .connect,
            let area = unsafe pointee.fieldArea, let inbox = unsafe pointee.inbox
        else { return }
        let block = unsafe pointee.block
        let path = unsafe UnsafeBufferPointer(
            start: UnsafePointer(area) + block.path.lowerBound, count: Int(block.path.count))
        guard unsafe HTTP2Syntax.isPath(path, method: block.method) else { return unsafe noteFault(.path) }
        let bytes = unsafe UnsafeBufferPointer(
            start: UnsafePointer(area), count: inbox.pointee.fieldByteCount
        ).span
        if let host = block.facts.hostValue {
            if block.authority.isEmpty {
                unsafe pointee.block.authority = host
            } else {
                guard HTTP2Syntax.isSame(bytes, host.range, block.authority.range) else {
                    return unsafe noteFault(.hostMismatch)
                }
            }
        }
        if unsafe !RequestTarget.isAuthority(bytes, pointee.block.authority.range) {
            unsafe noteFault(.authority)
        }
    }

    private func fillRequest(_ index: Int, endsStream: Bool) {
        guard let inbox = unsafe pointee.inbox, let area = unsafe pointee.fieldArea else { return }
        let block = unsafe pointee.block
        let hostName: StaticString = "host"
        let name = unsafe store(
            UnsafeBufferPointer(start: hostName.utf8Start, count: hostName.utf8CodeUnitCount))
        let cookies = unsafe block.cookieCount > 1 ? joinCookies(of: index) : nil
        let path = unsafe UnsafeBufferPointer(
            start: area + block.path.lowerBound, count: Int(block.path.count))
        let mark = unsafe path.firstIndex(of: UInt8(ascii: "?"))
        unsafe inbox.pointee.requestHeads.withUnsafeMutableBufferPointer { heads in
            unsafe fill(&heads[index], block: block, hostName: name, cookies: cookies, questionMark: mark)
            unsafe Self.judge(&heads[index], block: block, endsStream: endsStream)
        }
    }

    private func fill(
        _ head: inout RequestHead, block: HeadAssembly, hostName: ByteRange, cookies: ByteRange?,
        questionMark: Int?
    ) {
        head.version = .http2
        head.method = block.method
        head.methodBytes = block.methodBytes
        head.target = block.path
        head.authority = block.authority
        let pathCount = questionMark ?? Int(block.path.count)
        head.path = ByteRange(start: block.path.start, count: UInt32(pathCount))
        head.hasQuery = questionMark != nil
        head.query =
            questionMark.map { ByteRange(block.path.lowerBound + $0 + 1..<block.path.upperBound) } ?? .none
        if let cookies { unsafe Self.keepOneCookie(&head.fields, value: cookies) }
        head.fields[0] = HeadField(name: hostName, value: block.authority, id: .host)
        head.isPersistent = true
        head.upgrade = .none
        head.acceptsTrailers = block.facts.acceptsTrailers
        head.byteCount = Int(block.byteCount)
    }

    /// How the content ends, and what ELBv2 thinks of it: as of the same request in HTTP/1.1.
    private static func judge(_ head: inout RequestHead, block: HeadAssembly, endsStream: Bool) {
        head.framing = unsafe framing(block, endsStream: endsStream)
        head.expectsContinue = block.facts.expectsContinue && !endsStream && head.framing != .counted(0)
        head.desync = .compliant
        if block.facts.hasSuspiciousTransferEncoding || block.facts.hasSuspiciousContentLength {
            head.desync.note(.suspiciousHeader)
        }
        if head.method == .get || head.method == .head, let length = block.facts.contentLength {
            head.desync.note(length == 0 ? .getHeadZeroContentLength : .undefinedContentLengthSemantics)
        }
        if block.hasHighBytes { head.desync.note(.nonCompliantHeader) }
    }

    /// One field instead of the crumbs, as a reader of HTTP/1.1 needs it; RFC 9113 section 8.2.3.
    private func joinCookies(of index: Int) -> ByteRange {
        guard let inbox = unsafe pointee.inbox, let area = unsafe pointee.fieldArea else { return .none }
        let start = unsafe inbox.pointee.fieldByteCount
        let separator: StaticString = "; "
        for field in unsafe inbox.pointee.requestHeads[index].fields where field.id == .cookie {
            if unsafe inbox.pointee.fieldByteCount > start {
                _ = unsafe store(UnsafeBufferPointer(start: separator.utf8Start, count: 2))
            }
            let value = unsafe UnsafeBufferPointer(
                start: UnsafePointer(area) + field.value.lowerBound, count: Int(field.value.count))
            _ = unsafe store(value)
        }
        return unsafe ByteRange(start..<inbox.pointee.fieldByteCount)
    }

    private static func keepOneCookie(_ fields: inout [HeadField], value: ByteRange) {
        guard let first = fields.firstIndex(where: { $0.id == .cookie }) else { return }
        fields[first].value = value
        var kept = first + 1
        for index in (first + 1)..<fields.count where fields[index].id != .cookie {
            fields[kept] = fields[index]
            kept += 1
        }
        fields.removeLast(fields.count - kept)
    }

    private func fillResponse(_ index: Int, endsStream: Bool) {
        guard let inbox = unsafe pointee.inbox else { return }
        let statusCode = unsafe Int(pointee.block.statusCode)
        let byteCount = unsafe Int(pointee.block.byteCount)
        let framing = unsafe statusCode < 200 ? .none : Self.framing(pointee.block, endsStream: endsStream)
        unsafe inbox.pointee.responseHeads[index].version = .http2
        unsafe inbox.pointee.responseHeads[index].statusCode = statusCode
        unsafe inbox.pointee.responseHeads[index].reason = .none
        unsafe inbox.pointee.responseHeads[index].framing = framing
        unsafe inbox.pointee.responseHeads[index].isPersistent = true
        unsafe inbox.pointee.responseHeads[index].byteCount = byteCount
    }

    private static func framing(_ block: HeadAssembly, endsStream: Bool) -> BodyFraming {
        guard let length = block.facts.contentLength else { return endsStream ? .none : .streamed }
        return endsStream && length > 0 ? .none : .counted(length)
    }
}
