import Dataplane
import NeedletailABI
import NetTypes
import PacketKit
import Resolver
import TestSupport
import Testing

/// Checksums after translation are those of the whole packet, worked out anew. All other tables check that too; these
/// are the values that incremental arithmetic gets wrong.
@Suite(.needsRoot) struct ChecksumTests {
    /// One backend, and packets through it in both directions.
    private func withFlow(_ scene: Scene, _ body: (Lab) throws -> Void) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try body(lab)
        }
    }

    private func expectTranslated(
        _ lab: Lab, _ scene: Scene, _ packet: PacketBuilder, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        if PacketDissection(packet.bytes).source == scene.client() {
            try lab.expect(
                packet, in: scene.ingress, .becomes(packet.sent(to: scene.backend())), .forwardEstablished,
                sourceLocation: sourceLocation)
        } else {
            try lab.expect(
                packet, in: scene.egress, .becomes(packet.sent(from: scene.frontend())), .reverseTranslated,
                sourceLocation: sourceLocation)
        }
    }

    /// A packet whose payload makes its own checksum 0, and one whose payload makes that of its translation 0.
    private func vanishing(_ packet: PacketBuilder, _ translated: PacketBuilder) -> [PacketBuilder] {
        [packet, translated].map { subject in
            let bytes = subject.with { $0.payload = [0, 0] }.bytes
            let offset = bytes.count - 2 - (subject.transport.map { if case .tcp = $0 { 4 } else { 2 } } ?? 0)
            // The checksum is the complement of the sum: as payload it makes the sum 0xFFFF.
            return packet.with { $0.payload = Array(bytes[offset..<offset + 2]) }
        }
    }

    @Test("A checksum of 0 is sent as 0xFFFF by UDP, as 0 by TCP, before and after translation", arguments: Scene.all)
    func zero(_ scene: Scene) throws {
        try withFlow(scene) { lab in
            let request = scene.request(.ack)
            let reply = scene.reply(.ack)
            let packets =
                vanishing(request, request.sent(to: scene.backend()))
                + vanishing(reply, reply.sent(from: scene.frontend()))
            let special: UInt16 = scene.transport == .udp ? 0xFFFF : 0
            for (index, packet) in packets.enumerated() {
                let translations = [
                    packet, index < 2 ? packet.sent(to: scene.backend()) : packet.sent(from: scene.frontend()),
                ]
                let offset = scene.transport == .udp ? 2 : 4
                let sums = translations.map { $0.bytes.dropLast(offset).suffix(2).reduce(0) { $0 << 8 | UInt16($1) } }
                #expect(sums[index % 2] == special, "the packet is made for this")
                try expectTranslated(lab, scene, packet)
            }
        }
    }

    @Test("UDP without a checksum stays without", arguments: Scene.udp)
    func none(_ scene: Scene) throws {
        try withFlow(scene) { lab in
            for packet in [scene.request(), scene.reply()] {
                try expectTranslated(lab, scene, packet.withUDP { $0.checksum = .value(0) })
            }
        }
    }

    @Test("A wrong checksum is not made right", arguments: Scene.all)
    func wrong(_ scene: Scene) throws {
        try withFlow(scene) { lab in
            for error: UInt8 in [0x01, 0x80, 0xFF] {
                for packet in [scene.request(.ack), scene.reply(.ack)] {
                    var bytes = packet.bytes
                    bytes[bytes.count - 1] ^= error
                    let program = packet == scene.request(.ack) ? scene.ingress : scene.egress
                    let outcome = try lab.run(bytes, in: program)
                    let name = scene.transport == .tcp ? "tcp.checksum" : "udp.checksum"
                    #expect(PacketDissection(outcome.output).wrongChecksums == [name])
                }
            }
            var bytes = scene.request(.ack).bytes
            guard scene.family == .v4 else { return }
            bytes[14 + 8] ^= 1
            let outcome = try lab.run(bytes, in: scene.ingress)
            #expect(PacketDissection(outcome.output).wrongChecksums == ["ip.checksum"])
        }
    }

    @Test("Random contents and sizes", arguments: Scene.all)
    func random(_ scene: Scene) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        try withFlow(scene) { lab in
            for _ in 0..<200 {
                let payload = (0..<Int.random(in: 0...1400, using: &random)).map { _ in
                    Bool.random(using: &random) ? UInt8.random(in: 0...255, using: &random) : 0xFF
                }
                let base = Bool.random(using: &random) ? scene.request(.ack) : scene.reply(.ack)
                let packet = base.with { $0.payload = payload }
                    .withIP {
                        $0.hopLimit = .random(in: 1...255, using: &random)
                        $0.trafficClass = .random(in: 0...255, using: &random)
                        $0.label = .random(in: 0...0xFFFF, using: &random)
                    }
                    .withTCP { $0.sequence = .random(in: 0...UInt32.max, using: &random) }
                let outcome = try lab.run(packet.bytes, in: base == scene.request(.ack) ? scene.ingress : scene.egress)
                let wanted =
                    base == scene.request(.ack) ? packet.sent(to: scene.backend()) : packet.sent(from: scene.frontend())
                guard outcome.output != wanted.bytes else { continue }
                Issue.record("seed \(seed)\n\(PacketDiff(expected: wanted.bytes, actual: outcome.output))")
                return
            }
        }
    }
}
