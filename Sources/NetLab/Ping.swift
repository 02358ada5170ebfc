internal import Glibc
public import NetTypes

extension Host {
    /// Whether an echo request to an address is answered by that address, with what was sent, within the time.
    public func ping(_ address: IPAddress, timeout: Duration = .seconds(3)) throws -> Bool {
        // Who may use ping sockets: everybody; at first nobody may.
        try namespace.sysctl("ipv4/ping_group_range", "0 2147483647")
        let socket = try LabSocket(echoOf: self, address.family, timeout: timeout)
        let (request, reply): (UInt8, UInt8) = address.family == .v4 ? (8, 0) : (128, 129)
        let payload = Array("needletail".utf8)
        try socket.send([request, 0, 0, 0, 0, 0, 0, 1] + payload, to: (address, 0))
        do {
            let (bytes, sender) = try socket.receive()
            return bytes.first == reply && Array(bytes.dropFirst(8)) == payload && sender.address == address
        } catch let error as LabError {
            guard error.isTimeout else { throw error }
            return false
        }
    }
}
