internal import BPF
internal import CLinux
internal import Dataplane
internal import Glibc
internal import KubernetesWire
internal import NeedletailABI
internal import NetLab
internal import NetTypes

/// The agent itself, as a process of a node that is told of Services by manifests: what all of it takes, from its start
/// to the maps, and from a changed file to them.
struct AgentProgramming {
    private static let subject = "needletail-agent"
    private let program: String

    init() {
        program = "\(ProgramFile.directory)/needletail-agent"
    }

    /// Changes in a round.
    private static let changes = 2...100

    /// One round at a place. What cannot be measured there is not tried again.
    func measure(_ place: Place, _ settings: RunSettings, _ results: inout MeasurementSeries) {
        let units: [(String, Measurement.Unit)] = [
            ("full", .milliseconds), ("resident", .bytes), ("change", .microseconds),
            ("change, processor", .microseconds),
        ]
        guard !results.hasEnded(place.key("full", Self.subject)) else { return }
        guard access(program, X_OK) == 0 else {
            for (quantity, unit) in units {
                results.end(
                    place.key(quantity, Self.subject), unit,
                    .skipped("there is no needletail-agent beside this program"))
            }
            return
        }
        do {
            try measureRound(place, settings, &results)
        } catch {
            for (quantity, unit) in units {
                results.end(place.key(quantity, Self.subject), unit, .failed("\(error)"))
            }
        }
    }

    private func measureRound(_ place: Place, _ settings: RunSettings, _ results: inout MeasurementSeries) throws {
        let folder = try ManifestFolder(place)
        defer { folder.remove() }
        // The agent reads again whatever was written within a second before: its clock cannot tell it from newer.
        usleep(1_100_000)
        let node = try AgentNode(program, folder.path)
        defer { node.stop() }
        let first = try node.wait { $0.syncs > 0 }
        results.add(
            place.key("full", Self.subject), .milliseconds, first,
            reference: place.key("full", "needletail"), note: "from the start of the process, which reads manifests")
        results.add(place.key("resident", Self.subject), .bytes, Double(Memory.resident(of: node.pid)))
        var latencies: [Double] = []
        let processor = ProcessClock.of(node.pid) ?? 0
        let end = ContinuousClock.now + .seconds(settings.duration)
        repeat {
            latencies.append(try node.change { try folder.change(latencies.count) })
        } while latencies.count < Self.changes.lowerBound
            || (latencies.count < Self.changes.upperBound && ContinuousClock.now < end)
        let used = (ProcessClock.of(node.pid) ?? processor) - processor
        results.add(
            place.key("change", Self.subject), .microseconds, latencies: latencies,
            reference: place.key("change", "needletail"),
            note: "from a file that is replaced, upon which the agent looks at all of them")
        results.add(
            place.key("change, processor", Self.subject), .microseconds, used / Double(latencies.count),
            reference: place.key("change, processor", "needletail"), note: "of the whole process")
    }
}

/// A node with the agent running on it.
private final class AgentNode {
    private let topology: Topology
    private let process: ChildProcess
    private let started: ContinuousClock.Instant
    private static let pins = PinDirectory("\(BPFFileSystem.standardPath)/needletail-bench")

    /// Starts the agent. What it pins is in a mount namespace of the node's thread, and goes with that.
    init(_ program: String, _ manifests: String) throws {
        topology = try Topology(podNames: ["pod"], outsideNames: ["outside"])
        try topology.node.namespace.run {
            let result = nt_unshare_mounts()
            guard result == 0 else { throw LabError("make", "mount namespace", .system(-result)) }
            try BPFFileSystem.mount(at: BPFFileSystem.standardPath)
        }
        started = .now
        process = try ChildProcess(
            program,
            [
                "--manifests", manifests, "--node-name", ClusterObjects.nodeName, "--external-devices", "eth*",
                "--workload-devices", "nt*", "--pin-directory", Self.pins.root, "--sockets", "off",
                "--max-tcp-flows", "65536", "--max-udp-flows", "65536", "--log-level", "warning",
            ], in: topology.node.namespace)
    }

    var pid: pid_t { process.pid }

