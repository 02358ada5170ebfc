internal import Glibc
package import NetLab
package import NetTypes
internal import Netlink

/// A way of serving Services that kube-proxy has, with a backend of iptables named where it matters.
package enum PeerKind: String, Sendable, Hashable, CaseIterable {
    /// iptables over nf_tables.
    case iptablesNFT = "iptables-nft"
    /// iptables over the kernel's own tables.
    case iptablesLegacy = "iptables-legacy"
    /// A table of nftables.
    case nftables
    /// Virtual servers.
    case ipvs

    /// What it is called in a report.
    package var subject: String { rawValue }

    /// All that a peer of the settings stands for: both backends of iptables.
    package static func kinds(of peer: Peer) -> [PeerKind] {
        switch peer {
        case .none: []
        case .iptables: [.iptablesNFT, .iptablesLegacy]
        case .nftables: [.nftables]
        case .ipvs: [.ipvs]
        }
    }

    /// What the system's own `iptables` is, as in `iptables v1.8.9 (nf_tables)`; `nil` if there is none.
    package static func systemIPTables(in namespace: NetLab.NetworkNamespace) -> String? {
        guard let run = try? Tool("iptables").run(["-V"], in: namespace, limit: .seconds(10)) else { return nil }
        return String(run.text.prefix { $0 != "\n" })
    }

    /// Makes all rules in a namespace that has none of this family.
    ///
    /// - Returns: what the program that was given the Services took.
    /// - Throws: ``PeerError/unavailable(_:)`` if this kernel or system lacks what it takes, ``PeerError/failed(_:)``
    ///   with what the program said if it refuses.
    @discardableResult
    package func install(
        _ cluster: PeerCluster, in namespace: NetLab.NetworkNamespace, limit: Duration = .seconds(120)
    ) throws(PeerError) -> RuleCost {
        let program = try RuleProgram(self, cluster.family, in: namespace)
        try program.prepare(cluster)
        return try program.write(program.full(cluster), limit: limit)
    }

    /// Takes the rules of a family away again.
    package func remove(_ family: IPFamily, in namespace: NetLab.NetworkNamespace) throws(PeerError) {
        try RuleProgram(self, family, in: namespace).clear()
    }
}

/// What a program took for what it was given.
package struct RuleCost: Sendable, Hashable {
    /// From its start to its end, in milliseconds.
    package let wall: Double
    /// Its processor time, in milliseconds.
    package let processor: Double
}

