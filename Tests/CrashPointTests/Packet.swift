import BPF
import Dataplane
import NeedletailABI
import NetTypes

/// A minimal TCP or UDP packet. Its checksums are not looked at: these tests ask only where it goes.
struct Packet {
    var source: TransportEndpoint
    var destination: TransportEndpoint
    /// Of TCP: whether it opens a connection or belongs to an open one.
    var isFirst: Bool

    private static let ethernet = 14

    var bytes: [UInt8] {
        let isV4 = destination.address.family == .v4
        let addresses = source.address.bytes + destination.address.bytes
        let segment = ports + (destination.transport == .tcp ? tcp : udp)
        let number = destination.transport.rawValue
        let frame: [UInt8] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2] + (isV4 ? [0x08, 0x00] : [0x86, 0xDD])
        let total = UInt8(20 + segment.count)
        return isV4
            ? frame + [0x45, 0, 0, total, 0, 0, 0x40, 0, 64, number, 0, 0] + addresses + segment
            : frame + [0x60, 0, 0, 0, 0, UInt8(segment.count), number, 64] + addresses + segment
    }

    private var ports: [UInt8] {
        [source.port, destination.port].flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }
    }

    private var tcp: [UInt8] {
        [0, 0, 0, 1, 0, 0, 0, 0, 0x50, isFirst ? 0x02 : 0x10, 0x10, 0, 0x12, 0x34, 0, 0]
    }

    private var udp: [UInt8] { [0, 12, 0x12, 0x34, 1, 2, 3, 4] }

    /// Where a packet of this family and protocol is going.
    func destination(in output: [UInt8]) -> TransportEndpoint? {
        let width = destination.address.family.bitWidth / 8
        let network = Self.ethernet + (width == 4 ? 16 : 24)
        let transport = network + width
        guard output.count >= transport + 4, let address = IPAddress(bytes: output[network..<transport]) else {
            return nil
        }
        let port = UInt16(output[transport + 2]) << 8 | UInt16(output[transport + 3])
        return TransportEndpoint(address, port, destination.transport)
    }
}

/// What became of a packet.
enum Fate: Hashable {
    case dropped
    /// Sent back to where it came from.
    case answered
    case passed(TransportEndpoint)
}

extension Datapath {
    /// Runs a program over a packet.
    func fate(of packet: Packet, in program: DatapathProgram) throws -> Fate {
        guard let code = programs[program] else { throw UnexpectedPacket("\(program.name) is not loaded") }
        let run = try code.testRun(packet: packet.bytes)
        let (passed, dropped, sent): (Int32, Int32, Int32) = program == .externalXDP ? (2, 1, 3) : (-1, 2, 7)
        if run.signedVerdict == dropped { return .dropped }
        if run.signedVerdict == sent { return .answered }
        guard run.signedVerdict == passed, let destination = packet.destination(in: run.output) else {
            throw UnexpectedPacket("\(program.name) says \(run.signedVerdict) of \(packet)")
        }
        return .passed(destination)
    }
}

/// A packet went where it must not.
struct UnexpectedPacket: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
