// From a whole head to what is done with it: the rule, its action, the group, the target.

import Balancing
import HTTPCore
import LinuxIO
import Serving

extension Worker {
    /// What is to be done with a request.
    enum Decision {
        /// It is written as a target is to see it, and waits in `replay`.
        case forward
        /// The Location is in `text`.
        case redirect(RedirectAction)
        case respond(FixedResponse)
        case fail(ExchangeFailure)
    }

    /// A new exchange for the request whose head was just read; nil when the worker has no slot left.
    mutating func makeExchange(_ client: Int, stream: Int32 = 0, at now: Instant) -> Int? {
        guard let slot = exchangeSlots.allocate() else { return nil }
        let isStream = stream > 0
        let generation = exchanges[slot].generation &+ 1
        let listener = connections[client].listener
        exchanges[slot] = Exchange(
            phase: .connecting, generation: generation, client: UInt32(client), clientStream: stream,
            listener: listener, log: core.tls.accessLog(of: listener), method: requestHead.method,
            version: requestHead.version, upgrade: requestHead.upgrade,
            isClientPersistent: requestHead.isPersistent, expectsContinue: requestHead.expectsContinue,
            startedAt: isStream ? now : connections[client].headStartedAt, headAt: now, lastMovedAt: now)
        exchanges[slot].up.reader = BodyReader(requestHead.framing)
        linkClient(slot)
        if exchanges[slot].log > 0 { beginRecord(slot) }
        // A connection of HTTP/1 has a deadline for the one exchange that it carries.
        if isStream {
            exchangeTimers.set(slot, to: now.advanced(bySeconds: idleTimeoutSeconds(of: listener)))
        }
        connections[client].headStartedAt = Instant(nanoseconds: 0)
        connections[client].requestCount &+= 1
        exchangeCounters.add(1, .requests, listener: listener)
        return slot
    }

    /// Finds the rule for the request in `requestHead`, whose bytes these are, and prepares what it says.
    mutating func decide(_ exchange: Int, _ bytes: Span<UInt8>, at now: Instant) -> Decision {
        let decision = judge(exchange, bytes, at: now)
        if exchanges[exchange].log > 0 { noteRequest(exchange, bytes, decision, at: now) }
        return decision
    }

    private mutating func judge(_ exchange: Int, _ bytes: Span<UInt8>, at now: Instant) -> Decision {
        let client = Int(exchanges[exchange].client)
        // Without one the listener is gone, and this connection outlived it.
        guard let listener = routing.listener(exchanges[exchange].listener) else {
            return answerInstead(exchange, bytes, .fail(.noListener))
        }
        if requestHead.desync.classification > .acceptable {
            exchangeCounters.add(1, .desyncFindings, listener: exchanges[exchange].listener)
        }
        switch verdict(for: requestHead.desync, mode: listener.attributes.desyncMitigation) {
        case .forward: break
        case .forwardThenClose:
            exchanges[exchange].isClientPersistent = false
            exchanges[exchange].isTargetPersistent = false
        case .refuse:
            exchangeCounters.add(1, .desyncRefusals, listener: exchanges[exchange].listener)
            // What follows may be a part of it to others.
            exchanges[exchange].isClientPersistent = false
            return answerInstead(exchange, bytes, .fail(.desync))
        }
        let rule = listener.rules.match(
            requestHead, bytes, client: connections[client].peer.address, scratch: &ruleScratch)
        exchanges[exchange].rule = UInt32(rule)
        switch listener.rules.routes[rule].action {
        case .forward(let choices, let stickinessSeconds):
            if let failure = write(
                exchange, listener, to: choices, stickyFor: stickinessSeconds, bytes, at: now)
            {
                return answerInstead(exchange, bytes, .fail(failure))
            }
            return .forward
        case .redirect(let action):
            exchangeCounters.add(1, .redirects, listener: exchanges[exchange].listener)
            text.removeAll(keepingCapacity: true)
            let context = RedirectWriter.Context(
                isSecure: connections[client].isSecure, port: connections[client].local.port)
            guard
                case .written = RedirectWriter.append(action, for: requestHead, bytes, in: context, to: &text)
            else { return answerInstead(exchange, bytes, .fail(.badRedirect)) }
            return answerInstead(exchange, bytes, .redirect(action))
        case .fixedResponse(let response):
            exchangeCounters.add(1, .fixedResponses, listener: exchanges[exchange].listener)
            return answerInstead(exchange, bytes, .respond(response))
        }
    }

