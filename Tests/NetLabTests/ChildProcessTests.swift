import Foundation
import NetLab
import TestSupport
import Testing

@Suite(.needsRoot, .timeLimit(.minutes(5))) struct ChildProcessTests {
    private let namespace: NetworkNamespace

    init() throws {
        namespace = try NetworkNamespace(name: "test")
    }

    private func devices(_ process: ChildProcess) throws -> [String] {
        #expect(try process.wait() == .exited(0))
        return process.lines.dropFirst(2).map { $0.text.prefix { $0 != ":" }.trimmingCharacters(in: .whitespaces) }
    }

    @Test func seesOnlyTheDevicesOfItsNamespace() throws {
        #expect(try devices(ChildProcess("cat", ["/proc/net/dev"], in: namespace)) == ["lo"])
        let other = try NetworkNamespace(name: "other")
        _ = try Wire(Host(name: "a"), "x", Host(name: "b"), "y")
        let arguments = ["--net=\(namespace.path)", "cat", "/proc/net/dev"]
        #expect(try devices(ChildProcess("nsenter", arguments, in: other)) == ["lo"])
    }

    @Test func linesArriveByStreamAndInOrder() throws {
        let process = try ChildProcess(
            "sh", ["-c", "echo one; echo two >&2; sleep 0.05; printf \"$WORD\""], in: namespace,
            environment: ["WORD": "three", "PATH": "/usr/bin:/bin"])
        let two = try process.waitForLine { $0 == "two" }
        #expect(two.stream == .error)
        let three = try process.waitForLine { $0 == "three" }
        #expect(three.stream == .output && three.time > two.time)
        #expect(try process.wait() == .exited(0))
        #expect(process.lines.count == 3)
        let missing = #expect(throws: LabError.self) { try process.waitForLine { $0 == "four" } }
        #expect(missing?.isTimeout == false, "the output has ended, so there is nothing to wait for")
        #expect(throws: LabError.self) { try process.waitForLine(skipping: 3) { _ in true } }
    }

    @Test func endsAreTold() throws {
        #expect(try ChildProcess("sh", ["-c", "exit 7"], in: namespace).wait() == .exited(7))
        let process = try ChildProcess("sleep", ["1000"], in: namespace)
        let late = #expect(throws: LabError.self) { try process.wait(timeout: .milliseconds(20)) }
        #expect(late?.isTimeout == true)
        try process.signal(SIGTERM)
        #expect(try process.wait() == .signaled(SIGTERM))
        #expect(try process.wait() == .signaled(SIGTERM))
        try process.signal(SIGTERM)
    }

    @Test func missingProgramIsAnError() {
        #expect(throws: LabError.self) { try ChildProcess("no-such-program-anywhere", in: namespace) }
        let error = #expect(throws: LabError.self) { try ChildProcess("/nonexistent/program", in: namespace) }
        #expect(error?.reason == .system(ENOENT))
    }

    @Test func diesWithItsLastReferenceAndTakesItsChildrenAlong() throws {
        var process: ChildProcess? = try ChildProcess("sh", ["-c", "sleep 1000 & echo $!; wait"], in: namespace)
        let line = try #require(process).waitForLine { _ in true }
        let child = try #require(Int32(line.text))
        #expect(kill(child, 0) == 0)
        process = nil
        let deadline = ContinuousClock.now + .seconds(5)
        while isRunning(child) && .now < deadline { usleep(1000) }
        #expect(!isRunning(child))
    }

    @Test func diesWithThisProcessHoweverThatEnds() async throws {
        let result = await #expect(processExitsWith: .signal(SIGKILL), observing: [\.standardOutputContent]) {
            let process = try ChildProcess("sleep", ["1000"], in: NetworkNamespace(name: "doomed"))
            print("child \(process.pid) child", terminator: "")
            fflush(nil)
            withExtendedLifetime(process) { _ = kill(getpid(), SIGKILL) }
        }
        let output = String(decoding: try #require(result).standardOutputContent, as: UTF8.self)
        let words = output.split(separator: " ")
        let child = try #require(words.count > 1 ? Int32(words[1]) : nil, "\(output)")
        let deadline = ContinuousClock.now + .seconds(5)
        while isRunning(child) && .now < deadline { usleep(1000) }
        #expect(!isRunning(child))
    }

    /// A zombie that nobody reaps still takes signals.
    private func isRunning(_ pid: Int32) -> Bool {
        let status = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
        return status.map { !$0.contains(") Z ") } ?? false
    }
}

@Suite(.needsRoot, .timeLimit(.minutes(5))) struct NetworkNamespaceTests {
    @Test func settingsAreItsOwn() throws {
        let (a, b) = (try NetworkNamespace(name: "a"), try NetworkNamespace(name: "b"))
        try a.sysctl("ipv4/ip_forward", "1")
        try b.sysctl("ipv4/ip_forward", "0")
        let path = "/proc/sys/net/ipv4/ip_forward"
        #expect(try a.run { try String(contentsOfFile: path, encoding: .utf8) } == "1\n")
        #expect(try b.run { try String(contentsOfFile: path, encoding: .utf8) } == "0\n")
        #expect(throws: LabError.self) { try a.sysctl("ipv4/no_such_setting", "1") }
    }

    @Test func runsInOrderAndFromWithin() throws {
        let namespace = try NetworkNamespace(name: "a")
        #expect(try namespace.run { try namespace.run { 7 } } == 7)
        #expect(throws: CancellationError.self) { try namespace.run { throw CancellationError() } }
        #expect(try namespace.run { 8 } == 8)
    }

    @Test func goesWithItsLastReference() throws {
        var namespace: NetworkNamespace? = try NetworkNamespace(name: "a")
        let path = try #require(namespace).path
        let inode = try #require(try? FileManager.default.destinationOfSymbolicLink(atPath: path))
        #expect(inode.hasPrefix("net:["))
        namespace = nil
        let deadline = ContinuousClock.now + .seconds(5)
        while isUsed(inode) && .now < deadline { usleep(1000) }
        #expect(!isUsed(inode), "a thread or descriptor of this process still holds it")
    }

    private func isUsed(_ inode: String) -> Bool {
        let files = FileManager.default
        let threads = (try? files.contentsOfDirectory(atPath: "/proc/self/task")) ?? []
        let descriptors = (try? files.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        let links = threads.map { "/proc/self/task/\($0)/ns/net" } + descriptors.map { "/proc/self/fd/\($0)" }
        return links.contains { (try? files.destinationOfSymbolicLink(atPath: $0)) == inode }
    }
}
