public import NetTypes

/// A frame taken apart into named fields, as far as it can be; never fails.
///
/// Names of fields of an IP packet within the frame's own begin with `inner.` (in a tunnel) or `quoted.` (in an ICMP
/// error), and so on inwards: `inner.tcp.flags`, `quoted.ip.checksum`.
public struct PacketDissection: Sendable, Hashable, CustomStringConvertible {
    /// One field.
    public struct Field: Sendable, Hashable {
        /// `ip.source`, `tcp.flags`.
        public let name: String
        /// For a person.
        public let value: String
        /// Where it is in the frame.
        public let range: Range<Int>
    }

    /// In the order of the frame; bytes that mean nothing are in the last one.
    public private(set) var fields: [Field] = []
    /// IP packets, each within the one before it: the frame's own, then what it carries or quotes.
    public private(set) var layers: [PacketLayer] = []
    /// Checksums that are not what the bytes call for, by field name. A UDP checksum of 0 is taken for none.
    ///
    /// A transport checksum is checked where all it covers is there: not of fragments, nor of a quote that is cut.
    public private(set) var wrongChecksums: [String] = []

    /// The sender, of a complete TCP or UDP header that is no later fragment's, of the frame's own IP packet.
    public var source: TransportEndpoint? { layers.first?.source }
    /// The receiver, likewise.
    public var destination: TransportEndpoint? { layers.first?.destination }
    /// The innermost packet that an ICMP error in the frame quotes, whatever that carries.
    public var quoted: PacketLayer? { layers.last { $0.place == .quoted } }
    /// The first packet inside an outer IP header.
    public var inner: PacketLayer? { layers.first { $0.place == .inner } }

    private let bytes: [UInt8]
    private var offset = 0
    /// Before the names of fields.
    private var prefix = ""
    /// Whether what is looked at is part of a quote, which may be cut anywhere.
    private var isQuote: Bool { layers.contains { $0.place == .quoted } }
    /// Where the packet ends that everything now looked at is in.
    private var limit: Int
    /// More deeply than this nothing is taken apart: frames may be built to be all headers.
    private static let depth = 4

    /// Takes a frame apart.
    public init(_ bytes: [UInt8]) {
        self.bytes = bytes
        limit = bytes.count
        link()
        rest("data", to: bytes.count)
    }

    /// A line for each field: `tcp.flags: SYN`.
    public var description: String { fields.map { "\($0.name): \($0.value)" }.joined(separator: "\n") }

