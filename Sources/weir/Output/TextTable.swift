// Aligned columns: a pure function from cells to text.
//
// Widths are counted in characters before colour is added, so that escape sequences never disturb them.
// Lines have no trailing blanks. Columns in which every cell is empty are left out. On a screen too narrow
// for the table the last column is wrapped, so that a sentence stays whole.

struct TextTable: Sendable {
    enum Alignment: Sendable {
        case left
        case right
    }

    struct Column: Sendable {
        let title: String
        let alignment: Alignment

        init(_ title: String, _ alignment: Alignment = .left) {
            self.title = title
            self.alignment = alignment
        }
    }

    struct Cell: Sendable, ExpressibleByStringInterpolation {
        let text: String
        let color: Style.Color?

        init(_ text: String, _ color: Style.Color? = nil) {
            // A name or sentence from elsewhere must not break the table or command the terminal.
            self.text = String(text.map { $0.isControl ? " " : $0 })
            self.color = color
        }

        init(stringLiteral text: String) {
            self.init(text)
        }
    }

    let columns: [Column]
    private(set) var rows: [[Cell]] = []

    init(_ columns: Column...) {
        self.columns = columns
    }

    /// - Precondition: one cell for each column.
    mutating func add(_ cells: Cell...) {
        precondition(
            cells.count == columns.count, "a row of \(cells.count) cells for \(columns.count) columns")
        rows.append(cells)
    }

    /// Every line begins with `indent` blanks and ends with a newline.
    func render(_ style: Style, indent: Int = 0) -> String {
        let shown = columns.indices.filter { column in rows.contains { !$0[column].text.isEmpty } }
        guard let last = shown.last else { return "" }
        let lines = [columns.map { Cell($0.title, .dim) }] + rows
        let widths = columns.indices.map { column in lines.map { $0[column].text.count }.max() ?? 0 }
        let offset = indent + shown.dropLast().map { widths[$0] + 2 }.reduce(0, +)
        let margin = String(repeating: " ", count: indent)
        return lines.enumerated().map { number, row in
            let cells = shown.dropLast().map {
                pad(row[$0], to: widths[$0], columns[$0].alignment, style) + "  "
            }
            let start = margin + cells.joined()
            guard let width = style.width, offset + widths[last] > width, columns[last].alignment == .left
            else {
                return line(start + finish(row[last], to: widths[last], columns[last].alignment, style))
            }
            let layout = Layout(offset: offset, indent: indent, width: width)
            return layout.isBeside
                ? beside(start, row[last], layout, style)
                : below(start, row[last], layout, style, isTitle: number == 0)
        }.joined()
    }

    // MARK: Narrow screens

    /// Where the wrapped last column goes: beside the others, or below them when it would be too thin there.
    private struct Layout {
        let offset: Int
        let room: Int
        let isBeside: Bool

        init(offset: Int, indent: Int, width: Int) {
            isBeside = width - offset >= 24
            self.offset = isBeside ? offset : indent + 4
            room = max(width - self.offset, 20)
        }
    }

    private func beside(_ start: String, _ cell: Cell, _ layout: Layout, _ style: Style) -> String {
        let blanks = String(repeating: " ", count: layout.offset)
        let parts = cell.text.wrapped(to: layout.room)
        return parts.enumerated().map { line(($0 == 0 ? start : blanks) + style.paint($1, cell.color)) }
            .joined()
    }

    private func below(
        _ start: String, _ cell: Cell, _ layout: Layout, _ style: Style, isTitle: Bool
    ) -> String {
        if isTitle || cell.text.isEmpty { return line(start) }
        let blanks = String(repeating: " ", count: layout.offset)
        return line(start)
            + cell.text.wrapped(to: layout.room).map { line(blanks + style.paint($0, cell.color)) }.joined()
    }

    // MARK: Cells

    private func line(_ text: String) -> String {
        text.trimmingTrailingBlanks() + "\n"
    }

    private func finish(_ cell: Cell, to width: Int, _ alignment: Alignment, _ style: Style) -> String {
        alignment == .left ? style.paint(cell.text, cell.color) : pad(cell, to: width, alignment, style)
    }

    private func pad(_ cell: Cell, to width: Int, _ alignment: Alignment, _ style: Style) -> String {
        let blanks = String(repeating: " ", count: width - cell.text.count)
        let text = style.paint(cell.text, cell.color)
        return switch alignment {
        case .left: text + blanks
        case .right: blanks + text
        }
    }
}

extension Character {
    /// C0, C1 and DEL: what a terminal takes as a command.
    var isControl: Bool {
        unicodeScalars.contains { $0.properties.generalCategory == .control }
    }
}

extension String {
    func trimmingTrailingBlanks() -> String {
        var text = self[...]
        while text.last == " " { text.removeLast() }
        return String(text)
    }

    /// Lines of at most `width` characters, broken between words; a longer word has a line of its own.
    func wrapped(to width: Int) -> [String] {
        var lines = [""]
        for word in split(separator: " ") {
            if lines[lines.count - 1].isEmpty {
                lines[lines.count - 1] = String(word)
            } else if lines[lines.count - 1].count + 1 + word.count <= width {
                lines[lines.count - 1] += " " + word
            } else {
                lines.append(String(word))
            }
        }
        return lines
    }
}
