/// The messages in one received datagram. Reading stops at the first message whose length cannot be true.
package struct NetlinkMessages: Sequence, IteratorProtocol {
    /// One message without its `nlmsghdr`.
    package struct Message {
        /// `RTM_*` or `NLMSG_*`.
        package let type: UInt16
        /// `NLM_F_*`.
        package let flags: UInt16
        /// The number of the request that this answers; 0 for notifications.
        package let sequence: UInt32
        /// What follows the header.
        package let payload: ArraySlice<UInt8>
    }

    private var rest: ArraySlice<UInt8>

    /// Reads from the bytes of a datagram.
    package init(_ bytes: ArraySlice<UInt8>) {
        rest = bytes
    }

    /// The next message.
    package mutating func next() -> Message? {
        guard let length = rest.integer(UInt32.self, at: 0), let type = rest.integer(UInt16.self, at: 4),
            let flags = rest.integer(UInt16.self, at: 6), let sequence = rest.integer(UInt32.self, at: 8),
            length >= 16, length <= rest.count
        else { return nil }
        let payload = rest.prefix(Int(length)).dropFirst(16)
        rest = rest.dropFirst(Int(length).roundedUpToFour)
        return Message(type: type, flags: flags, sequence: sequence, payload: payload)
    }
}

/// The attributes in a run of bytes. Reading stops at the first whose length cannot be true; nothing is read past the
/// end of the bytes, whatever they hold.
package struct NetlinkAttributes: Sequence, IteratorProtocol {
    /// One attribute.
    package struct Attribute {
        /// The type without the flag bits (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
        package let type: Int
        /// The payload without padding.
        package let payload: ArraySlice<UInt8>

        /// The payload as an integer in host byte order; `nil` when it is too short.
        package func integer<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) -> T? { payload.integer(T.self, at: 0) }
        /// The payload up to the first zero byte.
        package var string: String { String(decoding: payload.prefix { $0 != 0 }, as: UTF8.self) }
        /// The payload as attributes.
        package var nested: NetlinkAttributes { NetlinkAttributes(payload) }
    }

    private var rest: ArraySlice<UInt8>

    /// Reads attributes from the bytes.
    package init(_ bytes: ArraySlice<UInt8>) {
        rest = bytes
    }

    /// The next attribute.
    package mutating func next() -> Attribute? {
        guard let length = rest.integer(UInt16.self, at: 0), let type = rest.integer(UInt16.self, at: 2),
            length >= 4, length <= rest.count
        else { return nil }
        let payload = rest.prefix(Int(length)).dropFirst(4)
        rest = rest.dropFirst(Int(length).roundedUpToFour)
        return Attribute(type: Int(type & 0x3FFF), payload: payload)
    }

    /// The first attribute of a type.
    package subscript(_ type: Int) -> Attribute? { first { $0.type == type } }
}

extension ArraySlice<UInt8> {
    /// An integer in host byte order at a distance from the start; `nil` when the bytes end before it does.
    package func integer<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type, at offset: Int) -> T? {
        load(T.self, at: offset)
    }

    /// A structure of the kernel; `nil` when the bytes end before it does.
    package func load<T: BitwiseCopyable>(_: T.Type, at offset: Int = 0) -> T? {
        guard offset >= 0, count - offset >= MemoryLayout<T>.size else { return nil }
        return withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: T.self) }
    }
}

extension Int {
    fileprivate var roundedUpToFour: Int { (self + 3) & ~3 }
}
