// Two sessions that talk to each other in memory.

import Balancing
import HTTPCore
import Testing

@Suite("HTTP/2 sessions")
struct HTTP2SessionTests {
    @Test func `a request and its response reach the other side`() throws {
        let conversation = TestConversation()
        let (client, server) = (conversation.client, conversation.server)
        let stream = try #require(
            client.request("GET", "/a?b=c", fields: [TestField("Accept", "*/*")], tag: 7))
        conversation.exchange()
        #expect(
            server.takeEvents() == [
                .settings,
                .request(
                    1, method: "GET", target: "/a?b=c",
                    fields: [TestField("host", "weir.example"), TestField("accept", "*/*")], endsStream: true),
            ])
        let head = try #require(server.requestHeads[1])
        #expect(head.version == .http2 && head.method == .get && head.framing == .none)
        #expect(server.text(head.path) == "/a" && server.text(head.query) == "b=c" && head.hasQuery)

        server.respond(1, fields: [TestField("Content-Type", "text/plain")], endsStream: false)
        #expect(server.write(Array("hello".utf8), stream: 1) == 5)
        server.session.finish(stream: 1)
        conversation.exchange()
        #expect(
            client.takeEvents() == [
                .settings,
                .response(
                    stream, statusCode: 200, fields: [TestField("content-type", "text/plain")],
                    endsStream: false),
                .content(stream, Array("hello".utf8)),
                .endOfStream(stream),
                .closed(stream, tag: 7),
            ])
        #expect(server.takeEvents() == [.closed(1, tag: 0)])
        #expect(client.session.openStreamCount == 0 && server.session.openStreamCount == 0)
        #expect(client.failure == nil && server.failure == nil)
    }
}
