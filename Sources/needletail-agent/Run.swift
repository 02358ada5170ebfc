import Agent
import ArgumentParser
import Dataplane
import Logging
import NetTypes
import Netlink
import ServiceLifecycle
import UnixSignals

/// Runs the agent until it is told to stop.
struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the agent (this is what happens without a subcommand).",
        discussion: """
            SIGTERM and SIGINT stop the agent; the datapath stays attached and goes on forwarding. Sizes hold for the \
            life of the pinned maps: to change one, run `needletail-agent cleanup` first.
            """)

    @Option(help: ArgumentHelp("Follow this directory of *.yaml, *.yml and *.json manifests.", valueName: "directory"))
    var manifests: String

    @Option(help: ArgumentHelp("This node's name, as endpoints have it in nodeName.", valueName: "name"))
    var nodeName: String

    @OptionGroup(title: "Devices") var devices: DeviceOptions
    @OptionGroup(title: "Sizes") var sizes: SizeOptions
    @OptionGroup(title: "Flow timeouts") var timeouts: TimeoutOptions

    @Option(
        help: ArgumentHelp("Pin maps and links here; a bpf file system is mounted if there is none.", valueName: "path")
    )
    var pinDirectory = PinDirectory.standard

    @Option(help: "Log from this level on: trace, debug, info, notice, warning, error.")
    var logLevel: Logger.Level = .info

    func validate() throws {
        guard !nodeName.isEmpty else { throw ValidationError("--node-name must not be empty") }
        guard pinDirectory.hasPrefix("/") else { throw ValidationError("--pin-directory must be an absolute path") }
    }

    func run() async throws {
        var configuration = AgentConfiguration(
            manifests: manifests, nodeName: nodeName, externalDevices: devices.externalDevices,
            workloadDevices: devices.workloadDevices)
        configuration.nodePortPrefixes = devices.nodeportAddresses?.prefixes ?? []
        configuration.pins = PinDirectory(pinDirectory)
        configuration.attachment.xdp = devices.xdp
        configuration.attachment.tc = devices.tc
        configuration.collectInterval = timeouts.collectInterval
        configuration.datapath = sizes.settings(timeouts.values)

        var logger = Logger(label: "needletail-agent") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = logLevel
        let services = ServiceGroup(
            services: [AgentService(configuration, logger: logger)],
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: Logger(label: "lifecycle") { _ in SwiftLogNoOpLogHandler() })
        do {
            try await services.run()
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
            valueName: "patterns"))
    var externalDevices = InterfacePattern.standardExternal

    @Option(
        help: ArgumentHelp(
            "Host ends of workloads' veth pairs; new ones are attached to as they appear.", valueName: "patterns"))
    var workloadDevices = InterfacePattern.standardWorkload

    @Option(
        help: ArgumentHelp(
            "Serve NodePorts on the node's addresses in these prefixes (default: those of external devices).",
            valueName: "cidrs"))
    var nodeportAddresses: PrefixList?

    @Option(help: "XDP on external devices: auto (native, else generic), native, generic or off.")
    var xdp = AttachmentOptions.XDP.auto

    @Option(help: "How tc programs are attached: auto (TCX, else clsact), tcx or clsact.")
    var tc = AttachmentOptions.TC.auto
}

/// How much fits.
struct SizeOptions: ParsableArguments {
    @Option(help: "Frontends of each family.")
    var maxFrontends = DatapathSettings().maxFrontends
    @Option(help: "Distinct backend sets.")
    var maxSets = DatapathSettings().maxSets
    @Option(help: "Maglev slots, 4 bytes each; a set of N backends takes at least 100 N and 251.")
    var maxSlots = DatapathSettings().maxSlots
    @Option(help: "Backends.")
    var maxBackends = DatapathSettings().maxBackends
    @Option(help: "Service ports.")
    var maxServices = DatapathSettings().maxServices
    @Option(help: "Connections of each family; the least recently used give way.")
    var maxFlows = DatapathSettings().maxFlows
    @Option(
        help: ArgumentHelp(
            "Source ports for connections whose reply tuple is taken; choose what clients do not use.",
            valueName: "first-last"))
    var remapPorts = PortRange(DatapathSettings().remapPorts)

    func validate() throws {
        let largest: UInt32 = 1 << 28
        for (name, value) in [
            ("--max-frontends", maxFrontends), ("--max-sets", maxSets), ("--max-slots", maxSlots),
            ("--max-backends", maxBackends), ("--max-services", maxServices), ("--max-flows", maxFlows),
        ] where !(2...largest).contains(value) {
            throw ValidationError("\(name) must be from 2 to \(largest), not \(value)")
        }
    }

    func settings(_ timeouts: FlowTimeouts) -> DatapathSettings {
        var settings = DatapathSettings()
        settings.maxFrontends = maxFrontends
        settings.maxSets = maxSets
        settings.maxSlots = maxSlots
        settings.maxBackends = maxBackends
        settings.maxServices = maxServices
        settings.maxFlows = maxFlows
        settings.remapPorts = remapPorts.range
        settings.timeouts = timeouts
        return settings
    }
}

/// How long flows are kept without a packet.
struct TimeoutOptions: ParsableArguments {
    @Option(help: "Seconds for TCP before the backend has answered.")
    var tcpOpening = FlowTimeouts().tcpOpening
    @Option(help: "Seconds for established TCP.")
    var tcpEstablished = FlowTimeouts().tcpEstablished
    @Option(help: "Seconds for TCP closed by one side.")
    var tcpClosing = FlowTimeouts().tcpClosing
    @Option(help: "Seconds for closed or reset TCP.")
    var tcpClosed = FlowTimeouts().tcpClosed
    @Option(help: "Seconds for UDP before the backend has answered.")
    var udpOpening = FlowTimeouts().udpOpening
    @Option(help: "Seconds for answered UDP.")
    var udpEstablished = FlowTimeouts().udpEstablished
    @Option(help: "Seconds between two looks through the flow table.")
    var collectInterval = 5

    func validate() throws {
        for (name, value) in [
            ("--tcp-opening", tcpOpening), ("--tcp-established", tcpEstablished), ("--tcp-closing", tcpClosing),
            ("--tcp-closed", tcpClosed), ("--udp-opening", udpOpening), ("--udp-established", udpEstablished),
            ("--collect-interval", collectInterval),
        ] where !(1...31_536_000).contains(value) {
            throw ValidationError("\(name) must be from 1 second to a year, not \(value)")
        }
    }

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
