// Aligned columns: a pure function from cells to text.
//
// Widths are counted in characters before colour is added, so that escape sequences never disturb them.
// Lines have no trailing blanks. Columns in which every cell is empty are left out.

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
        precondition(cells.count == columns.count, "a row of \(cells.count) cells for \(columns.count) columns")
        rows.append(cells)
    }

    /// Every line begins with `indent` blanks and ends with a newline.
    func render(_ style: Style, indent: Int = 0) -> String {
        let shown = columns.indices.filter { column in rows.contains { !$0[column].text.isEmpty } }
        let titles = columns.map { Cell($0.title, .dim) }
        let widths = columns.indices.map { column in
            ([titles] + rows).map { $0[column].text.count }.max() ?? 0
        }
        return ([titles] + rows).map { row in
            let cells = shown.map { column in
                pad(row[column], to: widths[column], columns[column].alignment, isLast: column == shown.last, style)
            }
            let line = cells.joined(separator: "  ")
            return String(repeating: " ", count: indent) + line.trimmingTrailingBlanks() + "\n"
        }.joined()
    }

    private func pad(
        _ cell: Cell, to width: Int, _ alignment: Alignment, isLast: Bool, _ style: Style
    ) -> String {
        let blanks = String(repeating: " ", count: width - cell.text.count)
        let text = style.paint(cell.text, cell.color)
        return switch alignment {
        case .left: isLast ? text : text + blanks
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
}
