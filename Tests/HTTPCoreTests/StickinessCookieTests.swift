// The balancer's cookies: what comes back is what was written, and nothing else is believed.

import Balancing
import CAllocationCount
import HTTPCore
import Testing

@Suite struct `Stickiness cookies` {
    let keys = StickinessKeys(seed: HashSeed(first: 1, second: 2))
    let content = StickinessCookie.Content(
        identity: 0x0123_4567_89AB_CDEF, issuedAtUnixSeconds: 1_700_000_000)

    private func value(_ kind: StickinessCookie, _ content: StickinessCookie.Content? = nil) -> [UInt8] {
        var buffer: [UInt8] = []
        kind.appendValue(content ?? self.content, keys: keys, to: &buffer)
        return buffer
    }

    private func read(_ kind: StickinessCookie, _ value: [UInt8], keys: StickinessKeys? = nil)
        -> StickinessCookie.Content?
    {
        kind.content(of: value.span, keys: keys ?? self.keys)
    }

    @Test(arguments: StickinessCookie.allCases)
    func `what is written is read`(kind: StickinessCookie) {
        for identity in [0, 1, UInt64.max, 0x0123_4567_89AB_CDEF] {
            for seconds in [0, 1, 1_700_000_000, 0xFF_FFFF_FFFF as UInt64] {
                let content = StickinessCookie.Content(identity: identity, issuedAtUnixSeconds: seconds)
                let value = value(kind, content)
                #expect(value.count == StickinessCookie.valueByteCount)
                #expect(
                    value.allSatisfy {
                        "-_".utf8.contains($0) || Character(UnicodeScalar($0)).isLetter
                            || Character(UnicodeScalar($0)).isNumber
                    })
                #expect(read(kind, value) == content)
            }
        }
    }

    @Test func `no byte can be another one`() {
        let value = value(.target)
        for index in value.indices {
            for byte in UInt8.min ... .max where byte != value[index] {
                var forged = value
                forged[index] = byte
                if read(.target, forged) != nil {
                    Issue.record("byte \(index) may be \(byte)")
                    return
                }
            }
        }
    }

    @Test func `no byte can be missing, doubled or added`() {
        let value = value(.target)
        for index in 0...value.count {
            #expect(
                read(.target, Array(value.prefix(index)))
                    == (index == value.count ? content : nil))
            var longer = value
            longer.insert(UInt8(ascii: "A"), at: index)
            #expect(read(.target, longer) == nil)
        }
    }

    @Test func `a cookie of one kind is none of another`() {
        for written in StickinessCookie.allCases {
            for read in StickinessCookie.allCases {
                #expect((self.read(read, value(written)) != nil) == (written == read))
            }
        }
    }

    @Test func `other seeds have other cookies`() {
        for seed in [
            HashSeed(first: 1, second: 3), HashSeed(first: 0, second: 2), HashSeed(first: 2, second: 1),
        ] {
            #expect(
                read(.target, value(.target), keys: StickinessKeys(seed: seed))
                    == nil)
        }
    }

    @Test(arguments: [
        (1_699_999_699, 60, false), (1_699_999_700, 60, true), (1_700_000_000, 60, true),
        (1_700_000_059, 60, true), (1_700_000_060, 60, false), (1_700_000_000, 0, false),
        (1_700_000_000, -5, false), (UInt64.max, 604_800, false), (0, 604_800, false),
    ])
    func `a cookie counts for its group's duration`(now: UInt64, duration: Int, counts: Bool) {
        #expect(content.counts(at: now, durationSeconds: duration) == counts)
    }

    @Test func `attributes are ELBv2's`() {
        let sealed = text(value(.target))
        #expect(
            text { StickinessCookie.target.appendSetCookie(content, keys: keys, to: &$0) }
                == "AWSALB=\(sealed); Expires=Tue, 21 Nov 2023 22:13:20 GMT; Path=/")
        #expect(
            text {
                StickinessCookie.target.appendSetCookie(content, isCrossOrigin: true, keys: keys, to: &$0)
            }
                == "AWSALBCORS=\(sealed); Expires=Tue, 21 Nov 2023 22:13:20 GMT; Path=/; SameSite=None; Secure"
        )
        #expect(
            text { StickinessCookie.group.appendSetCookie(content, isCrossOrigin: true, keys: keys, to: &$0) }
                .hasPrefix("AWSALBTGCORS="))
        #expect(
            text {
                StickinessCookie.application.appendSetCookie(
                    content, isCrossOrigin: true, keys: keys, to: &$0)
            }
            .hasPrefix("AWSALBAPP-0="))
    }
}

@Suite struct `Sticky requests` {
    private static let seed = HashSeed(first: 7, second: 9)
    private static let now: UInt64 = 1_700_000_000

    private static func endpoint(_ host: UInt32) -> Endpoint {
        Endpoint(address: IPAddress(v4: 0x0A00_0000 | host), port: 8_080)
    }

