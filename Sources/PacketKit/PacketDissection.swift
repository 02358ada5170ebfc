public import NetTypes

/// A frame taken apart into named fields, as far as it can be; never fails.
public struct PacketDissection: Sendable, Hashable {
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
    /// The sender, of a complete TCP or UDP header that is no later fragment's.
    public private(set) var source: TransportEndpoint?
    /// The receiver, likewise.
    public private(set) var destination: TransportEndpoint?
    /// Checksums that are not what the bytes call for, by field name. A UDP checksum of 0 is taken for none.
    public private(set) var wrongChecksums: [String] = []

    private let bytes: [UInt8]
    private var offset = 0

    /// Takes a frame apart.
    public init(_ bytes: [UInt8]) {
        self.bytes = bytes
        link()
        rest("data", to: bytes.count)
    }

    private func number(_ at: Int, _ size: Int) -> UInt64 {
        bytes[at..<at + size].reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Whether `size` more bytes are there.
    private func has(_ size: Int, before end: Int) -> Bool { offset + size <= min(end, bytes.count) }

    private mutating func field(_ name: String, _ size: Int, _ value: (ArraySlice<UInt8>) -> String) {
        let range = offset..<offset + size
        fields.append(Field(name: name, value: value(bytes[range]), range: range))
        offset += size
    }

    @discardableResult
    private mutating func integer(_ name: String, _ size: Int, hex: Bool = false) -> UInt64 {
        let value = number(offset, size)
        field(name, size) { _ in hex ? "0x" + String(value, radix: 16) : String(value) }
        return value
    }

    private mutating func address(_ name: String, _ size: Int) -> IPAddress? {
        let address = IPAddress(bytes: bytes[offset..<offset + size])
        field(name, size) { _ in address.map(\.description) ?? "" }
        return address
    }

    private mutating func rest(_ name: String, to end: Int) {
        let end = min(end, bytes.count)
        if offset < end { field(name, end - offset) { "\($0.count) bytes" } }
    }

    private mutating func checksum(_ name: String, wanted: UInt16, mayBeNone: Bool = false) {
        let value = UInt16(number(offset, 2))
        let isNone = mayBeNone && value == 0
        if value != wanted, !isNone { wrongChecksums.append(name) }
        let verdict = isNone ? "none" : value == wanted ? "correct" : "wrong, 0x\(String(wanted, radix: 16)) is right"
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
        case EtherType.ipv4 where has(20, before: bytes.count): ipv4()
        case EtherType.ipv6 where has(40, before: bytes.count): ipv6()
        default: break
        }
    }

    private mutating func ipv4() {
        let start = offset
        let headerSize = Int(bytes[start] & 0xF) * 4
        field("ip.version", 1) { "\($0[$0.startIndex] >> 4), \(headerSize) bytes of header" }
        integer("ip.tos", 1, hex: true)
        let end = start + Int(integer("ip.length", 2))
        integer("ip.identification", 2, hex: true)
        let fragment = integer("ip.fragment", 2, hex: true)
        integer("ip.ttl", 1)
        let next = UInt8(integer("ip.protocol", 1))
        var header = Array(bytes[start..<min(start + max(headerSize, 20), bytes.count)])
        header.store(0, at: 10)
        checksum("ip.checksum", wanted: InternetChecksum.of(header))
        let source = address("ip.source", 4)
        let destination = address("ip.destination", 4)
        if headerSize > 20 { rest("ip.options", to: start + headerSize) }
        if fragment & 0x1FFF == 0, let source, let destination {
            transport(next, source, destination, to: end, isWhole: fragment & 0x2000 == 0)
        }
        rest("payload", to: end)
        rest("trailer", to: bytes.count)
    }

    private mutating func ipv6() {
        integer("ip6.version", 4, hex: true)
        let length = Int(integer("ip6.length", 2))
        var next = UInt8(integer("ip6.next", 1))
        integer("ip6.hops", 1)
        let source = address("ip6.source", 16)
        let destination = address("ip6.destination", 16)
        let end = offset + length
        let numbers = [
            ProtocolNumber.hopByHop, ProtocolNumber.routing, ProtocolNumber.fragment,
            ProtocolNumber.destinationOptions,
        ]
        var isWhole = true
        while numbers.contains(next), has(8, before: end) {
            let number = next
            next = bytes[offset]
            let size = number == ProtocolNumber.fragment ? 8 : (Int(bytes[offset + 1]) + 1) * 8
            if number == ProtocolNumber.fragment, self.number(offset + 2, 2) & 0xFFF9 != 0 { isWhole = false }
            rest("ip6.extension \(number)", to: min(offset + size, end))
        }
        if isWhole, let source, let destination { transport(next, source, destination, to: end, isWhole: true) }
        rest("payload", to: end)
        rest("trailer", to: bytes.count)
    }

    private mutating func transport(
        _ number: UInt8, _ source: IPAddress, _ destination: IPAddress, to end: Int, isWhole: Bool
    ) {
        let segment = Array(bytes[min(offset, bytes.count)..<max(offset, min(end, bytes.count))])
        func sum(zeroing at: Int) -> UInt16 {
            var copy = segment
            copy.store(0, at: at)
            return InternetChecksum.of(copy, protocolNumber: number, source: source, destination: destination)
        }
        switch number {
        case ProtocolNumber.tcp where has(20, before: end):
            ports("tcp", .tcp, source, destination)
            integer("tcp.sequence", 4)
            integer("tcp.acknowledgment", 4)
            let size = Int(bytes[offset] >> 4) * 4
            field("tcp.offset", 1) { _ in "\(size) bytes of header" }
            field("tcp.flags", 1) { TCPFlags(rawValue: $0[$0.startIndex]).description }
            integer("tcp.window", 2)
            isWhole ? checksum("tcp.checksum", wanted: sum(zeroing: 16)) : rest("tcp.checksum", to: offset + 2)
            integer("tcp.urgent", 2)
            if size > 20 { rest("tcp.options", to: min(offset + size - 20, end)) }
        case ProtocolNumber.udp where has(8, before: end):
            ports("udp", .udp, source, destination)
            integer("udp.length", 2)
            let wanted = sum(zeroing: 6)
            isWhole
                ? checksum("udp.checksum", wanted: wanted == 0 ? 0xFFFF : wanted, mayBeNone: true)
                : rest("udp.checksum", to: offset + 2)
        default: break
        }
    }

    private mutating func ports(
        _ layer: String, _ transport: TransportProtocol, _ source: IPAddress, _ destination: IPAddress
    ) {
        let from = UInt16(integer("\(layer).source", 2))
        let to = UInt16(integer("\(layer).destination", 2))
        self.source = TransportEndpoint(source, from, transport)
        self.destination = TransportEndpoint(destination, to, transport)
    }
}

extension UInt8 {
    /// Two lower case digits.
    var hex: String { (self < 16 ? "0" : "") + String(self, radix: 16) }
}
