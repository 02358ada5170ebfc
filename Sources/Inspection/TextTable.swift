/// Aligned columns under upper-case titles, without lines: to be read by people and cut by `awk`.
struct TextTable {
    /// One column.
    struct Column {
        enum Alignment {
            case left, right
        }

        var title: String
        var alignment: Alignment
        /// Whether it is shown in wide tables only.
        var isWide: Bool
    }

    private let columns: [Column]
    private let shown: [Int]
    private var rows: [[String]] = []
    private var widths: [Int]

    init(_ columns: [Column], _ detail: Detail) {
        self.columns = columns
        shown = columns.indices.filter { detail == .wide || !columns[$0].isWide }
        widths = columns.map(\.title.count)
    }

    /// Adds a row; empty cells are shown as `-`, save in the last column.
    mutating func add(_ cells: [String]) {
        for (index, cell) in cells.enumerated() { widths[index] = max(widths[index], cell.count) }
        rows.append(cells)
    }

    /// The titles, then the rows.
    func render(indent: Int = 0) -> String {
        line(columns.map(\.title), indent) + body(indent: indent)
    }

    /// The rows alone.
    func body(indent: Int = 0) -> String {
        rows.map { line($0, indent) }.joined()
    }

    /// Makes columns at least so wide.
    mutating func reserve(_ widths: [Int]) {
        for (index, width) in widths.enumerated() { self.widths[index] = max(self.widths[index], width) }
    }

    /// Forgets the rows and keeps the widths, for the next part of a table that is written as it is read.
    mutating func removeRows() { rows.removeAll(keepingCapacity: true) }

    private func line(_ cells: [String], _ indent: Int) -> String {
        var text = String(repeating: " ", count: indent)
        for index in shown {
            let isLast = index == shown.last
            let cell = cells[index].isEmpty && !isLast ? "-" : cells[index]
            let padding = String(repeating: " ", count: max(0, widths[index] - cell.count))
            switch columns[index].alignment {
            case .left: text += isLast ? cell : cell + padding
            case .right: text += padding + cell
            }
            if !isLast { text += "  " }
        }
        while text.last == " " { text.removeLast() }
        return text + "\n"
    }
}

extension TextTable.Column {
    static func left(_ title: String) -> Self { Self(title: title, alignment: .left, isWide: false) }
    static func right(_ title: String) -> Self { Self(title: title, alignment: .right, isWide: false) }

    /// Only in wide tables.
    var wide: Self {
        var column = self
        column.isWide = true
        return column
    }
}

/// `Title:  value` lines with aligned values.
struct FieldList {
    private var fields: [(title: String, values: [String])] = []

    mutating func add(_ title: String, _ value: String) { add(title, [value]) }

    /// Adds a field of several lines, as many as there are values.
    mutating func add(_ title: String, _ values: [String]) { fields.append((title, values)) }

    func render() -> String {
        let width = (fields.map(\.title.count).max() ?? 0) + 3
        return fields.flatMap { title, values in
            values.enumerated().map { index, value in
                let head = index == 0 ? "\(title):" : ""
                return head + String(repeating: " ", count: width - head.count) + value + "\n"
            }
        }
        .joined()
    }
}
