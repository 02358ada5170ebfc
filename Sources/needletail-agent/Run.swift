import Agent
import ArgumentParser
import Dataplane
import Glibc
import Logging
import NetTypes
import Netlink
import Resolver
import ServiceLifecycle
import UnixSignals

/// Runs the agent until it is told to stop.
struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the agent (this is what happens without a subcommand).",
        usage: "needletail-agent [run] --manifests <dir> --node-name <name> [<options>]",
        discussion: """
            SIGTERM and SIGINT stop the agent; the datapath stays attached and goes on forwarding. Sizes hold for the \
            life of the pinned maps: to change one, run `needletail-agent cleanup` first.
            """)

    @Option(
        help: ArgumentHelp("Follow this directory of *.yaml, *.yml and *.json manifests.", valueName: "dir"),
        transform: FlagValue.directory)
    var manifests: String

    @Option(
        help: ArgumentHelp("This node's name, as endpoints have it in nodeName.", valueName: "name"),
        transform: FlagValue.nodeName)
    var nodeName: String

    @OptionGroup(title: "Devices") var devices: DeviceOptions
    @OptionGroup(title: "Sockets") var sockets: SocketOptions
    @OptionGroup(title: "Services") var services: ServiceOptions
    @OptionGroup(title: "Sizes and limits") var sizes: SizeOptions
    @OptionGroup(title: "Flow timeouts") var timeouts: TimeoutOptions

    @Option(
        help: ArgumentHelp(
            "Pin maps and links here; a bpf file system is mounted if there is none.", value: "path",
            default: PinDirectory.standard),
        transform: FlagValue.absolutePath)
    var pinDirectory = PinDirectory.standard

    @Option(help: "Log from this level on: trace, debug, info, notice, warning, error.")
    var logLevel: Logger.Level = .info

    func run() async throws {
        var configuration = AgentConfiguration(
            source: .manifests(manifests), nodeName: nodeName, externalDevices: devices.externalDevices,
            workloadDevices: devices.workloadDevices)
        configuration.resolver = services.resolver
        configuration.nodePortAddresses = devices.nodeportAddresses.map { .prefixes($0) } ?? .primary
        configuration.pins = PinDirectory(pinDirectory)
        configuration.attachment.xdp = devices.xdp
        configuration.attachment.tc = devices.tc
        configuration.attachment.forwarding = devices.xdpForward
        configuration.serviceCIDRs = devices.serviceCIDRs ?? []
        configuration.collectInterval = timeouts.collectInterval
        configuration.datapath = sizes.settings(timeouts.values)
        configuration.datapath.sockets = sockets.sockets
        configuration.datapath.protectsNodePorts = sockets.protectNodeports
        configuration.cgroup = sockets.cgroup

        var logger = Logger(label: "needletail-agent") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = logLevel
        let group = ServiceGroup(
            services: [AgentService(configuration, logger: logger)],
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: Logger(label: "lifecycle") { _ in SwiftLogNoOpLogHandler() })
        // A terminal that goes away is no reason to stop.
        signal(SIGHUP, SIG_IGN)
        do {
            try await group.run()
        } catch {
            logger.critical("the agent cannot run", metadata: ["reason": "\(error)"])
            throw ExitCode.failure
        }
    }
}

/// Which devices carry the datapath, and how.
struct DeviceOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Devices that lead out of the node: names and patterns (* and ?), comma separated, ! excludes.",
            value: "patterns", default: InterfacePattern.standardExternal), transform: FlagValue.interfaces)
    var externalDevices = InterfacePattern.standardExternal

    @Option(
        help: ArgumentHelp(
            "Host ends of workloads' veth pairs; new ones are attached to as they appear.", value: "patterns",
            default: InterfacePattern.standardWorkload),
        transform: FlagValue.interfaces)
    var workloadDevices = InterfacePattern.standardWorkload

    @Option(
        help: ArgumentHelp(
            "Serve NodePorts on the node's addresses in these prefixes (default: those of external devices).",
            valueName: "cidrs"), transform: FlagValue.prefixes)
    var nodeportAddresses: [CIDR]?

    // The name that ArgumentParser makes of the property's would be `--service-cid-rs`.
    @Option(
        name: .customLong("service-cidrs"),
        help: ArgumentHelp(
            "Prefixes ClusterIPs are taken from: other addresses in them are refused. Four of each family at most.",
            valueName: "cidrs"), transform: FlagValue.servicePrefixes)
    var serviceCIDRs: [CIDR]?

    @Option(help: "XDP on external devices: auto (native, else generic), native, generic or off.")
    var xdp = AttachmentOptions.XDP.auto

    @Option(
        help: "Sending packets on from XDP: auto (native XDP, and no veth), always, or never, which leaves it to tc.")
    var xdpForward = AttachmentOptions.Forwarding.auto

    @Option(help: "How tc programs are attached: auto (TCX, else clsact), tcx or clsact.")
    var tc = AttachmentOptions.TC.auto
}

