import Agent
import AgentSettings
import ArgumentParser
import Dataplane
import Glibc
import Logging
import ServiceLifecycle
import UnixSignals

/// Runs the agent until it is told to stop.
struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the agent (this is what happens without a subcommand).",
        usage: "needletail-agent [run] [--config <file>] [<options>]",
        discussion: """
            Flags go before the configuration file. SIGTERM and SIGINT stop the agent; the datapath stays attached and \
            goes on forwarding. Sizes hold for the life of the pinned maps: to change one, run `needletail-agent \
            cleanup` first.
            """)

    @Option(
        help: ArgumentHelp(
            "A configuration file: AgentConfiguration of needletail.io/v1alpha1, or kube-proxy's.", valueName: "file"))
    var config: String?
    @Option(
        help: ArgumentHelp(
            "Write the configuration that file and flags make to this file (- is standard output), and exit.",
            valueName: "file"))
    var writeConfigTo: String?
    @Flag(help: "Do what needs full privileges, which is to mount a bpf file system and make directories, and exit.")
    var initOnly = false
    @Flag(help: "The same as the subcommand cleanup, for the pin directory that file and flags say.")
    var cleanup = false

    @OptionGroup(title: "Source and node") var source: SourceFlags
    @OptionGroup(title: "Devices") var devices: DeviceFlags
    @OptionGroup(title: "Sockets") var sockets: SocketFlags
    @OptionGroup(title: "Services") var services: ServiceFlags
    @OptionGroup(title: "Sizes and limits") var limits: LimitFlags
    @OptionGroup(title: "Times") var times: TimeFlags
    @OptionGroup(title: "Agent") var agent: AgentFlags

    private var overrides: [Override] {
        source.overrides + devices.overrides + sockets.overrides + services.overrides + limits.overrides
            + times.overrides + agent.overrides
    }

    /// What file and flags say.
    ///
    /// - Parameter watch: the file, if there is one.
    private func settings(_ watch: ConfigurationWatch?) throws -> LoadedSettings {
        var loaded = try watch?.settings() ?? LoadedSettings()
        for override in overrides { override.apply(to: &loaded) }
        return loaded
    }

    private static func agentConfiguration(_ settings: Settings) throws -> AgentConfiguration {
        do {
            return try settings.configuration(
                environment: ["KUBERNETES_SERVICE_HOST"].reduce(into: [:]) { environment, name in
                    environment[name] = getenv(name).map { String(cString: $0) }
                }, hostName: hostName())
        } catch {
            throw ValidationError(error.description)
        }
    }

    private static func hostName() -> String? {
        var buffer = [CChar](repeating: 0, count: 257)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return nil }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func run() async throws {
        let watch = try config.map { try ConfigurationWatch($0) }
        let loaded = try settings(watch)
        if let writeConfigTo { return try OutputFile.write(loaded.settings.fileText, to: writeConfigTo) }
        if cleanup { return try Cleanup.removeAll(loaded.settings.pins) }
        if initOnly { return try loaded.settings.pins.create() }
        let configuration = try Self.agentConfiguration(loaded.settings)

        var logger = Logger(label: "needletail-agent") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = loaded.settings.logLevel
        for warning in loaded.warnings { logger.warning("\(warning)") }
        if let score = loaded.settings.effectiveOOMScoreAdjust { OOMScore.adjust(score, logger) }
        // Until somebody waits for it, it is no reason to end.
        signal(SIGHUP, SIG_IGN)
        let program = ProgramFile()
        let restart = RestartService(
            reasons: await restartReasons(watch, logger),
            validate: {
                let file = try config.map { try ConfigurationWatch($0) }
                _ = try Self.agentConfiguration(settings(file).settings)
            }, logger: logger)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [
                    .init(service: AgentService(configuration, description: loaded.settings.configz, logger: logger)),
                    .init(service: restart, successTerminationBehavior: .gracefullyShutdownGroup),
                ],
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: Logger(label: "lifecycle") { _ in SwiftLogNoOpLogHandler() }))
        do {
            try await group.run()
            if restart.isRequested { try program.replaceProcess(arguments: CommandLine.arguments) }
        } catch {
            logger.critical("the agent cannot run", metadata: ["reason": "\(error)"])
            throw ExitCode.failure
        }
    }

    /// SIGHUP, and another content of the configuration file.
    private func restartReasons(_ watch: ConfigurationWatch?, _ logger: Logger) async -> AsyncStream<String> {
        let (reasons, reason) = AsyncStream.makeStream(of: String.self)
        let hangups = await UnixSignalsSequence(trapping: .sighup)
        let tasks = [
            Task { for await _ in hangups { reason.yield("SIGHUP") } },
            Task {
                guard let watch else { return }
                for await change in watch.changes() {
                    switch change {
                    case .changed: reason.yield("the configuration file has changed")
                    case .restored: logger.info("the configuration file is again what the agent runs by")
                    case .invalid(let problem):
                        logger.error(
                            "the configuration file cannot be used; the agent goes on with what it has",
                            metadata: ["reason": "\(problem)"])
                    }
                }
            },
        ]
        reason.onTermination = { _ in for task in tasks { task.cancel() } }
        return reasons
    }
}
