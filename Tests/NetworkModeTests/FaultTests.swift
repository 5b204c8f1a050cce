// Every system call of a worker made to fail, one after another: the n-th call with each plausible error.
//
// After each run: no descriptor leaked, no flow left, no event storm, and the next flow works. Debug
// builds only: release builds have no hook.

import Balancing
import CLinux
import Glibc
import LinuxIO
import Serving
import Testing

@testable import NetworkMode

/// The errors that the man pages name for each call, as far as a worker can meet them.
private let plausibleErrors: [(call: weir_call, errors: [Int32])] = [
    (WEIR_CALL_SOCKET, [EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES]),
    (WEIR_CALL_BIND, [EADDRINUSE, EADDRNOTAVAIL]),
    (WEIR_CALL_ACCEPT, [EMFILE, ENFILE, ENOMEM, ECONNABORTED, EPERM, EPROTO, EINTR, EAGAIN]),
    (
        WEIR_CALL_CONNECT,
        [ECONNREFUSED, EADDRNOTAVAIL, ENETUNREACH, EHOSTUNREACH, ETIMEDOUT, EAGAIN, EPERM, EINVAL]
    ),
    (WEIR_CALL_OPTION, [ENOMEM, EINVAL, ENOPROTOOPT]),
    (WEIR_CALL_SHUTDOWN, [ENOTCONN, ENOBUFS]),
    (WEIR_CALL_RECEIVE, [ECONNRESET, ETIMEDOUT, ENOMEM, EINTR, EHOSTUNREACH]),
    (WEIR_CALL_SEND, [EPIPE, ECONNRESET, ENOBUFS, ENOMEM, EINTR]),
    (WEIR_CALL_PIPE, [EMFILE, ENFILE, ENOMEM]),
    (WEIR_CALL_SPLICE, [ECONNRESET, EPIPE, ENOMEM, EINVAL]),
    (WEIR_CALL_EPOLL_ADD, [ENOMEM, ENOSPC]),
    (WEIR_CALL_EPOLL_WAIT, [EINTR, ENOMEM]),
    (WEIR_CALL_RECEIVE_DATAGRAMS, [ENOMEM, EINTR, ECONNREFUSED, EMSGSIZE]),
    (WEIR_CALL_SEND_DATAGRAMS, [ECONNREFUSED, ENOBUFS, EPERM, EINVAL, EMSGSIZE, EINTR]),
    (WEIR_CALL_LOCAL_ENDPOINT, [ENOBUFS]),
]

extension `Instrumented workers` {
    @Suite struct `Injected failures` {
        @Test func `no failing call of a TCP flow leaks, hangs or harms the next flow`() throws {
            let server = try TestServer.echo()
            let balancer = try TestBalancer { weir_fault_take_part(true) }
            let listener = try balancer.listen("0.0.0.0")
            let entrance = loopback(listener.port)
            try balancer.route(to: [server.endpoint], .init(sourceAddresses: [entrance.address]))
            try check(exercise: { exchange(pattern(200_000), through: entrance) }, on: balancer) {
                exchange([1, 2, 3], through: entrance)
            }
        }

        @Test func `no failing call of a UDP flow leaks, hangs or harms the next flow`() throws {
            let server = try DatagramEcho()
            var settings = TestBalancer.smallSettings
            settings.udpIdleTimeoutSeconds = 1
            let balancer = try TestBalancer(settings: settings) { weir_fault_take_part(true) }
            let listener = try balancer.listen("0.0.0.0", .udp)
            let entrance = loopback(listener.port)
            try balancer.route(to: [server.endpoint])
            try check(exercise: { ask(entrance, triesMax: 1) }, on: balancer) { ask(entrance, triesMax: 20) }
        }

        /// Runs `exercise` with the n-th call failing, n = 1, 2, 3 …, until a run has no n-th call.
        private func check(
            exercise: () -> Bool, on balancer: TestBalancer, nextFlowWorks: () -> Bool
        ) throws {
            #expect(nextFlowWorks())
            for (call, errors) in plausibleErrors {
                for error in errors {
                    for nth in 1...UInt64(12) {
                        weir_fault_arm(call.rawValue, nth, error)
                        _ = exercise()
                        let isDelivered = weir_fault_disarm()
                        let isNextFine = nextFlowWorks()
                        #expect(isNextFine, "call \(call.rawValue), its \(nth)th with \(Errno(error))")
                        let isQuiet = eventually { balancer.isQuiet() }
                        #expect(isQuiet, "call \(call.rawValue), its \(nth)th with \(Errno(error))")
                        if !isDelivered { break }
                    }
                }
            }
            // The listener, the spare descriptor and pooled pipes are all that may be open when no flow is.
            let isClosed = eventually {
                balancer.total(.activeUDPFlows) == 0
                    && weir_fault_descriptor_count() - Int64(balancer.workers.total(WorkerCounter.pipesOpen))
                        * 2
                        <= 1
            }
            #expect(isClosed, "\(weir_fault_descriptor_count()) descriptors are still open")
        }

        /// One request and its answer; false when the connection broke or gave nothing within a second.
        private func exchange(_ bytes: [UInt8], through entrance: Endpoint) -> Bool {
            guard let client = TestSocket.connect(entrance) else { return false }
            client.setTimeout(milliseconds: 1_000)
            _ = try? DataPlaneThread(name: "writer", processor: nil) {
                client.send(bytes)
                client.finishWriting()
            }
            return client.receiveToEnd() == bytes
        }

        private func ask(_ entrance: Endpoint, triesMax: Int) -> Bool {
            guard let client = TestSocket.connect(entrance, .udp) else { return false }
            client.setTimeout(milliseconds: 100)
            for _ in 0..<triesMax {
                client.send([7])
                if client.receive() == [7] { return true }
            }
            return false
        }
    }
}
