import Maglev
import NetTypes

/// `count` TCP backends from 198.18.0.1 on, or from 2001:db8::1 on.
func backends(_ count: Int, family: IPFamily = .v4, port: UInt16 = 8080) -> [MaglevBackend] {
    (1...max(1, count)).prefix(count).map { number in
        let address =
            family == .v4
            ? IPAddress(v4: 0xC612_0000 + UInt32(number))
            : IPAddress(v6: 0x2001_0DB8 << 96 | UInt128(number))
        return MaglevBackend(identity: TransportEndpoint(address, port, .tcp))
    }
}

/// A table by a builder of its own; by default each backend's id is its index in `backends`.
func table(_ size: Int, _ backends: [MaglevBackend], ids: [UInt32]? = nil) throws -> [UInt32] {
    var builder = MaglevBuilder()
    return try table(size, backends, ids: ids, builder: &builder)
}

func table(
    _ size: Int, _ backends: [MaglevBackend], ids: [UInt32]? = nil, builder: inout MaglevBuilder
) throws -> [UInt32] {
    var slots = [UInt32](repeating: .max, count: size)
    let ids = ids ?? (0..<backends.count).map { UInt32($0) }
    var span = slots.mutableSpan
    try builder.build(into: &span, backends: backends.span, ids: ids.span)
    return slots
}

/// Slots per id below `count`.
func counts(_ table: [UInt32], _ count: Int) -> [Int] {
    table.reduce(into: [Int](repeating: 0, count: count)) { $0[Int($1)] += 1 }
}
