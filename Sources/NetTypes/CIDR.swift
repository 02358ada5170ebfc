/// An address prefix. Host bits are cleared on creation.
public struct CIDR: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The first address of the prefix.
    public let base: IPAddress
    /// Length of the prefix in bits, 0 to 32 or 0 to 128.
    public let length: Int

    /// A prefix of `length` bits around `address`; `nil` when the length does not fit the family.
    public init?(_ address: IPAddress, length: Int) {
        let width = address.family.bitWidth
        guard (0...width).contains(length) else { return nil }
        let cleared = length == 0 ? 0 : (address.bits >> UInt128(width - length)) << UInt128(width - length)
        base = address.family == .v4 ? IPAddress(v4: UInt32(cleared)) : IPAddress(v6: cleared)
        self.length = length
    }

    /// Reads `ADDRESS/LENGTH`. Legacy spellings with leading zeros are read as decimal, like ``IPAddress``.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPAddress(parts[0]), !parts[1].isEmpty,
            parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let length = Int(parts[1])
        else { return nil }
        self.init(address, length: length)
    }

    /// The family.
    public var family: IPFamily { base.family }

    /// Whether the address lies in the prefix; never for the other family.
    public func contains(_ address: IPAddress) -> Bool {
        CIDR(address, length: length) == self
    }

    /// `192.0.2.0/24`.
    public var description: String { "\(base)/\(length)" }

    /// By address, then length.
    public static func < (a: CIDR, b: CIDR) -> Bool { (a.base, a.length) < (b.base, b.length) }
}
