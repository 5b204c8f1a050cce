// Whose turn it is: targets by load, and by virtual time among those of equal load.
//
// Each target has a tag, the virtual time of its next turn; a turn moves it on by the inverse of its weight. So
// in every stretch of virtual time each has its weight's share of turns, spread evenly (start-time fair queueing:
// Goyal, Vin & Chen, SIGCOMM 1996). With all loads equal this is weighted round robin.
//
// A binary heap with a place for each target: the next turn is read in constant time, and a turn taken, a load or a
// weight changed costs O(log n). What a walk over a thousand targets would cost, no request pays.

struct TurnQueue: Sendable {
    struct Entry: Sendable, BitwiseCopyable {
        /// Requests outstanding for each unit of weight; zero for all when load does not count.
        var load: UInt64
        var tag: UInt64
        let position: UInt32
        let target: TargetNumber

        func precedes(_ other: Entry) -> Bool {
            load != other.load ? load < other.load : tag < other.tag
        }
    }

    /// A heap: no entry precedes the one at half its place.
    private(set) var entries: [Entry] = []
    /// For each position the place of its entry.
    private var places: [UInt32] = []
    /// The virtual time: no lower than the tag of any turn taken.
    private(set) var clock: UInt64 = 0

    /// Tags are set back when the clock gets here, long before one could overflow.
    private static let clockMax: UInt64 = 1 << 60
    /// How far behind or ahead of the clock a tag is remembered then; two turns of the lightest target are less.
    private static let memory: UInt64 = 1 << 50

    /// How far a turn moves a target of this weight, in thousandths, 10 or more.
    static func stride(effectiveWeight: UInt64) -> UInt64 { memory / max(effectiveWeight, 1) }

    /// - Parameter entries: One for each position from zero on, in any order.
    mutating func replace(with entries: [Entry]) {
        self.entries = entries
        places = [UInt32](repeating: 0, count: entries.count)
        for (place, entry) in entries.enumerated() { places[Int(entry.position)] = UInt32(place) }
        for place in (0..<entries.count / 2).reversed() { sink(from: place) }
    }

    func entry(ofPosition position: Int) -> Entry { entries[Int(places[position])] }

    /// The place of the first entry that was not tried; nil when there is none.
    ///
    /// It is the root, or below nothing but tried ones: at most eight of those are passed.
    func firstPlace(excluding tried: TriedTargets) -> Int? {
        guard !entries.isEmpty else { return nil }
        if tried.count == 0 { return 0 }
        var first: Int?
        // A tried entry makes room for its two children, so that nine are waiting at most.
        var waiting = InlineArray<16, Int>(repeating: 0)
        var waitingCount = 1
        while waitingCount > 0 {
            waitingCount -= 1
            let place = waiting[waitingCount]
            if tried.contains(entries[place].target) {
                var child = 2 * place + 1
                while child <= 2 * place + 2, child < entries.count {
                    waiting[waitingCount] = child
                    waitingCount += 1
                    child += 1
                }
            } else if let other = first {
                if entries[place].precedes(entries[other]) { first = place }
            } else {
                first = place
            }
        }
        return first
    }

    /// The entry at `place` takes its turn.
    ///
    /// A tag that fell behind, because its target was loaded or left out, is first brought up to the clock: the
    /// target missed those turns, and does not get them in a row.
    mutating func take(at place: Int, stride: UInt64) {
        clock = max(clock, entries[place].tag)
        entries[place].tag = clock + stride
        sink(from: place)
        if clock >= Self.clockMax { setBack() }
    }

    mutating func setLoad(_ load: UInt64, atPlace place: Int) {
        let old = entries[place].load
        entries[place].load = load
        if load > old { sink(from: place) } else if load < old { rise(from: place) }
    }

    mutating func setLoad(_ load: UInt64, ofPosition position: Int) {
        setLoad(load, atPlace: Int(places[position]))
    }

    /// A weight changed: what is left until the next turn shrinks or grows with the stride.
    mutating func rescale(position: Int, from old: UInt64, to new: UInt64) {
        let place = Int(places[position])
        entries[place].tag = rescaled(entries[place].tag, from: old, to: new)
        if new > old { sink(from: place) } else { rise(from: place) }
    }

    func rescaled(_ tag: UInt64, from old: UInt64, to new: UInt64) -> UInt64 {
        guard tag > clock, old > 0 else { return tag }
        return clock + UInt64(clamping: UInt128(tag - clock) * UInt128(new) / UInt128(old))
    }

    /// Moves the origin of virtual time; the order stays as it is.
    private mutating func setBack() {
        var place = 0
        while place < entries.count {
            let tag = entries[place].tag
            entries[place].tag =
                tag >= clock ? Self.memory + (tag - clock) : Self.memory - min(clock - tag, Self.memory)
            place += 1
        }
        clock = Self.memory
    }

    private mutating func sink(from start: Int) {
        Self.sink(from: start, &entries, &places)
    }

    private mutating func rise(from start: Int) {
        Self.rise(from: start, &entries, &places)
    }

    // Spans of both arrays at once, which a method that holds them as properties cannot have: a turn walks the
    // whole height, and checking for every move that an array is nobody else's showed.

    private static func sink(from start: Int, _ entries: inout [Entry], _ places: inout [UInt32]) {
        var heap = entries.mutableSpan
        var placeOfPosition = places.mutableSpan
        var place = start
        let entry = heap[place]
        while true {
            var child = 2 * place + 1
            guard child < heap.count else { break }
            // Which child is first is a coin's toss that no branch could foresee.
            if child + 1 < heap.count { child += heap[child + 1].precedes(heap[child]) ? 1 : 0 }
            let next = heap[child]
            guard next.precedes(entry) else { break }
            heap[place] = next
            placeOfPosition[Int(next.position)] = UInt32(truncatingIfNeeded: place)
            place = child
        }
        heap[place] = entry
        placeOfPosition[Int(entry.position)] = UInt32(truncatingIfNeeded: place)
    }

    private static func rise(from start: Int, _ entries: inout [Entry], _ places: inout [UInt32]) {
        var heap = entries.mutableSpan
        var placeOfPosition = places.mutableSpan
        var place = start
        let entry = heap[place]
        while place > 0 {
            let parent = (place - 1) / 2
            let above = heap[parent]
            guard entry.precedes(above) else { break }
            heap[place] = above
            placeOfPosition[Int(above.position)] = UInt32(truncatingIfNeeded: place)
            place = parent
        }
        heap[place] = entry
        placeOfPosition[Int(entry.position)] = UInt32(truncatingIfNeeded: place)
    }

    /// Says what is broken, for tests; nil when all is well.
    var brokenInvariant: String? {
        for (place, entry) in entries.enumerated() {
            if place > 0, entry.precedes(entries[(place - 1) / 2]) { return "\(place) precedes its parent" }
            if Int(places[Int(entry.position)]) != place { return "\(entry.position) is not at its place" }
        }
        return nil
    }
}