    /// No target gets the request: reads off what came of its content, and keeps what follows it.
    private mutating func answerInstead(
        _ exchange: Int, _ bytes: Span<UInt8>, _ decision: Decision
    ) -> Decision {
        // Content of HTTP/2 comes by itself, and is dropped as it comes.
        if exchanges[exchange].clientStream > 0 { return decision }
        var position = requestHead.byteCount
        skipping: while true {
            switch exchanges[exchange].up.reader.next(bytes, from: &position) {
            case .content, .trailers: continue
            case .end:
                exchanges[exchange].up.isDone = true
                break skipping
            case .needMore, .malformed: break skipping
            }
        }
        // More content is to come, which is not worth waiting for.
        if !exchanges[exchange].up.isDone { exchanges[exchange].isClientPersistent = false }
        let client = Int(exchanges[exchange].client)
        if exchanges[exchange].isClientPersistent, !keepInput(client, bytes, position..<bytes.count) {
            exchanges[exchange].isClientPersistent = false
        }
        return decision
    }

    mutating func follow(_ decision: Decision, _ exchange: Int, at now: Instant) {
        switch decision {
        case .forward: findTarget(exchange, at: now)
        case .redirect(let action): redirect(exchange, action, at: now)
        case .respond(let response): respond(exchange, with: response, at: now)
        case .fail(let failure): fail(exchange, failure, at: now)
        }
    }

    /// Chooses the group, and writes the request as its target is to see it, with what came of its content.
    /// Returns why that cannot be.
    private mutating func write(
        _ exchange: Int, _ listener: ListenerRouting, to choices: [ListenerRoute.Choice],
        stickyFor stickinessSeconds: Int?, _ bytes: Span<UInt8>, at now: Instant
    ) -> ExchangeFailure? {
        guard let group = chooseGroup(exchange, choices, stickyFor: stickinessSeconds, bytes, at: now) else {
            return .noTarget
        }
        exchanges[exchange].group = UInt32(group)
        exchanges[exchange].hasGroup = true
        if !isCompatible(exchange, group) { return .incompatibleProtocol }
        exchanges[exchange].attemptCountMax = UInt8(
            clamping: core.snapshot.groups[group].connectAttemptCountMax)
        let client = Int(exchanges[exchange].client)
        advanceDate(to: now)
        if core.snapshot.groups[group].application?.stickiness != nil {
            exchanges[exchange].setsTargetCookie = true
            let binding = requestHead.stickyBinding(
                bytes, groupIndex: group, in: core.snapshot, unixSeconds: date.unixSeconds)
            exchanges[exchange].isBoundByApplicationCookie = binding.kind == .application
            if let position = binding.position {
                exchanges[exchange].stickyTarget = core.snapshot.groups[group].targets[position]
                exchanges[exchange].hasStickyTarget = true
            }
        }
        output.removeAll()
        let facts = ForwardingFacts(
            client: connections[client].peer, local: connections[client].local,
            isSecure: connections[client].isSecure, attributes: listener.attributes,
            tlsFields: listener.tlsFields, unixSeconds: date.unixSeconds,
            random: UInt128(random.next()) << 64 | UInt128(random.next()))
        switch ForwardedRequest.write(
            requestHead, bytes, facts: facts,
            transforms: listener.rules.transforms(at: Int(exchanges[exchange].rule)), scratch: &ruleScratch,
            text: &text, into: &output)
        {
        case .badTarget: return .badRewrite
        case .badHost: return .badHostRewrite
        case .written(let droppedFieldCount):
            if droppedFieldCount > 0 {
                exchangeCounters.add(
                    droppedFieldCount, .invalidFieldsDropped, listener: exchanges[exchange].listener)
            }
        }
        if let plan = listener.tlsFields { appendTLSFields(client, plan) }
        output.append("\r\n")
        exchanges[exchange].replayHeadCount = UInt32(output.count)
        let isHTTP2Target = core.snapshot.groups[group].protocolVersion != .http1
        exchanges[exchange].up.form =
            isHTTP2Target ? .frames : requestHead.framing.leavesChunked ? .chunked : .raw
        // Once content was read off, nobody could say any more where the next request begins.
        let isPersistent = exchanges[exchange].isClientPersistent
        exchanges[exchange].isClientPersistent = false
        var position = bytes.count
        if exchanges[exchange].clientStream > 0 {
            exchanges[exchange].up.isDone = exchanges[exchange].up.hasSourceEnded
        } else {
            position = requestHead.byteCount
            guard let used = relay(exchange, isUp: true, bytes.extracting(position..<bytes.count)) else {
                return .malformedContent
            }
            position += used
        }
        guard !output.hasOverflowed else { return .headTooLarge }
        guard let cell = keepOutput() else { return .noMemory }
        guard keepInput(client, bytes, position..<bytes.count) else {
            cells.free(cell: cell)
            return .noMemory
        }
        exchanges[exchange].isClientPersistent = isPersistent
        exchanges[exchange].replay = Held(
            cellPlusOne: UInt32(cell) + 1, offset: 0, count: UInt32(output.count))
        exchanges[exchange].isReplayWhole = exchanges[exchange].up.isDone
        return nil
    }

