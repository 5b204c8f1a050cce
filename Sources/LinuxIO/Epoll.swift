// epoll(7) and eventfd(2).

import CLinux

/// What a descriptor is ready for; the bits are epoll's.
public struct Readiness: OptionSet, Sendable, BitwiseCopyable {
    public let rawValue: UInt32

    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    public static let readable = Readiness(rawValue: 0x001)
    public static let writable = Readiness(rawValue: 0x004)
    public static let error = Readiness(rawValue: 0x008)
    /// Both halves of the connection are shut.
    public static let hangup = Readiness(rawValue: 0x010)
    /// The peer has shut its writing half.
    public static let peerClosed = Readiness(rawValue: 0x2000)
    public static let edgeTriggered = Readiness(rawValue: 0x8000_0000)

    public static let urgent = Readiness(rawValue: 0x002)

    /// One registration for a socket's whole life: no event is asked for twice and none is taken back.
    public static let socket: Readiness = [.readable, .writable, .urgent, .peerClosed, .edgeTriggered]

    /// One look at the bits: a literal of several options would make an array at every event.
    @inlinable
    public func has(_ bits: UInt32) -> Bool { rawValue & bits != 0 }

    /// The peer has sent its end, or both ends are through.
    public var isClosing: Bool { has(0x2010) }
    public var isReadable: Bool { has(0x001) }
    public var isWritable: Bool { has(0x004) }
    public var isUrgent: Bool { has(0x002) }
    public var hasError: Bool { has(0x008) }
    public var hasErrorOrHangup: Bool { has(0x018) }
}

public struct ReadinessEvent: Sendable, BitwiseCopyable {
    public let token: UInt64
    public let readiness: Readiness
}

/// Registers descriptors with an epoll instance that another owns. A closed descriptor leaves by itself.
public struct EpollHandle: Sendable, BitwiseCopyable {
    let descriptor: Descriptor

    /// EPOLL_CTL_ADD; nil when done.
    public func add(_ watched: Descriptor, for readiness: Readiness, token: UInt64) -> Errno? {
        let result = weir_epoll_add(descriptor.rawValue, watched.rawValue, readiness.rawValue, token)
        return result < 0 ? Errno(-result) : nil
    }

    public func remove(_ watched: Descriptor) {
        _ = weir_epoll_remove(descriptor.rawValue, watched.rawValue)
    }
}

/// An epoll instance and the buffer for its events.
@safe
public struct Epoll: ~Copyable {
    private let owned: OwnedDescriptor
    private let events: UnsafeMutablePointer<weir_event>
    private let capacity: Int

    public init(eventCountMax: Int) throws(SystemCallError) {
        owned = OwnedDescriptor(Descriptor(rawValue: try check(weir_epoll_create(), "epoll_create1")))
        capacity = eventCountMax
        unsafe events = UnsafeMutablePointer<weir_event>.allocate(capacity: eventCountMax)
        unsafe events.initialize(repeating: weir_event(), count: eventCountMax)
    }

    deinit {
        unsafe events.deallocate()
    }

    public var handle: EpollHandle { EpollHandle(descriptor: owned.descriptor) }

    /// epoll_wait(2). A negative timeout waits for ever. Interrupted by a signal, it returns zero events.
    public func wait(timeoutMilliseconds: Int32) -> Result<Int, Errno> {
        let result = unsafe weir_epoll_wait(
            owned.descriptor.rawValue, events, Int32(capacity), timeoutMilliseconds)
        return result < 0 ? .failure(Errno(-result)) : .success(Int(result))
    }

    /// The event at `index` of the last wait.
    public func event(at index: Int) -> ReadinessEvent {
        precondition(index >= 0 && index < capacity)
        let event = unsafe events[index]
        return ReadinessEvent(token: event.token, readiness: Readiness(rawValue: event.readiness))
    }
}

/// Wakes a thread that waits in epoll; see eventfd(2).
public struct Wakeup: ~Copyable, Sendable {
    private let owned: OwnedDescriptor

    public init() throws(SystemCallError) {
        owned = OwnedDescriptor(Descriptor(rawValue: try check(weir_eventfd(), "eventfd")))
    }

    public var descriptor: Descriptor { owned.descriptor }

    public func signal() {
        _ = weir_eventfd_signal(owned.descriptor.rawValue)
    }

    public func clear() {
        _ = weir_eventfd_clear(owned.descriptor.rawValue)
    }
}
