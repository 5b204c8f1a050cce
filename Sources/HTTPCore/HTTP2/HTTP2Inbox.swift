// What a session found in the bytes it was given, in memory that one worker's sessions take turns with.
//
// Each call of `receive` and `nextOutput` empties the inbox first. Heads keep their field arrays, and the bytes of
// names and values stand in one area of fixed size, so that a warm inbox never grows: a session stops reading
// when the area is used up, and says how far it came.

import Balancing

public struct HTTP2Inbox: ~Copyable {
    public internal(set) var events: [HTTP2Event] = []
    /// Their places are in `fieldBytes`.
    public internal(set) var requestHeads: [RequestHead] = []
    public internal(set) var responseHeads: [ResponseHead] = []
    public internal(set) var trailerSections: [[HeadField]] = []
    /// The names and values of heads and trailers.
    public internal(set) var fieldBytes: [UInt8]

    var requestHeadCount = 0
    var responseHeadCount = 0
    var trailerSectionCount = 0
    var fieldByteCount = 0
    /// The fields of the head that is being read.
    var openFields: [HeadField] = []

    /// Room that must be left for a head to be begun: its own, its cookies joined, and a name for its host.
    static let roomPerHead = 2 * Limits.http2HeaderListByteCountMax + 64

    public init() {
        fieldBytes = [UInt8](repeating: 0, count: Limits.http2FieldAreaByteCount)
        events.reserveCapacity(256)
        openFields.reserveCapacity(64)
    }

    /// Gives a head away; the inbox gets the storage of another for it.
    public mutating func takeRequestHead(_ index: Int, into head: inout RequestHead) {
        swap(&requestHeads[index], &head)
    }

    public mutating func takeResponseHead(_ index: Int, into head: inout ResponseHead) {
        swap(&responseHeads[index], &head)
    }

    var headCount: Int { requestHeadCount + responseHeadCount + trailerSectionCount }

    mutating func removeAll() {
        events.removeAll(keepingCapacity: true)
        requestHeadCount = 0
        responseHeadCount = 0
        trailerSectionCount = 0
        fieldByteCount = 0
        openFields.removeAll(keepingCapacity: true)
    }

    /// A head to fill, whose fields become the open ones.
    mutating func nextRequestHead() -> Int {
        if requestHeadCount == requestHeads.count { requestHeads.append(RequestHead()) }
        defer { requestHeadCount += 1 }
        swap(&requestHeads[requestHeadCount].fields, &openFields)
        openFields.removeAll(keepingCapacity: true)
        return requestHeadCount
    }

    mutating func nextResponseHead() -> Int {
        if responseHeadCount == responseHeads.count { responseHeads.append(ResponseHead()) }
        defer { responseHeadCount += 1 }
        swap(&responseHeads[responseHeadCount].fields, &openFields)
        openFields.removeAll(keepingCapacity: true)
        return responseHeadCount
    }

    mutating func nextTrailerSection() -> Int {
        if trailerSectionCount == trailerSections.count { trailerSections.append([]) }
        defer { trailerSectionCount += 1 }
        swap(&trailerSections[trailerSectionCount], &openFields)
        openFields.removeAll(keepingCapacity: true)
        return trailerSectionCount
    }
}
