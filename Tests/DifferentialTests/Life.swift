import Dataplane
import NetTypes
import PacketKit
import ReferenceModel
import Resolver
import TestSupport

/// One seed's random life of a node.
struct Life {
    private let rig: Rig
    private let seed: UInt64

    init(_ rig: Rig, seed: UInt64) {
        self.rig = rig
        self.seed = seed
    }

    /// Takes so many steps; where model and programs part, what led there, made as short as possible.
    func run(_ count: Int) throws -> String? {
        var random = SeededGenerator(seed: seed)
        try rig.reset()
        let modes = MasqueradeMode.allCases
        var cluster = ClusterGenerator(masquerade: modes[random.below(modes.count)])
        var packets = PacketGenerator(rig.node)
        for _ in 0..<6 { cluster.mutate(&random) }
        var taken: [Step] = []
        var outcomes: [String] = []
        func take(_ step: Step) throws -> String? {
            taken.append(step)
            let complaint = try rig.take(step)
            outcomes.append(step.isPacket ? rig.last : "")
            return complaint
        }
        let desired = cluster.resolved()
        packets.note(desired)
        _ = try take(.cluster(desired))
        for _ in 0..<count {
            let step: Step?
            switch random.below(200) {
            case 0..<3:
                for _ in 0...random.below(3) { cluster.mutate(&random) }
                let desired = cluster.resolved()
                packets.note(desired)
                step = .cluster(desired)
            case 3, 4: step = .age([1, 1, 3, 100, 600][random.below(5)])
            case 5:
                step = rig.model.entries.randomElement(using: &random).map {
                    .evict(FlowTuple(source: $0.tuple.source, destination: $0.tuple.destination), $0.direction)
                }
            default: step = packets.next(rig.model, &random)
            }
            guard let step else { continue }
            if let complaint = try take(step) {
                return try report(complaint, taken, outcomes)
            }
        }
        return nil
    }

    private func report(_ complaint: String, _ steps: [Step], _ outcomes: [String]) throws -> String {
        var lines = ["seed \(seed), step \(steps.count): \(complaint)"]
        guard let shortest = try shrunk(steps) else {
            // Ports are drawn at random: what was recorded may not lead there again. What has to do with it, then.
            let ends = steps.last?.addresses ?? []
            lines.append("not reproduced; what came before it, of the same addresses:")
            let related = steps.indices.filter {
                steps[$0].addresses.intersection(ends).count > 1
            }
            for index in related.suffix(60) {
                lines += ["\(index): " + Self.describe(steps[index], about: ends), "  → \(outcomes[index])"]
            }
            return lines.joined(separator: "\n")
        }
        lines.append("again in \(shortest.count) steps:")
        let ends = shortest.reduce(into: Set()) { $0.formUnion($1.addresses) }
        try rig.reset()
        for step in shortest {
            let complaint = try? rig.take(step)
            lines.append(Self.describe(step, about: ends))
            if step.isPacket { lines.append("  → \(rig.last)\(complaint == nil ? "" : ", not as expected")") }
        }
        return lines.joined(separator: "\n")
    }

    /// Whether these steps end in a disagreement at the last one, and nowhere before.
    private func fails(_ steps: [Step]) throws -> Bool {
        try rig.reset()
        for (index, step) in steps.enumerated() where try rig.take(step) != nil { return index == steps.count - 1 }
        return false
    }

    /// Drops whatever is not needed, in ever smaller pieces; the last step stays.
    ///
    /// - Returns: `nil` when the same steps do not fail again.
    private func shrunk(_ steps: [Step]) throws -> [Step]? {
        guard try fails(steps) else { return nil }
        var kept = steps
        var size = kept.count / 2
        // A long life takes seconds to live again.
        let deadline = ContinuousClock.now + .seconds(30)
        while size > 0, ContinuousClock.now < deadline {
            var start = 0
            while start + size < kept.count, ContinuousClock.now < deadline {
                let shorter = Array(kept[..<start] + kept[(start + size)...])
                if try fails(shorter) { kept = shorter } else { start += size }
            }
            size /= 2
        }
        return kept
    }

    static func describe(_ step: Step, about ends: Set<IPAddress>) -> String {
        switch step {
        case .packet(let bytes, let program, let device):
            let packet = PacketDissection(bytes)
            let ends = packet.fields.filter {
                [
                    "ip.source", "ip.destination", "ip6.source", "ip6.destination", "ip.ttl", "ip6.hops", "tcp.source",
                    "tcp.destination", "udp.source", "udp.destination", "tcp.flags", "ip.fragment", "icmp.type",
                    "icmp6.type",
                ].contains($0.name)
            }.map { "\($0.name) \($0.value)" }.joined(separator: ", ")
            let hex = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            return "- \(program.name) device \(device): \(ends)\n  \(hex)"
        case .cluster(let desired):
            let concerned = desired.frontends.values.filter { ends.contains($0.key.address) }
            let frontends = concerned.sorted { $0.key < $1.key }.map { frontend in
                "    \(frontend.key) \(frontend.kind) \(frontend.servicePort) external \(Self.describe(frontend.external)) "
                    + "internal \(Self.describe(frontend.internal)) affinity \(frontend.affinity) "
                    + "sources \(frontend.allowedSources.map { "\($0)" } ?? "all") masquerade \(frontend.masquerade)"
            }
            let backends = desired.backends.sorted().map(\.description).joined(separator: " ")
            return (["- cluster:"] + frontends + ["    serving \(backends)"]).joined(separator: "\n")
        case .age(let ticks): return "- \(ticks) ticks pass"
        case .evict(let tuple, let direction): return "- evicted: \(tuple) \(direction)"
        }
    }

    private static func describe(_ answer: ScopeAnswer) -> String {
        switch answer {
        case .backends(let set): "\(set.members)"
        case .refused(let refusal): "\(refusal)"
        }
    }
}

extension Step {
    var isPacket: Bool { if case .packet = self { true } else { false } }

    /// Those of a packet, of what it carries and quotes.
    var addresses: Set<IPAddress> {
        guard case .packet(let bytes, _, _) = self else { return [] }
        let fields = PacketDissection(bytes).fields.filter {
            $0.name.hasSuffix(".source") || $0.name.hasSuffix(".destination")
        }
        return Set(fields.compactMap { IPAddress($0.value) })
    }
}