    // MARK: - Groups and targets

    /// Targets of HTTP/2 and gRPC answer clients of HTTP/2 only, as with ELBv2: a client of HTTP/1 would miss what
    /// the other was chosen for.
    private func isCompatible(_ exchange: Int, _ group: Int) -> Bool {
        switch core.snapshot.groups[group].protocolVersion {
        case .http1: true
        case .http2: exchanges[exchange].clientStream > 0
        case .grpc: exchanges[exchange].clientStream > 0 && exchanges[exchange].method == .post
        }
    }

    /// Time for fields is looked up once a turn at most.
    mutating func advanceDate(to now: Instant) {
        guard dateTurn != core.turn else { return }
        dateTurn = core.turn
        date.advance(to: Machine.wallClockNanoseconds() / 1_000_000_000)
    }

    /// The group for a request: the one its cookie names, or one by weight.
    private mutating func chooseGroup(
        _ exchange: Int, _ choices: [ListenerRoute.Choice], stickyFor stickinessSeconds: Int?,
        _ bytes: Span<UInt8>, at now: Instant
    ) -> Int? {
        // By index: `last` allocates in a debug build, which the tests count.
        guard !choices.isEmpty else { return nil }
        let total = choices[choices.count - 1].cumulativeWeight
        guard total > 0 else { return nil }
        if choices.count == 1 { return choices[0].groupIndex }
        if let stickinessSeconds {
            exchanges[exchange].setsGroupCookie = true
            advanceDate(to: now)
            if let group = requestHead.stickyGroupIndex(
                bytes, among: choices, durationSeconds: stickinessSeconds, in: core.snapshot,
                unixSeconds: date.unixSeconds)
            {
                return group
            }
        }
        let point = UInt32(truncatingIfNeeded: random.next().multipliedFullWidth(by: UInt64(total)).high)
        return choices.first { point < $0.cumulativeWeight }?.groupIndex
    }

    /// The next target of an exchange: its cookie's, if that is eligible, or one by the group's algorithm.
    mutating func chooseTarget(_ exchange: Int, at now: Instant) -> TargetNumber? {
        let group = Int(exchanges[exchange].group)
        guard group < spreaders.count, group < core.snapshot.groups.count else { return nil }
        if exchanges[exchange].tried.count == 0, exchanges[exchange].hasStickyTarget {
            return exchanges[exchange].stickyTarget
        }
        guard
            let position = spreaders[group].choose(
                outstanding: outstanding, excluding: exchanges[exchange].tried, at: now, random: random.next()
            )
        else { return nil }
        return core.snapshot.groups[group].targets[position]
    }
}

extension BodyFraming {
    /// HTTP/1 has no other way to tell the end of content that gives no length.
    var leavesChunked: Bool {
        switch self {
        case .chunked, .streamed: true
        case .none, .counted, .untilClose: false
        }
    }
}
