// One change at a time, in the order of asking.
//
// An actor runs one piece of code at a time, but lets others in at every `await`. A change awaits the
// store and the workers, so without this queue a second one would build on a state that the first is
// about to replace. Who holds the turn must give it back on every path: `defer { changes.finish() }`.

/// The turn to change the registry. Belongs to the actor that owns it and is touched by it alone.
struct ChangeQueue {
    private var isTaken = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// Takes the turn if it is free.
    mutating func takeIfFree() -> Bool {
        guard !isTaken else { return false }
        isTaken = true
        return true
    }

    /// Queues up; resumed when the turn is the caller's.
    mutating func enqueue(_ continuation: CheckedContinuation<Void, Never>) {
        waiting.append(continuation)
    }

    /// Hands the turn to whoever waits longest.
    mutating func finish() {
        guard !waiting.isEmpty else {
            isTaken = false
            return
        }
        waiting.removeFirst().resume()
    }
}
