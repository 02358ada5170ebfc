import BPF
import Dataplane
import Foundation
import Inspection
import NeedletailABI
import Testing

/// The program itself: arguments in, text and exit codes out.
@Suite(.serialized, .requiresBPF, .timeLimit(.minutes(2)))
struct ExecutableTests {
    struct Outcome {
        let code: Int32
        let output: String
        let errors: String
    }

    /// Beside the test bundle, which is among the runner's arguments.
    static let path: String = {
        let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
        return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("needletail").path
    }()

    private func run(_ arguments: [String], by launcher: [String] = [], program: String = path) throws -> Outcome {
        let process = Process()
        let command = launcher + [program] + arguments
        process.executableURL = URL(fileURLWithPath: command[0])
        process.arguments = Array(command.dropFirst())
        let output = Pipe()
        let errors = Pipe()
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        let text = output.fileHandleForReading.readDataToEndOfFile()
        let complaint = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Outcome(
            code: process.terminationStatus, output: String(decoding: text, as: UTF8.self),
            errors: String(decoding: complaint, as: UTF8.self))
    }

    @Test func answersAndExitCodes() throws {
        let datapath = try Scene.datapath()
        let pins = ["--pin-directory", datapath.pins.root]
        let inspector = try datapath.inspector

        #expect(try run(["service", "list"] + pins).output == inspector.services().text(.normal))
        #expect(try run(["backend", "list", "-o", "wide"] + pins).output == inspector.backends().text(.wide))
        #expect(
            try run(["maglev", "show", "shop/web:http", "-o", "json"] + pins).output
                == JSONDocument().encode(inspector.maglev(ServiceSelector("shop/web:http"))))
        #expect(try run(["status"] + pins).output.hasPrefix("Agent:       not running; forwarding goes on\n"))
        #expect(try run(["maps"] + pins).output.contains("--max-slots"))

