// Every system call of a worker of application mode made to fail, one after another: the n-th call with each
// plausible error.
//
// After each run: nothing leaked, no exchange left, and the next request works. Debug builds only: release builds
// have no hook.

import Balancing
import CLinux
import Glibc
import LinuxIO
import Testing

@testable import ApplicationMode

/// The errors that the man pages name for each call, as far as a worker can meet them.
private let plausibleErrors: [(call: weir_call, errors: [Int32])] = [
    (WEIR_CALL_SOCKET, [EMFILE, ENOBUFS, EACCES]),
    (WEIR_CALL_ACCEPT, [EMFILE, ENOMEM, ECONNABORTED, EINTR, EAGAIN]),
    (WEIR_CALL_CONNECT, [ECONNREFUSED, EADDRNOTAVAIL, ENETUNREACH, ETIMEDOUT, EAGAIN, EPERM]),
    (WEIR_CALL_OPTION, [ENOMEM, EINVAL]),
    (WEIR_CALL_SHUTDOWN, [ENOTCONN]),
    (WEIR_CALL_RECEIVE, [ECONNRESET, ETIMEDOUT, ENOMEM, EINTR]),
    (WEIR_CALL_SEND, [EPIPE, ECONNRESET, ENOBUFS, EINTR]),
    (WEIR_CALL_PIPE, [EMFILE, ENOMEM]),
    (WEIR_CALL_SPLICE, [ECONNRESET, EPIPE, ENOMEM, EINVAL]),
    (WEIR_CALL_EPOLL_ADD, [ENOMEM, ENOSPC]),
    (WEIR_CALL_EPOLL_WAIT, [EINTR]),
    (WEIR_CALL_LOCAL_ENDPOINT, [ENOBUFS]),
]

extension `Instrumented application workers` {
    @Suite struct `Injected failures` {
        @Test func `no failing call of a kept connection leaks, hangs or harms the next request`() throws {
            try check(content: [], answer: [1, 2, 3], requestCount: 2)
        }

        @Test func `no failing call of an upload leaks, hangs or harms the next request`() throws {
            try check(content: [UInt8](repeating: 7, count: 400_000), answer: [1], requestCount: 1)
        }

        @Test func `no failing call of a large download leaks, hangs or harms the next request`() throws {
            try check(content: [], answer: [UInt8](repeating: 9, count: 700_000), requestCount: 1)
        }

        /// Runs an exchange with the n-th call failing, n = 1, 2, 3 …, until a run has no n-th call.
        private func check(content: [UInt8], answer: [UInt8], requestCount: Int) throws {
            let target = try TestTarget(message("HTTP/1.1 200 OK", answer))
            let balancer = try TestBalancer(to: [target.endpoint], idleTimeoutSeconds: 2)
            let request = message("\(content.isEmpty ? "GET" : "POST") / HTTP/1.1\r\nHost: a", content)

            /// The requests on one connection; false when one of them was not answered with 200 and all content.
            func exchange(timeoutMilliseconds: Int) -> Bool {
                guard
                    let client = TestSocket.connect(
                        balancer.entrance, timeoutMilliseconds: timeoutMilliseconds)
                else { return false }
                var rest: [UInt8] = []
                for _ in 0..<requestCount {
                    // Another thread writes: an answer may come before the request is whole.
                    _ = try? DataPlaneThread(name: "writer", processor: nil) { client.send(request) }
                    guard let message = client.receiveMessage(keeping: &rest),
                        message.head.hasPrefix("HTTP/1.1 200"), message.content == answer
                    else { return false }
                }
                return true
            }

            #expect(exchange(timeoutMilliseconds: 5_000))
            for (call, errors) in plausibleErrors {
                for error in errors {
                    for nth in 1...UInt64(12) {
                        weir_fault_arm(call.rawValue, nth, error)
                        _ = exchange(timeoutMilliseconds: 3_000)
                        let isDelivered = weir_fault_disarm()
                        let isNextFine = exchange(timeoutMilliseconds: 5_000)
                        #expect(isNextFine, "call \(call.rawValue), its \(nth)th with \(Errno(error))")
                        let isQuiet = eventually { balancer.isQuiet() }
                        #expect(isQuiet, "call \(call.rawValue), its \(nth)th with \(Errno(error))")
                        if !isDelivered { break }
                    }
                }
            }
            // The listener, the spare descriptor, pooled pipes and connections are all that may be open.
            let isClosed = eventually {
                let pipes = Int64(balancer.application.workers.total(WorkerCounter.pipesOpen))
                return weir_fault_descriptor_count() - pipes * 2 - Int64(balancer.pooledCount()) <= 1
            }
            #expect(isClosed, "\(weir_fault_descriptor_count()) descriptors are still open")
        }
    }
}

func message(_ start: String, _ content: [UInt8]) -> [UInt8] {
    Array("\(start)\r\nContent-Length: \(content.count)\r\n\r\n".utf8) + content
}