    private func number(_ at: Int, _ size: Int) -> UInt64 {
        bytes[at..<at + size].reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Whether `size` more bytes are there.
    private func has(_ size: Int, before end: Int) -> Bool { offset + size <= min(end, limit) }

    private mutating func field(_ name: String, _ size: Int, _ value: (ArraySlice<UInt8>) -> String) {
        let range = offset..<offset + size
        fields.append(Field(name: prefix + name, value: value(bytes[range]), range: range))
        offset += size
    }

    @discardableResult
    private mutating func integer(
        _ name: String, _ size: Int, hex: Bool = false, meaning: (UInt64) -> String? = { _ in nil }
    ) -> UInt64 {
        let value = number(offset, size)
        let text = hex ? "0x" + String(value, radix: 16) : String(value)
        field(name, size) { _ in meaning(value).map { "\(text) (\($0))" } ?? text }
        return value
    }

    private mutating func address(_ name: String, _ size: Int) -> IPAddress? {
        let address = IPAddress(bytes: bytes[offset..<offset + size])
        field(name, size) { _ in address.map(\.description) ?? "" }
        return address
    }

    private mutating func rest(_ name: String, to end: Int) {
        let end = min(end, limit)
        if offset < end { field(name, end - offset) { "\($0.count) bytes" } }
    }

    /// - Parameter wanted: `nil` when not all it covers is there.
    private mutating func checksum(_ name: String, wanted: UInt16?, mayBeNone: Bool = false) {
        let value = UInt16(number(offset, 2))
        let isNone = mayBeNone && value == 0
        if let wanted, value != wanted, !isNone { wrongChecksums.append(prefix + name) }
        let verdict =
            if isNone { "none" } else if let wanted {
                value == wanted ? "correct" : "wrong, 0x\(String(wanted, radix: 16)) is right"
            } else { "of more than is here" }
        field(name, 2) { _ in "0x\(String(value, radix: 16)) (\(verdict))" }
    }

    private mutating func link() {
        func mac(_ bytes: ArraySlice<UInt8>) -> String { bytes.map(\.hex).joined(separator: ":") }
        guard has(14, before: bytes.count) else { return }
        field("eth.destination", 6, mac)
        field("eth.source", 6, mac)
        var type = UInt16(integer("eth.type", 2, hex: true))
        while type == EtherType.vlan || type == EtherType.serviceVLAN, has(4, before: bytes.count) {
            integer("vlan.control", 2, hex: true)
            type = UInt16(integer("vlan.type", 2, hex: true))
        }
        switch type {
        case EtherType.ipv4 where has(20, before: bytes.count): ipv4(.frame)
        case EtherType.ipv6 where has(40, before: bytes.count): ipv6(.frame)
        default: break
        }
    }

    /// An IP packet of this family from here to `end`, if there is one and not too many are around it already.
    private mutating func nested(_ family: IPFamily, _ place: PacketLayer.Place, to end: Int) {
        guard layers.count < Self.depth, has(family == .v4 ? 20 : 40, before: end),
            bytes[offset] >> 4 == family.rawValue
        else { return }
        let outer = (prefix, limit)
        prefix += place == .inner ? "inner." : "quoted."
        limit = min(end, limit)
        family == .v4 ? ipv4(place) : ipv6(place)
        (prefix, limit) = outer
    }

    private mutating func ipv4(_ place: PacketLayer.Place) {
        let start = offset
        let headerSize = Int(bytes[start] & 0xF) * 4
        field("ip.version", 1) { "\($0[$0.startIndex] >> 4), \(headerSize) bytes of header" }
        let trafficClass = UInt8(integer("ip.tos", 1, hex: true))
        let end = start + Int(integer("ip.length", 2))
        let identification = UInt16(integer("ip.identification", 2, hex: true))
        let fragment = integer("ip.fragment", 2, hex: true) {
            let flags = [
                ($0 & 0x4000 != 0, "DF"), ($0 & 0x2000 != 0, "MF"), ($0 & 0x1FFF != 0, "at \(($0 & 0x1FFF) * 8)"),
            ]
            let set = flags.filter(\.0).map(\.1)
            return set.isEmpty ? nil : set.joined(separator: ", ")
        }
        let hopLimit = UInt8(integer("ip.ttl", 1))
        let next = UInt8(integer("ip.protocol", 1))
        var header = Array(bytes[start..<min(start + max(headerSize, 20), limit)])
        header.store(0, at: 10)
        let isHeaderWhole = start + headerSize <= limit || (place != .quoted && !isQuote)
        checksum("ip.checksum", wanted: isHeaderWhole ? InternetChecksum.of(header) : nil)
        let source = address("ip.source", 4)
        let destination = address("ip.destination", 4)
        if headerSize > 20 { rest("ip.options", to: start + headerSize) }
        guard let source, let destination else { return }
        var ip = IPHeader(source: source, destination: destination)
        (ip.hopLimit, ip.trafficClass, ip.label) = (hopLimit, trafficClass, identification)
        ip.doNotFragment = fragment & 0x4000 != 0
        if fragment & 0x3FFF != 0 {
            ip.fragment = Fragment(
                offset: Int(fragment & 0x1FFF) * 8, more: fragment & 0x2000 != 0,
                identification: UInt32(identification))
        }
        content(PacketLayer(place: place, ip: ip, protocolNumber: next), to: end)
    }

    private mutating func ipv6(_ place: PacketLayer.Place) {
        let first = integer("ip6.version", 4, hex: true)
        let length = Int(integer("ip6.length", 2))
        var next = UInt8(integer("ip6.next", 1))
        let hopLimit = UInt8(integer("ip6.hops", 1))
        let source = address("ip6.source", 16)
        let destination = address("ip6.destination", 16)
        let end = offset + length
        guard let source, let destination else { return }
        var ip = IPHeader(source: source, destination: destination)
        (ip.hopLimit, ip.trafficClass) = (hopLimit, UInt8(truncatingIfNeeded: first >> 20))
        ip.label = UInt16(truncatingIfNeeded: first)
        let numbers = [
            ProtocolNumber.hopByHop, ProtocolNumber.routing, ProtocolNumber.fragment,
            ProtocolNumber.destinationOptions,
        ]
        while numbers.contains(next), has(8, before: end), (ip.fragment?.offset ?? 0) == 0 {
            let number = next
            next = bytes[offset]
            if number == ProtocolNumber.fragment {
                ip.fragment = fragmentHeader()
            } else {
                rest("ip6.extension \(number)", to: min(offset + (Int(bytes[offset + 1]) + 1) * 8, end))
            }
        }
        content(PacketLayer(place: place, ip: ip, protocolNumber: next), to: end)
    }

    private mutating func fragmentHeader() -> Fragment {
        integer("ip6.fragment.next", 1)
        integer("ip6.fragment.reserved", 1)
        let offset = integer("ip6.fragment.offset", 2, hex: true) {
            "at \($0 & 0xFFF8)" + ($0 & 1 == 0 ? "" : ", more follow")
        }
        let identification = UInt32(integer("ip6.fragment.identification", 4))
        return Fragment(offset: Int(offset & 0xFFF8), more: offset & 1 != 0, identification: identification)
    }

    /// What follows the headers of an IP packet that ends at `end`.
    private mutating func content(_ layer: PacketLayer, to end: Int) {
        let index = layers.count
        layers.append(layer)
        let fragment = layer.ip.fragment
        if (fragment?.offset ?? 0) == 0 {
            transport(index, to: end, isWhole: fragment?.more != true && (!isQuote || end <= limit))
        }
        rest("payload", to: end)
        rest("trailer", to: limit)
    }

    private mutating func transport(_ index: Int, to end: Int, isWhole: Bool) {
        let layer = layers[index]
        let (number, ip) = (layer.protocolNumber, layer.ip)
        let segment = Array(bytes[min(offset, limit)..<max(offset, min(end, limit))])
        func sum(zeroing at: Int, hasPseudoHeader: Bool = true) -> UInt16? {
            guard isWhole else { return nil }
            var copy = segment
            copy.store(0, at: at)
            guard hasPseudoHeader else { return InternetChecksum.of(copy) }
            return InternetChecksum.of(
                copy, protocolNumber: number, source: ip.source, destination: ip.destination)
        }
        switch (number, ip.family) {
        case (ProtocolNumber.tcp, _) where has(isQuote ? 8 : 20, before: end):
            ports("tcp", .tcp, index)
            tcp(index, to: end, sum(zeroing:hasPseudoHeader:))
        case (ProtocolNumber.udp, _) where has(8, before: end):
            ports("udp", .udp, index)
            integer("udp.length", 2)
            let wanted = sum(zeroing: 6)
            checksum("udp.checksum", wanted: wanted == 0 ? 0xFFFF : wanted, mayBeNone: true)
        case (ProtocolNumber.icmp, .v4) where has(8, before: end):
            icmp("icmp", index, to: end, wanted: sum(zeroing: 2, hasPseudoHeader: false))
        case (ProtocolNumber.icmp6, .v6) where has(8, before: end):
            icmp("icmp6", index, to: end, wanted: sum(zeroing: 2))
        case (ProtocolNumber.ipv4, _) where ip.fragment?.more != true: nested(.v4, .inner, to: end)
        case (ProtocolNumber.ipv6, _) where ip.fragment?.more != true: nested(.v6, .inner, to: end)
        default: break
        }
    }

    private mutating func ports(_ name: String, _ transport: TransportProtocol, _ index: Int) {
        let from = UInt16(integer("\(name).source", 2))
        let to = UInt16(integer("\(name).destination", 2))
        layers[index].source = TransportEndpoint(layers[index].ip.source, from, transport)
        layers[index].destination = TransportEndpoint(layers[index].ip.destination, to, transport)
    }

    /// What follows the ports.
    private mutating func tcp(_ index: Int, to end: Int, _ sum: (Int, Bool) -> UInt16?) {
        let sequence = UInt32(integer("tcp.sequence", 4))
        guard has(12, before: end) else { return }
        let acknowledgment = UInt32(integer("tcp.acknowledgment", 4))
        let size = Int(bytes[offset] >> 4) * 4
        field("tcp.offset", 1) { _ in "\(size) bytes of header" }
        let flags = TCPFlags(rawValue: bytes[offset])
        field("tcp.flags", 1) { _ in flags.description }
        let window = UInt16(integer("tcp.window", 2))
        checksum("tcp.checksum", wanted: sum(16, true))
        integer("tcp.urgent", 2)
        let options = bytes[offset..<max(offset, min(offset + size - 20, end, limit))]
        for option in TCPOption.read(options) where option != .end {
            field("tcp.option", option.bytes.count) { _ in option.description }
        }
        rest("tcp.options", to: options.endIndex)
        guard let source = layers[index].source, let destination = layers[index].destination else { return }
        var header = TCPHeader(sourcePort: source.port, destinationPort: destination.port, flags: flags)
        (header.sequence, header.acknowledgment, header.window) = (sequence, acknowledgment, window)
        header.options = Array(options)
        layers[index].tcp = header
    }

    private mutating func icmp(_ name: String, _ index: Int, to end: Int, wanted: UInt16?) {
        let family = layers[index].ip.family
        let header = ICMPHeader(
            type: bytes[offset], code: bytes[offset + 1], rest: UInt32(number(offset + 4, 4)))
        layers[index].icmp = header
        let meaning = header.meaning(family)
        integer("\(name).type", 1) { _ in meaning.type }
        integer("\(name).code", 1) { _ in meaning.code }
        checksum("\(name).checksum", wanted: wanted)
        switch (family, header.type) {
        case (.v4, 0), (.v4, 8), (.v6, 128), (.v6, 129):
            integer("\(name).identifier", 2)
            integer("\(name).sequence", 2)
        case (.v4, 3):
            integer("\(name).unused", 2)
            integer("\(name).mtu", 2)
        case (.v6, 2): integer("\(name).mtu", 4)
        case (.v4, 12):
            integer("\(name).pointer", 1)
            integer("\(name).unused", 3)
        case (.v6, 4): integer("\(name).pointer", 4)
        default: integer("\(name).rest", 4, hex: true)
        }
        if header.isError(family) { nested(family, .quoted, to: end) }
    }
}

/// An IP packet in a frame.
public struct PacketLayer: Sendable, Hashable {
    /// Where it is.
    public enum Place: Sendable, Hashable {
        /// It is the frame's own.
        case frame
        /// Another IP packet carries it.
        case inner
        /// An ICMP error quotes it.
        case quoted
    }

    /// Where it is.
    public let place: Place
    /// Its header as read: addresses, hop limit, traffic class, label, "do not fragment" and fragment; nothing else.
    public let ip: IPHeader
    /// What it carries: the number in the last of its headers.
    public let protocolNumber: UInt8
    /// The sender, if it holds the ports of TCP or UDP: in a quote they are enough, elsewhere the header is complete.
    public internal(set) var source: TransportEndpoint?
    /// The receiver, likewise.
    public internal(set) var destination: TransportEndpoint?
    /// A complete TCP header with what was read, except for offset and checksum.
    public internal(set) var tcp: TCPHeader?
    /// An ICMP or ICMPv6 header with what was read, except for the checksum.
    public internal(set) var icmp: ICMPHeader?

    init(place: Place, ip: IPHeader, protocolNumber: UInt8) {
        self.place = place
        self.ip = ip
        self.protocolNumber = protocolNumber
    }
}

extension UInt8 {
    /// Two lower case digits.
    var hex: String { (self < 16 ? "0" : "") + String(self, radix: 16) }
}
