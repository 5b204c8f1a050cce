// Threads of the data plane: one per worker and one for probes, pinned and named.

import CLinux
import Glibc

/// A POSIX thread that runs one closure to its end.
@safe
public final class DataPlaneThread: @unchecked Sendable {
    // Sendable: `handle` is written once in init, before anyone else can see this object.
    private let handle: pthread_t

    /// Starts the thread.
    ///
    /// - Parameters:
    ///   - name: At most 15 bytes are shown by `top -H` and `ps`.
    ///   - processor: Pins the thread; nil leaves it to the scheduler. A refused pin is no error, since the
    ///     affinity of a container can change under us.
    public init(
        name: String, processor: Int?, _ body: @escaping @Sendable () -> Void
    ) throws(SystemCallError) {
        let context = ThreadContext(name: String(name.prefix(15)), processor: processor, body: body)
        var thread = pthread_t()
        let opaque = unsafe Unmanaged.passRetained(context)
        let result = unsafe pthread_create(
            &thread, nil,
            { argument in
                // The pointer is the context retained above, released here and nowhere else.
                guard let argument = unsafe argument else { return nil }
                let context = unsafe Unmanaged<ThreadContext>.fromOpaque(argument).takeRetainedValue()
                _ = unsafe weir_name_thread(context.name)
                if let processor = context.processor { _ = weir_pin_thread(Int32(processor)) }
                context.body()
                return nil
            }, opaque.toOpaque())
        guard result == 0 else {
            unsafe opaque.release()
            throw SystemCallError("pthread_create", Errno(result))
        }
        handle = thread
    }

    /// Waits for the thread's end. Call at most once.
    public func join() {
        _ = pthread_join(handle, nil)
    }
}

private final class ThreadContext: Sendable {
    let name: String
    let processor: Int?
    let body: @Sendable () -> Void

    init(name: String, processor: Int?, body: @escaping @Sendable () -> Void) {
        self.name = name
        self.processor = processor
        self.body = body
    }
}
