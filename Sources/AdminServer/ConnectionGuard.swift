// One connection of the admin server: what it may take, and a clear answer to bytes that are no HTTP.
//
// Stands between the HTTP codec and Hummingbird, on the connection's event loop. Hummingbird closes what is idle
// or whose request head does not become whole; it bounds neither a body that drips nor a client that does not
// read its answer, and gives no reason to whoever sent no HTTP. Those are kept here.

import AdminModel
import Foundation
import Hummingbird
import NIOCore
import NIOHTTPTypes

final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let census: ConnectionCensus
    private let limits: AdminLimits.Deadlines
    private var isCounted = false
    /// Requests whose answer is not written yet, the one being read included.
    private var openRequestCount = 0
    /// True between a request's head and its end.
    private var isReading = false
    /// True between an answer's head and its end.
    private var isAnswering = false
    /// The answer under way says "Connection: close".
    private var endsAfterAnswer = false
    /// Everything has been said; what still comes is read and dropped.
    private var isEnding = false
    /// Answers that are written but have not left for the client's socket.
    private var unsentAnswerCount = 0
    private var bodyDeadline: Scheduled<Void>?
    private var answerDeadline: Scheduled<Void>?

    init(census: ConnectionCensus, limits: AdminLimits.Deadlines) {
        self.census = census
        self.limits = limits
    }

    // MARK: Beginning and end

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard !isCounted else { return }
        isCounted = true
        // A full house asks out whoever of its largest party has kept a seat for longest without a request.
        census.enter(context.channel)?.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        leave(context)
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        leave(context)
    }

    private func leave(_ context: ChannelHandlerContext) {
        census.leave(context.channel)
        bodyDeadline?.cancel()
        answerDeadline?.cancel()
    }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isEnding else { return }
        switch unwrapInboundIn(data) {
        case .head:
            openRequestCount += 1
            isReading = true
            bodyDeadline = schedule(in: limits.body, context) { $0.bodyIsLate(context) }
        case .body:
            break
        case .end:
            isReading = false
            bodyDeadline?.cancel()
            census.setBusy(context.channel, true)
        }
        context.fireChannelRead(data)
    }

    private func bodyIsLate(_ context: ChannelHandlerContext) {
        guard isReading, !isEnding else { return }
        let refusal = RequestRefusal(
            .requestTimeout, code: "RequestTimeout",
            message: "The request body was not whole after \(limits.body.nanoseconds / 1_000_000_000) s.")
        refuse(context, refusal)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if isEnding { return }
        // A reset and the like: nobody is there to read an answer.
        guard !(error is IOError), !(error is ChannelError) else {
            context.fireErrorCaught(error)
            return
        }
        // Answers to earlier requests come first; Hummingbird ends the connection after them.
        if openRequestCount == (isReading ? 1 : 0), !isAnswering {
            refuse(
                context,
                RequestRefusal.invalid(
                    "The request is not HTTP/1.1 that this server takes. Send a whole head of at most "
                        + "\(AdminLimits.headerByteCountMax) bytes and \(AdminLimits.headerCountMax) fields, "
                        + "and one way of telling the body's length."))
        }
        context.fireErrorCaught(error)
    }

    /// Answers in the server's stead and ends; what Hummingbird still says of the request is dropped.
    private func refuse(_ context: ChannelHandlerContext, _ refusal: RequestRefusal) {
        guard !isAnswering else {
            context.close(promise: nil)
            return
        }
        var response = HTTPResponse(status: refusal.status)
        response.headerFields[.connection] = "close"
        if let body = try? AdminCoding.encoder().encode(refusal.report) {
            response.headerFields[.contentType] = "application/json"
            response.headerFields[.contentLength] = String(body.count)
            context.write(wrapOutboundOut(.head(response)), promise: nil)
            context.write(wrapOutboundOut(.body(ByteBuffer(bytes: body))), promise: nil)
        } else {
            response.headerFields[.contentLength] = "0"
            context.write(wrapOutboundOut(.head(response)), promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        end(context)
    }

    /// Says no more and closes when the client has, or after a while.
    ///
    /// Closing at once would reset the connection while the client still sends, and take the answer with it.
    private func end(_ context: ChannelHandlerContext) {
        isEnding = true
        bodyDeadline?.cancel()
        answerDeadline?.cancel()
        census.setBusy(context.channel, false)
        context.close(mode: .output, promise: nil)
        answerDeadline = schedule(in: limits.lingering, context) { _ in context.close(promise: nil) }
    }

    // MARK: Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard !isEnding else {
            promise?.succeed()
            return
        }
        switch unwrapOutboundIn(data) {
        case .head(let response):
            isAnswering = true
            endsAfterAnswer = response.headerFields[.connection] == "close"
            if answerDeadline == nil { armAnswerDeadline(context) }
            context.write(data, promise: promise)
        case .body:
            context.write(data, promise: promise)
        case .end:
            isAnswering = false
            openRequestCount -= 1
            unsentAnswerCount += 1
            let promise = promise ?? context.eventLoop.makePromise()
            let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            promise.futureResult.whenComplete { _ in
                let (guardian, context) = loopBound.value
                guardian.answerIsSent(context)
            }
            guard endsAfterAnswer else {
                context.write(data, promise: promise)
                return
            }
            context.writeAndFlush(data, promise: promise)
            end(context)
        }
    }

    private func answerIsSent(_ context: ChannelHandlerContext) {
        unsentAnswerCount -= 1
        if openRequestCount == 0 { census.setBusy(context.channel, false) }
        guard !isEnding else { return }
        answerDeadline?.cancel()
        answerDeadline = nil
        if unsentAnswerCount > 0 || isAnswering { armAnswerDeadline(context) }
    }

    private func armAnswerDeadline(_ context: ChannelHandlerContext) {
        answerDeadline = schedule(in: limits.answer, context) { _ in context.close(promise: nil) }
    }

    private func schedule(
        in delay: TimeAmount, _ context: ChannelHandlerContext, _ action: @escaping (ConnectionGuard) -> Void
    ) -> Scheduled<Void> {
        let loopBound = NIOLoopBound((self, action), eventLoop: context.eventLoop)
        return context.eventLoop.scheduleTask(in: delay) {
            let (guardian, action) = loopBound.value
            action(guardian)
        }
    }
}
