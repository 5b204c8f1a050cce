// One HTTP/1.1 request and its response over a connection of its own, TCP or Unix socket.
//
// Deliberately small: no redirects, no reuse, no compression. Bounded in time and in bytes.

import AdminModel
import NIOCore
import NIOHTTP1
import NIOPosix

struct HTTPExchange: Sendable {
    struct Response: Sendable, Equatable {
        var status: Int
        var body: [UInt8]
    }

    /// A larger answer is cut off with an error; 10,000 flows take about 4 MiB.
    static let responseByteCountMax = 256 << 20
    static let connectTimeoutSeconds = 3

    let address: AdminAddress
    let responseTimeoutSeconds: Int

    func send(
        _ method: HTTPMethod, _ target: String, headers: [(String, String)], body: [UInt8]?
    ) async throws(ClientError) -> Response {
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = eventLoop.makePromise(of: Response.self)
        let request = makeHead(method, target, headers: headers, body: body)
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(.seconds(Int64(Self.connectTimeoutSeconds)))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(
                        ExchangeHandler(
                            request: request, body: body, address: address,
                            timeoutSeconds: responseTimeoutSeconds,
                            promise: promise))
                }
            }
        let channel: any Channel
        do {
            channel = try await connect(bootstrap)
        } catch {
            // Nobody waits any more, but NIO insists that every promise is kept or broken.
            promise.fail(error)
            throw .unreachable(address, cause: ClientError.connectCause(error))
        }
        defer { channel.close(promise: nil) }
        do {
            return try await promise.futureResult.get()
        } catch {
            throw ClientError.exchangeError(error, address: address)
        }
    }

    private func connect(_ bootstrap: ClientBootstrap) async throws -> any Channel {
        switch address {
        case .tcp(let host, let port): try await bootstrap.connect(host: host, port: port).get()
        case .unix(let path): try await bootstrap.connect(unixDomainSocketPath: path).get()
        }
    }

    private func makeHead(
        _ method: HTTPMethod, _ target: String, headers: [(String, String)], body: [UInt8]?
    ) -> HTTPRequestHead {
        var fields = HTTPHeaders(headers)
        switch address {
        case .tcp: fields.add(name: "Host", value: address.description)
        case .unix: fields.add(name: "Host", value: "localhost")
        }
        fields.add(name: "Connection", value: "close")
        if let body { fields.add(name: "Content-Length", value: String(body.count)) }
        return HTTPRequestHead(version: .http1_1, method: method, uri: target, headers: fields)
    }
}

/// Sends the request when connected and keeps the promise exactly once.
private final class ExchangeHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let request: HTTPRequestHead
    private let requestBody: [UInt8]?
    private let address: AdminAddress
    private let timeoutSeconds: Int
    private var promise: EventLoopPromise<HTTPExchange.Response>?
    private var deadline: Scheduled<Void>?
    private var response = HTTPExchange.Response(status: 0, body: [])

    init(
        request: HTTPRequestHead, body: [UInt8]?, address: AdminAddress, timeoutSeconds: Int,
        promise: EventLoopPromise<HTTPExchange.Response>
    ) {
        self.request = request
        requestBody = body
        self.address = address
        self.timeoutSeconds = timeoutSeconds
        self.promise = promise
    }

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        let timeout = ClientError.timedOut(address, seconds: timeoutSeconds)
        deadline = context.eventLoop.scheduleTask(in: .seconds(Int64(timeoutSeconds))) {
            channel.pipeline.fireErrorCaught(timeout)
        }
        context.write(wrapOutboundOut(.head(request)), promise: nil)
        if let requestBody {
            let buffer = context.channel.allocator.buffer(bytes: requestBody)
            context.write(wrapOutboundOut(.body(.byteBuffer(buffer))), promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            response.status = Int(head.status.code)
        case .body(let buffer):
            guard response.body.count + buffer.readableBytes <= HTTPExchange.responseByteCountMax else {
                finish(.failure(ClientError.notWeir(address, cause: "an endless answer")))
                context.close(promise: nil)
                return
            }
            response.body.append(contentsOf: buffer.readableBytesView)
        case .end:
            finish(.success(response))
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(.failure(ClientError.interrupted(address, cause: "connection closed")))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        finish(.failure(error))
        context.close(promise: nil)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        // Reached without an outcome only when the connection never became active: `send` broke the promise.
        deadline?.cancel()
    }

    private func finish(_ result: Result<HTTPExchange.Response, any Error>) {
        deadline?.cancel()
        promise?.completeWith(result)
        promise = nil
    }
}