/// The program that makes the rules of a peer in a namespace.
package struct RuleProgram: Sendable {
    private let kind: PeerKind
    private let family: IPFamily
    private let namespace: NetLab.NetworkNamespace
    private let writer: Tool

    /// Looks for the program, and whether the kernel has what it needs.
    ///
    /// - Throws: ``PeerError/unavailable(_:)`` if not.
    package init(_ kind: PeerKind, _ family: IPFamily, in namespace: NetLab.NetworkNamespace) throws(PeerError) {
        self.kind = kind
        self.family = family
        self.namespace = namespace
        switch kind {
        case .iptablesNFT, .iptablesLegacy:
            writer = try Tool(
                "\(family == .v4 ? "iptables" : "ip6tables")-\(kind == .iptablesNFT ? "nft" : "legacy")-restore")
        case .nftables: writer = try Tool("nft")
        case .ipvs:
            guard access("/proc/net/ip_vs", F_OK) == 0 else {
                throw .unavailable("this kernel has no IPVS, or its module ip_vs is not loaded")
            }
            writer = try Tool("ipvsadm")
        }
        try probe()
    }

    /// The commands that make everything.
    package func full(_ cluster: PeerCluster) -> String {
        switch kind {
        case .iptablesNFT, .iptablesLegacy: IPTablesRules(cluster).full()
        case .nftables: NFTablesRules(cluster).full()
        case .ipvs: IPVSRules(cluster).full()
        }
    }

    /// The commands for a Service whose endpoints have changed; `cluster` has the new ones.
    package func change(_ cluster: PeerCluster, of index: Int, formerly former: [TransportEndpoint]) -> String {
        switch kind {
        case .iptablesNFT, .iptablesLegacy: IPTablesRules(cluster).change(of: index, formerly: former)
        case .nftables: NFTablesRules(cluster).change(of: index, formerly: former)
        case .ipvs: IPVSRules(cluster).change(of: index, formerly: former)
        }
    }

    /// Makes what the Services' own rules build upon and what stays as it is.
    package func prepare(_ cluster: PeerCluster) throws(PeerError) {
        switch kind {
        case .iptablesNFT, .iptablesLegacy: try write(IPTablesRules.jumps, limit: .seconds(30))
        case .nftables: return
        case .ipvs: try prepareIPVS(IPVSRules(cluster))
        }
    }

    /// Hands commands to the program.
    @discardableResult
    package func write(_ commands: String, limit: Duration = .seconds(120)) throws(PeerError) -> RuleCost {
        let run = try writer.run(Self.arguments(kind), input: commands, in: namespace, limit: limit)
        return RuleCost(wall: run.wall, processor: run.processor)
    }

    /// What kube-proxy asks before it writes a change: chains of the table, to know which are not used any more; `nil`
    /// where it asks nothing.
    ///
    /// With nftables at each sync, with iptables as long as there are no more than a thousand endpoints.
    package func list(limit: Duration = .seconds(120)) throws(PeerError) -> RuleCost? {
        let (tool, arguments): (Tool, [String])
        switch kind {
        case .iptablesNFT, .iptablesLegacy:
            tool = try Tool("\(writer.name.dropLast("restore".count))save")
            arguments = ["-t", "nat"]
        case .nftables:
            (tool, arguments) = (writer, ["--json", "--terse", "list", "table", tableFamily, "kube-proxy"])
        case .ipvs: return nil
        }
        let run = try tool.run(arguments, in: namespace, limit: limit)
        return RuleCost(wall: run.wall, processor: run.processor)
    }

    /// Takes everything of the family away.
    package func clear() throws(PeerError) {
        switch kind {
        case .iptablesNFT, .iptablesLegacy:
            _ = try writer.run(["-w", "5"], input: "*filter\nCOMMIT\n*nat\nCOMMIT\n", in: namespace)
        case .nftables:
            try write("add table \(tableFamily) kube-proxy\ndelete table \(tableFamily) kube-proxy\n")
        case .ipvs: _ = try writer.run(["-C"], in: namespace)
        }
    }

    private var tableFamily: String { family == .v4 ? "ip" : "ip6" }

    /// Tries the least that needs what the kernel must have.
    private func probe() throws(PeerError) {
        let commands =
            switch kind {
            case .iptablesNFT, .iptablesLegacy: "*nat\nCOMMIT\n"
            case .nftables: "add table \(tableFamily) needletail-probe\ndelete table \(tableFamily) needletail-probe\n"
            case .ipvs: ""
            }
        do {
            try write(commands, limit: .seconds(30))
        } catch {
            throw .unavailable("\(kind.subject) does not work here: \(error)")
        }
    }

    private func prepareIPVS(_ rules: IPVSRules) throws(PeerError) {
        do {
            for (name, value) in IPVSRules.settings { try namespace.sysctl(name, value) }
            try namespace.withNetlink { socket in
                for address in Set(rules.addresses) {
                    // The loopback interface: what kube-proxy has the device kube-ipvs0 for.
                    try socket.addAddress(address, prefixLength: address.family.bitWidth, to: 1)
                }
            }
        } catch {
            throw .failed("the namespace \(namespace.name) cannot be prepared for IPVS: \(error)")
        }
        let restore = try Tool(family == .v4 ? "iptables-restore" : "ip6tables-restore")
        _ = try restore.run(["-w", "5", "--noflush"], input: rules.masquerading(), in: namespace)
    }

    private static func arguments(_ kind: PeerKind) -> [String] {
        switch kind {
        case .iptablesNFT, .iptablesLegacy: ["-w", "5", "--noflush", "--counters"]
        case .nftables: ["-f", "-"]
        case .ipvs: ["--restore"]
        }
    }
}
