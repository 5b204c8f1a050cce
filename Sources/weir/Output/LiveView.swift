// Shows a page that is drawn again every second, until q, ctrl-C or SIGTERM; then the terminal is as before.
//
// One task draws; quitting does not wait for it, so that q works while the appliance does not answer.

import Dispatch
import Foundation

enum LiveView {
    /// - Parameter page: makes the page. What it cannot get, it says there; the next second tries again.
    static func run(_ page: @escaping @Sendable (Style) async -> String) async {
        let keyboard = RawKeyboard()
        let events = Events(readsKeys: keyboard != nil)
        StandardOutput.write(ScreenFrame.enter)
        defer {
            events.cancel()
            StandardOutput.write(ScreenFrame.leave)
            keyboard?.restore()
        }
        let redraws = events.redraws
        let drawing = Task {
            for await _ in redraws {
                let text = await page(Style.detect())
                // A page that comes after the end must not be drawn over the shell.
                if Task.isCancelled { return }
                let size = StandardOutput.screenSize
                StandardOutput.write(
                    ScreenFrame.render(text, footer: "q quits", width: size.width, height: size.height))
            }
        }
        for await _ in events.quits { break }
        drawing.cancel()
    }
}

/// The clock, keys and signals as two streams; the sources live until `cancel`.
private struct Events {
    let redraws: AsyncStream<Void>
    let quits: AsyncStream<Void>
    private var cancellations: [() -> Void] = []

    init(readsKeys: Bool) {
        // A page that is late is drawn once, not once for every second that it missed.
        let (redraws, redraw) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let (quits, quit) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.redraws = redraws
        self.quits = quits
        let queue = DispatchQueue(label: "weir.live-view")

        let timer = DispatchSource.makeTimerSource(queue: queue)
        timer.schedule(deadline: .now(), repeating: 1)
        timer.setEventHandler { redraw.yield() }
        timer.resume()
        cancellations.append { timer.cancel() }

        for (number, continuation) in [(SIGINT, quit), (SIGTERM, quit), (SIGHUP, quit), (SIGWINCH, redraw)] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { continuation.yield() }
            source.resume()
            cancellations.append {
                source.cancel()
                signal(number, SIG_DFL)
            }
        }
        guard readsKeys else { return }
        let keys = DispatchSource.makeReadSource(fileDescriptor: STDIN_FILENO, queue: queue)
        keys.setEventHandler { if RawKeyboard.readsQuit() { quit.yield() } }
        keys.resume()
        cancellations.append { keys.cancel() }
    }

    func cancel() {
        for cancellation in cancellations { cancellation() }
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
