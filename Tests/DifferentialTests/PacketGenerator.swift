import Dataplane
import NeedletailABI
import NetTypes
import PacketKit
import ReferenceModel
import Resolver
import TestSupport

/// Packets that mean something to the services there are, to the flows there are, and to nobody.
struct PacketGenerator {
    private let node: TestNode
    /// Frontends that were ever served, so that retired ones are addressed too.
    private var frontends: [TransportEndpoint] = []
    private var backends: [TransportEndpoint] = []
    /// Where clients' packets came in, to be used again.
    private var conversations: [(tuple: Tuple, program: DatapathProgram, device: UInt32)] = []
    /// Other fragments of datagrams whose first step was taken.
    private var pending: [Step] = []

    init(_ node: TestNode) { self.node = node }

    mutating func note(_ desired: DesiredState) {
        frontends = Array(Set(frontends).union(desired.frontends.keys)).sorted()
        backends = Array(Set(backends).union(desired.backends)).sorted()
    }

    // MARK: Steps

    mutating func next(_ model: Model, _ random: inout SeededGenerator) -> Step? {
        if !pending.isEmpty, random.below(2) == 0 { return pending.remove(at: random.below(pending.count)) }
        switch random.below(100) {
        case 0..<42: return request(&random)
        case 42..<45: return tunnelled(&random)
        case 45..<68: return reply(model, &random)
        case 68..<78: return error(model, &random)
        case 78..<82: return echo(&random)
        case 82..<86: return stray(&random)
        case 86..<90: return direct(&random)
        case 90..<95: return fragments(model, &random)
        default: return noise(&random)
        }
    }

    /// From a client to a frontend.
    private mutating func request(_ random: inout SeededGenerator) -> Step? {
        guard let (tuple, program, device) = conversation(&random) else { return nil }
        return step(packet(tuple, &random), program, device, &random)
    }

    /// From another node, which has encapsulated it for a backend here.
    private mutating func tunnelled(_ random: inout SeededGenerator) -> Step? {
        guard let (tuple, _, _) = conversation(&random) else { return nil }
        let family = tuple.source.address.family
        let backend =
            random.below(4) == 0 ? TestNode.link(family, 0, 1) : TestNode.pod(family, 0, random.below(3))
        let outer = packet(tuple, &random).encapsulated(
            from: TestNode.client(family, random.below(3), 30), to: backend)
        let device = node.index(TestNode.externalDevices[random.below(3)])
        return step(outer, random.below(2) == 0 ? .externalXDP : .externalIngress, device, &random)
    }

    private mutating func conversation(
        _ random: inout SeededGenerator
    ) -> (Tuple, DatapathProgram, UInt32)? {
        if random.below(3) > 0, let known = conversations.randomElement(using: &random) {
            // The same flow may come by another hook: from XDP to tc, or rerouted.
            if random.below(5) > 0 { return known }
            let (program, device) = arrival(known.tuple.source.address, &random)
            return (known.tuple, program, device)
        }
        guard let frontend = frontends.randomElement(using: &random) else { return nil }
        let family = frontend.address.family
        let isInside = random.below(3) == 0
        let address =
            isInside
            ? TestNode.pod(family, random.below(6) == 0 ? 1 : 0, random.below(3))
            : random.below(12) == 0
                ? TestNode.link(family, 0, 3) : TestNode.client(family, random.below(4), random.below(4))
        let tuple = Tuple(
            TransportEndpoint(address, UInt16(40_000 + random.below(12)), frontend.transport), frontend)
        let (program, device) = arrival(address, &random)
        if conversations.count > 200 { conversations.remove(at: random.below(conversations.count)) }
        conversations.append((tuple, program, device))
        return (tuple, program, device)
    }

    private func arrival(_ source: IPAddress, _ random: inout SeededGenerator) -> (DatapathProgram, UInt32) {
        for number in 0..<3 where source == TestNode.pod(source.family, 0, number) {
            return (.workloadIngress, node.index(TestNode.podDevices[number]))
        }
        let device = node.index(TestNode.externalDevices[random.below(3)])
        return (random.below(3) > 0 ? .externalXDP : .externalIngress, device)
    }

