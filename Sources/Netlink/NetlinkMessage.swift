internal import CLinux

/// Builds one netlink message: `nlmsghdr`, a family header, attributes (RFC 3549; `include/uapi/linux/netlink.h`).
///
/// Lengths are kept right as parts are added, so a message is valid at any time. Integers are in host byte order, as
/// netlink wants them, unless a parameter says otherwise.
package struct NetlinkMessage {
    /// The message, padded to a multiple of four bytes.
    package private(set) var bytes: [UInt8]
    /// Set when an attribute has outgrown its 16-bit length; such a message must not be sent.
    package private(set) var isOversized = false

    /// An empty message of an `RTM_*` type with `NLM_F_*` flags.
    package init(type: Int, flags: Int32) {
        bytes = []
        append(UInt32(16))
        append(UInt16(truncatingIfNeeded: type))
        append(UInt16(truncatingIfNeeded: flags))
        append(UInt64(0))
    }

    /// Adds a fixed structure: the family header that follows `nlmsghdr`, or one inside a nested attribute.
    package mutating func header<T: BitwiseCopyable>(_ value: T) {
        append(value)
        pad()
        writeLength()
    }

    /// Adds an attribute with the bytes as they are.
    package mutating func attribute(_ type: Int, bytes payload: some Collection<UInt8>) {
        attribute(type) { $0.bytes += payload }
    }

    /// Adds an attribute that holds one integer.
    package mutating func attribute(_ type: Int, value: some FixedWidthInteger & BitwiseCopyable) {
        attribute(type) { $0.append(value) }
    }

    /// Adds an attribute that holds a string and its terminating zero.
    package mutating func attribute(_ type: Int, string: String) {
        attribute(type) {
            $0.bytes += string.utf8
            $0.bytes.append(0)
        }
    }

    /// Adds an attribute whose payload is what the closure adds: other attributes, usually.
    package mutating func attribute(_ type: Int, _ nested: (inout NetlinkMessage) -> Void) {
        let start = bytes.count
        append(UInt16(0))
        append(UInt16(truncatingIfNeeded: type))
        nested(&self)
        let length = bytes.count - start
        isOversized = isOversized || length > UInt16.max
        store(UInt16(truncatingIfNeeded: length), at: start)
        pad()
        writeLength()
    }

    /// Numbers the message: the kernel's answers carry the same number.
    package mutating func setSequence(_ sequence: UInt32) {
        store(sequence, at: 8)
    }

    private mutating func append<T: BitwiseCopyable>(_ value: T) {
        withUnsafeBytes(of: value) { bytes += $0 }
    }

    private mutating func pad() {
        bytes += repeatElement(0, count: (4 - bytes.count % 4) % 4)
    }

    private mutating func writeLength() {
        store(UInt32(truncatingIfNeeded: bytes.count), at: 0)
    }

    private mutating func store<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at offset: Int) {
        bytes.withUnsafeMutableBytes { $0.storeBytes(of: value, toByteOffset: offset, as: T.self) }
    }
}