/// Which sockets are led to backends when they connect.
struct SocketOptions: ParsableArguments {
    @Option(
        help: """
            Whose sockets are led to backends when they connect or send: host (processes of the node, which nothing else \
            serves), all (pods too, without work for each packet), or off.
            """)
    var sockets = DatapathSettings.Sockets.host

    @Option(
        help: ArgumentHelp(
            "Attach the socket hooks to this cgroup (default: the root of the mounted cgroup v2 hierarchy).",
            valueName: "path"), transform: FlagValue.absolutePath)
    var cgroup: String?

    @Flag(help: "Keep processes of the node from binding NodePorts: bind fails with EADDRINUSE.")
    var protectNodeports = false
}

/// What Services do not say by themselves.
struct ServiceOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            """
            Rewrite the source of traffic: minimal (where replies would not come back through this node), kube-proxy \
            (as it does), or all (as its masqueradeAll).
            """))
    var masquerade = MasqueradeMode.minimal

    @Option(
        help: ArgumentHelp(
            """
            How outside traffic reaches backends on other nodes: snat, or dsr (encapsulated; their node answers the \
            client). A Service's annotation needletail.io/forwarding goes before it.
            """))
    var forwarding = Forwarding.snat

    @Flag(help: "Serve NodePorts on 127.0.0.1 and ::1 too, for sockets of the node itself (see --sockets).")
    var localhostNodeports = false

    var resolver: Resolver.Options {
        Resolver.Options(
            masquerade: masquerade, forwarding: forwarding, servesLocalhostNodePorts: localhostNodeports)
    }
}

