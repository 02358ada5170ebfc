internal import Dataplane
internal import NeedletailABI

/// A counter of the datapath, summed over all CPUs.
public struct CounterView: Encodable, Sendable {
    /// What became of the packets: `passed`, `translated`, `fallback` or `dropped`.
    public let outcome: String
    /// A stable name.
    public let counter: String
    /// Packets, over all programs.
    public let packets: UInt64
    /// Packets by program; programs without any are left out.
    public let programs: [String: UInt64]
    /// What it counts.
    public let explanation: String

    static func all(_ reading: CounterReading) -> [CounterView] {
        DatapathCounter.Class.allCases.flatMap { outcome in
            DatapathCounter.allCases.filter { $0.outcome == outcome }.map { counter in
                var programs: [String: UInt64] = [:]
                for program in DatapathProgram.allCases where reading[program, counter] > 0 {
                    programs[program.name] = reading[program, counter]
                }
                return CounterView(
                    outcome: outcome.rawValue, counter: counter.name, packets: reading[counter], programs: programs,
                    explanation: counter.explanation)
            }
        }
    }

    static func table(_ counters: [CounterView], _ detail: Detail) -> String {
        let shown = counters.filter { $0.packets > 0 || detail == .wide }
        guard !shown.isEmpty else { return "No packet has been counted yet.\n" }
        let programs = DatapathProgram.allCases.map(\.name)
        var table = TextTable(
            [.left("OUTCOME"), .left("COUNTER"), .right("PACKETS")]
                + programs.map { .right($0.uppercased()).wide } + [.left("MEANING")], detail)
        for counter in shown {
            table.add(
                [counter.outcome, counter.counter, "\(counter.packets)"]
                    + programs.map { "\(counter.programs[$0] ?? 0)" } + [counter.explanation])
        }
        return table.render()
    }
}
