import BPF
import Dataplane
import Foundation
import Inspection
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
        ["version", "--pin-directory", "/nowhere/needletail"],
    ])
    func commandLinesThatMakeNoSense(_ arguments: [String]) throws {
        let outcome = try run(arguments)
        #expect(outcome.code == 64)
        #expect(outcome.output.isEmpty)
        #expect(outcome.errors.hasPrefix("Error: "))
    }

    @Test(arguments: [
        ["status"], ["service", "list"], ["service", "show", "a/b"], ["backend", "list"], ["flow", "list"],
        ["flow", "flush", "--all"], ["maglev", "show", "a/b"], ["maps"],
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
        ["flow", "flush"], ["maglev", "show"], ["maps"], ["version"],
    ])
    func helpHasExamples(_ command: [String]) throws {
        let outcome = try run(command + ["--help"])
        #expect(outcome.code == 0)
        #expect(outcome.output.contains("EXAMPLES\n  needletail "))
        #expect(outcome.output.split(separator: "\n").allSatisfy { $0.count <= 80 || $0.hasPrefix("USAGE") })
    }

    @Test func versionAndCompletions() throws {
        #expect(try run(["version"]).output == "needletail \(NeedletailVersion.current), map layout version 2\n")
        #expect(try run(["--version"]).output == "\(NeedletailVersion.current)\n")
        for shell in ["bash", "zsh", "fish"] {
            let outcome = try run(["--generate-completion-script", shell])
            #expect(outcome.code == 0)
            #expect(outcome.output.contains("maglev"))
        }
    }
}
