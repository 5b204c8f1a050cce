// What an exchange costs, in allocations and system calls, as exact counts.

import Balancing
import CAllocationCount
import CLinux
import Foundation
import LinuxIO
import Testing

@testable import ApplicationMode

extension `Instrumented application workers` {
    @Suite struct `Hot path of exchanges` {
        @Test(arguments: [[], [UInt8](repeating: 1, count: 1_000)])
        func `a warm exchange takes two reads, two writes and no allocation`(content: [UInt8]) throws {
            try check(content: content)
        }

        @Test func `nor does it take more with an access log`() throws {
            let path = NSTemporaryDirectory() + "weir-\(getpid())-access.log"
            defer { unlink(path) }
            try check(content: [], logPath: path)
            let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
            #expect(lines.count >= 520)
            #expect(lines.allSatisfy { $0.hasPrefix("http ") && $0.contains(" 200 200 ") })
        }

        private func check(content: [UInt8], logPath: String? = nil) throws {
            let target = try TestTarget(
                message("HTTP/1.1 200 OK\r\nServer: test\r\nX-Field: value", [1, 2, 3]))
            let balancer = try TestBalancer(to: [target.endpoint], logPath: logPath)
            let client = try #require(TestSocket.connect(balancer.entrance))
            let request = message(
                "\(content.isEmpty ? "GET" : "POST") /path?query HTTP/1.1\r\nHost: a.example\r\nUser-Agent: test\r\n"
                    + "Accept: */*\r\nCookie: a=b", content)
            var rest: [UInt8] = []
            func exchange(_ times: Int) {
                for _ in 0..<times {
                    client.send(request)
                    let answer = client.receiveMessage(keeping: &rest)
                    #expect(answer?.content == [1, 2, 3])
                }
            }
            exchange(20)
            // The least of five: the first use of a path makes metadata, which a debug build does late.
            var counts: [UInt64] = []
            for (call, expected) in [
                (WEIR_CALL_RECEIVE, 200), (WEIR_CALL_SEND, 200), (WEIR_CALL_OPTION, 0), (WEIR_CALL_SPLICE, 0),
                (WEIR_CALL_EPOLL_ADD, 0),
            ] {
                let before = allocation_count()
                weir_fault_arm(call.rawValue, .max, 0)
                exchange(100)
                #expect(weir_fault_call_count() == UInt64(expected), "call \(call.rawValue)")
                _ = weir_fault_disarm()
                counts.append(allocation_count() - before)
            }
            #expect(counts.min() == 0, "\(counts)")
        }
    }
}
