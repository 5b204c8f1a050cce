// What one connection may take, in virtual time: the event loop of these tests turns when told to.

import AdminModel
import Foundation
import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Testing

@testable import AdminServer

@Suite struct `Connection guard` {
    private let deadlines = AdminLimits.Deadlines()
    private let census = ConnectionCensus(countMax: 2)

    private func connect() throws -> EmbeddedChannel {
        let channel = EmbeddedChannel(
            handlers: [HalfClosure(), ConnectionGuard(census: census, limits: deadlines)])
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        return channel
    }

    private func head(_ method: HTTPRequest.Method = .get) -> HTTPRequestPart {
        .head(HTTPRequest(method: method, scheme: "http", authority: "localhost", path: "/"))
    }

    private func answer(_ channel: EmbeddedChannel, fields: HTTPFields = [:]) throws {
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok, headerFields: fields)))
        try channel.writeOutbound(HTTPResponsePart.end(nil))
    }

    private func statuses(_ channel: EmbeddedChannel) throws -> [Int] {
        var statuses: [Int] = []
        while let part = try channel.readOutbound(as: HTTPResponsePart.self) {
            if case .head(let response) = part { statuses.append(response.status.code) }
        }
        return statuses
    }

    @Test func `a body that drips is refused at its deadline and the connection ends after a while`() throws {
        let channel = try connect()
        try channel.writeInbound(head(.post))
        for _ in 0..<19 {
            channel.embeddedEventLoop.advanceTime(by: .seconds(1))
            try channel.writeInbound(HTTPRequestPart.body(ByteBuffer(string: "x")))
        }
        #expect(try statuses(channel) == [])
        channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(try statuses(channel) == [408])
        // What the server still says of it is dropped: one request, one answer.
        try answer(channel)
        #expect(try statuses(channel) == [])
        channel.embeddedEventLoop.advanceTime(by: deadlines.lingering)
        #expect(!channel.isActive)
    }

    @Test func `a whole body has no deadline, and a connection lives through any number of requests`() throws
    {
        let channel = try connect()
        for _ in 0..<3 {
            try channel.writeInbound(head(.post))
            try channel.writeInbound(HTTPRequestPart.end(nil))
            channel.embeddedEventLoop.advanceTime(by: .seconds(60))
            try answer(channel)
            channel.embeddedEventLoop.advanceTime(by: .seconds(60))
        }
        #expect(try statuses(channel) == [200, 200, 200])
        #expect(channel.isActive)
        _ = try channel.finish()
    }

    @Test func `a client that does not take its answer is cut off`() throws {
        let channel = try connect()
        try channel.writeInbound(head())
        try channel.writeInbound(HTTPRequestPart.end(nil))
        channel.write(HTTPResponsePart.head(HTTPResponse(status: .ok)), promise: nil)
        channel.write(HTTPResponsePart.end(nil), promise: nil)
        channel.embeddedEventLoop.advanceTime(by: deadlines.answer - .seconds(1))
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
    }

    @Test func `an answer that says so ends the connection, whatever the client sends then`() throws {
        let channel = try connect()
        try channel.writeInbound(head(.post))
        try answer(channel, fields: [.connection: "close"])
        try channel.writeInbound(HTTPRequestPart.body(ByteBuffer(string: "x")))
        try channel.writeInbound(HTTPRequestPart.end(nil))
        try channel.writeInbound(head())
        #expect(try statuses(channel) == [200])
        channel.embeddedEventLoop.advanceTime(by: deadlines.lingering)
        #expect(!channel.isActive)
    }

    @Test func `of too many connections the longest silent one gives way, and one at work does not`() throws {
        let working = try connect()
        try working.writeInbound(head())
        try working.writeInbound(HTTPRequestPart.end(nil))
        let silent = try connect()
        let third = try connect()
        #expect(working.isActive && !silent.isActive && third.isActive)
        try third.writeInbound(head())
        try third.writeInbound(HTTPRequestPart.end(nil))
        // All places are at work: the newcomer is the one that goes.
        let fourth = try connect()
        #expect(working.isActive && third.isActive && !fourth.isActive)
        for channel in [working, third] { _ = try? channel.finish() }
    }
}

/// Lets a channel that only knows whole closes be closed towards the client alone.
private final class HalfClosure: ChannelOutboundHandler {
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard mode == .output else {
            context.close(mode: mode, promise: promise)
            return
        }
        promise?.succeed()
    }
}