    /// Waits until what the agent tells of itself is so; returns the milliseconds since its start.
    @discardableResult
    func wait(until holds: @escaping @Sendable (nt_meta) -> Bool) throws -> Double {
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            if let record = try? record(), holds(record) { return (ContinuousClock.now - started).milliseconds }
            if let end = try? process.wait(timeout: .zero) {
                throw BenchmarkError.preparationFailed("the agent ended (\(end)): \(said)")
            }
            usleep(1000)
        }
        throw BenchmarkError.preparationFailed("the agent did not get there within 60 seconds: \(said)")
    }

    /// Makes a change and waits for it to be in the maps; returns the microseconds between.
    func change(_ change: () throws -> Void) throws -> Double {
        let syncs = try record().syncs
        let begun = Self.realTime
        try change()
        try wait { $0.syncs > syncs && $0.last_sync >= begun }
        return Double(try record().last_sync - begun) / 1000
    }

    /// Ends it in good order, and in any case.
    func stop() {
        try? process.signal(SIGTERM)
        if (try? process.wait(timeout: .seconds(10))) == nil { try? process.signal(SIGKILL) }
        _ = try? topology.node.namespace.run { try Attachments.removeAll(Self.pins) }
    }

    private func record() throws -> nt_meta {
        try topology.node.namespace.run { try DatapathMaps(pinnedIn: Self.pins).nodeRecord() }
    }

    private var said: String { process.lines.suffix(3).map(\.text).joined(separator: "; ") }

    /// The clock of `nt_meta`, in nanoseconds.
    private static var realTime: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

/// A directory with a file for each Service of a place.
private final class ManifestFolder {
    let path: String
    private let place: Place

    init(_ place: Place) throws {
        self.place = place
        var template = Array("/tmp/needletail-bench-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw BenchmarkError.preparationFailed(
                "no directory can be made in /tmp: \(String(cString: strerror(errno)))")
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        for index in 0..<place.services { try write(index, unready: nil) }
    }

    /// Changes whether an endpoint is ready, that of the next Service each time.
    func change(_ number: Int) throws {
        let isUnready = number / place.services % 2 == 0
        try write(number % place.services, unready: isUnready ? number % place.backends : nil)
    }

    func remove() {
        for index in 0..<place.services { unlink(file(index)) }
        rmdir(path)
    }

    private func file(_ index: Int) -> String { "\(path)/service-\(index).yaml" }

    /// In one step, as a careful writer does: a reader sees the old or the new. Files that begin with a dot are not read.
    private func write(_ index: Int, unready: Int?) throws {
        let draft = "\(path)/.draft"
        let text = ClusterObjects(endpoints: place.backends, format: .json).manifest(index, unready: unready)
        let file = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        let count = file < 0 ? -1 : Glibc.write(file, text, text.utf8.count)
        if file >= 0 { close(file) }
        guard count == text.utf8.count, rename(draft, self.file(index)) == 0 else {
            throw BenchmarkError.preparationFailed("\(draft) cannot be written: \(String(cString: strerror(errno)))")
        }
    }
}

extension ClusterObjects {
    /// The same Service and slice as a manifest.
    fileprivate func manifest(_ index: Int, unready: Int?) -> String {
        let list = (0..<endpoints).map { number in
            """
            - addresses: ["\(endpointAddress(index, number))"]
              conditions: {ready: \(number != unready)}
              nodeName: node-\((index * 7 + number) % 300)

            """
        }.joined()
        return """
            apiVersion: v1
            kind: Service
            metadata: {name: \(Self.name(index)), namespace: \(Self.namespace(index))}
            spec:
              type: ClusterIP
              clusterIP: \(clusterIP(index))
              ports: [{name: http, protocol: TCP, port: 80, targetPort: 8080}]
            ---
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            metadata:
              name: \(Self.name(index))-x
              namespace: \(Self.namespace(index))
              labels: {kubernetes.io/service-name: \(Self.name(index))}
            addressType: IPv4
            ports: [{name: http, protocol: TCP, port: 8080}]
            endpoints:
            \(list)
            """
    }
}

/// Where programs that come with this one are.
enum ProgramFile {
    /// The directory of the running program, for the others that are beside it.
    static var directory: String {
        let path = withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
            let length = buffer.baseAddress.map { readlink("/proc/self/exe", $0, buffer.count) } ?? 0
            return String(decoding: buffer[..<max(0, length)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        return path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    }
}
