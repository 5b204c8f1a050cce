// Address ranges: what is read, and what lies inside.

import Balancing
import Testing

@Suite struct `IP prefix` {
    @Test(arguments: [
        ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"), ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ("0.0.0.0/0", "255.1.2.3", "::1"), ("192.0.2.128/25", "192.0.2.255", "192.0.2.127"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("2001:db8::/64", "2001:db8::ffff", "2001:db8:0:1::"),
        ("2001:db8::10/124", "2001:db8::1f", "2001:db8::20"), ("::/0", "ffff::", "10.0.0.1"),
        ("2001:db8:0:8000::/49", "2001:db8:0:ffff::", "2001:db8:0:7fff::"),
        // A mapped address is of the other family.
        ("10.0.0.0/8", "10.0.0.1", "::ffff:10.0.0.1"),
    ])
    func `a range holds its own addresses only`(text: String, inside: String, outside: String) throws {
        let prefix = try #require(IPPrefix(text))
        #expect(prefix.contains(try #require(IPAddress(inside))))
        #expect(!prefix.contains(try #require(IPAddress(outside))))
        #expect(IPPrefix(prefix.description) == prefix)
    }

    @Test(arguments: [
        "", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/8/8",
        "::/129",
        "2001:db8::1/64", "2001:db8::/-1", "a/8", "10.0.0.0/256", "10.0.0.0 /8",
    ])
    func `anything else is no range`(text: String) {
        #expect(IPPrefix(text) == nil)
    }
}
