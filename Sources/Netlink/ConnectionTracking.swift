internal import CLinux

/// What the kernel's connection tracking remembers in a network namespace.
public enum ConnectionTracking {
    /// Forgets every connection of the calling thread's network namespace. Needs CAP_NET_ADMIN.
    ///
    /// - Throws: `EINVAL` or `EOPNOTSUPP` from a kernel that has no connection tracking to talk to.
    public static func flush() throws(NetlinkError) {
        let result = nt_netlink_open(NETLINK_NETFILTER, 0, 0, 0)
        guard result >= 0 else { throw NetlinkError(operation: "open", object: "netfilter socket", code: -result) }
        var socket = NetlinkSocket(adopting: LinuxDescriptor(owning: result))
        // Without a tuple it deletes all (`ctnetlink_del_conntrack` in `net/netfilter/nf_conntrack_netlink.c`).
        let type = Int(NFNL_SUBSYS_CTNETLINK) << 8 | Int(IPCTNL_MSG_CT_DELETE.rawValue)
        var message = NetlinkMessage(type: type, flags: NLM_F_REQUEST | NLM_F_ACK)
        message.header(nfgenmsg(nfgen_family: 0, version: UInt8(NFNETLINK_V0), res_id: 0))
        try socket.request(message, "delete", on: "tracked connections")
    }
}
