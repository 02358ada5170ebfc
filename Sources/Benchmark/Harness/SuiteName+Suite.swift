extension SuiteName {
    /// What runs when this name is asked for. A new suite has a case in ``SuiteName`` and a line here.
    var suite: any Suite.Type {
        switch self {
        case .packet: PacketSuite.self
        case .forward: ForwardSuite.self
        case .connect: ConnectSuite.self
        case .programming: ProgrammingSuite.self
        case .memory: MemorySuite.self
        case .maglev: MaglevSuite.self
        }
    }

    /// What the suite is about, for headings.
    var title: String {
        switch self {
        case .packet: "The datapath's programs, one packet at a time"
        case .forward: "Packets through a node"
        case .connect: "Connections, requests and bytes through a node"
        case .programming: "From a change to the datapath"
        case .memory: "Memory"
        case .maglev: "Tables of consistent hashing"
        }
    }
}
