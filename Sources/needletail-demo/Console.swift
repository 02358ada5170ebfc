import Glibc

/// Writes for people: colours and a status line that is written over on a terminal, plain lines elsewhere.
final class Console {
    enum Style: String {
        case plain = "0"
        case bold = "1"
        case dim = "2"
        case red = "31"
        case green = "32"
        case yellow = "33"
        case cyan = "36"
    }

    /// Columns that all texts keep to.
    static let width = 100
    /// How long nothing must have been written before a status line that cannot be written over.
    private static let sparse = Duration.seconds(5)

    private let isTerminal: Bool
    private let hasColors: Bool
    private var hasStatus = false
    private var lastWritten = ContinuousClock.now

    init() {
        let isTerminal = isatty(STDOUT_FILENO) == 1 && Self.variable("TERM") != "dumb"
        self.isTerminal = isTerminal
        hasColors = isTerminal && Self.variable("NO_COLOR").isEmpty
    }

    /// A line of text.
    func print(_ line: String = "") {
        clearStatus()
        write(line + "\n")
        lastWritten = .now
    }

    /// The beginning of a step.
    func heading(_ title: String) {
        print()
        print(styled("── \(title) " + String(repeating: "─", count: max(0, Self.width - 4 - title.count)), .bold))
    }

    /// What there is to understand, broken into lines.
    func explain(_ text: String) {
        for line in text.lines(width: Self.width - 3) { print("   " + styled(line, .dim)) }
    }

    /// The line that says how things are now.
    func status(_ text: String) {
        let line = "   " + text
        guard isTerminal else {
            if .now - lastWritten >= Self.sparse { print(line) }
            return
        }
        hasStatus = true
        write("\r\u{1b}[2K" + styled(String(line.prefix(columns - 1)), .cyan))
    }

    /// Text in a style, where there are styles.
    func styled(_ text: String, _ style: Style) -> String {
        hasColors ? "\u{1b}[\(style.rawValue)m\(text)\u{1b}[0m" : text
    }

    /// Takes the status line away.
    func clearStatus() {
        guard hasStatus else { return }
        hasStatus = false
        write("\r\u{1b}[2K")
    }

    private var columns: Int {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 1 else { return Self.width }
        return min(Int(size.ws_col), Self.width)
    }

    /// A reader that is gone is learnt of by SIGPIPE; see ``Interrupts``.
    private func write(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    private static func variable(_ name: String) -> String {
        getenv(name).map { String(cString: $0) } ?? ""
    }
}

extension String {
    /// The words in lines of at most `width` characters; a longer word has a line of its own.
    func lines(width: Int) -> [String] {
        split(separator: " ").reduce(into: []) { lines, word in
            if let last = lines.last, last.count + 1 + word.count <= width {
                lines[lines.count - 1] = "\(last) \(word)"
            } else {
                lines.append(String(word))
            }
        }
    }

    /// Filled up with spaces on the right.
    func padded(to width: Int) -> String {
        self + String(repeating: " ", count: Swift.max(0, width - count))
    }
}

extension Int {
    /// `12,345`.
    var grouped: String {
        var digits = String(magnitude)
        var groups: [String] = []
        while digits.count > 3 {
            groups.insert(String(digits.suffix(3)), at: 0)
            digits.removeLast(3)
        }
        return (self < 0 ? "-" : "") + ([digits] + groups).joined(separator: ",")
    }

    /// `1 connection`, `2 connections`.
    func of(_ thing: String) -> String { "\(grouped) \(thing)\(self == 1 ? "" : "s")" }
}

/// A bar of up to `width` cells.
func bar(_ part: Int, of whole: Int, width: Int) -> String {
    let cells = whole > 0 ? (part * width + whole / 2) / whole : 0
    return String(repeating: "█", count: cells) + String(repeating: "░", count: width - cells)
}
