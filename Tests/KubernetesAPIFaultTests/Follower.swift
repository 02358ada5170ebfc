import APIStandIn
import Foundation
import KubernetesAPI
import Logging
import ServiceModel
import Synchronization
import Testing

typealias ContentType = ClusterSettings.ContentType

/// Somebody who follows a cluster's API by the client under test, and checks each thing he is told.
final class Follower: Sendable {
    private struct State: Sendable {
        var catalog = Catalog()
        var syncs = 0
        var batches = 0
        var violations: [String] = []
        var isOver = false
    }

    let source: ClusterSource
    private let state = Mutex(State())
    private let truth: Truth
    private let kubeconfig: URL
    private let task = Mutex<Task<Void, Never>?>(nil)

    /// Short times, so that a test is over soon.
    static var timing: ClusterTiming {
        var timing = ClusterTiming()
        timing.connect = .seconds(3)
        timing.answer = .seconds(3)
        timing.list = .seconds(6)
        timing.silence = .seconds(2)
        timing.shortWatch = .milliseconds(50)
        timing.firstBackoff = .milliseconds(20)
        timing.longestBackoff = .milliseconds(200)
        timing.node = .milliseconds(500)
        timing.absent = .seconds(2)
        return timing
    }

    init(
        _ world: World, _ wire: Wire, credentials: APIStandIn.Credentials = .token("token-1"),
        timing: ClusterTiming = Follower.timing
    ) throws {
        truth = world.truth
        kubeconfig = FileManager.default.temporaryDirectory.appendingPathComponent("follower-\(UUID().uuidString)")
        try world.server.kubeconfig(credentials).write(to: kubeconfig, atomically: true, encoding: .utf8)
        var settings = ClusterSettings(kubeconfig: kubeconfig.path, contentType: wire.form)
        settings.requestsPerSecond = 1_000
        settings.burst = 1_000
        source = try ClusterSource(
            settings, nodeName: World.nodeName, version: "test", timing: timing,
            logger: Logger(label: "follower") { _ in SwiftLogNoOpLogHandler() })
        let batches = source.follow()
        let following = Task { [weak self] in
            for await batch in batches {
                guard let self else { return }
                self.take(batch)
            }
            self?.state.withLock { $0.isOver = true }
        }
        task.withLock { $0 = following }
    }

    deinit {
        task.withLock { $0?.cancel() }
        try? FileManager.default.removeItem(at: kubeconfig)
    }

    private func take(_ batch: ObjectBatch) {
        state.withLock { state in
            state.batches += 1
            for event in batch.events {
                if let violation = truth.check(event) { state.violations.append(violation) }
                if case .synced = event { state.syncs += 1 }
            }
            let wasSynced = state.catalog.isSynced
            _ = state.catalog.apply(batch.events)
            if !wasSynced, batch.isComplete != state.catalog.isSynced {
                state.violations.append("a batch before the sync says that it is complete, or the other way round")
            }
            if !wasSynced, state.catalog.isSynced {
                let missing = truth.permanent.subtracting(state.catalog.objects.map(\.id))
                if !missing.isEmpty { state.violations.append("synced without \(missing.sorted())") }
            }
        }
    }

    // MARK: What has been told

    var objects: Set<CatalogObject> { state.withLock { $0.catalog.objects } }

    var isSynced: Bool { state.withLock { $0.catalog.isSynced } }

    var batches: Int { state.withLock { $0.batches } }

    /// Waits until what has been told is the truth; fails if anything was told on the way that must not be.
    func converge(_ when: String, within limit: Duration = .seconds(60)) async throws {
        let wanted = truth.now
        try await eventually(within: limit) {
            isSynced && objects == wanted
        } orExplain: {
            let told = objects
            return "\(when): told \(told.subtracting(wanted).map(\.id).sorted()) too much, "
                + "\(wanted.subtracting(told).map(\.id).sorted()) not; synced \(isSynced); "
                + "violations \(state.withLock { $0.violations }); \(source.status.kinds)"
        }
        expectNoRegression(when)
    }

    func expectNoRegression(_ when: String) {
        let (violations, syncs, isOver) = state.withLock { ($0.violations, $0.syncs, $0.isOver) }
        #expect(violations == [], "\(when)")
        #expect(syncs <= 1, "\(when): synced is told once")
        #expect(!isOver, "\(when): the source has given up")
    }
}

extension Catalog {
    /// All objects.
    var objects: Set<CatalogObject> {
        var objects: Set<CatalogObject> = []
        for service in services.values { objects.insert(.service(service)) }
        for slice in slices.values { objects.insert(.endpointSlice(slice)) }
        for node in nodes.values { objects.insert(.node(node)) }
        for range in serviceCIDRs.values { objects.insert(.serviceCIDR(range)) }
        return objects
    }
}

/// Something that did not come true in time.
struct NotInTime: Error, CustomStringConvertible {
    let description: String
}

/// Asks until the answer is yes.
func eventually(
    within limit: Duration = .seconds(60), _ isTrue: () throws -> Bool, orExplain explanation: () throws -> String
) async throws {
    let deadline = ContinuousClock.now + limit
    while try !isTrue() {
        guard .now < deadline else { throw NotInTime(description: "not within \(limit): \(try explanation())") }
        try await Task.sleep(for: .milliseconds(10))
    }
}
