// Where a client's cookies want its request to go, and what its response sets.

import Balancing

/// What a client's cookies say of its target.
public struct StickyBinding: Hashable, Sendable, BitwiseCopyable {
    /// Which cookie binds the client to a target of the group, eligible or not; nil for none.
    public var kind: StickinessCookie?
    /// The target's position in the group's `targets`; nil when it is not eligible.
    public var position: Int?

    public init(kind: StickinessCookie?, position: Int?) {
        self.kind = kind
        self.position = position
    }

    public static let none = StickyBinding(kind: nil, position: nil)
}

extension RequestHead {
    /// The position in the group's `targets` that the client's cookies name; nil when they name none that is
    /// eligible, when they no longer count, or when the group keeps no clients.
    ///
    /// Of several cookies, as of twins and of other paths, the first that counts is followed. With the application's
    /// cookie the client must still have that, too. Allocates nothing.
    ///
    /// - Parameters:
    ///   - bytes: Those that the head was read from.
    ///   - groupIndex: Of the snapshot's groups.
    public func stickyPosition(
        _ bytes: Span<UInt8>, groupIndex: Int, in snapshot: RoutingSnapshot, unixSeconds: UInt64
    ) -> Int? {
        stickyBinding(bytes, groupIndex: groupIndex, in: snapshot, unixSeconds: unixSeconds).position
    }

    /// The same, and whether the client is bound at all: to a target that is gone it may be, too.
    public func stickyBinding(
        _ bytes: Span<UInt8>, groupIndex: Int, in snapshot: RoutingSnapshot, unixSeconds: UInt64
    ) -> StickyBinding {
        guard groupIndex < snapshot.groups.count, let targets = snapshot.stickyTargets[groupIndex],
            let stickiness = snapshot.groups[groupIndex].application?.stickiness
        else { return .none }
        let kind: StickinessCookie
        let durationSeconds: Int
        switch stickiness {
        case .loadBalancerCookie(let seconds):
            kind = .target
            durationSeconds = seconds
        case .applicationCookie(let name, let seconds):
            guard hasCookie(named: name, bytes) else { return .none }
            kind = .application
            durationSeconds = seconds
        }
        var binding = StickyBinding.none
        var reader = CookieReader()
        while let content = reader.next(kind, in: self, bytes, keys: snapshot.stickinessKeys) {
            guard content.counts(at: unixSeconds, durationSeconds: durationSeconds) else { continue }
            binding.kind = kind
            if let position = targets.position(of: content.identity) {
                binding.position = position
                break
            }
        }
        return binding
    }

    /// Whether the client sent a group cookie that is none of ours, as ELBv2's log tells it (AWSALBTGCookieInvalid).
    public func hasForeignGroupCookie(_ bytes: Span<UInt8>, keys: StickinessKeys) -> Bool {
        var reader = CookieReader()
        while let cookie = reader.next(in: self, bytes) {
            if StickinessCookie.group.isNamed(by: cookie.name, bytes),
                StickinessCookie.group.content(of: bytes.extracting(cookie.value.range), keys: keys) == nil
            {
                return true
            }
        }
        return false
    }

    /// The group that the client's cookies name among the choices of a forward action, as its index in the snapshot's
    /// groups; nil when there is none.
    ///
    /// - Parameter durationSeconds: The action's `stickiness.duration_seconds`.
    public func stickyGroupIndex(
        _ bytes: Span<UInt8>, among choices: [ListenerRoute.Choice], durationSeconds: Int,
        in snapshot: RoutingSnapshot, unixSeconds: UInt64
    ) -> Int? {
        var reader = CookieReader()
        while let content = reader.next(.group, in: self, bytes, keys: snapshot.stickinessKeys) {
            guard content.counts(at: unixSeconds, durationSeconds: durationSeconds) else { continue }
            var index = 0
            while index < choices.count {
                let groupIndex = choices[index].groupIndex
                if groupIndex < snapshot.stickyTargets.count,
                    snapshot.stickyTargets[groupIndex]?.groupIdentity == content.identity
                {
                    return groupIndex
                }
                index += 1
            }
        }
        return nil
    }
}

extension CookieReader {
    /// What the next cookie of ours says; others are passed over, forged ones as well.
    mutating func next(
        _ kind: StickinessCookie, in head: RequestHead, _ bytes: Span<UInt8>, keys: StickinessKeys
    ) -> StickinessCookie.Content? {
        while let cookie = next(in: head, bytes) {
            guard kind.isNamed(by: cookie.name, bytes) else { continue }
            if let content = kind.content(of: bytes.extracting(cookie.value.range), keys: keys) {
                return content
            }
        }
        return nil
    }
}

extension RoutingSnapshot {
    /// What a cookie says that binds a client to this target. The target need not be eligible any longer.
    public func stickyContent(
        target: Endpoint, groupIndex: Int, unixSeconds: UInt64
    ) -> StickinessCookie.Content? {
        guard groupIndex < stickyTargets.count, let targets = stickyTargets[groupIndex] else { return nil }
        return StickinessCookie.Content(
            identity: stickinessKeys.identity(of: target, inGroup: targets.groupIdentity),
            issuedAtUnixSeconds: unixSeconds)
    }

    /// What a cookie says that binds a client to this group.
    public func stickyContent(groupIndex: Int, unixSeconds: UInt64) -> StickinessCookie.Content? {
        guard groupIndex < stickyTargets.count, let targets = stickyTargets[groupIndex] else { return nil }
        return StickinessCookie.Content(
            identity: targets.groupIdentity, issuedAtUnixSeconds: unixSeconds)
    }
}
