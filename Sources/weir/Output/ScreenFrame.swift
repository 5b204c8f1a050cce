// One frame of a live page: a pure function from a page to what the terminal is sent.
//
// Overwrites line by line and clears only what is left over, so that nothing flickers.

enum ScreenFrame {
    static let enter = "\u{1B}[?1049h\u{1B}[?25l"
    static let leave = "\u{1B}[?25h\u{1B}[?1049l"

    private static let home = "\u{1B}[H"
    private static let clearToEndOfLine = "\u{1B}[K"
    private static let clearToEndOfScreen = "\u{1B}[J"

    /// Cuts the page to the screen; the last line stays free for `footer`.
    static func render(_ page: String, footer: String, width: Int, height: Int) -> String {
        var lines = page.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.last == "" { lines.removeLast() }
        let room = max(height - 1, 0)
        let shown = lines.prefix(room).map { cut($0, to: width) }
        let hidden = lines.count - shown.count
        let note = hidden > 0 ? "\(footer)  (\(hidden) more lines than the screen has)" : footer
        return home
            + shown.map { $0 + clearToEndOfLine + "\r\n" }.joined()
            + cut(note, to: width) + clearToEndOfLine + clearToEndOfScreen
    }

    /// The first `width` characters; escape sequences are not counted and all kept, so that colours end.
    static func cut(_ line: String, to width: Int) -> String {
        var result = ""
        var count = 0
        var isInEscape = false
        for character in line {
            if isInEscape {
                isInEscape = !character.isLetter
                result.append(character)
            } else if character == "\u{1B}" {
                isInEscape = true
                result.append(character)
            } else if count < width {
                count += 1
                result.append(character)
            }
        }
        return result
    }
}
