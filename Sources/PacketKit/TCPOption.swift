/// An option of a TCP header (RFC 9293 3.2, RFC 7323, RFC 2018).
public enum TCPOption: Sendable, Hashable, CustomStringConvertible {
    /// The end of the options.
    case end
    /// Padding between options.
    case noOperation
    /// The longest segment the sender of the option receives: payload bytes.
    case maximumSegmentSize(UInt16)
    /// How many bits the windows of the sender of the option are to be shifted.
    case windowScale(UInt8)
    /// Selective acknowledgments are understood.
    case selectiveAcknowledgmentPermitted
    /// The sender's clock, and the receiver's as last seen.
    case timestamps(value: UInt32, echo: UInt32)
    /// Any other: its kind, and what follows the length byte.
    case other(kind: UInt8, body: [UInt8])

    /// As in the header.
    public var bytes: [UInt8] {
        switch self {
        case .end: return [0]
        case .noOperation: return [1]
        case .maximumSegmentSize(let size): return [2, 4, UInt8(size >> 8), UInt8(size & 0xFF)]
        case .windowScale(let shift): return [3, 3, shift]
        case .selectiveAcknowledgmentPermitted: return [4, 2]
        case .timestamps(let value, let echo):
            var bytes: [UInt8] = [8, 10]
            bytes.append(value)
            bytes.append(echo)
            return bytes
        case .other(let kind, let body): return [kind, UInt8(truncatingIfNeeded: 2 + body.count)] + body
        }
    }

    /// `mss 1460`; `sack permitted`.
    public var description: String {
        switch self {
        case .end: "end"
        case .noOperation: "nop"
        case .maximumSegmentSize(let size): "mss \(size)"
        case .windowScale(let shift): "window scale \(shift)"
        case .selectiveAcknowledgmentPermitted: "sack permitted"
        case .timestamps(let value, let echo): "timestamps \(value) \(echo)"
        case .other(let kind, let body): "kind \(kind), \(body.count) bytes"
        }
    }

    /// Reads the options of a header, up to their end or to the first that is cut short.
    public static func read(_ options: some Collection<UInt8>) -> [TCPOption] {
        var rest = Array(options)[...]
        var found: [TCPOption] = []
        while let option = first(of: rest) {
            found.append(option)
            guard option != .end else { break }
            rest = rest.dropFirst(option.bytes.count)
        }
        return found
    }

    private static func first(of bytes: ArraySlice<UInt8>) -> TCPOption? {
        guard let kind = bytes.first else { return nil }
        if kind < 2 { return kind == 0 ? .end : .noOperation }
        guard bytes.count >= 2 else { return nil }
        let length = Int(bytes[bytes.startIndex + 1])
        guard length >= 2, length <= bytes.count else { return nil }
        let body = Array(bytes.prefix(length).dropFirst(2))
        func number(_ range: Range<Int>) -> UInt32 { body[range].reduce(0) { $0 << 8 | UInt32($1) } }
        return switch (kind, body.count) {
        case (2, 2): .maximumSegmentSize(UInt16(number(0..<2)))
        case (3, 1): .windowScale(body[0])
        case (4, 0): .selectiveAcknowledgmentPermitted
        case (8, 8): .timestamps(value: number(0..<4), echo: number(4..<8))
        default: .other(kind: kind, body: body)
        }
    }
}

extension TCPHeader {
    /// The same header with these options in place of its own.
    public func with(_ options: [TCPOption]) -> TCPHeader {
        var copy = self
        copy.options = options.flatMap(\.bytes)
        return copy
    }

    /// What the first option of this kind says, in bytes of payload; setting it changes that option where it is and
    /// does nothing where there is none.
    public var maximumSegmentSize: UInt16? {
        get {
            for case .maximumSegmentSize(let size) in TCPOption.read(options) { return size }
            return nil
        }
        set {
            guard let newValue else { return }
            var offset = 0
            for option in TCPOption.read(options) {
                if case .maximumSegmentSize = option {
                    options.store(newValue, at: offset + 2)
                    return
                }
                offset += option.bytes.count
            }
        }
    }
}