        let unknown = try run(["service", "show", "shop/wbe"] + pins)
        #expect(unknown.code == 1)
        #expect(unknown.output.isEmpty)
        #expect(
            unknown.errors
                == "needletail: error: no Service shop/wbe is balanced here: did you mean shop/web?\n")

        let dry = try run(["flow", "flush", "--service", "shop/web", "--dry-run"] + pins)
        #expect(dry.code == 0)
        #expect(dry.output == "3 flows would be flushed\n")
        #expect(try run(["flow", "flush", "--service", "shop/web"] + pins).output == "3 flows flushed\n")
        #expect(try run(["flow", "flush", "--all"] + pins).output == "1 flow flushed\n")
        #expect(try run(["flow", "list", "-o", "yaml"] + pins).output == "flows: []\n")
    }

    @Test func aLimitSaysThatThereIsMore() throws {
        let datapath = try Scene.datapath()
        let outcome = try run(["flow", "list", "--limit", "2", "--pin-directory", datapath.pins.root])
        #expect(outcome.code == 0)
        #expect(rows(outcome.output).count == 3)
        #expect(outcome.errors == "needletail: more flows match than --limit 2\n")
    }

    @Test func yamlHasTheKeysOfJSON() throws {
        let datapath = try Scene.datapath()
        let pins = ["--pin-directory", datapath.pins.root]
        let services = try run(["service", "list", "--kind", "NodePort", "-o", "yaml"] + pins).output
        #expect(
            services == """
                frontends:
                - address: 192.0.2.1
                  external:
                    backends: 1
                    explanation: 1 backend of set 1
                    masquerade: false
                    scope: external
                    set: 1
                  forwarding: snat
                  internal:
                    backends: 3
                    explanation: 3 backends of set 2
                    masquerade: false
                    scope: internal
                    set: 2
                  kind: NodePort
                  name: web
                  namespace: shop
                  port: 30080
                  portName: http
                  protocol: TCP
                  retired: false
                  serviceID: 1

                """)
        let flows = try run(["flow", "list", "--protocol", "udp", "-o", "yaml"] + pins).output
        #expect(flows.hasPrefix("flows:\n- age: "))
        #expect(flows.contains("  service: kube-system/dns:dns\n"))
    }

    @Test(arguments: [
        ["service", "list", "--kind", "Foo"], ["service", "list", "--address", "web"], ["service", "show", "web"],
        ["service", "list", "--port", "70000"], ["flow", "list", "--state", "open"], ["flow", "list", "--limit", "0"],
        ["flow", "flush"], ["flow", "flush", "--all", "--name", "web"], ["backend", "list", "--protocol", "sctp"],
        ["status", "-o", "xml"], ["frobnicate"],
        ["service", "list", "--port", "0"], ["service", "list", "--address", "192.0.2.1:0"],
        ["version", "--pin-directory", "/nowhere/needletail"], ["trace"], ["trace", "tcp", "192.0.2.1:1"],
        ["trace", "tcp", "192.0.2.1:1", "[2001:db8::1]:80"], ["trace", "udp", "192.0.2.1", "192.0.2.2:80"],
        ["trace", "tcp", "192.0.2.1:1", "192.0.2.2:80", "--flags", "sin"], ["trace", "--hex", "45"],
        ["trace", "--hex", "xy"], ["trace", "tcp", "192.0.2.1:1", "192.0.2.2:80", "--pcap", "x"],
        ["trace", "tcp", "192.0.2.1:1", "192.0.2.2:80", "--from", "mars"], ["monitor", "--kind", "old"],
        ["monitor", "--sample", "0"], ["stats", "--count", "2"], ["stats", "--sort", "name"],
    ])
    func commandLinesThatMakeNoSense(_ arguments: [String]) throws {
        let outcome = try run(arguments)
        #expect(outcome.code == 64)
        #expect(outcome.output.isEmpty)
        #expect(outcome.errors.hasPrefix("Error: "))
    }

    @Test(arguments: [
        ["status"], ["service", "list"], ["service", "show", "a/b"], ["backend", "list"], ["flow", "list"],
        ["flow", "flush", "--all"], ["maglev", "show", "a/b"], ["maps"], ["stats"], ["stats", "--interval", "1"],
        ["monitor"], ["trace", "tcp", "192.0.2.1:1", "192.0.2.2:80"],
    ])
    func noDatapath(_ command: [String]) throws {
        let outcome = try run(command + ["--pin-directory", "/nowhere/needletail"])
        #expect(outcome.code == 69)
        #expect(outcome.output.isEmpty)
        #expect(
            outcome.errors == """
                needletail: error: no datapath is pinned under /nowhere/needletail: start needletail-agent, or name \
                its directory with --pin-directory

                """)
    }

    @Test(arguments: [
        ["status"], ["service", "list"], ["backend", "list"], ["flow", "list"], ["maglev", "show", "a/b"], ["maps"],
    ])
    func aMissingPin(_ command: [String]) throws {
        let datapath = try Scene.datapath()
        try BPFFileSystem.unpin(datapath.pins.map("nt_sets"))
        let outcome = try run(command + ["--pin-directory", datapath.pins.root])
        #expect(outcome.code == 69)
        #expect(outcome.output.isEmpty)
        #expect(
            outcome.errors == """
                needletail: error: the datapath pinned under \(datapath.pins.root) is incomplete, nt_sets is missing: \
                stop the agent, run `needletail-agent cleanup`, which ends connections through the node, and start it \
                again

                """)
    }

    @Test(arguments: [
        ["service", "list"], ["flow", "list"], ["flow", "list", "-o", "json"], ["status", "-o", "yaml"], ["version"],
        ["--version"], ["--help"], ["flow", "list", "--help"], ["--generate-completion-script", "bash"],
    ])
    func anAnswerThatCannotBeWritten(_ command: [String]) throws {
        let datapath = try Scene.datapath()
        let isBare = command.contains { $0.hasPrefix("--") } || command == ["version"]
        let pins = isBare ? [] : ["--pin-directory", datapath.pins.root]
        let outcome = try run(command + pins, by: ["/bin/sh", "-c", #"exec "$@" >/dev/full"#, "sh"])
        #expect(outcome.code == 74)
        #expect(
            outcome.errors == "needletail: error: the answer could not be written: No space left on device\n")
    }

    @Test func anUnknownBackend() throws {
        let datapath = try Scene.datapath()
        let outcome = try run(["backend", "list", "--backend", "9999", "--pin-directory", datapath.pins.root])
        #expect(outcome.code == 1)
        #expect(outcome.output.isEmpty)
        #expect(
            outcome.errors == """
                needletail: error: there is no backend of id 9999: `needletail backend list` shows those there are

                """)
    }

    @Test func noPermission() throws {
        let datapath = try Scene.datapath()
        // The build directory may be closed to others.
        let copy = FileManager.default.temporaryDirectory.appendingPathComponent("needletail-\(UUID().uuidString)").path
        try FileManager.default.copyItem(atPath: Self.path, toPath: copy)
        defer { try? FileManager.default.removeItem(atPath: copy) }
        let outcome = try run(
            ["status", "--pin-directory", datapath.pins.root],
            by: ["/usr/bin/setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"], program: copy)
        #expect(outcome.code == 69)
        #expect(
            outcome.errors == """
                needletail: error: no permission to read the datapath pinned under \(datapath.pins.root): run as root, \
                or with CAP_BPF

                """)
    }

    @Test(arguments: [
        [], ["status"], ["service", "list"], ["service", "show"], ["backend", "list"], ["flow", "list"],
        ["flow", "flush"], ["maglev", "show"], ["maps"], ["version"], ["trace"], ["monitor"], ["stats"],
    ])
    func helpHasExamples(_ command: [String]) throws {
        let outcome = try run(command + ["--help"])
        #expect(outcome.code == 0)
        #expect(outcome.output.contains("EXAMPLES\n  needletail "))
        #expect(outcome.output.split(separator: "\n").allSatisfy { $0.count <= 80 || $0.hasPrefix("USAGE") })
    }

    @Test func versionAndCompletions() throws {
        #expect(try run(["version"]).output == "needletail \(NeedletailVersion.current), map layout version 3\n")
        #expect(try run(["--version"]).output == "\(NeedletailVersion.current)\n")
        for shell in ["bash", "zsh", "fish"] {
            let outcome = try run(["--generate-completion-script", shell])
            #expect(outcome.code == 0)
            #expect(outcome.output.contains("maglev"))
        }
    }
}

