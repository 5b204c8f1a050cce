// Places in a head.

import HTTPCore
import Testing

@Suite("Message heads")
struct MessageHeadTests {
    @Test func `a place knows its ends`() {
        let place = ByteRange(3..<8)
        #expect(place.range == 3..<8)
        #expect(place.upperBound == 8)
        #expect(ByteRange.none.isEmpty)
    }
}
