/// A frame as its bytes, for what becomes on its way of one that no ``PacketBuilder`` describes.
///
/// What is asked of a frame that has no such field leaves it as it is.
public struct Frame: Sendable, Hashable {
    /// From the Ethernet header on.
    public var bytes: [UInt8]

    /// Any bytes.
    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    private func number(at offset: Int) -> UInt16 { UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1]) }

    /// Where the IP header begins, after any VLAN tags; `nil` when there is none, or not all of it.
    public var ipOffset: Int? {
        var offset = 14
        while offset <= bytes.count {
            switch number(at: offset - 2) {
            case EtherType.vlan, EtherType.serviceVLAN: offset += 4
            case EtherType.ipv4: return offset + 20 <= bytes.count && bytes[offset] >> 4 == 4 ? offset : nil
            case EtherType.ipv6: return offset + 40 <= bytes.count && bytes[offset] >> 4 == 6 ? offset : nil
            default: return nil
            }
        }
        return nil
    }

    /// The IP packet as long as its header says (or as there are bytes): what a tunnel carries or an ICMP error quotes.
    public var packet: [UInt8] {
        guard let ipOffset else { return [] }
        let isIPv4 = bytes[ipOffset] >> 4 == 4
        let length = isIPv4 ? Int(number(at: ipOffset + 2)) : 40 + Int(number(at: ipOffset + 4))
        return Array(bytes[ipOffset...].prefix(length))
    }

    /// Between other MAC addresses, 6 bytes each.
    public func relinked(from source: [UInt8], to destination: [UInt8]) -> Frame {
        bytes.count < 14 ? self : Frame(destination + source + bytes.dropFirst(12))
    }

    /// With these VLAN tags, outermost first, in place of those it has.
    public func tagged(_ tags: [VLANTag]) -> Frame {
        guard bytes.count >= 14 else { return self }
        var end = 12
        while end + 6 <= bytes.count, [EtherType.vlan, EtherType.serviceVLAN].contains(number(at: end)) { end += 4 }
        var header = Array(bytes[..<12])
        for tag in tags {
            header.append(tag.type)
            header.append(tag.control)
        }
        return Frame(header + bytes[end...])
    }

    /// One hop further: hop limit decremented, unless it is 0. A wrong IPv4 checksum stays wrong.
    public var hopLimitDecremented: Frame {
        guard let ipOffset else { return self }
        if bytes[ipOffset] >> 4 == 6 {
            var copy = self
            copy.bytes[ipOffset + 7] -= bytes[ipOffset + 7] == 0 ? 0 : 1
            return copy
        }
        return replacing(at: 8, of: ipOffset) { $0 < 0x100 ? $0 : $0 - 0x100 }
    }

    /// With the IPv4 flag "do not fragment" set or cleared.
    public func doNotFragment(_ isSet: Bool) -> Frame {
        guard let ipOffset, bytes[ipOffset] >> 4 == 4 else { return self }
        return replacing(at: 6, of: ipOffset) { isSet ? $0 | 0x4000 : $0 & ~0x4000 }
    }

    /// With another 16-bit word of its IPv4 header, and the checksum updated as routers do it (RFC 1624).
    private func replacing(at offset: Int, of header: Int, _ change: (UInt16) -> UInt16) -> Frame {
        let old = number(at: header + offset)
        var copy = self
        copy.bytes.store(change(old), at: header + offset)
        copy.bytes.store(
            InternetChecksum.updating(number(at: header + 10), from: old, to: change(old)), at: header + 10)
        return copy
    }
}
