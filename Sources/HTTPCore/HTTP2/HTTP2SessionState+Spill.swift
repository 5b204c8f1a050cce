// A head that came in parts: kept by its session between two calls, since the inbox is everybody's.
//
// Idle sessions hold none of this. The copy is taken up again only when the next field or the end of the head
// needs it, so that a peer who sends a value byte by byte does not make it move each time.

import Balancing
import CNGHTTP2

extension UnsafeMutablePointer<SessionState> {
    /// Bytes before the fields: how many fields, how many bytes.
    private static var headByteCount: Int { 16 }

    /// At the end of `receive`: takes the unfinished head out of the inbox.
    func spillHead() {
        guard unsafe pointee.block.kind != .none, let inbox = unsafe pointee.inbox,
            let area = unsafe pointee.fieldArea
        else { return }
        let start = unsafe Int(pointee.block.areaStart)
        // Wherever it goes on, the inbox is empty by then.
        unsafe pointee.block.areaStart = 0
        guard unsafe pointee.spill == nil, unsafe pointee.block.fault == nil,
            unsafe !pointee.block.isOversized
        else { return }
        let byteCount = unsafe inbox.pointee.fieldByteCount - start
        let fieldCount = unsafe inbox.pointee.openFields.count
        let fieldByteCount = fieldCount * MemoryLayout<HeadField>.stride
        let spill = unsafe UnsafeMutableRawPointer.allocate(
            byteCount: Self.headByteCount + fieldByteCount + byteCount, alignment: 16)
        unsafe spill.storeBytes(of: fieldCount, as: Int.self)
        unsafe spill.storeBytes(of: byteCount, toByteOffset: 8, as: Int.self)
        unsafe inbox.pointee.openFields.withUnsafeBytes {
            if let source = $0.baseAddress {
                unsafe (spill + Self.headByteCount).copyMemory(from: source, byteCount: fieldByteCount)
            }
        }
        unsafe (spill + Self.headByteCount + fieldByteCount).copyMemory(
            from: area + start, byteCount: byteCount)
        unsafe inbox.pointee.fieldByteCount = start
        unsafe inbox.pointee.openFields.removeAll(keepingCapacity: true)
        unsafe pointee.spill = unsafe spill
        unsafe pointee.spillStart = start
    }

    /// Puts a head that was begun earlier at the end of the inbox again.
    func restoreHead() {
        guard let spill = unsafe pointee.spill, let inbox = unsafe pointee.inbox,
            let area = unsafe pointee.fieldArea
        else { return }
        let fieldCount = unsafe spill.load(as: Int.self)
        let byteCount = unsafe spill.load(fromByteOffset: 8, as: Int.self)
        let fields = unsafe (spill + Self.headByteCount).assumingMemoryBound(to: HeadField.self)
        let bytes = unsafe spill + Self.headByteCount + fieldCount * MemoryLayout<HeadField>.stride
        let start = unsafe inbox.pointee.fieldByteCount
        precondition(start + byteCount <= Limits.http2FieldAreaByteCount)
        unsafe UnsafeMutableRawPointer(area + start).copyMemory(from: bytes, byteCount: byteCount)
        unsafe inbox.pointee.fieldByteCount = start + byteCount
        // Places are places in the area: they move as the head does.
        let move = unsafe start - pointee.spillStart
        unsafe inbox.pointee.openFields.removeAll(keepingCapacity: true)
        for index in 0..<fieldCount {
            var field = unsafe fields[index]
            field.name.move(by: move)
            field.value.move(by: move)
            unsafe inbox.pointee.openFields.append(field)
        }
        unsafe pointee.block.move(by: move)
        unsafe pointee.block.areaStart = Int32(start)
        unsafe spill.deallocate()
        unsafe pointee.spill = nil
    }
}

extension HeadAssembly {
    fileprivate mutating func move(by distance: Int) {
        methodBytes.move(by: distance)
        path.move(by: distance)
        authority.move(by: distance)
        facts.hostValue?.move(by: distance)
    }
}

extension ByteRange {
    fileprivate mutating func move(by distance: Int) {
        if count > 0 { start = UInt32(Int(start) + distance) }
    }
}
