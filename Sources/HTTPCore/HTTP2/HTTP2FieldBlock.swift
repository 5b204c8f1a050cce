// The head or trailers of a message on their way out, in memory that is used again for the next one.

import Balancing
import CNGHTTP2

/// Collects pseudo-headers and fields for `submitRequest`, `submitResponse` and `submitTrailers`.
///
/// Begin with one of the `begin` functions, then append. Names are lowered. Fields that HTTP/2 does not know, those
/// of one connection and Host, are left out when appended as `HeadField`. One per worker is enough.
@safe
public struct HTTP2FieldBlock: ~Copyable {
    private var bytes: [UInt8] = []
    private var entries: [Entry] = []
    /// As the peer counts it: names, values and 32 bytes for each; RFC 9113 section 6.5.2.
    private var listByteCount = 0

    private struct Entry: BitwiseCopyable {
        var start: Int32
        var nameCount: Int32
        var valueCount: Int32
    }

    public init() {
        bytes.reserveCapacity(4_096)
        entries.reserveCapacity(64)
    }

    /// Fields and pseudo-headers.
    public var count: Int { entries.count }

    /// Within what this side sends at all.
    var canBeSent: Bool {
        listByteCount <= 2 * Limits.http2HeaderListByteCountMax && entries.count <= Limits.http2FieldCountMax
    }

    // MARK: Beginning

    /// A final or interim response; 100–999.
    public mutating func beginResponse(statusCode: Int) {
        removeAll()
        beginField(":status")
        var digits = [UInt8(ascii: "0"), UInt8(ascii: "0"), UInt8(ascii: "0")] as InlineArray<3, UInt8>
        digits[0] += UInt8(clamping: statusCode / 100 % 10)
        digits[1] += UInt8(clamping: statusCode / 10 % 10)
        digits[2] += UInt8(clamping: statusCode % 10)
        appendToValue(digits.span)
    }

    /// A request for `path` (with its query) at `authority`.
    public mutating func beginRequest(
        method: Span<UInt8>, isSecure: Bool, authority: Span<UInt8>, path: Span<UInt8>
    ) {
        removeAll()
        append(":method", value: method)
        beginField(":scheme")
        appendToValue(isSecure ? "https" : "http")
        append(":authority", value: authority)
        append(":path", value: path)
    }

    public mutating func beginTrailers() {
        removeAll()
    }

    // MARK: Appending

    /// One field of a head that was read, in any version of HTTP.
    public mutating func append(_ field: HeadField, of source: Span<UInt8>) {
        guard !field.isHopByHop else { return }
        switch field.id {
        case .host, .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade, .te,
            .http2Settings:
            return
        default:
            append(source.extracting(field.name.range), value: source.extracting(field.value.range))
        }
    }

    public mutating func append(_ name: Span<UInt8>, value: Span<UInt8>) {
        beginField(name)
        appendToValue(value)
    }

    /// `name` in lower case.
    public mutating func append(_ name: StaticString, value: Span<UInt8>) {
        beginField(name)
        appendToValue(value)
    }

    /// `name` in lower case.
    public mutating func append(_ name: StaticString, value: StaticString) {
        beginField(name)
        appendToValue(value)
    }

    /// `name` in lower case.
    public mutating func append(_ name: StaticString, number: Int) {
        beginField(name)
        appendToValue(number: number)
    }

    /// A field whose value is put together with `appendToValue`.
    public mutating func beginField(_ name: Span<UInt8>) {
        beginEntry(nameCount: name.count)
        for index in name.indices {
            let byte = name[index]
            bytes.append(byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte)
        }
    }

