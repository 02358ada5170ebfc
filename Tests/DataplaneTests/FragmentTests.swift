import BPF
import NeedletailABI
import NetTypes
import PacketKit
import Resolver
import Synchronization
import TestSupport
import Testing

@testable import Dataplane

/// Fragments of the packets of flows.
@Suite(.needsRoot) struct FragmentTests {
    /// A shape that packets have before they are divided.
    struct Shape: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var families = IPFamily.allCases
        var change: @Sendable (PacketBuilder) -> PacketBuilder = { $0 }
    }

    static let shapes: [Shape] = [
        Shape(testDescription: "plain"),
        Shape(testDescription: "IPv4 options", families: [.v4]) { $0.withIP { $0.options = [0x94, 4, 0, 0] } },
        Shape(testDescription: "extension headers before the fragment header", families: [.v6]) {
            $0.withIP { $0.extensions = [.hopByHop, .routing(segmentsLeft: 0)] }
        },
        Shape(testDescription: "extension headers behind it", families: [.v6]) {
            $0.withIP { $0.fragmentableExtensions = [.destinationOptions(size: 16)] }
        },
        Shape(testDescription: "tagged, padded") {
            $0.with { ($0.link.tags, $0.trailer) = ([VLANTag(id: 5)], [1, 2, 3, 4]) }
        },
        Shape(testDescription: "no UDP checksum") { $0.withUDP { $0.checksum = .value(0) } },
    ]

    private static let last = Atomic<UInt32>(0x2000)

    /// A datagram's identification that no other test uses: fragments that came early are remembered longer than a test
    /// takes, in a map of the programs' own, and would keep another test's first one waiting.
    private static func unused() -> UInt32 { last.add(1, ordering: .relaxed).newValue }

    private func long(_ packet: PacketBuilder) -> PacketBuilder {
        packet.with { $0.payload = (0..<200).map { UInt8($0) } }
    }

    @Test("They are translated like the whole packet, both ways", arguments: shapes)
    func inOrder(_ shape: Shape) throws {
        for scene in Scene.all where shape.families.contains(scene.family) {
            try Lab.withLab { lab in
                try lab.serve([scene.serving([scene.backend()])])
                for (packet, translated, program, first) in [
                    (
                        scene.request(), scene.request().sent(to: scene.backend()), scene.ingress,
                        DatapathCounter.forwardNew
                    ),
                    (
                        scene.request(.ack), scene.request(.ack).sent(to: scene.backend()), scene.ingress,
                        .forwardEstablished
                    ),
                    (
                        scene.reply(), scene.reply().sent(from: scene.frontend()), scene.egress,
                        .reverseTranslated
                    ),
                ] {
                    let divided = shape.change(long(packet)).fragments(size: 64)
                    let expected = shape.change(long(translated)).fragments(size: 64)
                    #expect(divided.count >= 4)
                    for (number, (fragment, wanted)) in zip(divided, expected).enumerated() {
                        let later: DatapathCounter =
                            program == scene.ingress ? .forwardEstablished : .reverseTranslated
                        try lab.expect(fragment, in: program, .becomes(wanted), number == 0 ? first : later)
                    }
                }
            }
        }
    }

    @Test("Of two datagrams under way at once, each has its own ports", arguments: Scene.all)
    func twoDatagrams(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            let clients = [scene.client(port: 1111), scene.client(port: 2222)]
            let divided = clients.enumerated().map { number, client in
                long(scene.request(from: client)).fragments(size: 128, identification: UInt32(0x1_0000 + number))
            }
            for (number, fragments) in divided.enumerated() {
                let wanted = long(scene.request(from: clients[number]).sent(to: scene.backend()))
                    .fragments(size: 128, identification: UInt32(0x1_0000 + number))
                try lab.expect(fragments[0], in: scene.ingress, .becomes(wanted[0]), .forwardNew)
            }
            for (number, fragments) in divided.enumerated() {
                let before = try lab.flow(.forward, clients[number], scene.frontend())
                #expect(before != nil)
                try lab.evict(try #require(before))
                let wanted = long(scene.request(from: clients[number]).sent(to: scene.backend()))
                    .fragments(size: 128, identification: UInt32(0x1_0000 + number))
                // What a later fragment lacks it finds like any packet: the flow is begun again.
                let outcome = try lab.run(fragments[1].bytes, in: scene.ingress)
                #expect(outcome.output == wanted[1].bytes)
                #expect(try lab.flow(.forward, clients[number], scene.frontend()) != nil)
            }
        }
    }

    @Test("Without the first one they are passed as they are", arguments: Scene.all)
    func unknown(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            for (packet, program) in [(scene.request(), scene.ingress), (scene.reply(), scene.egress)] {
                for fragment in long(packet).fragments(size: 64, identification: Self.unused()).dropFirst() {
                    try lab.expect(fragment, in: program, .untouched, .passFragment)
                }
            }
            // The first one of another datagram is no help.
            let other = long(scene.request(.ack)).fragments(size: 64, identification: Self.unused())
            _ = try lab.run(other[0].bytes, in: scene.ingress)
            let fragment = long(scene.request(.ack)).fragments(size: 64, identification: Self.unused())[1]
            try lab.expect(fragment, in: scene.ingress, .untouched, .passFragment)
        }
    }

    @Test("An identification used again for what is no Service's leads its fragments nowhere", arguments: Scene.all)
    func reusedIdentification(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            let identification = Self.unused()
            let request = long(scene.request()).fragments(size: 64, identification: identification)
            _ = try lab.run(request[0].bytes, in: scene.ingress)
            let other = long(scene.request(to: scene.frontend(port: 81)))
                .fragments(size: 64, identification: identification)
            _ = try lab.run(other[0].bytes, in: scene.ingress)
            try lab.expect(other[1], in: scene.ingress, .untouched, .passFragment)
        }
    }

    @Test("A first one without the ports is malformed", arguments: Scene.all)
    func tooShort(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            let first = long(scene.request()).fragments(size: scene.transport == .tcp ? 16 : 8)[0]
                .with { if scene.transport == .udp { $0.payload.removeLast() } }
            try lab.expect(first, in: scene.ingress, .untouched, .passMalformed)
            guard scene.family == .v6 else { return }
            let headers = long(scene.request()).withIP { $0.fragmentableExtensions = [.destinationOptions(size: 64)] }
            for size in [8, 32, 64] {
                try lab.expect(
                    headers.fragments(size: size)[0], in: scene.ingress, .untouched, .passMalformed)
            }
        }
    }

    @Test("An atomic fragment is a whole packet (RFC 6946)", arguments: Scene.all.filter { $0.family == .v6 })
    func atomic(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            let atomic = scene.request().withIP { $0.fragment = Fragment(offset: 0, more: false) }
            try lab.expect(atomic, in: scene.ingress, .becomes(atomic.sent(to: scene.backend())), .forwardNew)
        }
    }

    @Test("XDP leaves a first one to tc that fragments came before", arguments: IPFamily.allCases)
    func awaited(_ family: IPFamily) throws {
        let scene = Scene(ingress: .externalXDP, family: family, transport: .udp)
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            let divided = long(scene.request()).fragments(size: 64, identification: Self.unused())
            try lab.expect(divided[1], in: .externalIngress, .untouched, .passFragment)
            try lab.expect(divided[0], in: .externalXDP, .untouched, .passToTC)
            let identification = Self.unused()
            let other = long(scene.request(from: scene.client(port: 7)))
                .fragments(size: 64, identification: identification)
            let wanted = long(scene.request(from: scene.client(port: 7)).sent(to: scene.backend()))
                .fragments(size: 64, identification: identification)
            try lab.expect(other[0], in: .externalXDP, .becomes(wanted[0]), .forwardNew)
        }
    }
}
