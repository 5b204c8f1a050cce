// Colour, width and glyphs; colour on terminals only.

import AdminModel
import Balancing
import Foundation

/// What the reader's screen can show; everything that makes text takes one, so that tests take `plain`.
struct Style: Sendable, Equatable {
    enum Color: String, Sendable {
        case bold = "1"
        case dim = "2"
        case red = "31"
        case green = "32"
        case yellow = "33"
        case cyan = "36"
    }

    var isColored = false
    /// Where lines end; nil for files and pipes, whose lines are whole.
    var width: Int?

    static let plain = Style()

    /// Colour when standard output is a terminal that can show it; see no-color.org.
    static func detect(environment: [String: String] = ProcessInfo.processInfo.environment) -> Style {
        guard StandardOutput.isTerminal else { return .plain }
        let isRefused = !(environment["NO_COLOR"] ?? "").isEmpty || environment["TERM"] == "dumb"
        return Style(isColored: !isRefused, width: StandardOutput.screenSize.width)
    }

    func paint(_ text: String, _ color: Color?) -> String {
        guard isColored, let color, !text.isEmpty else { return text }
        return "\u{1B}[\(color.rawValue)m\(text)\u{1B}[0m"
    }
}

/// How a target health state looks. A state of a later version is shown as it is called.
struct HealthAppearance: Sendable, Equatable {
    let glyph: String
    let color: Style.Color

    init(state: String) {
        switch TargetHealthState(rawValue: state) {
        case .healthy: self.init(glyph: "●", color: .green)
        case .initial: self.init(glyph: "◌", color: .cyan)
        case .unhealthy, .unhealthyDraining: self.init(glyph: "✖", color: .red)
        case .draining: self.init(glyph: "◐", color: .yellow)
        case .unused, .unavailable: self.init(glyph: "○", color: .dim)
        case nil: self.init(glyph: "?", color: .dim)
        }
    }

    private init(glyph: String, color: Style.Color) {
        self.glyph = glyph
        self.color = color
    }
}
