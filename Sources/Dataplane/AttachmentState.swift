internal import BPF
internal import Glibc

extension Attachment {
    /// Whether its device still exists, in the calling thread's network namespace.
    ///
    /// A link knows: the kernel clears its device when that goes, and an index may be another device's by then. A
    /// filter goes with its device, and only the index tells.
    public func hasDevice(in pins: PinDirectory) -> Bool {
        guard mechanism != .clsact, let link = try? Link.open(pinnedAt: "\(pins.root)/links/\(pinName)") else {
            return deviceName != nil
        }
        return link.interface == interface
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
