// Bytes to a server and all bytes back, for requests that no client would send.

import AdminModel
import NIOCore
import NIOPosix

enum RawConnection {
    /// Sends `text` and collects what comes until the server closes.
    static func exchange(_ text: String, at address: AdminAddress) async throws -> String {
        guard case .tcp(let host, let port) = address else { return "" }
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: host, port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            try await outbound.write(ByteBuffer(string: text))
            var answer = ""
            do {
                for try await buffer in inbound { answer += String(buffer: buffer) }
            } catch is IOError {
                // A reset after the answer ends it as well as a FIN does.
            }
            return answer
        }
    }
}
