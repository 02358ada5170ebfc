import KubernetesWire
import Logging
import ServiceModel
import Synchronization
import Testing

@testable import KubernetesAPI

/// A reflector of Services against scripted answers: what it told, what it asked for, how it counted.
private struct Run: Sendable {
    let collection: FakeCollection
    let deliveries = Collected<Reflector.Delivery>()
    let record = Reflector.Record()

    var status: SourceStatus.Kind { record.status.withLock { $0 } }

    /// Name and port of each Service, as a catalog has them now.
    var held: [String: Int] {
        var held: [String: Int] = [:]
        for delivery in deliveries.all {
            for event in delivery.events {
                switch event {
                case .upsert(.service(let service)): held[service.name.name] = service.ports.first.map { Int($0.port) }
                case .delete(_, let name): held[name.name] = nil
                default: break
                }
            }
        }
        return held
    }

    func holds(_ expected: [String: Int]) async -> Bool { await eventually { held == expected } }

    static func with(
        _ replies: [FakeCollection.Reply], timing: ClusterTiming = .quick, optional: Bool = false,
        _ body: @Sendable (Run) async throws -> Void
    ) async throws {
        let run = Run(collection: FakeCollection(replies))
        try await LoopbackServer.with({ run.collection.reply($0.query) }) { server in
            var watched = WatchedKind.services(proxyName: nil)
            watched.isOptional = optional
            let reflector = Reflector(
                watched, Transport.to(server, timing: timing), format: .json, run.record,
                problems: ProblemLog(
                    Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, server: "", reminder: .zero),
                deliver: { run.deliveries.add($0) })
            let task = Task { await reflector.run() }
            defer { task.cancel() }
            try await body(run)
        }
    }
}

