// Shows a page that is drawn again every second, until q, ctrl-C or SIGTERM; then the terminal is as before.
//
// Keys, the clock and signals arrive through one stream of events, so that one loop draws and nothing races.

import Dispatch
import Foundation

enum LiveView {
    private enum Event: Sendable {
        case redraw
        case quit
    }

    /// - Parameter page: makes the page; what it cannot get, it says in the page, and the next second tries again.
    static func run(_ page: @Sendable (Style) async -> String) async {
        let keyboard = RawKeyboard()
        StandardOutput.write(ScreenFrame.enter)
        defer {
            StandardOutput.write(ScreenFrame.leave)
            keyboard?.restore()
        }
        let sources = EventSources(readsKeys: keyboard != nil)
        defer { sources.cancel() }
        for await event in sources.events {
            if event == .quit { return }
            let text = await page(Style.detect())
            let size = StandardOutput.screenSize
            StandardOutput.write(
                ScreenFrame.render(text, footer: "q quits", width: size.width, height: size.height))
        }
    }

    /// The sources live as long as this value; all of them yield into one stream.
    private struct EventSources {
        let events: AsyncStream<Event>
        private var cancellations: [() -> Void] = []

        init(readsKeys: Bool) {
            // A page that is late is drawn once, not once for every second that it missed.
            let (events, continuation) = AsyncStream.makeStream(of: Event.self, bufferingPolicy: .bufferingNewest(2))
            self.events = events
            let queue = DispatchQueue(label: "weir.live-view")

            let timer = DispatchSource.makeTimerSource(queue: queue)
            timer.schedule(deadline: .now(), repeating: 1)
            timer.setEventHandler { continuation.yield(.redraw) }
            timer.resume()
            cancellations.append { timer.cancel() }

            for (number, event) in [(SIGINT, Event.quit), (SIGTERM, .quit), (SIGHUP, .quit), (SIGWINCH, .redraw)] {
                signal(number, SIG_IGN)
                let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
                source.setEventHandler { continuation.yield(event) }
                source.resume()
                cancellations.append {
                    source.cancel()
                    signal(number, SIG_DFL)
                }
            }
            guard readsKeys else { return }
            let keys = DispatchSource.makeReadSource(fileDescriptor: STDIN_FILENO, queue: queue)
            keys.setEventHandler { if RawKeyboard.readsQuit() { continuation.yield(.quit) } }
            keys.resume()
            cancellations.append { keys.cancel() }
        }

        func cancel() {
            for cancellation in cancellations { cancellation() }
        }
    }
}

/// Standard input without line editing and echo, so that single keys arrive; see termios(3).
private struct RawKeyboard {
    private let saved: termios

    /// Nil when standard input is no terminal.
    init?() {
        var settings = termios()
        guard tcgetattr(STDIN_FILENO, &settings) == 0 else { return nil }
        saved = settings
        // Without ISIG ctrl-C comes as a key, and the terminal is restored on the way out.
        settings.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG)
        tcsetattr(STDIN_FILENO, TCSANOW, &settings)
    }

    func restore() {
        var settings = saved
        tcsetattr(STDIN_FILENO, TCSANOW, &settings)
    }

    /// q, Q, ctrl-C, ctrl-D.
    private static let quitKeys: Set<UInt8> = [UInt8(ascii: "q"), UInt8(ascii: "Q"), 3, 4]

    /// Takes the keys that are there. True for a quit key and at the end of input.
    static func readsQuit() -> Bool {
        var keys = [UInt8](repeating: 0, count: 64)
        let count = read(STDIN_FILENO, &keys, keys.count)
        if count == 0 { return true }
        return keys.prefix(max(count, 0)).contains(where: quitKeys.contains)
    }
}
