// From a whole head to what is done with it: the rule, its action, the group, the target.

import Balancing
import HTTPCore
import LinuxIO
import Serving

extension Worker {
    /// A whole head stands at the front of `input`, parsed into `requestHead`; `byteCount` bytes came in all.
    mutating func begin(_ slot: Int, byteCount: Int, at now: Instant) {
        guard let exchange = makeExchange(slot, at: now) else {
            core.counters.add(1, .shedSlabFull)
            closeClient(slot, withReset: true, at: now)
            return
        }
        connections[slot].exchangePlusOne = UInt32(exchange) + 1
        exchanges[exchange].startedAt = connections[slot].headStartedAt
        connections[slot].headStartedAt = Instant(nanoseconds: 0)
        exchanges[exchange].up.reader = BodyReader(requestHead.framing)
        exchanges[exchange].isClientPersistent = requestHead.isPersistent
        route(exchange, input: byteCount, at: now)
    }

    /// A new exchange for the request whose head was just read; nil when the worker has no slot left.
    mutating func makeExchange(_ client: Int, at now: Instant) -> Int? {
        guard let slot = exchangeSlots.allocate() else { return nil }
        let generation = exchanges[slot].generation &+ 1
        exchanges[slot] = Exchange(
            phase: .connecting, generation: generation, client: UInt32(client),
            listener: connections[client].listener, method: requestHead.method,
            version: requestHead.version, upgrade: requestHead.upgrade,
            expectsContinue: requestHead.expectsContinue, startedAt: now, headAt: now)
        exchangeCounters.add(1, .requests, listener: connections[client].listener)
        return slot
    }

    /// Finds the rule of a new exchange and does what it says.
    private mutating func route(_ exchange: Int, input byteCount: Int, at now: Instant) {
        let client = Int(exchanges[exchange].client)
        guard let listener = routing.listener(exchanges[exchange].listener) else {
            // The listener is gone, and this connection outlived it.
            fail(exchange, .noListener, at: now)
            return
        }
        switch verdict(for: requestHead.desync, mode: listener.attributes.desyncMitigation) {
        case .forward: break
        case .forwardThenClose:
            exchanges[exchange].isClientPersistent = false
            exchanges[exchange].isTargetPersistent = false
        case .refuse:
            exchangeCounters.add(1, .desyncRefusals, listener: exchanges[exchange].listener)
            fail(exchange, .desync, at: now)
            return
        }
        if requestHead.desync.classification > .acceptable {
            exchangeCounters.add(1, .desyncFindings, listener: exchanges[exchange].listener)
        }
        let rule = listener.rules.match(
            requestHead, input.span.extracting(0..<byteCount), client: connections[client].peer.address,
            scratch: &ruleScratch)
        exchanges[exchange].rule = UInt32(rule)
        switch listener.rules.routes[rule].action {
        case .forward(let choices, let stickinessSeconds):
            forward(
                exchange, listener, to: choices, stickyFor: stickinessSeconds, input: byteCount, at: now)
        case .redirect(let action):
            exchangeCounters.add(1, .redirects, listener: exchanges[exchange].listener)
            redirect(exchange, action, input: byteCount, at: now)
        case .fixedResponse(let response):
            exchangeCounters.add(1, .fixedResponses, listener: exchanges[exchange].listener)
            respond(exchange, with: response, at: now)
        }
    }

    /// Chooses group and target, writes the request as the target is to see it, and sends or keeps it.
    private mutating func forward(
        _ exchange: Int, _ listener: ListenerRouting, to choices: [ListenerRoute.Choice],
        stickyFor stickinessSeconds: Int?, input byteCount: Int, at now: Instant
    ) {
        guard let group = chooseGroup(exchange, choices, stickyFor: stickinessSeconds, byteCount) else {
            fail(exchange, .noTarget, at: now)
            return
        }
        exchanges[exchange].group = UInt32(group)
        exchanges[exchange].attemptCountMax = UInt8(clamping: core.snapshot.groups[group].connectAttemptCountMax)
        let client = Int(exchanges[exchange].client)
        output.removeAll()
        advanceDate(to: now)
        let facts = ForwardingFacts(
            client: connections[client].peer, localPort: connections[client].local.port,
            isSecure: connections[client].isSecure, attributes: listener.attributes,
            unixSeconds: UInt32(truncatingIfNeeded: date.unixSeconds), random: (random.next(), random.next()))
        switch ForwardedRequest.write(
            requestHead, input.span.extracting(0..<byteCount), facts: facts,
            transforms: listener.rules.transforms(at: Int(exchanges[exchange].rule)), scratch: &ruleScratch,
            text: &text, into: &output)
        {
        case .badRewrite:
            fail(exchange, .badRewrite, at: now)
            return
        case .written(let droppedFieldCount):
            if droppedFieldCount > 0 {
                exchangeCounters.add(
                    droppedFieldCount, .invalidFieldsDropped, listener: exchanges[exchange].listener)
            }
        }
        output.append("\r\n")
        exchanges[exchange].up.form = requestHead.framing.leavesChunked ? .chunked : .raw
        // What came of the content behind the head goes with it.
        var position = requestHead.byteCount
        switch Self.relay(
            input.span.extracting(0..<byteCount), from: &position, through: &exchanges[exchange].up,
            trailers: &trailerFields, into: &output)
        {
        case .malformed:
            fail(exchange, .malformedContent, at: now)
            return
        case .more, .done: break
        }
        guard keepInput(client, position..<byteCount), !output.hasOverflowed,
            let cell = cells.keep(output.storage.span.bytes.extracting(0..<output.count))
        else {
            fail(exchange, output.hasOverflowed ? .headTooLarge : .noMemory, at: now)
            return
        }
        exchanges[exchange].replay = Held(cellPlusOne: UInt32(cell) + 1, offset: 0, count: UInt32(output.count))
        exchanges[exchange].isReplayWhole = exchanges[exchange].up.isDone
        findTarget(exchange, at: now)
    }

    // MARK: - Groups and targets

    /// Time for fields is looked up once a turn at most.
    mutating func advanceDate(to now: Instant) {
        guard dateTurn != core.turn else { return }
        dateTurn = core.turn
        date.advance(to: Machine.wallClockNanoseconds() / 1_000_000_000)
    }

    /// The group for a request: the one its cookie names, or one by weight.
    private mutating func chooseGroup(
        _ exchange: Int, _ choices: [ListenerRoute.Choice], stickyFor stickinessSeconds: Int?, _ byteCount: Int
    ) -> Int? {
        guard let total = choices.last?.cumulativeWeight, total > 0 else { return nil }
        if choices.count == 1 { return choices[0].groupIndex }
        if stickinessSeconds != nil {
            exchanges[exchange].setsGroupCookie = true
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
                outstanding: outstanding, excluding: exchanges[exchange].tried, at: now, random: random.next())
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
