internal import CLinux
internal import Glibc
public import NetTypes

/// What packet filter tables a network namespace has: nf_tables by nfnetlink, and those of legacy iptables. Only looks.
///
/// Needs CAP_NET_ADMIN. No `nft` or `iptables` program is run, so that versions of theirs do not matter.
public struct NetfilterTables: ~Copyable, Sendable {
    private var socket: NetlinkSocket

    /// In the calling thread's network namespace, where the value must then be used from.
    public init() throws(NetlinkError) {
        let result = nt_netlink_open(NETLINK_NETFILTER, 0, 0, 0)
        guard result >= 0 else { throw NetlinkError(operation: "open", object: "netfilter socket", code: -result) }
        socket = NetlinkSocket(adopting: LinuxDescriptor(owning: result))
    }

    /// Whether nf_tables has a table.
    public mutating func hasTable(_ name: String, _ family: IPFamily) throws(NetlinkError) -> Bool {
        var message = Self.request(NFT_MSG_GETTABLE, family)
        message.attribute(Int(NFTA_TABLE_NAME.rawValue), string: name)
        return try isThere(message, "table \(name)")
    }

    /// Whether a table of nf_tables has a chain, as iptables-nft makes them too.
    public mutating func hasChain(_ chain: String, in table: String, _ family: IPFamily) throws(NetlinkError) -> Bool {
        var message = Self.request(NFT_MSG_GETCHAIN, family)
        message.attribute(Int(NFTA_CHAIN_TABLE.rawValue), string: table)
        message.attribute(Int(NFTA_CHAIN_NAME.rawValue), string: chain)
        return try isThere(message, "chain \(chain) of table \(table)")
    }

    /// Whether a table of legacy iptables has a chain of a user's. No table is made by asking.
    public static func hasLegacyChain(
        _ chain: String, in table: String, _ family: IPFamily
    ) throws(NetlinkError) -> Bool {
        guard names(family == .v4 ? "ip_tables_names" : "ip6_tables_names").contains(table) else { return false }
        let result = nt_has_iptables_chain(family == .v4 ? AF_INET : AF_INET6, table, chain)
        guard result >= 0 else {
            throw NetlinkError(operation: "look up", object: "iptables chain \(chain)", code: -result)
        }
        return result == 1
    }

    private mutating func isThere(_ message: NetlinkMessage, _ object: String) throws(NetlinkError) -> Bool {
        do {
            try socket.request(message, "look up", on: object)
            return true
        } catch {
            // A kernel without nf_tables has no subsystem of that number.
            guard error.isAbsence || error.code == EINVAL else { throw error }
            return false
        }
    }

    private static func request(_ type: nf_tables_msg_types, _ family: IPFamily) -> NetlinkMessage {
        let subsystem = Int(NFNL_SUBSYS_NFTABLES) << 8
        var message = NetlinkMessage(type: subsystem | Int(type.rawValue), flags: NLM_F_REQUEST | NLM_F_ACK)
        // NFPROTO_IPV4 and NFPROTO_IPV6 are the numbers of the address families.
        let header = nfgenmsg(
            nfgen_family: UInt8(family == .v4 ? AF_INET : AF_INET6), version: UInt8(NFNETLINK_V0), res_id: 0)
        message.header(header)
        return message
    }

    /// The tables that are there, by a file of the calling thread's `/proc/net`.
    private static func names(_ file: String) -> [String] {
        guard let stream = fopen("/proc/thread-self/net/\(file)", "re") else { return [] }
        defer { fclose(stream) }
        var buffer = [CChar](repeating: 0, count: 64)
        var names: [String] = []
        while fgets(&buffer, Int32(buffer.count), stream) != nil {
            let line = buffer.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }
            names.append(String(decoding: line, as: UTF8.self))
        }
        return names
    }
}