/// Commands that go on until they are told to stop.
@Suite(.serialized, .requiresBPF, .timeLimit(.minutes(2)))
struct LastingCommandTests {
    /// A command that runs, with what it has written so far.
    final class Running {
        let process = Process()
        private let output = Pipe()
        private let errors = Pipe()

        init(_ arguments: [String], by launcher: [String] = []) throws {
            let command = launcher + [ExecutableTests.path] + arguments
            process.executableURL = URL(fileURLWithPath: command[0])
            process.arguments = Array(command.dropFirst())
            process.standardOutput = output
            process.standardError = errors
            try process.run()
        }

        deinit { if process.isRunning { process.terminate() } }

        /// Waits for its end.
        func end() -> (code: Int32, lines: [String], errors: String) {
            let text = output.fileHandleForReading.readDataToEndOfFile()
            let complaint = errors.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            return (
                process.terminationStatus,
                String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init),
                String(decoding: complaint, as: UTF8.self)
            )
        }

        /// Closes the pipe it writes to.
        func closeOutput() throws { try output.fileHandleForReading.close() }
    }

    let datapath: TestDatapath

    init() throws { datapath = try Scene.datapath() }

    private var control: nt_event_control {
        get throws {
            let map = try BPFMap<UInt32, nt_event_control>.open(pinnedAt: datapath.pins.map("nt_event_ctl"))
            return try #require(try map.lookup(0))
        }
    }

    /// Starts a monitor, and returns when the programs have been asked to tell.
    private func monitor(_ arguments: String...) throws -> Running {
        let before = try control.until
        let running = try Running(["monitor", "--pin-directory", datapath.pins.root] + arguments)
        let limit = ContinuousClock.now + .seconds(20)
        while try control.until <= before, ContinuousClock.now < limit { usleep(10_000) }
        try #require(try control.until > before)
        return running
    }

    private func send(_ client: String, _ frontend: String) throws {
        try datapath.send(
            Packet(try endpoint(client), try endpoint(frontend), flags: Packet.syn), by: .workloadIngress)
    }

    @Test func eventsHaveNames() throws {
        let running = try monitor("--count", "2", "-o", "json")
        try send("198.18.2.7:50001/TCP", "198.18.0.10:80/TCP")
        try send("198.18.2.7:50002/TCP", "198.18.0.12:80/TCP")
        let (code, lines, errors) = running.end()
        #expect(code == 0 && errors.isEmpty)
        let events = try lines.map { line in
            try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        }
        try #require(events.count == 2)
        #expect(events.map { $0["kind"] as? String } == ["new", "refused"])
        #expect(events.map { $0["reason"] as? String } == ["forward-new", "no-endpoints"])
        #expect(events.map { $0["service"] as? String } == ["shop/web:http", "shop/empty"])
        #expect(events.map { ($0["source"] as? [String: Any])?["port"] as? Int } == [50001, 50002])
        let backend = try #require(events[0]["backend"] as? [String: Any])
        #expect((backend["address"] as? String)?.hasPrefix("198.18.1.") == true && backend["port"] as? Int == 8080)
        #expect(events[1]["backend"] == nil)
        // It asked for no more when it ended.
        #expect(try control.until == 0)
    }

    @Test(arguments: [
        (["--kind", "refused"], 1), (["--kind", "new"], 2), (["--service", "shop/web"], 1),
        (["--source", "198.18.2.8"], 1), (["--backend", "198.18.1.0/24"], 2), (["--kind", "fallback"], 0),
    ])
    func filters(_ filter: [String], _ count: Int) throws {
        let running = try Running(
            ["monitor", "--pin-directory", datapath.pins.root, "--duration", "3", "-o", "json"] + filter)
        let limit = ContinuousClock.now + .seconds(20)
        while try control.until == 0, ContinuousClock.now < limit { usleep(10_000) }
        try send("198.18.2.7:50001/TCP", "198.18.0.10:80/TCP")
        try send("198.18.2.8:50002/TCP", "198.18.0.53:53/TCP")
        try send("198.18.2.7:50003/TCP", "198.18.0.12:80/TCP")
        let (code, lines, errors) = running.end()
        #expect(code == 0 && errors.isEmpty)
        #expect(lines.count == count)
    }

    @Test func oneMonitorAtATime() throws {
        let first = try monitor()
        let (code, lines, errors) = try Running(["monitor", "--pin-directory", datapath.pins.root]).end()
        #expect(code == 69 && lines.isEmpty)
        #expect(errors.contains("another process reads the events"))
        first.process.terminate()
        #expect(first.end().code == 0)
    }

    @Test(arguments: [SIGINT, SIGTERM]) func signalsEndIt(_ signal: Int32) throws {
        let running = try monitor()
        kill(running.process.processIdentifier, signal)
        let (code, lines, errors) = running.end()
        #expect(code == 0 && errors.isEmpty)
        #expect(lines.count == 1 && lines[0].hasPrefix("TIME "))
        #expect(try control.until == 0)
    }

    @Test("A closed pipe ends it, also when nothing happens") func closedPipe() throws {
        let running = try monitor()
        try running.closeOutput()
        running.process.waitUntilExit()
        #expect(running.process.terminationStatus == 0)
        #expect(try control.until == 0)
    }

    @Test("A monitor that is killed leaves nothing that goes on") func killed() throws {
        let running = try monitor()
        kill(running.process.processIdentifier, SIGKILL)
        running.process.waitUntilExit()
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        #expect(try control.until < (UInt64(now.tv_sec) + 6) * 1_000_000_000)
        // And the next one is not told of what happened before it.
        try send("198.18.2.7:50001/TCP", "198.18.0.10:80/TCP")
        let next = try monitor("--count", "1", "-o", "json")
        try send("198.18.2.7:50002/TCP", "198.18.0.10:80/TCP")
        #expect(next.end().lines.first?.contains("50002") == true)
    }

    @Test func ratesAndTotals() throws {
        let pins = ["--pin-directory", datapath.pins.root]
        let total = try Running(["stats", "--service", "shop/web"] + pins).end()
        #expect(total.code == 0)
        #expect(
            rows(total.lines.joined(separator: "\n")).prefix(2) == [
                ["SERVICE", "PROTO", "FLOWS", "NEW", "PACKETS", "BYTES", "REPLIES", "BYTES", "REFUSED"],
                ["shop/web:http", "TCP", "3", "3", "3", "140", "B", "1", "40", "B", "0"],
            ])
        #expect(total.lines.contains { $0.hasPrefix("198.18.2.1 ") && $0.hasSuffix("33.33%") })

        let running = try Running(["stats", "--interval", "2", "--count", "1", "-o", "json"] + pins)
        usleep(1_000_000)
        for port in 0..<20 { try send("198.18.2.7:\(51_000 + port)/TCP", "198.18.0.12:80/TCP") }
        let (code, lines, errors) = running.end()
        #expect(code == 0 && errors.isEmpty && lines.count == 1)
        let report = try #require(
            try JSONSerialization.jsonObject(with: Data(lines[0].utf8)) as? [String: Any])
        let services = try #require(report["services"] as? [[String: Any]])
        let empty = try #require(services.first { $0["name"] as? String == "empty" })
        let interval = try #require(report["interval"] as? Double)
        let rate = try #require((empty["rate"] as? [String: Any])?["refused"] as? [String: Double])
        #expect(abs((rate["no-endpoints"] ?? 0) * interval - 20) < 0.1)
    }
}
