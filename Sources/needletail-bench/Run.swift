import ArgumentParser
import Benchmark
import NetTypes

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure.",
        discussion: """
            Suites: packet (nanoseconds a packet in each program), forward (packets a second through a node), connect \
            (connections, requests and bytes by sockets), programming (from a change to the maps or rules), memory, \
            maglev (tables of consistent hashing); all by default.

            Needs root for all but maglev. Everything happens in network namespaces of its own, which end with it. Exits \
            with 1 when a measurement failed; one that this kernel or machine does not allow is skipped, and says why.
            """)

    @Argument(help: ArgumentHelp("Suites, or all.", valueName: "suite"))
    var suites: [String] = []

    @Option(help: "Who else to measure, with commas: none, iptables, nftables, ipvs.")
    var against = "none,iptables,nftables,ipvs"

    @Option(help: "Numbers of Services in place, with commas.")
    var services = "1,100,5000"

    @Option(help: "Endpoints of each Service.")
    var backends = 10

    @Option(help: "Numbers of flows, powers of two, with commas.")
    var flows = "1,64k,1M"

    @Option(help: "Address families, with commas: v4, v6.")
    var families = "v4,v6"

    @Option(help: ArgumentHelp("How long one sample takes, as 0.3, 0.3s or 300ms.", valueName: "seconds"))
    var duration = "0.3"

    @Option(name: .customLong("repeat"), help: "Samples of everything, taken in turns.")
    var repeats = 5

    @Option(
        name: .customLong("with"),
        help: ArgumentHelp(
            "A pinned XDP or tc program to measure beside ours in the packet suite; can be given again.",
            valueName: "name=pin"))
    var others: [String] = []

    @Option(help: ArgumentHelp("Compare with this document of an earlier run.", valueName: "old.json"))
    var compare: String?

    @OptionGroup var output: Output
    @OptionGroup var guardrail: FailOnWorse

    func settings() throws -> RunSettings {
        let names = suites.contains("all") ? [] : suites
        do {
            return try RunSettings(
                suites: names.isEmpty ? SuiteName.allCases : try Self.select(names, "suite"),
                peers: try Self.select(Self.parts(against, "--against"), "--against"),
                services: try Self.numbers(services, "--services"), backends: backends,
                flows: try Self.flowCounts(flows),
                families: try Self.families(families), duration: try Self.seconds(duration), repeats: repeats,
                others: try Self.pins(others))
        } catch BenchmarkError.unusableSetting(let what) {
            throw ValidationError("--\(what)")
        }
    }

    func validate() throws {
        _ = try settings()
        if guardrail.failOnWorse != nil, compare == nil {
            throw ValidationError("--fail-on-worse: needs --compare OLD.json to compare with")
        }
    }

    func run() throws {
        try output.check()
        let earlier = try compare.map { try Report(contentsOf: $0) }
        let report = Report.run(
            try settings(), command: ["needletail-bench"] + CommandLine.arguments.dropFirst(), progress: Bench.progress)
        let comparison = earlier.map { Comparison(from: $0, to: report) }
        try output.write(report, comparison)
        if !report.succeeded { throw ExitCode.failure }
        if let comparison { try guardrail.check(comparison) }
    }
}

/// Values of options; each error names the option.
extension Run {
    private static func parts(_ text: String, _ option: String) throws -> [String] {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard !parts.contains("") else {
            throw ValidationError("\(option) \"\(text)\": give values with single commas between them")
        }
        return parts
    }

    /// Those that were named, in their usual order.
    private static func select<T: RawRepresentable<String> & CaseIterable & Hashable>(
        _ names: [String], _ option: String
    ) throws -> [T] {
        let chosen = try names.map { name in
            guard let value = T(rawValue: name) else {
                let all = T.allCases.map(\.rawValue).joined(separator: ", ")
                throw ValidationError("\(option) \"\(name)\": choose of \(all)\(option == "suite" ? ", all" : "")")
            }
            return value
        }
        return T.allCases.filter { chosen.contains($0) }
    }

    private static func numbers(_ text: String, _ option: String) throws -> [Int] {
        let numbers = try parts(text, option).map { part in
            guard let number = Int(part) else { throw ValidationError("\(option) \"\(part)\": must be a number") }
            return number
        }
        return Set(numbers).sorted()
    }

    private static func flowCounts(_ text: String) throws -> [FlowCount] {
        do {
            return try FlowCount.list(text)
        } catch {
            throw ValidationError("--flows: \(error)")
        }
    }

    private static func families(_ text: String) throws -> [IPFamily] {
        let names: [(String, IPFamily)] = [("v4", .v4), ("v6", .v6)]
        let wanted = try parts(text, "--families")
        if let unknown = wanted.first(where: { name in !names.contains { $0.0 == name } }) {
            throw ValidationError("--families \"\(unknown)\": choose of v4, v6")
        }
        return names.filter { wanted.contains($0.0) }.map(\.1)
    }

    private static func seconds(_ text: String) throws -> Double {
        let (digits, unit): (Substring, Double) =
            if text.hasSuffix("ms") { (text.dropLast(2), 0.001) } else {
                (text.hasSuffix("s") ? text.dropLast() : text[...], 1)
            }
        guard let number = Double(digits), number.isFinite else {
            throw ValidationError("--duration \"\(text)\": must be seconds, as in 0.3, 0.3s or 300ms")
        }
        return number * unit
    }

    private static func pins(_ texts: [String]) throws -> [PinnedProgram] {
        var names: Set<String> = []
        return try texts.map { text in
            let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, !text.hasPrefix("=") else {
                throw ValidationError("--with \"\(text)\": must be NAME=PIN, as in theirs=/sys/fs/bpf/theirs")
            }
            guard names.insert(parts[0]).inserted else {
                throw ValidationError("--with \"\(text)\": \(parts[0]) is given twice")
            }
            return PinnedProgram(name: parts[0], path: parts[1])
        }
    }
}