@Suite(.timeLimit(.minutes(5))) struct ReflectorTests {
    private let initial = FakeCollection.Reply.watch([
        Wire.added(Wire.service("a", 1)), Wire.added(Wire.service("b", 2)), Wire.bookmark(10, ends: true),
    ])

    @Test func aStreamedListIsToldAtOnceAndChangesAsTheyCome() async throws {
        try await Run.with([
            .open([
                Wire.added(Wire.service("a", 1)), Wire.added(Wire.service("b", 2)), Wire.bookmark(10, ends: true),
                Wire.modified(Wire.service("a", 11, port: 81)), Wire.deleted(Wire.service("b", 12)),
                Wire.added(Wire.service("c", 13)), Wire.bookmark(20),
            ])
        ]) { run async throws in
            #expect(await run.holds(["a": 81, "c": 80]))
            #expect(await eventually { run.status.resourceVersion.text == "20" })
            let deliveries = run.deliveries.all
            #expect(deliveries.first?.events.count == 2, "the list in one batch")
            #expect(deliveries.allSatisfy { $0.isSynced })
            let query = try #require(run.collection.queries.first)
            #expect(query["watch"] == "true" && query["sendInitialEvents"] == "true")
            #expect(query["resourceVersionMatch"] == "NotOlderThan" && query["resourceVersion"] == "")
            #expect(query["allowWatchBookmarks"] == "true")
            #expect(query["labelSelector"] == "!service.kubernetes.io/service-proxy-name")
            #expect(query["fieldSelector"] == "spec.clusterIP!=None")
            #expect((300..<600).contains(Int(query["timeoutSeconds"] ?? "") ?? 0))
            let status = run.status
            #expect(status.phase == .watching)
            #expect(status.upserts == 4 && status.deletions == 1 && status.bookmarks == 1 && status.objects == 2)
            #expect(status.failures.isEmpty)
        }
    }

    @Test func afterItsEndTheWatchGoesOnFromTheLastVersion() async throws {
        try await Run.with([
            initial, .watch([Wire.bookmark(15)]), .watch([Wire.added(Wire.service("c", 16))]),
        ]) { run async throws in
            #expect(await run.holds(["a": 80, "b": 80, "c": 80]))
            #expect(await eventually { run.collection.queries.count == 4 })
            #expect(run.collection.queries.map { $0["resourceVersion"] ?? "-" } == ["", "10", "15", "16"])
            #expect(run.collection.queries.dropFirst().allSatisfy { $0["sendInitialEvents"] == nil })
            #expect(run.status.failures.isEmpty)
        }
    }

    @Test(arguments: [400, 422]) func aServerThatDoesNotStreamListsIsAskedForAList(_ code: Int) async throws {
        try await Run.with([
            .status(code, reason: "Invalid", message: "sendInitialEvents is forbidden"),
            .list(10, [Wire.service("a", 1)]), .watch([Wire.expired()]),
            // Remembered: the next list is not streamed either.
            .list(20, [Wire.service("b", 15)]),
        ]) { run async throws in
            #expect(await run.holds(["b": 80]))
            let queries = run.collection.queries
            #expect(queries[1]["watch"] == nil && queries[1]["resourceVersion"] == "0")
            #expect(queries[2]["watch"] == "true" && queries[2]["resourceVersion"] == "10")
            #expect(queries[3]["watch"] == nil && queries[3]["resourceVersion"] == "10")
            #expect(queries[3]["resourceVersionMatch"] == "NotOlderThan")
        }
    }

    @Test func aListInPartsIsOneList() async throws {
        try await Run.with([
            .status(422), .list(10, [Wire.service("a", 1)], continues: "next&1"), .list(10, [Wire.service("b", 1)]),
        ]) { run async throws in
            #expect(await run.holds(["a": 80, "b": 80]))
            #expect(run.collection.query(2)?["continue"] == "next&1")
            #expect(run.deliveries.all.count == 1)
        }
    }

    /// Each reply fails the watch; the list after it deletes what vanished.
    @Test(arguments: [
        LoopbackServer.Reply.watch([Wire.expired()]),
        .status(410, reason: "Expired"),
        .watch([Wire.added(Wire.service("c", 11)), Wire.expired()]),
    ])
    func anExpiredVersionIsFollowedByAList(_ reply: LoopbackServer.Reply) async throws {
        try await Run.with([
            initial, reply,
            .open([Wire.added(Wire.service("a", 1)), Wire.added(Wire.service("d", 19)), Wire.bookmark(20, ends: true)]),
        ]) { run async throws in
            #expect(await run.holds(["a": 80, "d": 80]))
            let query = try #require(run.collection.queries.last)
            #expect(query["sendInitialEvents"] == "true")
            #expect(["10", "11"].contains(query["resourceVersion"]))
            #expect(run.status.failures == [.expired: 1])
            let last = try #require(run.deliveries.all.last)
            #expect(
                !last.events.contains { if case .upsert(.service(let s)) = $0 { s.name.name == "a" } else { false } })
        }
    }

    @Test func versionsThatExpireAgainAndAgainArePausedFor() async throws {
        var timing = ClusterTiming.quick
        timing.firstBackoff = .seconds(3600)
        timing.longestBackoff = .seconds(3600)
        try await Run.with(
            [
                initial, .watch([Wire.expired()]),
                .watch([Wire.added(Wire.service("c", 15)), Wire.bookmark(20, ends: true)]), .watch([Wire.expired()]),
            ], timing: timing
        ) { run async throws in
            #expect(
                await eventually {
                    if case .waiting(let until, _) = run.status.phase { until > .now + .seconds(1800) } else { false }
                })
            #expect(run.held == ["c": 80], "the first time a list follows at once")
            #expect(run.collection.queries.count == 4)
            #expect(run.status.failures == [.expired: 2])
        }
    }

    @Test func aVersionAheadOfTheServerIsGivenUp() async throws {
        try await Run.with([
            .status(422), .list(1000, [Wire.service("a", 900)]), .watch([Wire.expired()]),
            .status(504, reason: "Timeout", message: "Too large resource version", cause: "ResourceVersionTooLarge"),
            // etcd was restored: lower versions, and they count.
            .list(500, [Wire.service("a", 400, port: 79)]), .open([Wire.modified(Wire.service("a", 501, port: 82))]),
        ]) { run async throws in
            #expect(await run.holds(["a": 82]))
            #expect(run.collection.query(3)?["resourceVersion"] == "1000")
            #expect(run.collection.query(4)?["resourceVersion"] == "")
            #expect(run.collection.query(5)?["resourceVersion"] == "500")
        }
    }

    @Test func aBookmarkBelowTheLastVersionIsFollowedByAList() async throws {
        try await Run.with([
            initial, .open([Wire.bookmark(5)]),
            .open([Wire.added(Wire.service("z", 4)), Wire.bookmark(5, ends: true)]),
        ]) { run async throws in
            #expect(await run.holds(["z": 80]))
            #expect(run.collection.query(2)?["resourceVersion"] == "")
        }
    }

    /// The watch fails; what is known stays, and the next watch goes on from what was understood last.
    @Test(arguments: [
        (
            LoopbackServer.Reply.watch([Wire.added(Wire.service("c", 11)), "{garbage\n"]),
            SourceStatus.Failure.malformed, "11"
        ),
        (.watch(["{garbage\n"]), .malformed, "10"),
        (.watch([#"{"type":"ADDED","object":{"kind":"Serv"#]), .malformed, "10"),
        (.pieces([.text(#"{"type":"ADDED""#), .cut], ends: true), .connection, "10"),
        (.answer(200, ["content-type": "text/html"], "<html>"), .malformed, "10"),
        (.status(500), .server, "10"),
        (.status(503), .server, "10"),
        (.status(403, reason: "Forbidden"), .forbidden, "10"),
        (.status(401, reason: "Unauthorized"), .unauthorized, "10"),
        (.status(429, headers: ["retry-after": "0"]), .throttled, "10"),
    ])
    func afterAFailureTheWatchIsTriedAgain(
        _ reply: LoopbackServer.Reply, _ failure: SourceStatus.Failure, _ version: String
    ) async throws {
        try await Run.with([initial, reply, .open([Wire.added(Wire.service("d", 12))])]) { run async throws in
            #expect(await eventually { run.held["d"] == 80 })
            #expect(run.held["a"] == 80 && run.held["b"] == 80)
            #expect(run.status.failures == [failure: 1])
            #expect(run.status.deletions == 0)
            let query = try #require(run.collection.queries.last)
            #expect(query["resourceVersion"] == version && query["sendInitialEvents"] == nil)
        }
    }

    @Test func whatCannotBeReadTwiceIsFollowedByAList() async throws {
        try await Run.with([
            initial, .watch(["{garbage\n"]), .watch(["{garbage\n"]),
            .open([Wire.added(Wire.service("d", 12)), Wire.bookmark(20, ends: true)]),
        ]) { run async throws in
            #expect(await run.holds(["d": 80]))
        }
    }

    @Test func aWatchThatKeepsSilentIsMadeAgain() async throws {
        var timing = ClusterTiming.quick
        timing.silence = .milliseconds(500)
        try await Run.with(
            [
                .open([Wire.added(Wire.service("a", 1)), Wire.bookmark(10, ends: true)]),
                // Silent from the start: a server that waits for a version it does not have.
                .open([]),
                .open([Wire.added(Wire.service("c", 4)), Wire.bookmark(5, ends: true)]),
            ], timing: timing
        ) { run async throws in
            #expect(await run.holds(["c": 80]))
            let queries = run.collection.queries
            #expect(queries[1]["resourceVersion"] == "10" && queries[1]["sendInitialEvents"] == nil)
            #expect(queries[2]["resourceVersion"] == "" && queries[2]["sendInitialEvents"] == "true")
            #expect((run.status.failures[.silence] ?? 0) >= 2)
        }
    }

    /// A server that does not know the parameter sends the objects, and never says that these are all.
    @Test func aStreamedListWithoutEndIsFollowedByAList() async throws {
        var timing = ClusterTiming.quick
        timing.listPause = .milliseconds(500)
        try await Run.with(
            [.open([Wire.added(Wire.service("a", 1))]), .list(10, [Wire.service("a", 1), Wire.service("b", 2)])],
            timing: timing
        ) { run async throws in
            #expect(await run.holds(["a": 80, "b": 80]))
            #expect(run.deliveries.all.count == 1, "nothing is told of a list that is not complete")
            #expect(run.collection.query(1)?["watch"] == nil)
        }
    }

    @Test func aStreamedListThatBreaksOffTellsNothing() async throws {
        try await Run.with([
            .watch([Wire.added(Wire.service("a", 1))]),
            .pieces([.text(#"{"kind":"ServiceList","items":[\#(Wire.service("b", 1)),"#), .cut], ends: true),
            .list(10, [Wire.service("c", 3)]), .open([]),
        ]) { run async throws in
            #expect(await eventually { !run.deliveries.all.isEmpty })
            #expect(run.deliveries.all.first?.events.count == 1)
            #expect(run.held == ["c": 80])
        }
    }

    @Test func eventsCutAnywhereAreTheSameEvents() async throws {
        let text = [
            Wire.added(Wire.service("a", 1)), Wire.bookmark(10, ends: true), Wire.added(Wire.service("b", 11)),
            Wire.deleted(Wire.service("a", 12)),
        ].joined()
        let pieces = text.map { LoopbackServer.Piece.text(String($0)) }
        try await Run.with([.pieces(pieces, ends: false)]) { run async throws in
            #expect(await run.holds(["b": 80]))
            #expect(run.status.failures.isEmpty)
        }
    }

    @Test func aWatchThatEndsAtOnceWithoutAWordIsAFailure() async throws {
        var timing = ClusterTiming.quick
        timing.shortWatch = .seconds(30)
        try await Run.with([initial, .watch([]), .open([Wire.added(Wire.service("c", 11))])], timing: timing) {
            run async throws in
            #expect(await eventually { run.held["c"] == 80 })
            #expect(run.status.failures == [.shortWatch: 1])
        }
    }

    @Test func whatTheClusterLacksIsAskedForRarely() async throws {
        var timing = ClusterTiming.quick
        timing.absent = .seconds(3600)
        try await Run.with([.status(404)], timing: timing, optional: true) { run async throws in
            #expect(
                await eventually {
                    if case .waiting(let until, _) = run.status.phase { until > .now + .seconds(1800) } else { false }
                })
            #expect(run.deliveries.all.isEmpty)
            #expect(run.collection.queries.count == 1)
        }
    }

    @Test func theServerSaysHowLongToWait() async throws {
        try await Run.with([.status(429, headers: ["retry-after": "3600"])]) { run async throws in
            #expect(
                await eventually {
                    if case .waiting(let until, let reason) = run.status.phase {
                        until > .now + .seconds(1800) && reason.contains("429")
                    } else {
                        false
                    }
                })
        }
    }
}
