import Dataplane
import NeedletailABI
import NetTypes
import PacketKit
import ReferenceModel

/// What the model expects beside what a program did.
struct Comparison {
    let input: [UInt8]
    let program: DatapathProgram
    let expected: Expectation
    let verdict: Int32
    let output: [UInt8]
    let counters: [DatapathCounter: Int]

    /// What they do not agree on.
    var complaint: String? {
        var complaints: [String] = []
        if verdict != expected.verdict.code(program) {
            complaints.append("verdict \(verdict), expected \(expected.verdict.code(program)) (\(expected.verdict))")
        }
        if counters != expected.counters, !expected.otherCounters.contains(counters),
            !(counters == [.passFragment: 1] && expected.counters == [.passOtherProtocol: 1])
        {
            complaints.append("counters \(Self.names(counters)), expected \(Self.names(expected.counters))")
        }
        switch expected.output {
        case .none: break
        case .withoutLink(let rest):
            let whole = Array(output.prefix(12) + rest)
            if !isEqual(whole) { complaints.append("\(PacketDiff(expected: whole, actual: output))") }
        case .bytes(let bytes):
            if !isEqual(bytes) { complaints.append("\(PacketDiff(expected: bytes, actual: output))") }
        case .tunnel(let link, let source, let destination, let inner, let trailer):
            complaints += tunnelComplaints(link, source, destination, inner, trailer)
        case .reply(let reply): complaints += ReplyCheck(reply, output).complaints
        }
        guard !complaints.isEmpty else { return nil }
        return complaints.joined(separator: "\n")
    }

    /// What the program did, in short.
    var summary: String { "verdict \(verdict) \(Self.names(counters))" }

    private static func names(_ counters: [DatapathCounter: Int]) -> String {
        let names = counters.sorted { $0.key.rawValue < $1.key.rawValue }
            .map { $0.value == 1 ? $0.key.name : "\($0.key.name) × \($0.value)" }
        return "[\(names.joined(separator: ", "))]"
    }

    private func tunnelComplaints(
        _ link: [UInt8]?, _ source: IPAddress, _ destination: IPAddress, _ inner: [UInt8],
        _ trailer: [UInt8]
    ) -> [String] {
        let isV4 = source.family == .v4
        var packet = IPHeader(source: source, destination: destination)
        packet.protocolNumber = isV4 ? ProtocolNumber.ipv4 : ProtocolNumber.ipv6
        var builder = PacketBuilder(.ip(packet, .other(protocolNumber: packet.protocolNumber ?? 0)), payload: inner)
        builder.trailer = trailer
        if let link { builder = builder.relinked(from: Array(link[6..<12]), to: Array(link[0..<6])) }
        let wanted = builder.bytes
        guard output.count == wanted.count else {
            return [
                "tunnel: \(output.count) bytes, expected \(wanted.count)",
                "\(PacketDiff(expected: wanted, actual: output))",
            ]
        }
        let (left, right) = (PacketDissection(wanted), PacketDissection(output))
        let free: Set<String> = [
            "ip.tos", "ip.identification", "ip.fragment", "ip.checksum", "ip.ttl", "ip6.version", "ip6.hops",
        ]
        var names = zip(left.fields, right.fields).filter { wanted[$0.range] != output[$1.range] }.map(\.0.name)
        names.removeAll { free.contains($0) || link == nil && $0.hasPrefix("eth.") }
        names += right.wrongChecksums.filter { $0 == "ip.checksum" }
        guard !names.isEmpty, !isEqual(wanted) else { return [] }
        return ["tunnel: \(names)", "\(PacketDiff(expected: wanted, actual: output))"]
    }

    /// A checksum that was wrong before may be so by two spellings of zero.
    private func isEqual(_ bytes: [UInt8]) -> Bool {
        guard bytes != output else { return true }
        guard bytes.count == output.count, !PacketDissection(input).wrongChecksums.isEmpty else { return false }
        var index = 0
        while index < bytes.count {
            if bytes[index] == output[index] {
                index += 1
                continue
            }
            guard index + 1 < bytes.count, bytes[index] == bytes[index + 1], output[index] == output[index + 1],
                Set([bytes[index], output[index]]) == [0, 0xFF]
            else { return false }
            index += 2
        }
        return true
    }
}

/// A packet that a program made up, beside the fields that are laid down.
struct ReplyCheck {
    private(set) var complaints: [String] = []

    init(_ reply: ModelReply, _ output: [UInt8]) {
        let wanted = builder(reply)
        let expected = PacketDissection(wanted)
        let actual = PacketDissection(output)
        // Type of service, identification and the like are the program's own choice.
        let free: Set<String> = [
            "ip.tos", "ip.identification", "ip.fragment", "ip.checksum", "ip6.version", "tcp.window", "tcp.urgent",
            "tcp.checksum",
        ]
        var seen: [String: Int] = [:]
        for field in expected.fields where !free.contains(field.name) {
            // Of extension headers there may be several of a name.
            let found = actual.fields.filter { $0.name == field.name }.dropFirst(seen[field.name, default: 0]).first
            seen[field.name, default: 0] += 1
            guard let found, wanted[field.range] == output[found.range] else {
                complaints.append("answer: \(field.name) \(found?.value ?? "absent"), expected \(field.value)")
                continue
            }
        }
        if wanted.count != output.count { complaints.append("answer: \(output.count) bytes, expected \(wanted.count)") }
        for field in actual.wrongChecksums where !field.hasPrefix("quoted.") {
            complaints.append("answer: wrong \(field)")
        }
        if !complaints.isEmpty { complaints.append("\(PacketDiff(expected: wanted, actual: output))") }
    }
}

/// The answer as a frame, with plain choices for what is free.
private func builder(_ reply: ModelReply) -> [UInt8] {
    let packet: PacketBuilder
    switch reply.content {
    case .reset(let from, let to, let sequence, let acknowledgment):
        packet = PacketBuilder(
            resetFrom: TransportEndpoint(reply.source, from, .tcp), to: TransportEndpoint(reply.destination, to, .tcp),
            sequence: sequence, acknowledgment: acknowledgment)
    case .error(let type, let code, let rest, let quote):
        packet = PacketBuilder(
            icmp: ICMPHeader(type: type, code: code, rest: rest), from: reply.source, to: reply.destination,
            body: quote)
    }
    return reply.link + packet.packet
}