/// How much fits, and how fast it may come.
struct SizeOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Frontends of each family.", value: "entries", default: DatapathSettings().maxFrontends),
        transform: FlagValue.entries)
    var maxFrontends = DatapathSettings().maxFrontends
    @Option(
        help: ArgumentHelp("Distinct backend sets.", value: "entries", default: DatapathSettings().maxSets),
        transform: FlagValue.entries)
    var maxSets = DatapathSettings().maxSets
    @Option(
        help: ArgumentHelp(
            "Maglev slots, 4 bytes each; a set of N backends takes at least 100 N and 251.", value: "entries",
            default: DatapathSettings().maxSlots), transform: FlagValue.entries)
    var maxSlots = DatapathSettings().maxSlots
    @Option(
        help: ArgumentHelp("Backends.", value: "entries", default: DatapathSettings().maxBackends),
        transform: FlagValue.entries)
    var maxBackends = DatapathSettings().maxBackends
    @Option(
        help: ArgumentHelp(
            "Service ports; statistics take 72 bytes for each and possible CPU.", value: "entries",
            default: DatapathSettings().maxServices),
        transform: FlagValue.entries)
    var maxServices = DatapathSettings().maxServices
    @Option(
        help: ArgumentHelp(
            "TCP connections of each family; the least recently used give way. auto: by the memory, 65536 or more.",
            value: "entries", default: TableSize.auto), transform: FlagValue.tableSize)
    var maxTCPFlows = TableSize.auto
    @Option(
        help: ArgumentHelp(
            "UDP flows of each family. auto: a quarter of what TCP would have.", value: "entries",
            default: TableSize.auto), transform: FlagValue.tableSize)
    var maxUDPFlows = TableSize.auto
    @Option(
        help: ArgumentHelp(
            "Clients that stay with their backend by sessionAffinity.", value: "entries",
            default: DatapathSettings().maxAffinity), transform: FlagValue.entries)
    var maxAffinity = DatapathSettings().maxAffinity
    @Option(
        help: ArgumentHelp(
            "Prefixes of each family in loadBalancerSourceRanges.", value: "entries",
            default: DatapathSettings().maxSourceRanges), transform: FlagValue.entries)
    var maxSourceRanges = DatapathSettings().maxSourceRanges
    @Option(
        help: ArgumentHelp(
            "Source ports for masqueraded connections; choose what the node itself does not use.",
            value: "first-last", default: PortRange(DatapathSettings().natPorts)), transform: FlagValue.ports)
    var natPorts = PortRange(DatapathSettings().natPorts)
    @Option(
        help: ArgumentHelp(
            "New flows a CPU may store in a second; what is above goes without an entry. 0: no limit.",
            value: "flows", default: DatapathSettings().newFlowLimit), transform: FlagValue.rate)
    var newFlowLimit = DatapathSettings().newFlowLimit
    @Option(
        help: ArgumentHelp(
            "Resets and ICMP messages that one source is sent in a second. 0: none.", value: "messages",
            default: DatapathSettings().answerLimit), transform: FlagValue.rate)
    var answerLimit = DatapathSettings().answerLimit

    func settings(_ timeouts: FlowTimeouts) -> DatapathSettings {
        var settings = DatapathSettings()
        settings.maxFrontends = maxFrontends
        settings.maxSets = maxSets
        settings.maxSlots = maxSlots
        settings.maxBackends = maxBackends
        settings.maxServices = maxServices
        settings.maxTCPFlows = maxTCPFlows.entries
        settings.maxUDPFlows = maxUDPFlows.entries
        settings.maxAffinity = maxAffinity
        settings.maxSourceRanges = maxSourceRanges
        settings.natPorts = natPorts.range
        settings.newFlowLimit = newFlowLimit
        settings.answerLimit = answerLimit
        settings.timeouts = timeouts
        return settings
    }
}

/// How long flows are kept without a packet.
struct TimeoutOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "For TCP before the backend has answered.", value: "seconds", default: FlowTimeouts().tcpOpening),
        transform: FlagValue.seconds)
    var tcpOpening = FlowTimeouts().tcpOpening
    @Option(
        help: ArgumentHelp("For established TCP.", value: "seconds", default: FlowTimeouts().tcpEstablished),
        transform: FlagValue.seconds)
    var tcpEstablished = FlowTimeouts().tcpEstablished
    @Option(
        help: ArgumentHelp("For TCP closed by one side.", value: "seconds", default: FlowTimeouts().tcpClosing),
        transform: FlagValue.seconds)
    var tcpClosing = FlowTimeouts().tcpClosing
    @Option(
        help: ArgumentHelp("For closed or reset TCP.", value: "seconds", default: FlowTimeouts().tcpClosed),
        transform: FlagValue.seconds)
    var tcpClosed = FlowTimeouts().tcpClosed
    @Option(
        help: ArgumentHelp(
            "For UDP before the backend has answered.", value: "seconds", default: FlowTimeouts().udpOpening),
        transform: FlagValue.seconds)
    var udpOpening = FlowTimeouts().udpOpening
    @Option(
        help: ArgumentHelp("For answered UDP.", value: "seconds", default: FlowTimeouts().udpEstablished),
        transform: FlagValue.seconds)
    var udpEstablished = FlowTimeouts().udpEstablished
    @Option(
        help: ArgumentHelp("Between two looks through the flow table.", value: "seconds", default: 5),
        transform: FlagValue.seconds)
    var collectInterval = 5

    var values: FlowTimeouts {
        var values = FlowTimeouts()
        values.tcpOpening = tcpOpening
        values.tcpEstablished = tcpEstablished
        values.tcpClosing = tcpClosing
        values.tcpClosed = tcpClosed
        values.udpOpening = udpOpening
        values.udpEstablished = udpEstablished
        return values
    }
}
