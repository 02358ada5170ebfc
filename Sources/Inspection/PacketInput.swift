internal import Glibc
public import NetTypes
internal import PacketKit

/// A packet to be traced.
public struct InputPacket: Sendable, Hashable {
    /// The frame, from its Ethernet header on.
    public let frame: [UInt8]
    /// What was there when there is less of it now, in bytes.
    public let cutFrom: Int?

    init(frame: [UInt8], cutFrom: Int? = nil) {
        self.frame = frame
        self.cutFrom = cutFrom
    }

    /// An IP packet, in a frame that nobody sent.
    init?(packet: [UInt8], cutFrom: Int? = nil) {
        guard let type = Self.type(of: packet) else { return nil }
        let link = LinkHeader()
        self.init(
            frame: link.destination + link.source + [UInt8(type >> 8), UInt8(type & 0xFF)] + packet, cutFrom: cutFrom)
    }

    /// A segment or datagram without payload. `flags` are those of TCP.
    public init(from source: TransportEndpoint, to destination: TransportEndpoint, flags: TCPFlagNames) {
        self.init(
            frame: PacketBuilder(from: source, to: destination, flags: flags.flags, payload: []).bytes)
    }

    /// Reads hexadecimal digits, as `tcpdump -x`, `xxd` or Wireshark write them: a frame or an IP packet.
    public init(hex text: String) throws(FilterError) {
        var digits: [UInt8] = []
        for word in text.split(whereSeparator: \.isWhitespace) {
            // Offsets in front of a line: `0x0010:`, `00000010:`.
            if word.last == ":", word.count > 3 { continue }
            let bare = word.hasPrefix("0x") ? word.dropFirst(2) : word
            for character in bare where character != ":" && character != "," && character != "-" {
                guard let digit = character.hexDigitValue else {
                    throw FilterError(description: "\"\(character)\" is no hexadecimal digit")
                }
                digits.append(UInt8(digit))
            }
        }
        guard digits.count % 2 == 0 else {
            throw FilterError(description: "half a byte too much: \(digits.count) digits")
        }
        let bytes = stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
        if Frame(bytes).ipOffset != nil || Self.type(of: bytes) == nil {
            guard bytes.count >= 14 else {
                throw FilterError(description: "expected a frame of at least 14 bytes, or an IP packet")
            }
            self.init(frame: bytes)
        } else if let packet = Self(packet: bytes) {
            self = packet
        } else {
            throw FilterError(description: "expected a frame or an IP packet")
        }
    }

    private static func type(of packet: [UInt8]) -> UInt16? {
        switch packet.first.map({ $0 >> 4 }) {
        case 4 where packet.count >= 20: EtherType.ipv4
        case 6 where packet.count >= 40: EtherType.ipv6
        default: nil
        }
    }
}

/// An address and a port, as a packet has them.
public struct PacketEndpoint: Sendable, Hashable {
    /// The address.
    public let address: IPAddress
    /// The port, in host byte order.
    public let port: UInt16

    /// Reads `IPV4:PORT` or `[IPV6]:PORT`.
    public init(_ text: String) throws(FilterError) {
        let expected = FilterError(
            description: "expected an address and a port, as 192.0.2.7:40000 or [2001:db8::7]:40000")
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            throw expected
        }
        var host = text[..<colon]
        let isBracketed = host.first == "[" && host.last == "]"
        if isBracketed { host = host.dropFirst().dropLast() }
        guard let address = IPAddress(host), (address.family == .v6) == isBracketed else { throw expected }
        self.address = address
        self.port = port
    }

    /// With a protocol.
    public func endpoint(_ transport: TransportProtocol) -> TransportEndpoint {
        TransportEndpoint(address, port, transport)
    }
}

/// TCP flags as a person writes them: `syn,ack`.
public struct TCPFlagNames: Sendable, Hashable {
    let flags: TCPFlags

    /// What opens a connection.
    public static let syn = TCPFlagNames(.syn)

    private init(_ flags: TCPFlags) { self.flags = flags }

    /// Reads names joined by commas; `none` is none.
    public init(_ text: String) throws(FilterError) {
        let names: [String: TCPFlags] = [
            "fin": .fin, "syn": .syn, "rst": .rst, "psh": .psh, "ack": .ack, "urg": .urg, "none": [],
        ]
        var flags: TCPFlags = []
        for name in text.lowercased().split(separator: ",", omittingEmptySubsequences: false) {
            guard let flag = names[String(name)] else {
                throw FilterError(
                    description: "expected flags of fin, syn, rst, psh, ack and urg, joined by commas, or none")
            }
            flags.formUnion(flag)
        }
        self.flags = flags
    }
}

