import Dataplane
import Foundation
import NeedletailABI
import NetLab
import NetTypes
import ReferenceModel
import Resolver
import TestSupport
import Testing

/// Model and programs go through the same random life of a node and must agree on every packet: verdict, bytes, counters.
///
/// `NEEDLETAIL_FUZZ_SEED` runs one seed; `NEEDLETAIL_FUZZ_STEPS` says how many steps a seed has; with
/// `NEEDLETAIL_FUZZ_SEEDS` that many seeds run one after the other, 0 for no end. A seed ends where they part; with
/// `NEEDLETAIL_FUZZ_FAILURES` others follow until so many have.
@Suite(.needsRoot, .serialized, .ownThread) struct DifferentialTests {
    private static func setting(_ name: String) -> UInt64? {
        ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
    }

    @Test("Model and programs agree on every packet", .timeLimit(.minutes(600)))
    func agree() async throws {
        let first = Self.setting("NEEDLETAIL_FUZZ_SEED")
        let steps = Int(Self.setting("NEEDLETAIL_FUZZ_STEPS") ?? 3000)
        let count = Self.setting("NEEDLETAIL_FUZZ_SEEDS") ?? (first == nil ? 4 : 1)
        let bearable = Int(Self.setting("NEEDLETAIL_FUZZ_FAILURES") ?? 1)
        let complaints = try await offPool { () throws -> [String] in
            let rig = try Rig()
            var complaints: [String] = []
            // Always the same ones unless asked for others: `make fuzz` is where new ones are looked for.
            var seed = first ?? (Self.setting("NEEDLETAIL_FUZZ_SEEDS") == nil ? 1 : .random(in: 0...UInt64(UInt32.max)))
            var done: UInt64 = 0
            while count == 0 || done < count, complaints.count < bearable {
                let start = seed
                note("differential: seed \(start), \(steps) steps")
                if let complaint = try rig.node.host.namespace.run({ try Life(rig, seed: start).run(steps) }) {
                    complaints.append(complaint)
                }
                done += 1
                seed &+= 1
            }
            let tally = rig.tally.sorted { $0.key.rawValue < $1.key.rawValue }
                .map { "\($0.key.name) \($0.value)" }.joined(separator: ", ")
            note("differential: counted \(tally)")
            return complaints
        }
        for complaint in complaints { Issue.record("\(complaint)") }
    }
}

/// A line at once, however the output is buffered: whoever stops an endless run wants to know how far it came.
private func note(_ line: String) {
    FileHandle.standardError.write(Data((line + "\n").utf8))
}