    private func packet(_ tuple: Tuple, _ random: inout SeededGenerator) -> PacketBuilder {
        let flags: [TCPFlags] = [
            .syn, .syn, .syn, .ack, .ack, [.ack, .psh], [.fin, .ack], .rst, [.rst, .ack], [.syn, .ack],
        ]
        let size = [0, 1, 10, 64, 100][random.below(5)]
        return PacketBuilder(
            from: tuple.source, to: tuple.destination, flags: flags[random.below(flags.count)],
            payload: (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        )
        .withTCP {
            $0.sequence = UInt32.random(in: 0...UInt32.max, using: &random)
            $0.acknowledgment = UInt32.random(in: 0...UInt32.max, using: &random)
        }
    }

    /// From a backend, of a flow there is.
    private mutating func reply(_ model: Model, _ random: inout SeededGenerator) -> Step? {
        let entries = model.entries.filter { $0.direction == .reverse }
        guard let entry = entries.randomElement(using: &random) else { return nil }
        let (program, device) = replyArrival(
            entry.tuple, isMasqueraded: entry.flags & NT_FLOW_MASQUERADED != 0, &random)
        return step(packet(entry.tuple, &random), program, device, &random)
    }

    private func replyArrival(
        _ tuple: Tuple, isMasqueraded: Bool, _ random: inout SeededGenerator
    ) -> (DatapathProgram, UInt32) {
        if isMasqueraded, random.below(10) > 0 { return arrival(tuple.source.address, &random) }
        if random.below(20) == 0 { return arrival(tuple.source.address, &random) }
        return random.below(2) == 0
            ? (.externalEgress, node.index(TestNode.externalDevices[random.below(3)]))
            : (.workloadEgress, node.index(TestNode.podDevices[random.below(3)]))
    }

    /// About a packet of a flow there is, as it is behind this node: forward, or as a reply is in front of it.
    private mutating func error(_ model: Model, _ random: inout SeededGenerator) -> Step? {
        guard let entry = model.entries.randomElement(using: &random) else { return nil }
        let isMasqueraded = entry.flags & NT_FLOW_MASQUERADED != 0
        // Of an entry: what leaves by it.
        let quoted = entry.rewritten
        let family = quoted.source.address.family
        let inner = packet(quoted, &random).withIP { $0.hopLimit = UInt8(random.below(60) + 1) }
        let kinds: [ICMPHeader] = [
            .portUnreachable(family), .destinationUnreachable(family, code: 1), .packetTooBig(family, mtu: 1280),
            .timeExceeded(family), .parameterProblem(family, pointer: 9),
        ]
        let reporter =
            random.below(2) == 0
            ? quoted.destination.address : TestNode.client(family, random.below(4), 9)
        let message = PacketBuilder(
            icmp: kinds[random.below(kinds.count)], from: reporter, to: quoted.source.address,
            body: random.below(2) == 0 ? inner.quote(transportBytes: 8) : inner.quote())
        let (program, device) =
            entry.direction == .forward
            ? replyArrival(Tuple(quoted.destination, quoted.source), isMasqueraded: isMasqueraded, &random)
            : arrival(quoted.destination.address, &random)
        return step(message, program, device, &random)
    }

    private mutating func echo(_ random: inout SeededGenerator) -> Step? {
        guard let frontend = frontends.randomElement(using: &random) else { return nil }
        let family = frontend.address.family
        let isInside = random.below(3) == 0
        let source =
            isInside ? TestNode.pod(family, 0, random.below(3)) : TestNode.client(family, random.below(4), 1)
        let header =
            random.below(6) == 0
            ? ICMPHeader.echoReply(family) : .echoRequest(family, identifier: 7, sequence: UInt16(random.below(100)))
        let (program, device) = arrival(source, &random)
        let message = PacketBuilder(
            icmp: header, from: source, to: frontend.address, body: [UInt8](repeating: 0x5A, count: random.below(80)))
        return step(message, program, device, &random)
    }

    /// To a port or address that nobody has.
    private mutating func stray(_ random: inout SeededGenerator) -> Step? {
        let family: IPFamily = random.below(2) == 0 ? .v4 : .v6
        let transport: TransportProtocol = random.below(2) == 0 ? .tcp : .udp
        let address =
            switch random.below(4) {
            case 0: ClusterGenerator.clusterIP(100 + random.below(3), family)
            case 1: ClusterGenerator.loadBalancerIP(random.below(4), family)
            case 2: TestNode.link(family, 0, 1)
            default: frontends.randomElement(using: &random)?.address ?? ClusterGenerator.clusterIP(0, family)
            }
        let ports: [UInt16] = [81, 443, 61_010]
        let source =
            random.below(3) == 0
            ? TestNode.pod(address.family, 0, random.below(3)) : TestNode.client(address.family, random.below(4), 2)
        let tuple = Tuple(
            TransportEndpoint(source, UInt16(40_000 + random.below(5)), transport),
            TransportEndpoint(address, ports[random.below(3)], transport))
        let (program, device) = arrival(source, &random)
        return step(packet(tuple, &random), program, device, &random)
    }

    /// From a client to a backend, past the frontend.
    private mutating func direct(_ random: inout SeededGenerator) -> Step? {
        guard let conversation = conversations.randomElement(using: &random) else { return nil }
        let possible = backends.filter {
            $0.transport == conversation.tuple.source.transport
                && $0.address.family == conversation.tuple.source.address.family
        }
        guard let backend = possible.randomElement(using: &random) else { return nil }
        return step(
            packet(Tuple(conversation.tuple.source, backend), &random), conversation.program, conversation.device,
            &random)
    }

    /// A datagram or segment in parts, in whatever order.
    private mutating func fragments(_ model: Model, _ random: inout SeededGenerator) -> Step? {
        let place: (Tuple, DatapathProgram, UInt32)?
        if random.below(3) == 0,
            let entry = model.entries.filter({ $0.direction == .reverse }).randomElement(using: &random)
        {
            let isMasqueraded = entry.flags & NT_FLOW_MASQUERADED != 0
            let (program, device) = replyArrival(entry.tuple, isMasqueraded: isMasqueraded, &random)
            place = (entry.tuple, program, device)
        } else {
            place = conversation(&random)
        }
        guard let (tuple, program, device) = place else { return nil }
        let whole = packet(tuple, &random).with { $0.payload = [UInt8](repeating: 0x33, count: 64 + random.below(90)) }
        let parts = whole.fragments(size: 48, identification: UInt32(random.below(40)) + 0x7700)
        var steps = parts.compactMap { step($0, program, device, &random, isPlain: true) }
        guard !steps.isEmpty else { return nil }
        let first = steps.remove(at: random.below(4) == 0 ? random.below(steps.count) : 0)
        if pending.count < 20 { pending += steps }
        return first
    }

    private mutating func noise(_ random: inout SeededGenerator) -> Step? {
        let (program, device) = arrival(TestNode.client(.v4, 0, 0), &random)
        switch random.below(3) {
        case 0:
            let address = TestNode.client(.v4, 0, 0)
            let arp = PacketBuilder(
                .arp(ARPMessage(whoHas: ClusterGenerator.clusterIP(0, .v4), tell: address)),
                payload: [UInt8](repeating: 0, count: 18))
            return .packet(arp.bytes, program, device: device)
        case 1:
            let count = 60 + random.below(100)
            return .packet((0..<count).map { _ in .random(in: 0...255, using: &random) }, program, device: device)
        default:
            guard let frontend = frontends.randomElement(using: &random) else { return nil }
            let ip = IPHeader(
                source: TestNode.client(frontend.address.family, 0, 0), destination: frontend.address)
            let numbers: [UInt8] = [ProtocolNumber.sctp, 47, 50, 51, 59, 89]
            let other = PacketBuilder(
                .ip(ip, .other(protocolNumber: numbers[random.below(numbers.count)])),
                payload: [1, 2, 3, 4, 5, 6, 7, 8])
            return .packet(other.bytes, program, device: device)
        }
    }

    // MARK: Shapes

    /// The packet at the program, perhaps in an odd shape, perhaps spoilt.
    private func step(
        _ packet: PacketBuilder, _ program: DatapathProgram, _ device: UInt32, _ random: inout SeededGenerator,
        isPlain: Bool = false
    ) -> Step? {
        var packet = packet
        if random.below(5) == 0 { packet = odd(packet, &random, keepsSize: isPlain) }
        var bytes = packet.bytes
        guard !isPlain, random.below(12) == 0 else { return .packet(bytes, program, device: device) }
        if random.below(3) == 0 {
            bytes.removeLast(random.below(bytes.count - 14))
        } else {
            for _ in 0...random.below(3) {
                let limit = random.below(3) == 0 ? bytes.count : min(bytes.count, 80)
                bytes[12 + random.below(limit - 12)] = .random(in: 0...255, using: &random)
            }
        }
        return .packet(bytes, program, device: device)
    }

    private func odd(_ packet: PacketBuilder, _ random: inout SeededGenerator, keepsSize: Bool) -> PacketBuilder {
        switch random.below(keepsSize ? 4 : 10) {
        case 0:
            let types = [
                [EtherType.vlan], [EtherType.serviceVLAN, EtherType.vlan],
                [EtherType.vlan, EtherType.vlan, EtherType.vlan],
            ]
            return packet.withLink { link in
                link.tags = types[random.below(3)].enumerated().map {
                    VLANTag(id: UInt16(100 + $0.offset), type: $0.element)
                }
            }
        case 1: return packet.withIP { $0.hopLimit = UInt8(random.below(3)) }
        case 2: return packet.with { $0.trailer = [UInt8](repeating: 0xEE, count: random.below(10) + 1) }
        case 3: return packet.withIP { $0.trafficClass = 0xB9 }
        case 4: return packet.withIP { $0.doNotFragment = false }
        case 5:
            return packet.with { $0.payload = [UInt8](repeating: 0x11, count: 1440 + random.below(200)) }
                .withIP { $0.doNotFragment = random.below(2) == 0 }
        case 6: return packet.withTCP { $0.options = [2, 4, 5, 0xB4, 1, 3, 3, 7, 4, 2] }
        case 7: return packet.withUDP { if packet.ip?.family == .v4 { $0.checksum = .value(0) } }
        case 8:
            return packet.withIP {
                $0.options = [0x94, 4, 0, 0]
                $0.extensions = [
                    .hopByHop, .destinationOptions(size: 24), .routing(segmentsLeft: UInt8(random.below(3) / 2)),
                ]
            }
        default:
            return packet.withIP {
                $0.extensions = [ExtensionHeader](repeating: .destinationOptions(), count: 5 + random.below(4))
            }
        }
    }
}
