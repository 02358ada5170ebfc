import BPF
import Glibc
import NetTypes
import TestSupport
import Testing

@testable import Benchmark

@Suite(.serialized, .needsRoot) struct PacketSuiteTests {
    private func run(
        _ flows: String, services: [Int] = [1], families: [IPFamily] = IPFamily.allCases, repeats: Int = 1,
        others: [PinnedProgram] = []
    ) throws -> [Measurement] {
        try PacketSuite.run(
            RunSettings(
                suites: [.packet], services: services, backends: 3, flows: try FlowCount.list(flows),
                families: families, duration: 0.01, repeats: repeats, others: others)
        ) { _ in }
    }

    private func quantities(_ measurements: [Measurement], of subject: String, services: String? = nil) -> Set<String> {
        Set(measurements.filter { $0.key.subject == subject && $0.key["services"] == services }.map(\.key.quantity))
    }

    private static let others: Set = ["icmp-error", "refused-no-endpoints", "refused-unknown-port", "established-udp"]
    private static let masqueraded: Set = [
        "established-masqueraded", "reply-masqueraded", "new-flow-masqueraded",
    ]
    private static let cases: [String: Set<String>] = [
        "external_xdp": others.union(masqueraded).union(["established", "not-a-service", "new-flow"]),
        "external_ingress": others.union(masqueraded).union(["established", "not-a-service", "new-flow"]),
        "external_egress": ["reply", "reply-udp", "not-a-service", "icmp-error"],
        "workload_ingress": others.union(["established", "not-a-service", "new-flow"]),
        "workload_egress": ["reply", "reply-udp", "not-a-service", "icmp-error"],
        "empty": ["harness"], "floor mac-swap": ["established"], "floor stateless": ["established"],
        "floor lru-hit": ["established"], "floor lru-insert": ["new-flow"],
    ]

    @Test("Every case of every program hits its counters, in every repeat and both families")
    func everyCaseIsMeasured() throws {
        let measurements = try run("1", services: [1, 20], repeats: 2)
        for measurement in measurements {
            #expect(measurement.outcome == .measured, "\(measurement.key)")
            #expect(measurement.samples.count == 2, "\(measurement.key)")
            #expect(measurement.unit == .nanosecondsPerPacket)
        }
        let keys = Set(measurements.map(\.key))
        #expect(keys.count == measurements.count)
        #expect(measurements.compactMap(\.reference).allSatisfy(keys.contains))
        for family in ["v4", "v6"] {
            let mine = measurements.filter { $0.key["family"] == family }
            for (subject, expected) in Self.cases {
                #expect(quantities(mine, of: subject) == expected, "\(subject) \(family)")
            }
            for services in ["1", "20"] {
                for program in ["external_xdp", "external_ingress", "workload_ingress"] {
                    #expect(
                        quantities(mine, of: program, services: services)
                            == ["established", "not-a-service", "new-flow"])
                }
            }
            // Made for IPv4 alone.
            #expect(quantities(mine, of: "floor dense-hit").isEmpty == (family == "v6"))
            #expect(quantities(mine, of: "floor dense-insert").isEmpty == (family == "v6"))
        }
    }

    @Test("With many flows, the first packet of a tick is a case of its own")
    func manyFlows() throws {
        let measurements = try run("16k", families: [.v4])
        for measurement in measurements {
            #expect(measurement.outcome == .measured, "\(measurement.key)")
            #expect(measurement.key["flows"] == (measurement.key.quantity.hasPrefix("new-flow") ? "64k" : "16k"))
        }
        let known = ["established", "established-udp", "established-masqueraded", "reply-masqueraded"]
        for quantity in known {
            #expect(quantities(measurements, of: "external_xdp").isSuperset(of: [quantity, "\(quantity)-first"]))
        }
        #expect(quantities(measurements, of: "external_egress").isSuperset(of: ["reply-first", "reply-udp-first"]))
    }

    @Test("Programs of others get the same packets, whichever hook and kind of XDP; what is none is skipped")
    func programsOfOthers() throws {
        var template = Array("/tmp/needletail-bench-XXXXXX".utf8CString)
        _ = try #require(mkdtemp(&template))
        let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { rmdir(directory) }
        try BPFFileSystem.mount(at: directory)
        defer { try? BPFFileSystem.unmount(at: directory) }
        let programs = try BenchPrograms(tableEntries: 4096)
        for hook in Hook.allCases { try programs.empty(hook).pin(at: "\(directory)/\(hook.rawValue)") }
        try programs.program(.macSwap).pin(at: "\(directory)/swap")
        let names = Hook.allCases.map(\.rawValue) + ["swap", "absent"]
        let others = names.map { PinnedProgram(name: "their \($0)", path: "\(directory)/\($0)") }
        let measurements = try run("1", families: [.v4], others: others)
        let verdicts = ["xdp": "XDP_PASS", "xdp_linear": "XDP_PASS", "tc": "TC_ACT_UNSPEC", "swap": "XDP_TX"]
        for (name, verdict) in verdicts {
            let mine = measurements.filter { $0.key.subject == "their \(name)" }
            #expect(Set(mine.map(\.key.quantity)) == ["established", "not-a-service", "new-flow"])
            for measurement in mine {
                #expect(measurement.outcome == .measured && measurement.samples.count == 1)
                #expect(measurement.note?.contains(verdict) == true, "\(name): \(measurement.note ?? "")")
            }
        }
        let absent = measurements.filter { $0.key.subject == "their absent" }
        #expect(absent.count == 3)
        for measurement in absent {
            guard case .skipped(let reason) = measurement.outcome else {
                Issue.record("\(measurement.outcome)")
                continue
            }
            #expect(reason.contains("\(directory)/absent") && measurement.samples.isEmpty)
        }
    }
}