    /// `name` in lower case.
    public mutating func beginField(_ name: StaticString) {
        beginEntry(nameCount: name.utf8CodeUnitCount)
        // A literal lives as long as the process.
        unsafe bytes.append(
            contentsOf: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
    }

    public mutating func appendToValue(_ part: Span<UInt8>) {
        unsafe part.withUnsafeBufferPointer { unsafe bytes.append(contentsOf: $0) }
        grow(by: part.count)
    }

    public mutating func appendToValue(_ part: StaticString) {
        unsafe bytes.append(
            contentsOf: UnsafeBufferPointer(start: part.utf8Start, count: part.utf8CodeUnitCount))
        grow(by: part.utf8CodeUnitCount)
    }

    public mutating func appendToValue(number: Int) {
        var digits = InlineArray<20, UInt8>(repeating: 0)
        var index = 20
        var rest = number.magnitude
        repeat {
            index -= 1
            digits[index] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
        } while rest > 0
        if number < 0 { appendToValue("-") }
        appendToValue(digits.span.extracting(index..<20))
    }

    private mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        entries.removeAll(keepingCapacity: true)
        listByteCount = 0
    }

    private mutating func beginEntry(nameCount: Int) {
        entries.append(
            Entry(start: Int32(clamping: bytes.count), nameCount: Int32(clamping: nameCount), valueCount: 0))
        listByteCount += nameCount + 32
    }

    private mutating func grow(by count: Int) {
        entries[entries.count - 1].valueCount += Int32(clamping: count)
        listByteCount += count
    }

    // MARK: For nghttp2

    /// Lends the block as nghttp2 wants it, built in `list`; nil when it has more fields than fit.
    func withFieldList(
        in list: UnsafeMutablePointer<nghttp2_nv>, _ body: (UnsafeMutablePointer<nghttp2_nv>, Int) -> Int32
    ) -> Int32? {
        guard unsafe entries.count <= PoolStorage.fieldListCountMax else { return nil }
        return unsafe bytes.withUnsafeBufferPointer { bytes in
            for (index, entry) in entries.enumerated() {
                // nghttp2 reads only, and copies before the call returns.
                let name = unsafe UnsafeMutablePointer(
                    mutating: bytes.baseAddress.map { unsafe $0 + Int(entry.start) })
                unsafe list[index] = nghttp2_nv(
                    name: name, value: name.map { unsafe $0 + Int(entry.nameCount) },
                    namelen: Int(entry.nameCount), valuelen: Int(entry.valueCount), flags: 0)
            }
            return unsafe body(list, entries.count)
        }
    }

    /// A copy for later: the number of fields, the lengths of names and values, the bytes. To be deallocated.
    func encoded() -> UnsafeMutableRawPointer? {
        guard bytes.count <= Limits.http2TrailerByteCountMax, entries.count <= Limits.http2FieldCountMax
        else {
            return nil
        }
        let headByteCount = 4 + entries.count * 8
        let copy = UnsafeMutableRawPointer.allocate(byteCount: headByteCount + bytes.count, alignment: 8)
        unsafe copy.storeBytes(of: Int32(entries.count), as: Int32.self)
        for (index, entry) in entries.enumerated() {
            unsafe copy.storeBytes(of: entry.nameCount, toByteOffset: 4 + index * 8, as: Int32.self)
            unsafe copy.storeBytes(of: entry.valueCount, toByteOffset: 8 + index * 8, as: Int32.self)
        }
        unsafe bytes.withUnsafeBytes { source in
            if let start = source.baseAddress {
                unsafe (copy + headByteCount).copyMemory(from: start, byteCount: source.count)
            }
        }
        return unsafe copy
    }

    /// Fills `list` from such a copy, which must live as long as it is used; the number of fields.
    static func decode(_ copy: UnsafeMutableRawPointer, into list: UnsafeMutablePointer<nghttp2_nv>) -> Int {
        let count = unsafe Int(copy.load(as: Int32.self))
        var position = unsafe (copy + 4 + count * 8).assumingMemoryBound(to: UInt8.self)
        for index in 0..<count {
            let nameCount = unsafe Int(copy.load(fromByteOffset: 4 + index * 8, as: Int32.self))
            let valueCount = unsafe Int(copy.load(fromByteOffset: 8 + index * 8, as: Int32.self))
            unsafe list[index] = nghttp2_nv(
                name: position, value: position + nameCount, namelen: nameCount, valuelen: valueCount,
                flags: 0)
            unsafe position += nameCount + valueCount
        }
        return count
    }
}
