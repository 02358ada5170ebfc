internal import CLibbpf
internal import Glibc
internal import SystemPackage

/// A tc filter that runs a program, as ``Program/attachClsact(interface:direction:handle:priority:)`` left it.
/// It stays until it is detached or the device goes; no descriptor holds it.
public struct ClsactAttachment: Hashable, Sendable {
    /// The device's index.
    public let interface: Int32
    /// The side of the device.
    public let direction: TrafficDirection
    /// The filter's handle.
    public let handle: UInt32
    /// The filter's priority; lower runs earlier.
    public let priority: UInt32
    /// Whether the call added the device's clsact qdisc, which was missing.
    public let createdQdisc: Bool
}

extension Program {
    /// Attaches a tc program as a direct-action filter of the device's clsact qdisc, which is added if absent.
    ///
    /// Handle and priority name the filter: attaching again replaces its program, so the call can be repeated.
    /// - Parameters:
    ///   - handle: 1 or more.
    ///   - priority: 1 to 65535.
    @discardableResult
    public func attachClsact(
        interface: Int32, direction: TrafficDirection, handle: UInt32, priority: UInt32
    ) throws(BPFError) -> ClsactAttachment {
        let filter = try ClsactFilter(interface: interface, direction: direction, handle: handle, priority: priority)
        var hook = filter.hook
        // EEXIST, the usual answer, comes with a warning by libbpf, which the capture swallows.
        let (created, log) = capturingLog { bpf_tc_hook_create(&hook) }
        guard created == 0 || created == -EEXIST else {
            throw filter.error(created, "bpf_tc_hook_create", log: log)
        }
        var options = filter.options
        options.prog_fd = descriptor.raw
        options.flags = BPF_TC_F_REPLACE.rawValue
        let (attached, attachLog) = capturingLog { bpf_tc_attach(&hook, &options) }
        guard attached == 0 else { throw filter.error(attached, "bpf_tc_attach", log: attachLog) }
        return ClsactAttachment(
            interface: interface, direction: direction, handle: handle, priority: priority, createdQdisc: created == 0)
    }

    /// Removes a filter. Returns `false` if there was none, or no clsact qdisc, or no such device.
    @discardableResult
    public static func detachClsact(
        interface: Int32, direction: TrafficDirection, handle: UInt32, priority: UInt32
    ) throws(BPFError) -> Bool {
        let filter = try ClsactFilter(interface: interface, direction: direction, handle: handle, priority: priority)
        guard try filter.query() != nil else { return false }
        var hook = filter.hook
        var options = filter.options
        let (result, log) = capturingLog { bpf_tc_detach(&hook, &options) }
        if result == -ENOENT { return false }
        guard result == 0 else { throw filter.error(result, "bpf_tc_detach", log: log) }
        return true
    }

    /// The id of the program a filter runs; `nil` if there is no such filter, no clsact qdisc, or no such device.
    public static func queryClsact(
        interface: Int32, direction: TrafficDirection, handle: UInt32, priority: UInt32
    ) throws(BPFError) -> UInt32? {
        try ClsactFilter(interface: interface, direction: direction, handle: handle, priority: priority).query()
    }

    /// Removes the device's clsact qdisc with all filters on it, whoever made them.
    /// Returns `false` if there was none.
    @discardableResult
    public static func removeClsact(interface: Int32) throws(BPFError) -> Bool {
        var hook = bpf_tc_hook()
        hook.sz = MemoryLayout<bpf_tc_hook>.size
        hook.ifindex = interface
        hook.attach_point = bpf_tc_attach_point(rawValue: BPF_TC_INGRESS.rawValue | BPF_TC_EGRESS.rawValue)
        let (result, _) = capturingLog { bpf_tc_hook_destroy(&hook) }
        if [-ENOENT, -EINVAL].contains(result) { return false }
        try check(result, "bpf_tc_hook_destroy", "clsact of interface \(interface)")
        return true
    }
}

/// The coordinates of a filter, checked, in libbpf's terms.
private struct ClsactFilter {
    let hook: bpf_tc_hook
    let options: bpf_tc_opts
    private let subject: String

    init(interface: Int32, direction: TrafficDirection, handle: UInt32, priority: UInt32) throws(BPFError) {
        subject = "clsact \(direction) of interface \(interface), handle \(handle), priority \(priority)"
        guard interface > 0, handle > 0, (1...65535).contains(priority) else {
            throw BPFError(
                .invalidArgument, operation: "bpf_tc_attach", subject: subject,
                advice: "interface and handle must be above 0, the priority 1 to 65535")
        }
        var hook = bpf_tc_hook()
        hook.sz = MemoryLayout<bpf_tc_hook>.size
        hook.ifindex = interface
        hook.attach_point =
            switch direction {
            case .ingress: BPF_TC_INGRESS
            case .egress: BPF_TC_EGRESS
            }
        self.hook = hook
        var options = bpf_tc_opts()
        options.sz = MemoryLayout<bpf_tc_opts>.size
        options.handle = handle
        options.priority = priority
        self.options = options
    }

    func query() throws(BPFError) -> UInt32? {
        var hook = hook
        var options = options
        let (result, log) = capturingLog { bpf_tc_query(&hook, &options) }
        // EINVAL: the device has no clsact qdisc (the arguments have been checked).
        if [-ENOENT, -EINVAL, -ENODEV].contains(result) { return nil }
        guard result == 0 else { throw error(result, "bpf_tc_query", log: log) }
        return options.prog_id
    }

    func error(_ result: Int32, _ operation: StaticString, log: String) -> BPFError {
        return BPFError(
            errno: Errno(rawValue: -result), operation: "\(operation)", subject: subject,
            detail: VerifierLog.tail(of: BPFError.meaningful(log), count: 4), log: log)
    }
}