    /// Two groups over the same endpoints, "web" and "canary". Numbers are given anew by every snapshot.
    private func snapshot(
        hosts: [UInt32] = [1, 2, 3], firstNumber: UInt32 = 0, stickiness: ApplicationStickiness?,
        seed: HashSeed = Self.seed
    ) -> RoutingSnapshot {
        let numbers = hosts.indices.map { TargetNumber(firstNumber + UInt32($0)) }
        let groups = ["web", "canary", "api"].map { name in
            GroupRoute(
                name: name, targets: numbers, flowHash: .empty, isSticky: false, connectTimeoutSeconds: 1,
                connectAttemptCountMax: 3,
                application: ApplicationGroupRoute(stickiness: stickiness, weights: numbers.map { _ in 1 }))
        }
        return RoutingSnapshot(
            version: 1, seed: seed, listeners: [], groups: groups,
            endpoints: Array(repeating: nil, count: Int(firstNumber)) + hosts.map { Self.endpoint($0) },
            sourceAddresses: [])
    }

    private func value(
        _ kind: StickinessCookie, host: UInt32, groupIndex: Int = 0, in snapshot: RoutingSnapshot,
        at seconds: UInt64 = Self.now
    ) throws -> String {
        let content =
            kind == .group
            ? snapshot.stickyContent(groupIndex: groupIndex, unixSeconds: seconds)
            : snapshot.stickyContent(
                target: Self.endpoint(host), groupIndex: groupIndex, unixSeconds: seconds)
        let known = try #require(content)
        return text { kind.appendValue(known, keys: snapshot.stickinessKeys, to: &$0) }
    }

    private func position(
        _ cookies: String..., groupIndex: Int = 0, in snapshot: RoutingSnapshot, at seconds: UInt64 = Self.now
    ) -> Int? {
        let head = BuiltHead(cookies.map { (.cookie, $0) })
        return head.request.stickyPosition(
            head.bytes.span, groupIndex: groupIndex, in: snapshot, unixSeconds: seconds)
    }

    private let daily = ApplicationStickiness.loadBalancerCookie(durationSeconds: 86_400)

    @Test func `a client finds its target`() throws {
        let snapshot = snapshot(stickiness: daily)
        for host in 1...3 as ClosedRange<UInt32> {
            let value = try value(.target, host: host, in: snapshot)
            #expect(position("x=1; AWSALB=\(value)", in: snapshot) == Int(host) - 1)
            #expect(position("AWSALBCORS=\(value)", in: snapshot) == Int(host) - 1)
            #expect(position("x=1", "AWSALB=\"\(value)\"", in: snapshot) == Int(host) - 1)
            #expect(position("awsalb=\(value)", in: snapshot) == nil)
            #expect(position("AWSALBTG=\(value)", in: snapshot) == nil)
        }
    }

    @Test func `a cookie outlives numbers, restarts and other targets`() throws {
        let cookie = try "AWSALB=" + value(.target, host: 2, in: snapshot(stickiness: daily))
        let later = snapshot(hosts: [9, 8, 2, 1], firstNumber: 700, stickiness: daily)
        #expect(position(cookie, in: later) == 2)
    }