/// Packets of a capture file in the classic pcap format (draft-ietf-opsawg-pcap).
public enum PacketCapture {
    /// Reads the first `count` packets.
    ///
    /// - Throws: ``InspectionError/Kind/usage`` for what is no such file, or has another link type than Ethernet or IP.
    public static func read(_ path: String, count: Int) throws(InspectionError) -> [InputPacket] {
        guard let file = fopen(path, "re") else {
            throw InspectionError(.usage, "\(path) cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        var reader = Reader(file: file, path: path)
        return try reader.packets(count)
    }

    private struct Reader {
        let file: UnsafeMutablePointer<FILE>
        let path: String
        private var isBig = false

        init(file: UnsafeMutablePointer<FILE>, path: String) {
            self.file = file
            self.path = path
        }

        private static let ethernet: UInt32 = 1
        private static let rawIP: UInt32 = 101
        /// More than any capture has (`MAXIMUM_SNAPLEN` of libpcap).
        private static let longest = 262_144

        mutating func packets(_ count: Int) throws(InspectionError) -> [InputPacket] {
            guard let header = bytes(24) else { throw wrong("it is too short") }
            switch Array(header[..<4]) {
            // Microseconds and nanoseconds, in either byte order.
            case [0xA1, 0xB2, 0xC3, 0xD4], [0xA1, 0xB2, 0x3C, 0x4D]: isBig = true
            case [0xD4, 0xC3, 0xB2, 0xA1], [0x4D, 0x3C, 0xB2, 0xA1]: isBig = false
            case [0x0A, 0x0D, 0x0D, 0x0A]:
                throw wrong("it is pcapng; `editcap -F pcap` makes the classic format of it")
            default: throw wrong("it does not begin as one")
            }
            // The upper bits say whether there are checksums of frames.
            let link = word(header, 20) & 0x0FFF_FFFF
            guard [Self.ethernet, Self.rawIP].contains(link) else {
                throw wrong("its link type is \(link), and only Ethernet (1) and raw IP (101) are known")
            }
            var packets: [InputPacket] = []
            while packets.count < count, let record = bytes(16) {
                let (here, whole) = (Int(word(record, 8)), Int(word(record, 12)))
                guard here <= Self.longest, let data = bytes(here) else {
                    throw wrong("packet \(packets.count + 1) is cut")
                }
                let cut = whole > here ? whole : nil
                if link == Self.ethernet {
                    packets.append(InputPacket(frame: data, cutFrom: cut))
                } else if let packet = InputPacket(packet: data, cutFrom: cut) {
                    packets.append(packet)
                } else {
                    throw wrong("packet \(packets.count + 1) is none of IP")
                }
            }
            return packets
        }

        private func bytes(_ count: Int) -> [UInt8]? {
            var buffer = [UInt8](repeating: 0, count: count)
            return fread(&buffer, 1, count, file) == count ? buffer : nil
        }

        private func word(_ bytes: [UInt8], _ at: Int) -> UInt32 {
            let four = bytes[at..<at + 4]
            return isBig
                ? four.reduce(0) { $0 << 8 | UInt32($1) } : four.reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }

        private func wrong(_ why: String) -> InspectionError {
            InspectionError(.usage, "\(path) is no capture that can be read: \(why)")
        }
    }
}

/// What a packet is, in a line.
struct PacketSummary {
    let dissection: PacketDissection
    let size: Int

    init(_ frame: [UInt8]) {
        dissection = PacketDissection(frame)
        size = frame.count
    }

    /// `TCP 192.0.2.7:40000 > 198.18.0.10:80, SYN, 54 bytes`.
    var text: String {
        guard let outer = dissection.layers.first else {
            let type = dissection.fields.last { $0.name == "eth.type" || $0.name == "vlan.type" }?.value
            return "neither IPv4 nor IPv6\(type.map { ", type \($0)" } ?? ""), \(size) bytes"
        }
        return "\(text(outer, dissection.layers.dropFirst())), \(size) bytes"
    }

    private func text(_ layer: PacketLayer, _ rest: ArraySlice<PacketLayer>) -> String {
        let between = "\(layer.ip.source) > \(layer.ip.destination)"
        if let inner = rest.first, inner.place == .inner {
            return "IP\(layer.ip.family) \(between) around \(text(inner, rest.dropFirst()))"
        }
        let fragment = layer.ip.fragment.map { ", fragment at \($0.offset)" } ?? ""
        if let source = layer.source, let destination = layer.destination {
            let flags = layer.tcp.map { ", \($0.flags)" } ?? ""
            let ends =
                "\(source.address.withPort(source.port)) > \(destination.address.withPort(destination.port))"
            return "\(source.transport) \(ends)\(flags)\(fragment)"
        }
        if let icmp = layer.icmp {
            let name = layer.ip.family == .v4 ? "icmp" : "icmp6"
            let meanings = ["type", "code"].compactMap { part in
                dissection.fields.first { $0.name.hasSuffix("\(name).\(part)") }
            }
            .compactMap { field in field.value.split(separator: "(").dropFirst().first.map { String($0.dropLast()) } }
            let what = meanings.isEmpty ? "type \(icmp.type)" : meanings.joined(separator: ", ")
            let about = rest.first.map { " about \(text($0, rest.dropFirst()))" } ?? ""
            return "\(name == "icmp" ? "ICMP" : "ICMPv6") \(between), \(what)\(about)"
        }
        return "IP\(layer.ip.family) \(between), protocol \(layer.protocolNumber)\(fragment)"
    }
}
