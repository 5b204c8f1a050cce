// Any sequence of admissions, answers, refusals, silences and floods through the parts of the UDP flow machine.
//
// Sockets left out, the steps are those of Worker+UDP.swift; a list and a dictionary say what must be so.
#if DEBUG

import Balancing
import LinuxIO

@testable import NetworkMode

enum UDPFlowsSubject {
    static func run(_ bytes: [UInt8]) {
        var source = ByteSource(bytes)
        var machine = Machine(capacity: 1 + source.number(below: 12), hashBits: source.number(below: 6))
        while !source.isAtEnd {
            let action = source.byte()
            switch action % 6 {
            case 0, 1: machine.clientSends(client: source.number(below: 24))
            case 2: machine.targetAnswers(source.number(below: 24))
            case 3: machine.end(source.number(below: 24))
            case 4: machine.targetRefuses(source.number(below: 24))
            default: machine.advance(milliseconds: 1 + UInt64(source.byte()) * 97)
            }
            machine.checkInvariants()
        }
        machine.endAll()
        machine.checkInvariants()
    }

    private struct Machine: ~Copyable {
        private static let idleSeconds = 2

        private let capacity: Int
        private let hashMask: UInt64
        private var flows: MappedSlab<UDPFlow>
        private var slots: SlotAllocator
        private var table: FlowTable
        private var timers: TimerWheel
        private var unassured = UnassuredList()
        private var now = Instant(nanoseconds: 1_000_000_000)
        /// What must be so: each client's slot, and the unassured slots, oldest first.
        private var slotOfClient: [Int: Int] = [:]
        private var unassuredSlots: [Int] = []

        init(capacity: Int, hashBits: Int) {
            self.capacity = capacity
            // Few bits make flows of one hash, at the end of the table too.
            hashMask = hashBits == 0 ? 0 : UInt64.max << UInt64(32 - hashBits)
            flows = MappedSlab(count: capacity)
            slots = SlotAllocator(capacity: capacity)
            table = FlowTable(capacity: capacity)
            timers = TimerWheel(entryCount: capacity, now: now)
        }

        private func key(_ client: Int) -> FlowKey {
            FlowKey(
                client: Endpoint(address: IPAddress(v4: 0x0A00_0000 | UInt32(client)), port: UInt16(client)),
                local: Endpoint(address: .anyV4, port: 53), transport: .udp)
        }

        private func hash(_ client: Int) -> UInt64 {
            SipHash.hash(key(client), seed: HashSeed(first: 3, second: 4)) & hashMask
        }

        private func find(_ client: Int) -> Int? {
            let key = key(client)
            return table.slot(hash: hash(client)) { flows[$0].key == key }
        }

        mutating func clientSends(client: Int) {
            guard let slot = find(client) ?? admit(client) else { return }
            flows[slot].lastActivityAt = now
            if flows[slot].isAnswered, !flows[slot].isAssured {
                flows[slot].isAssured = true
                unassured.remove(slot, in: &flows)
                unassuredSlots.removeAll { $0 == slot }
            }
        }

        private mutating func admit(_ client: Int) -> Int? {
            if slots.usedCount >= capacity {
                guard unassured.oldestPlusOne > 0 else {
                    precondition(unassuredSlots.isEmpty, "a full table sheds only when all flows are assured")
                    return nil
                }
                let oldest = Int(unassured.oldestPlusOne - 1)
                precondition(unassuredSlots.first == oldest, "the oldest gives way")
                endFlow(oldest)
            }
            guard let slot = slots.allocate() else { preconditionFailure("a slot was made free") }
            let generation = (flows[slot].generation &+ 1) & Token.generationMask
            flows[slot] = UDPFlow(
                generation: generation, key: key(client), hash: hash(client), listener: ListenerNumber(0),
                listenerPosition: 0, target: TargetNumber(0), startedAt: now, lastActivityAt: now)
            let isInserted = table.insert(hash: hash(client), slot: slot)
            precondition(isInserted, "the table has room for every slot")
            flows[slot].isLive = true
            unassured.append(slot, in: &flows)
            timers.set(slot, to: now.advanced(bySeconds: Self.idleSeconds))
            slotOfClient[client] = slot
            unassuredSlots.append(slot)
            return slot
        }

        mutating func targetAnswers(_ client: Int) {
            guard let slot = find(client) else { return }
            flows[slot].isAnswered = true
            flows[slot].lastActivityAt = now
        }

        mutating func targetRefuses(_ client: Int) {
            guard let slot = find(client) else { return }
            flows[slot].isAnswered = false
        }

        mutating func end(_ client: Int) {
            if let slot = find(client) { endFlow(slot) }
        }

        mutating func endAll() {
            for slot in 0..<slots.scanBound where flows[slot].isLive { endFlow(slot) }
            precondition(table.count == 0 && slots.usedCount == 0 && timers.armedCount == 0)
            precondition(unassured.oldestPlusOne == 0)
        }

        private mutating func endFlow(_ slot: Int) {
            let flow = flows[slot]
            precondition(flow.isLive)
            if !flow.isAssured { unassured.remove(slot, in: &flows) }
            table.remove(hash: flow.hash, slot: slot)
            timers.cancel(slot)
            flows[slot].isLive = false
            slots.free(slot)
            slotOfClient = slotOfClient.filter { $0.value != slot }
            unassuredSlots.removeAll { $0 == slot }
        }

        mutating func advance(milliseconds: UInt64) {
            now = Instant(nanoseconds: now.nanoseconds + milliseconds * 1_000_000)
            while let slot = timers.popDue(at: now) {
                precondition(flows[slot].isLive, "a flow that ended has no deadline")
                let deadline = flows[slot].lastActivityAt.advanced(bySeconds: Self.idleSeconds)
                if deadline <= now { endFlow(slot) } else { timers.set(slot, to: deadline) }
            }
            for slot in slotOfClient.values {
                let deadline = flows[slot].lastActivityAt.advanced(bySeconds: Self.idleSeconds)
                let late = Instant(nanoseconds: deadline.nanoseconds + 2 * TimerWheel.tickNanoseconds)
                precondition(now <= late, "silence ends a flow")
            }
        }

        func checkInvariants() {
            precondition(table.count == slotOfClient.count && slots.usedCount == slotOfClient.count)
            precondition(timers.armedCount == slotOfClient.count, "every live flow has a deadline")
            for client in 0..<24 { precondition(find(client) == slotOfClient[client], "found by its key") }
            var position = unassured.oldestPlusOne
            var older: UInt32 = 0
            for slot in unassuredSlots {
                precondition(position == UInt32(slot + 1), "in the order of admission")
                precondition(
                    flows[slot].olderPlusOne == older && flows[slot].isLive && !flows[slot].isAssured)
                older = position
                position = flows[slot].newerPlusOne
            }
            precondition(position == 0, "and no more of them")
            if let milliseconds = timers.millisecondsUntilNext(from: now) {
                precondition(milliseconds >= 0 && !slotOfClient.isEmpty)
            } else {
                precondition(slotOfClient.isEmpty)
            }
        }
    }
}
#endif
