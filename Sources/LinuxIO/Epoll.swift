// epoll(7) and eventfd(2).

import CLinux

/// What a descriptor is ready for; the bits are epoll's.
package struct Readiness: OptionSet, Sendable, BitwiseCopyable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    package static let readable = Readiness(rawValue: 0x001)
    package static let writable = Readiness(rawValue: 0x004)
    package static let error = Readiness(rawValue: 0x008)
    /// Both halves of the connection are shut.
    package static let hangup = Readiness(rawValue: 0x010)
    /// The peer has shut its writing half.
    package static let peerClosed = Readiness(rawValue: 0x2000)
    package static let edgeTriggered = Readiness(rawValue: 0x8000_0000)

    package static let urgent = Readiness(rawValue: 0x002)

    /// One registration for a socket's whole life: no event is asked for twice and none is taken back.
    package static let socket: Readiness = [.readable, .writable, .urgent, .peerClosed, .edgeTriggered]

    /// One look at the bits: a literal of several options would make an array at every event.
    @inlinable
    package func has(_ bits: UInt32) -> Bool { rawValue & bits != 0 }

    /// The peer has sent its end, or both ends are through.
    package var isClosing: Bool { has(0x2010) }
    package var isReadable: Bool { has(0x001) }
    package var isWritable: Bool { has(0x004) }
    package var isUrgent: Bool { has(0x002) }
    package var hasError: Bool { has(0x008) }
    package var hasErrorOrHangup: Bool { has(0x018) }
}

package struct ReadinessEvent: Sendable, BitwiseCopyable {
    package let token: UInt64
    package let readiness: Readiness
}

/// Registers descriptors with an epoll instance that another owns. A closed descriptor leaves by itself.
package struct EpollHandle: Sendable, BitwiseCopyable {
    let descriptor: Descriptor

    /// EPOLL_CTL_ADD; nil when done.
    package func add(_ watched: Descriptor, for readiness: Readiness, token: UInt64) -> Errno? {
        let result = weir_epoll_add(descriptor.rawValue, watched.rawValue, readiness.rawValue, token)
        return result < 0 ? Errno(-result) : nil
    }

    package func remove(_ watched: Descriptor) {
        _ = weir_epoll_remove(descriptor.rawValue, watched.rawValue)
    }
}

/// An epoll instance and the buffer for its events.
@safe
package struct Epoll: ~Copyable {
    private let owned: OwnedDescriptor
    private let events: UnsafeMutablePointer<weir_event>
    private let capacity: Int

    package init(eventCountMax: Int) throws(SystemCallError) {
        owned = OwnedDescriptor(Descriptor(rawValue: try check(weir_epoll_create(), "epoll_create1")))
        capacity = eventCountMax
        unsafe events = UnsafeMutablePointer<weir_event>.allocate(capacity: eventCountMax)
        unsafe events.initialize(repeating: weir_event(), count: eventCountMax)
    }

    deinit {
        unsafe events.deallocate()
    }

    package var handle: EpollHandle { EpollHandle(descriptor: owned.descriptor) }

    /// epoll_wait(2). A negative timeout waits for ever. Interrupted by a signal, it returns zero events.
    package func wait(timeoutMilliseconds: Int32) -> Result<Int, Errno> {
        let result = unsafe weir_epoll_wait(
            owned.descriptor.rawValue, events, Int32(capacity), timeoutMilliseconds)
        return result < 0 ? .failure(Errno(-result)) : .success(Int(result))
    }

    /// The event at `index` of the last wait.
    package func event(at index: Int) -> ReadinessEvent {
        precondition(index >= 0 && index < capacity)
        let event = unsafe events[index]
        return ReadinessEvent(token: event.token, readiness: Readiness(rawValue: event.readiness))
    }
}

/// Wakes a thread that waits in epoll; see eventfd(2).
package struct Wakeup: ~Copyable, Sendable {
    private let owned: OwnedDescriptor

    package init() throws(SystemCallError) {
        owned = OwnedDescriptor(Descriptor(rawValue: try check(weir_eventfd(), "eventfd")))
    }

    package var descriptor: Descriptor { owned.descriptor }

    package func signal() {
        _ = weir_eventfd_signal(owned.descriptor.rawValue)
    }

    package func clear() {
        _ = weir_eventfd_clear(owned.descriptor.rawValue)
    }
}
