internal import ArgumentParser
internal import Inspection
internal import NetTypes

struct Trace: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what would become of a packet, and why, without sending it.",
        discussion: """
            The packet is run through a twin of the programs on the devices, with their maps, that changes nothing: no \
            flow begins and no counter moves. Run it in the node's network namespace. A packet from outside meets XDP \
            first, and then tc with what XDP makes of it. For a process of the node itself no packet is run: connect() \
            is explained from the maps.

            EXAMPLES
              needletail trace tcp 203.0.113.7:40000 192.0.2.1:30080
              needletail trace udp 198.18.1.7:5353 198.18.0.53:53 --from pod
              needletail trace tcp 192.0.2.1:0 198.18.0.10:80 --from node
              needletail trace --pcap capture.pcap --count 5 -o json
              needletail trace --hex "$(tcpdump -x ...)" --device eth0
            """)

    @OptionGroup var global: GlobalOptions

    @Argument(
        help: "tcp or udp.", completion: .list(["tcp", "udp"]), transform: { try TransportProtocol(filter: $0) })
    var transport: TransportProtocol?

    @Argument(
        help: ArgumentHelp("The sender: IPV4:PORT or [IPV6]:PORT.", valueName: "source"),
        transform: { try PacketEndpoint($0) })
    var source: PacketEndpoint?

    @Argument(
        help: ArgumentHelp("The receiver, likewise.", valueName: "destination"), transform: { try PacketEndpoint($0) })
    var destination: PacketEndpoint?

    @Option(
        help: "Where it comes from: pod, node or external.",
        completion: .list(TraceOrigin.allCases.map(\.rawValue)), transform: { try TraceOrigin($0) })
    var from: TraceOrigin?

    @Option(help: "The device it comes by; the first that carries the programs unless told otherwise.")
    var device: String?

    @Option(
        help: ArgumentHelp("Only this program, such as external_egress.", valueName: "program"),
        completion: .list(ProgramName.all), transform: { try ProgramName($0) })
    var program: ProgramName?

    @Option(
        help: ArgumentHelp("TCP flags, joined by commas; syn unless told otherwise.", valueName: "flags"),
        transform: { try TCPFlagNames($0) })
    var flags: TCPFlagNames?

    @Option(help: ArgumentHelp("Take packets from a capture file.", valueName: "file"), completion: .file())
    var pcap: String?

    @Option(help: "Take at most so many from it.")
    var count = 10

    @Option(
        help: ArgumentHelp("Take a frame or an IP packet in hexadecimal digits.", valueName: "text"),
        transform: { try InputPacket(hex: $0) })
    var hex: InputPacket?

    func validate() throws {
        guard count > 0 else { throw ValidationError("--count must be 1 or more") }
        let kinds = [transport != nil, pcap != nil, hex != nil].filter { $0 }.count
        guard kinds == 1 else {
            throw ValidationError("say which packet: protocol, source and destination, or --pcap, or --hex")
        }
        guard let transport else {
            if flags != nil { throw ValidationError("--flags are for a packet made of source and destination") }
            return
        }
        guard let source, let destination else {
            throw ValidationError("a packet has a source and a destination, as 192.0.2.7:40000")
        }
        guard source.address.family == destination.address.family else {
            throw ValidationError("source and destination are of two families")
        }
        if transport == .udp, flags != nil { throw ValidationError("--flags are those of TCP") }
    }

    func run() throws {
        var question = TraceQuestion()
        question.origin = from
        question.device = device
        question.program = program
        try global.answer { try $0.trace(try packets(), question) }
    }

    private func packets() throws -> [InputPacket] {
        if let pcap { return try PacketCapture.read(pcap, count: count) }
        if let hex { return [hex] }
        guard let transport, let source, let destination else { return [] }
        return [
            InputPacket(
                from: source.endpoint(transport), to: destination.endpoint(transport), flags: flags ?? .syn)
        ]
    }
}
