internal import SystemPackage

/// Finds, in what libbpf printed while it loaded an object, the part a person needs.
struct VerifierLog {
    /// The program that was refused, if one was.
    let program: String?
    /// The verifier's own lines, without libbpf's frame and the closing statistics.
    let lines: [Substring]

    private static let begin = "-- BEGIN PROG LOAD LOG --"
    private static let end = "-- END PROG LOAD LOG --"

    /// `nil` when the text holds no verifier log.
    init?(_ text: String) {
        let all = text.split(separator: "\n", omittingEmptySubsequences: true)
        guard let begin = all.lastIndex(where: { $0.hasSuffix(Self.begin) }) else { return nil }
        let end = all[begin...].firstIndex { $0.hasSuffix(Self.end) } ?? all.endIndex
        program = Self.quoted(all[begin])
        lines = all[(begin + 1)..<end].filter { !Self.isStatistics($0) }
    }

    /// The last lines, and how many were left out.
    func summary(lines count: Int = 6) -> String {
        Self.tail(of: lines, count: count)
    }

    /// The last `count` of `lines`, one per line, preceded by the number left out.
    static func tail(of lines: [Substring], count: Int) -> String {
        let kept = lines.suffix(count).map(String.init)
        let omitted = lines.count - kept.count
        return ((omitted > 0 ? ["(\(omitted) \(omitted == 1 ? "line" : "lines") omitted)"] : []) + kept).joined(
            separator: "\n")
    }

    private static func isStatistics(_ line: Substring) -> Bool {
        let starts = ["processed ", "verification time ", "stack depth ", "max_states_per_insn "]
        return starts.contains { line.hasPrefix($0) }
    }

    /// The text between the first pair of single quotes: libbpf writes `prog 'name': ...`.
    static func quoted(_ line: Substring) -> String? {
        let parts = line.split(separator: "'", maxSplits: 2, omittingEmptySubsequences: false)
        return parts.count == 3 ? String(parts[1]) : nil
    }
}

extension BPFError {
    /// The error of a failed open or load of object `name`, with whatever libbpf printed.
    init(errno: Int32, operation: StaticString, object name: String, log: String) {
        let number = Errno(rawValue: errno)
        if let verifier = VerifierLog(log) {
            self.init(
                .verifierRejected, operation: "\(operation)", subject: "program \(verifier.program ?? name)",
                errno: number, detail: verifier.summary(), log: log)
            return
        }
        let lines = Self.meaningful(log)
        if let line = lines.last(where: { $0.hasPrefix("map '") && $0.contains("failed to create") }) {
            self.init(
                errno: number, operation: "bpf_map_create",
                subject: "map \(VerifierLog.quoted(line) ?? "") of object \(name)", log: log)
            return
        }
        self.init(
            errno: number, operation: "\(operation)", subject: "object \(name)",
            detail: VerifierLog.tail(of: lines, count: 4), log: log)
    }

    /// What libbpf printed, without its prefix, and without lines that repeat what the error says or that mislead:
    /// the limit on locked memory has no effect on BPF since Linux 5.11.
    static func meaningful(_ log: String) -> [Substring] {
        let noise = ["failed to load object", "Failed to bump RLIMIT_MEMLOCK", "Exclusivity flag on"]
        return log.split(separator: "\n", omittingEmptySubsequences: true)
            .map { $0.hasPrefix("libbpf: ") ? $0.dropFirst(8) : $0 }
            .filter { line in !noise.contains { line.contains($0) } }
    }
}