    @Test func `a target that is gone, another group's and another appliance's are no target`() throws {
        let snapshot = snapshot(stickiness: daily)
        let cookie = try "AWSALB=" + value(.target, host: 2, in: snapshot)
        #expect(position(cookie, in: self.snapshot(hosts: [1, 3], stickiness: daily)) == nil)
        #expect(position(cookie, groupIndex: 1, in: snapshot) == nil)
        #expect(
            position(
                cookie, in: self.snapshot(stickiness: daily, seed: HashSeed(first: 7, second: 8))) == nil)
        #expect(position(cookie, in: self.snapshot(stickiness: nil)) == nil)
        #expect(position(cookie, groupIndex: 99, in: snapshot) == nil)
    }

    @Test func `the group's present duration ends a cookie of before`() throws {
        let cookie = try "AWSALB=" + value(.target, host: 2, in: snapshot(stickiness: daily))
        let short = snapshot(stickiness: .loadBalancerCookie(durationSeconds: 1))
        #expect(position(cookie, in: short) == 1)
        #expect(position(cookie, in: short, at: Self.now + 1) == nil)
    }

    /// As when somebody plants one under another path: the good one still counts.
    @Test func `a bad cookie before a good one does no harm`() throws {
        let snapshot = snapshot(stickiness: daily)
        let good = try value(.target, host: 3, in: snapshot)
        let old = try value(.target, host: 1, in: snapshot, at: Self.now - 100_000)
        #expect(position("AWSALB=nonsense; AWSALB=\(old); AWSALB=\(good)", in: snapshot) == 2)
        #expect(position("AWSALB=\(good.dropLast())A; AWSALBCORS=\(good)", in: snapshot) == 2)
    }

    @Test func `an application's cookie is wanted beside ours`() throws {
        let snapshot = snapshot(stickiness: .applicationCookie(name: "sid", durationSeconds: 60))
        let value = try value(.application, host: 3, in: snapshot)
        #expect(position("AWSALBAPP-0=\(value); sid=x", in: snapshot) == 2)
        #expect(position("AWSALBAPP-0=\(value)", in: snapshot) == nil)
        #expect(position("sid=x", in: snapshot) == nil)
        let other = try self.value(.target, host: 3, in: snapshot)
        #expect(position("AWSALB=\(other); AWSALBAPP-0=\(other); sid=x", in: snapshot) == nil)
    }

    @Test func `a client stays bound when its target is gone`() throws {
        let stickiness = ApplicationStickiness.applicationCookie(name: "sid", durationSeconds: 60)
        let cookie = try "AWSALBAPP-0=" + value(.application, host: 2, in: snapshot(stickiness: stickiness))
        func binding(_ text: String, hosts: [UInt32], at seconds: UInt64 = Self.now) -> StickyBinding {
            let head = BuiltHead([(.cookie, text)])
            return head.request.stickyBinding(
                head.bytes.span, groupIndex: 0, in: snapshot(hosts: hosts, stickiness: stickiness),
                unixSeconds: seconds)
        }
        #expect(
            binding("sid=x; \(cookie)", hosts: [1, 2]) == StickyBinding(kind: .application, position: 1))
        #expect(binding("sid=x; \(cookie)", hosts: [1]) == StickyBinding(kind: .application, position: nil))
        #expect(binding(cookie, hosts: [1, 2]) == .none)
        #expect(binding("sid=x; \(cookie)", hosts: [1, 2], at: Self.now + 60) == .none)
        #expect(binding("sid=x; \(cookie.dropLast())", hosts: [1, 2]) == .none)
    }

    @Test func `a group cookie that is none of ours is told`() throws {
        let snapshot = snapshot(stickiness: daily)
        let good = try value(.group, host: 0, in: snapshot)
        for (text, isForeign) in [
            ("a=b", false), ("AWSALBTG=\(good)", false), ("AWSALBTG=\(good)%3D", true),
            ("AWSALBTG=\(good); AWSALBTGCORS=x", true),
        ] {
            let head = BuiltHead([(.cookie, text)])
            #expect(
                head.request.hasForeignGroupCookie(head.bytes.span, keys: snapshot.stickinessKeys)
                    == isForeign, "\(text)")
        }
    }

    @Test func `a client finds its group among the choices`() throws {
        let snapshot = snapshot(stickiness: daily)
        let choices = [
            ListenerRoute.Choice(groupIndex: 0, cumulativeWeight: 1),
            ListenerRoute.Choice(groupIndex: 1, cumulativeWeight: 2),
        ]
        func groupIndex(_ cookie: String, at seconds: UInt64 = Self.now) -> Int? {
            let head = BuiltHead([(.cookie, cookie)])
            return head.request.stickyGroupIndex(
                head.bytes.span, among: choices, durationSeconds: 3_600, in: snapshot, unixSeconds: seconds)
        }
        let canary = try value(.group, host: 0, groupIndex: 1, in: snapshot)
        #expect(groupIndex("AWSALBTG=\(canary)") == 1)
        #expect(groupIndex("AWSALBTGCORS=\(canary)") == 1)
        #expect(groupIndex("AWSALB=\(canary)") == nil)
        #expect(groupIndex("AWSALBTG=\(canary)", at: Self.now + 3_600) == nil)
        // "api" is a group, but none of this action's.
        let api = try value(.group, host: 0, groupIndex: 2, in: snapshot)
        #expect(groupIndex("AWSALBTG=\(api)") == nil)
    }

    @Test func `reading and writing allocate nothing`() throws {
        let snapshot = snapshot(stickiness: daily)
        let forged = try value(.target, host: 3, in: snapshot).dropLast() + "A"
        let value = try value(.target, host: 2, in: snapshot)
        let head = BuiltHead([
            (.cookie, "session=0123456789; AWSALB=\(forged)"), (.cookie, "a=b; AWSALB=\(value)"),
        ])
        let content = try #require(
            snapshot.stickyContent(target: Self.endpoint(2), groupIndex: 0, unixSeconds: Self.now))
        var buffer: [UInt8] = []
        buffer.reserveCapacity(512)
        var isRight = true
        var allocations: UInt64 = 0
        for isCounted in [false, true] {
            allocation_count_take_part(isCounted)
            let before = allocation_own_count()
            var round = 0
            while round < 10 {
                let position = head.request.stickyPosition(
                    head.bytes.span, groupIndex: 0, in: snapshot, unixSeconds: Self.now)
                isRight = isRight && position == 1
                buffer.removeAll(keepingCapacity: true)
                StickinessCookie.target.appendSetCookie(
                    content, isCrossOrigin: true, keys: snapshot.stickinessKeys, to: &buffer)
                round += 1
            }
            allocations = allocation_own_count() - before
            allocation_count_take_part(false)
        }
        #expect(isRight)
        #expect(allocations == 0)
    }
}
