internal import CLinux
internal import Glibc

/// A conversation with the kernel's routing socket (rtnetlink), in the network namespace of the thread that opened it:
/// it stays there wherever it is used from.
///
/// One request is on its way at a time, hence the mutating methods. A request whose answer does not come fails after
/// ten seconds.
public struct NetlinkSocket: ~Copyable, Sendable {
    /// How often a dump that the kernel marks as inconsistent (`NLM_F_DUMP_INTR`) is begun again.
    private static let dumpAttempts = 16

    private let descriptor: LinuxDescriptor
    private var sequence: UInt32 = 0
    private var buffer = [UInt8](repeating: 0, count: 1 << 16)

    /// Opens a socket in the calling thread's network namespace.
    public init() throws(NetlinkError) {
        let result = nt_netlink_open(NETLINK_ROUTE, 0, 0, 1 << 20)
        guard result >= 0 else {
            throw NetlinkError(operation: "open", object: "routing socket", code: -result)
        }
        descriptor = LinuxDescriptor(owning: result)
    }

    /// A conversation of another netlink protocol.
    init(adopting descriptor: consuming LinuxDescriptor) {
        self.descriptor = descriptor
    }

    /// Sends a request, waits for its acknowledgement, and returns what was answered before it.
    @discardableResult
    package mutating func request(
        _ message: NetlinkMessage, _ operation: String, on object: String
    ) throws(NetlinkError) -> [NetlinkMessages.Message] {
        var answers: [NetlinkMessages.Message] = []
        try send(message, operation, object)
        while true {
            for answer in try receive(operation, object) where answer.sequence == sequence {
                guard Int32(answer.type) == NLMSG_ERROR else {
                    answers.append(answer)
                    continue
                }
                let acknowledgement = Acknowledgement(answer)
                guard acknowledgement.code == 0 else {
                    throw acknowledgement.error(operation, object)
                }
                return answers
            }
        }
    }

    /// Sends a dump request and returns what `transform` makes of each answer. A dump during which the table changed is
    /// read again, so the result is one state of the table.
    package mutating func dump<T>(
        _ message: NetlinkMessage, _ operation: String, on object: String,
        _ transform: (NetlinkMessages.Message) -> T?
    ) throws(NetlinkError) -> [T] {
        for _ in 0..<Self.dumpAttempts {
            var results: [T] = []
            try send(message, operation, object)
            if try collect(operation, object, into: &results, transform) { return results }
        }
        throw NetlinkError(operation: operation, object: object, code: EINTR)
    }

    /// Reads one dump to its end; `false` when the kernel says that it is not of one piece.
    private mutating func collect<T>(
        _ operation: String, _ object: String, into results: inout [T],
        _ transform: (NetlinkMessages.Message) -> T?
    ) throws(NetlinkError) -> Bool {
        var isConsistent = true
        while true {
            for answer in try receive(operation, object) where answer.sequence == sequence {
                if Int32(answer.flags) & NLM_F_DUMP_INTR != 0 { isConsistent = false }
                guard Int32(answer.type) == NLMSG_ERROR || Int32(answer.type) == NLMSG_DONE else {
                    if let result = transform(answer) { results.append(result) }
                    continue
                }
                let acknowledgement = Acknowledgement(answer)
                guard acknowledgement.code == 0 else { throw acknowledgement.error(operation, object) }
                return isConsistent
            }
        }
    }

    private mutating func send(
        _ message: NetlinkMessage, _ operation: String, _ object: String
    ) throws(NetlinkError) {
        guard !message.isOversized else {
            throw NetlinkError(operation: operation, object: object, code: EMSGSIZE)
        }
        sequence &+= 1
        var message = message
        message.setSequence(sequence)
        let result = message.bytes.withUnsafeBytes { nt_netlink_send(descriptor.raw, $0.baseAddress, $0.count) }
        guard result >= 0 else { throw NetlinkError(operation: operation, object: object, code: -result) }
    }

    private mutating func receive(
        _ operation: String, _ object: String
    ) throws(NetlinkError) -> [NetlinkMessages.Message] {
        let raw = descriptor.raw
        let count = buffer.withUnsafeMutableBytes { nt_netlink_receive(raw, $0.baseAddress, $0.count) }
        guard count >= 0 else {
            throw NetlinkError(operation: operation, object: object, code: Int32(-count))
        }
        // A copy, since answers outlive the buffer's next use.
        return Array(NetlinkMessages(ArraySlice(Array(buffer.prefix(count)))))
    }
}

/// `NLMSG_ERROR` or `NLMSG_DONE`: a negated errno, and what the kernel says about it.
struct Acknowledgement {
    /// Positive errno; 0 for success.
    let code: Int32
    let text: String?

    init(_ message: NetlinkMessages.Message) {
        // A message too short to hold its code is no success.
        code = message.payload.integer(Int32.self, at: 0).map { $0 == .min ? EPROTO : -min($0, 0) } ?? EPROTO
        var extras = message.payload.dropFirst(4)
        if Int32(message.type) == NLMSG_ERROR {
            // The header of the refused request, and the rest of it unless the kernel left that out.
            let isCapped = Int32(message.flags) & NLM_F_CAPPED != 0
            let length = extras.integer(UInt32.self, at: 0) ?? 16
            extras = extras.dropFirst(isCapped ? 16 : (Int(length) + 3) & ~3)
        }
        let hasExtras = Int32(message.flags) & NLM_F_ACK_TLVS != 0
        text = hasExtras ? NetlinkAttributes(extras)[Int(NLMSGERR_ATTR_MSG.rawValue)]?.string : nil
    }

    func error(_ operation: String, _ object: String) -> NetlinkError {
        NetlinkError(operation: operation, object: object, code: code, kernelText: text)
    }
}
