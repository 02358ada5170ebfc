internal import BPF
internal import Glibc

extension Attachment {
    /// Whether its device still exists, in the calling thread's network namespace.
    ///
    /// A link knows: the kernel clears its device when that goes, and an index may be another device's by then. A
    /// filter goes with its device, and only the index tells.
    public func hasDevice(in pins: PinDirectory) -> Bool {
        guard mechanism != .clsact, let link = try? Link.open(pinnedAt: pins.link(self)) else {
            return deviceName != nil
        }
        return link.interface == interface
    }

    /// Whether the program hangs there as the pin says, in the calling thread's network namespace. A pin stays when
    /// others detach: a filter when its qdisc is deleted, a link when its device goes.
    ///
    /// - Returns: `false` also for what cannot be read.
    public func isInPlace(_ pins: PinDirectory) -> Bool {
        guard mechanism == .clsact else {
            return (try? Link.open(pinnedAt: pins.link(self)))?.interface == interface
        }
        guard let direction = program.direction,
            let id = try? Program.queryClsact(
                interface: interface, direction: direction, handle: Attachments.filterHandle,
                priority: Attachments.filterPriority),
            let attached = try? Program.open(id: id)
        else { return false }
        // BPF_OBJ_NAME_LEN: the kernel keeps 15 bytes of a name.
        return attached.name == program.name.prefix(15)
    }

    /// The name of the device that has its index now, in the calling thread's network namespace.
    public var deviceName: String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(IF_NAMESIZE)) { buffer in
            guard let start = buffer.baseAddress, if_indextoname(UInt32(bitPattern: interface), start) != nil else {
                return nil
            }
            return String(cString: start)
        }
    }
}
