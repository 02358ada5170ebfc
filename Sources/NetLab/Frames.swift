internal import CLinux
internal import Netlink

extension Host {
    /// Sends a frame out of a device, Ethernet header and all, just as it is.
    public func send(frame: [UInt8], device name: String) throws {
        let index = Int32(try device(name).index)
        let result = try namespace.run { nt_send_frame(index, frame, frame.count) }
        guard result == 0 else { throw LabError("send frame", "\(name) of \(self.name)", .system(-result)) }
    }
}
