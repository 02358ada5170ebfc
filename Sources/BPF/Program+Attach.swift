internal import CLibbpf
internal import Glibc
internal import SystemPackage

/// Where in the receive path an XDP program runs.
public enum XDPMode: Sendable, CaseIterable {
    /// In the driver, before a packet buffer (skb) exists.
    case native
    /// In the network stack, on any device, at the cost of an skb.
    case generic

    fileprivate var flags: UInt32 {
        switch self {
        case .native: UInt32(XDP_FLAGS_DRV_MODE)
        case .generic: UInt32(XDP_FLAGS_SKB_MODE)
        }
    }
}

/// The side of a device a tc program is attached to.
public enum TrafficDirection: Sendable, CaseIterable {
    /// Packets the device has received.
    case ingress
    /// Packets about to be sent by the device.
    case egress
}

/// A hook of a cgroup; those of socket addresses by name, the others by the kernel's number.
public struct CgroupAttachType: RawRepresentable, Hashable, Sendable {
    /// The kernel's `enum bpf_attach_type`.
    public let rawValue: UInt32

    /// The hook with the kernel's number for it.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// `connect(2)` of IPv4 sockets.
    public static let connect4 = CgroupAttachType(rawValue: BPF_CGROUP_INET4_CONNECT.rawValue)
    /// `connect(2)` of IPv6 sockets.
    public static let connect6 = CgroupAttachType(rawValue: BPF_CGROUP_INET6_CONNECT.rawValue)
    /// `sendto(2)`, `sendmsg(2)` of unconnected IPv4 UDP sockets.
    public static let sendmsg4 = CgroupAttachType(rawValue: BPF_CGROUP_UDP4_SENDMSG.rawValue)
    /// `sendto(2)`, `sendmsg(2)` of unconnected IPv6 UDP sockets.
    public static let sendmsg6 = CgroupAttachType(rawValue: BPF_CGROUP_UDP6_SENDMSG.rawValue)
    /// The source address that `recvfrom(2)`, `recvmsg(2)` report on IPv4 UDP sockets.
    public static let recvmsg4 = CgroupAttachType(rawValue: BPF_CGROUP_UDP4_RECVMSG.rawValue)
    /// The source address that `recvfrom(2)`, `recvmsg(2)` report on IPv6 UDP sockets.
    public static let recvmsg6 = CgroupAttachType(rawValue: BPF_CGROUP_UDP6_RECVMSG.rawValue)
    /// `getpeername(2)` of IPv4 sockets.
    public static let getpeername4 = CgroupAttachType(rawValue: BPF_CGROUP_INET4_GETPEERNAME.rawValue)
    /// `getpeername(2)` of IPv6 sockets.
    public static let getpeername6 = CgroupAttachType(rawValue: BPF_CGROUP_INET6_GETPEERNAME.rawValue)
    /// After `bind(2)` of IPv4 sockets; the program may undo it.
    public static let postBind4 = CgroupAttachType(rawValue: BPF_CGROUP_INET4_POST_BIND.rawValue)
    /// After `bind(2)` of IPv6 sockets; the program may undo it.
    public static let postBind6 = CgroupAttachType(rawValue: BPF_CGROUP_INET6_POST_BIND.rawValue)
}

extension Program {
    /// Attaches an XDP program to a device of this thread's network namespace. A device has one XDP link.
    ///
    /// - Throws: ``BPFError/Code/unsupported`` if the driver has no native XDP, `EBUSY` if the device has a program.
    public func attachXDP(interface: Int32, mode: XDPMode) throws(BPFError) -> Link {
        var options = bpf_link_create_opts()
        options.sz = MemoryLayout<bpf_link_create_opts>.size
        options.flags = mode.flags
        let result = bpf_link_create(descriptor.raw, interface, BPF_XDP, &options)
        let advice: String? =
            switch -result {
            case EOPNOTSUPP: "the driver has no native XDP: use the generic mode"
            case EBUSY: "the device has an XDP program already: detach it, or replace it through its pinned link"
            // Unlike the other hooks, XDP does not answer ENODEV.
            case EINVAL where !Self.exists(interface): "there is no such device in this thread's network namespace"
            case EINVAL where mode == .native: "the driver may refuse native XDP at this MTU: try the generic mode"
            default: nil
            }
        return try link(result, subject: "XDP of interface \(interface)", advice: advice)
    }

    /// Attaches a tc program to a device by TCX (Linux 6.6), after the programs that are there already.
    ///
    /// TCX runs before clsact filters, and ends with the first program that returns anything but `TCX_NEXT` (-1).
    /// - Throws: ``BPFError/Code/unsupported`` on older kernels.
    public func attachTCX(interface: Int32, direction: TrafficDirection) throws(BPFError) -> Link {
        let type: UInt32 =
            switch direction {
            case .ingress: UInt32(CLIBBPF_TCX_INGRESS)
            case .egress: UInt32(CLIBBPF_TCX_EGRESS)
            }
        // libbpf hands attach types it does not know to the kernel as they are.
        let result = bpf_link_create(descriptor.raw, interface, bpf_attach_type(rawValue: type), nil)
        let subject = "TCX \(direction) of interface \(interface)"
        if result == -EINVAL, try !KernelFeatures.supportsTCX() {
            throw BPFError(
                .unsupported, operation: "bpf_link_create", subject: subject, errno: .invalidArgument,
                detail: "this is Linux \(KernelFeatures.version)", advice: "TCX needs Linux 6.6: attach by clsact")
        }
        return try link(result, subject: subject, advice: nil)
    }

    /// Attaches a program to a hook of a cgroup (v2) and its descendants, beside those that are there already.
    public func attachCgroup(directory: String, type: CgroupAttachType) throws(BPFError) -> Link {
        let cgroup = OwnedDescriptor(
            adopting: try checkErrno("open", directory) {
                let result = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                return result < 0 ? nil : result
            })
        let result = bpf_link_create(descriptor.raw, cgroup.raw, bpf_attach_type(rawValue: type.rawValue), nil)
        let advice: String? =
            switch -result {
            case EBADF: "the directory is not in a cgroup v2 hierarchy"
            case EINVAL: "the program's section must name the hook it is attached to"
            case EPERM: "another program is attached there in exclusive mode, or CAP_BPF and CAP_NET_ADMIN are missing"
            default: nil
            }
        return try link(result, subject: "cgroup \(directory)", advice: advice)
    }

    private static func exists(_ interface: Int32) -> Bool {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(IF_NAMESIZE)) { name in
            if_indextoname(UInt32(bitPattern: interface), name.baseAddress) != nil
        }
    }

    private func link(_ result: Int32, subject: String, advice: String?) throws(BPFError) -> Link {
        guard result >= 0 else {
            throw BPFError(
                errno: Errno(rawValue: -result), operation: "bpf_link_create", subject: subject,
                detail: "program \(name) of type \(type)", advice: advice)
        }
        return try Link(descriptor: OwnedDescriptor(adopting: result), subject: subject)
    }
}
