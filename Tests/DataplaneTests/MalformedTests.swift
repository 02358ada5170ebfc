import BPF
import Dataplane
import NeedletailABI
import NetTypes
import PacketKit
import Resolver
import TestSupport
import Testing

/// Packets whose lengths cannot be believed are never changed (rule 5).
@Suite(.needsRoot) struct MalformedTests {
    /// Runs a frame that may be cut short; `nil` where the kernel itself refuses to: it gives tc programs nothing that
    /// ends before its IP header does, or with the Ethernet header.
    private func run(_ bytes: [UInt8], _ lab: Lab, _ program: DatapathProgram) throws -> Lab.Outcome? {
        do {
            return try lab.run(bytes, in: program)
        } catch let error as BPFError {
            let type = UInt16(bytes[12]) << 8 | UInt16(bytes[13])
            let needed = type == EtherType.ipv4 ? 34 : type == EtherType.ipv6 ? 54 : 15
            guard program != .externalXDP, bytes.count < needed else { throw error }
            return nil
        }
    }

    @Test("Cut anywhere, a packet is passed as it is; cut in its padding, it is translated", arguments: Scene.all)
    func truncated(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            for (packet, program) in [(scene.request(.ack), scene.ingress), (scene.reply(), scene.egress)] {
                let shapes: [(PacketBuilder) -> PacketBuilder] = [
                    { $0 },
                    { $0.with { $0.link.tags = [VLANTag(id: 1, type: EtherType.serviceVLAN), VLANTag(id: 2)] } },
                    {
                        $0.withIP {
                            ($0.options, $0.extensions) = ([1, 1, 1, 1], [.hopByHop, .destinationOptions(size: 16)])
                        }
                    },
                    { $0.withTCP { $0.options = [1, 1, 1, 1, 1, 1, 1, 1] } },
                ]
                for shape in shapes { try cutEverywhere(shape(packet), program, lab, scene) }
            }
        }
    }

    private func cutEverywhere(_ packet: PacketBuilder, _ program: DatapathProgram, _ lab: Lab, _ scene: Scene) throws {
        let complete = packet.bytes.count
        let bytes = packet.with { $0.trailer = [1, 2, 3, 4, 5, 6, 7] }.bytes
        let headers = 14 + packet.link.tags.count * 4
        let translated =
            program == scene.ingress ? packet.sent(to: scene.backend()) : packet.sent(from: scene.frontend())
        for count in 14...bytes.count {
            let cut = Array(bytes.prefix(count))
            guard let outcome = try run(cut, lab, program) else { continue }
            #expect(outcome.verdict == program.pass)
            if count < complete {
                let counter: DatapathCounter = count < headers ? .passNotIP : .passMalformed
                #expect(outcome.counted == [program: [counter: 1]], "\(count) of \(complete) bytes")
                #expect(outcome.output == cut, "\(count) bytes: \(PacketDiff(expected: cut, actual: outcome.output))")
            } else {
                let wanted = translated.bytes + cut.dropFirst(complete)
                #expect(outcome.output == wanted, "\(PacketDiff(expected: wanted, actual: outcome.output))")
            }
        }
    }

    struct BadLength: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var families = IPFamily.allCases
        var transports: [TransportProtocol] = [.tcp, .udp]
        let change: @Sendable (PacketBuilder) -> PacketBuilder
    }

    private static func length(_ change: @escaping @Sendable (UInt16) -> UInt16)
        -> @Sendable (PacketBuilder) -> PacketBuilder
    {
        { packet in
            let link = 14
            let header = packet.ip?.family == .v4 ? 0 : 40
            return packet.withIP { $0.length = change(UInt16(packet.bytes.count - link - header)) }
        }
    }

    static let badLengths: [BadLength] = [
        BadLength(testDescription: "an IP length one too large", change: length { $0 + 1 }),
        BadLength(testDescription: "the largest IP length", change: length { _ in 0xFFFF }),
        BadLength(testDescription: "an IP length of 0", change: length { _ in 0 }),
        BadLength(testDescription: "an IP length that ends in the transport header", families: [.v4]) {
            $0.withIP { $0.length = 27 }
        },
        BadLength(testDescription: "an IP length that ends in the TCP header", transports: [.tcp]) { packet in
            packet.withIP { $0.length = packet.ip?.family == .v4 ? 39 : 19 }
        },
        BadLength(testDescription: "an IP length that ends in the UDP header", transports: [.udp]) { packet in
            packet.withIP { $0.length = packet.ip?.family == .v4 ? 27 : 7 }
        },
        BadLength(testDescription: "an IP length of less than the IP header", families: [.v4]) {
            $0.withIP { $0.length = 19 }
        },
        BadLength(testDescription: "an IP length of the IP header", families: [.v4]) { $0.withIP { $0.length = 20 } },
        BadLength(testDescription: "an IP header length of 0", families: [.v4]) { $0.withIP { $0.headerLength = 0 } },
        BadLength(testDescription: "an IP header length of 4", families: [.v4]) { $0.withIP { $0.headerLength = 4 } },
        BadLength(testDescription: "an IP header beyond the packet", families: [.v4]) {
            $0.with { $0.payload = [] }.withIP { $0.headerLength = 15 }
        },
        BadLength(testDescription: "version 5") { $0.withIP { $0.version = 5 } },
        BadLength(testDescription: "version 0") { $0.withIP { $0.version = 0 } },
        BadLength(testDescription: "a TCP header length of 4", transports: [.tcp]) { $0.withTCP { $0.dataOffset = 4 } },
        BadLength(testDescription: "a TCP header length of 0", transports: [.tcp]) { $0.withTCP { $0.dataOffset = 0 } },
        BadLength(testDescription: "a TCP header longer than the packet", transports: [.tcp]) {
            $0.withTCP { $0.dataOffset = 15 }
        },
        BadLength(testDescription: "a TCP header that reaches into the padding", transports: [.tcp]) {
            $0.with { ($0.payload, $0.trailer) = ([], [0, 0, 0, 0]) }.withTCP { $0.dataOffset = 6 }
        },
        BadLength(testDescription: "a UDP length of 7", transports: [.udp]) { $0.withUDP { $0.length = 7 } },
        BadLength(testDescription: "a UDP length of 0", transports: [.udp]) { $0.withUDP { $0.length = 0 } },
        BadLength(testDescription: "a UDP length one too large", transports: [.udp]) {
            $0.with { $0.payload = [1, 2] }.withUDP { $0.length = 11 }
        },
        BadLength(testDescription: "a UDP length that reaches into the padding", transports: [.udp]) {
            $0.with { ($0.payload, $0.trailer) = ([1, 2], [3]) }.withUDP { $0.length = 11 }
        },
    ]

    @Test(arguments: badLengths)
    func badLength(_ bad: BadLength) throws {
        for scene in Scene.all where bad.families.contains(scene.family) && bad.transports.contains(scene.transport) {
            try Lab.withLab { lab in
                try lab.serve([scene.serving([scene.backend()])])
                try lab.expect(bad.change(scene.request()), in: scene.ingress, .untouched, .passMalformed)
                #expect(try lab.flows() == [])
                // Nor with a flow that it would belong to.
                _ = try lab.run(scene.request().bytes, in: scene.ingress)
                try lab.expect(bad.change(scene.request(.ack)), in: scene.ingress, .untouched, .passMalformed)
                try lab.expect(bad.change(scene.reply()), in: scene.egress, .untouched, .passMalformed)
            }
        }
    }

    /// Fields that translation may change.
    private static let mutable: Set<String> = [
        "ip.source", "ip.destination", "ip.checksum", "ip6.source", "ip6.destination", "tcp.source", "tcp.destination",
        "tcp.checksum", "udp.source", "udp.destination", "udp.checksum",
    ]

    @Test("Whatever arrives is passed, and only what is addressed to a frontend is changed", arguments: Scene.all)
    func fuzz(_ scene: Scene) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        try Lab.withLab { lab in
            try lab.serve([scene.frontend(external: .these([scene.backend()]), internal: .these([scene.backend()]))])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            for _ in 0..<1500 {
                let program = Bool.random(using: &random) ? scene.ingress : scene.egress
                let bytes = Self.mutation(scene, program, &random)
                guard let outcome = try run(bytes, lab, program),
                    let complaint = Self.complaint(bytes, outcome, scene, program)
                else { continue }
                Issue.record("seed \(seed): \(complaint)\n\(PacketDiff(expected: bytes, actual: outcome.output))")
                return
            }
        }
    }

    private static func mutation(
        _ scene: Scene, _ program: DatapathProgram, _ random: inout SeededGenerator
    ) -> [UInt8] {
        if Int.random(in: 0..<10, using: &random) == 0 {
            return (0..<Int.random(in: 15...200, using: &random)).map { _ in .random(in: 0...255, using: &random) }
        }
        let base = program == scene.ingress ? scene.request() : scene.reply()
        var packet = base.with { $0.payload = [UInt8](repeating: 6, count: .random(in: 0...64, using: &random)) }
            // Of its own, lest what becomes a fragment belong to others, and wait for them.
            .withIP { $0.label = .random(in: 0...UInt16.max, using: &random) }
        if Bool.random(using: &random) { packet.link.tags = [VLANTag(id: 5)] }
        if Bool.random(using: &random) {
            packet = packet.withIP {
                ($0.options, $0.extensions) = (
                    [1, 1, 1, 0], [.hopByHop, .routing(segmentsLeft: 0), .destinationOptions()]
                )
            }
        }
        var bytes = packet.bytes
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            // Mostly in the headers.
            let limit = Bool.random(using: &random) ? min(bytes.count, 60) : bytes.count
            bytes[.random(in: 0..<limit, using: &random)] = .random(in: 0...255, using: &random)
        }
        if Int.random(in: 0..<5, using: &random) == 0 {
            bytes.removeLast(.random(in: 0..<bytes.count - 15, using: &random))
        }
        return bytes
    }

    /// What is wrong with the outcome, if anything is.
    private static func complaint(
        _ bytes: [UInt8], _ outcome: Lab.Outcome, _ scene: Scene, _ program: DatapathProgram
    ) -> String? {
        guard outcome.verdict == program.pass else { return "verdict \(outcome.verdict)" }
        let counters = outcome.counted[program] ?? [:]
        guard counters.keys.count(where: { $0.outcome == .passed || $0.outcome == .translated }) == 1 else {
            return "counters \(counters.keys.map(\.name))"
        }
        let isTranslated = counters.keys.contains { $0.outcome == .translated }
        guard outcome.output != bytes else { return isTranslated ? "counted as translated" : nil }
        guard isTranslated else { return "changed and not counted" }
        let (before, after) = (PacketDissection(bytes), PacketDissection(outcome.output))
        let ip = before.layers.first?.ip
        // A later fragment has the ports that an earlier packet, which may have become a first one, has noted.
        let isLater = (ip?.fragment?.offset ?? 0) > 0
        let addressed =
            program == scene.ingress
            ? before.destination == scene.frontend() || (isLater && ip?.destination == scene.frontend().address)
            : before.source == scene.backend() || (isLater && ip?.source == scene.backend().address)
        guard addressed else { return "not addressed to the frontend" }
        guard before.fields.map(\.range) == after.fields.map(\.range) else { return "the layout changed" }
        for field in before.fields where !mutable.contains(field.name) {
            if bytes[field.range] != outcome.output[field.range] { return "\(field.name) changed" }
        }
        guard before.wrongChecksums == after.wrongChecksums else {
            return "wrong checksums: \(before.wrongChecksums) before, \(after.wrongChecksums) after"
        }
        return nil
    }
}
