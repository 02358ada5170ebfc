import NetTypes
import ServiceModel
import Synchronization
import Testing

@testable import Observability

/// Clocks that a test sets.
final class FakeClocks: Sendable {
    private let state = Mutex((elapsed: Duration.zero, wall: WallTime(seconds: 1_795_224_000)))
    private let start = ContinuousClock.now

    /// Time passes.
    func pass(_ duration: Duration) {
        state.withLock {
            $0.elapsed += duration
            $0.wall.seconds += duration.components.seconds
        }
    }

    /// Somebody sets the wall clock.
    func jump(_ seconds: Int64) { state.withLock { $0.wall.seconds += seconds } }

    var clocks: HealthState.Clocks {
        .init(monotonic: { self.state.withLock { self.start + $0.elapsed } }, wall: { self.state.withLock { $0.wall } })
    }
}

@Suite struct HealthStateTests {
    enum Step {
        case updated([IPFamily])
        case queued([IPFamily])
        case pass(Int)
        case jump(Int64)
        case node(Node)
    }

    struct Case: CustomTestStringConvertible, Sendable {
        let name: String
        let steps: [Step]
        var healthz = 200
        var livez = 200
        /// By family in order, as far as they are reported.
        var families: [Bool]
        var testDescription: String { name }
    }

    static let good = Node(name: "n")

    static let cases: [Case] = [
        Case(name: "nobody has ever been heard of", steps: [], healthz: 503, families: []),
        Case(name: "the node alone", steps: [.node(good)], families: []),
        Case(name: "started", steps: [.node(good), .updated([.v4, .v6])], families: [true, true]),
        Case(
            name: "nothing happens for a day", steps: [.node(good), .updated([.v4, .v6]), .pass(86_400)],
            families: [true, true]),
        Case(
            name: "an update waits a bit less than its time",
            steps: [.node(good), .updated([.v4, .v6]), .queued([.v4, .v6]), .pass(59)], families: [true, true]),
        Case(
            name: "an update waits its time",
            steps: [.node(good), .updated([.v4, .v6]), .queued([.v4, .v6]), .pass(60)],
            healthz: 503, livez: 503, families: [false, false]),
        Case(
            name: "one family waits", steps: [.node(good), .updated([.v4, .v6]), .queued([.v6]), .pass(61)],
            healthz: 503, livez: 503, families: [true, false]),
        Case(
            name: "later updates do not extend the time",
            steps: [.node(good), .updated([.v4, .v6]), .queued([.v4]), .pass(30), .queued([.v4]), .pass(30)],
            healthz: 503, livez: 503, families: [false, true]),
        Case(
            name: "it is done in the end",
            steps: [.node(good), .updated([.v4, .v6]), .queued([.v4]), .pass(600), .updated([.v4])],
            families: [true, true]),
        Case(
            name: "the next one has all of its time",
            steps: [
                .node(good), .updated([.v4, .v6]), .queued([.v4]), .pass(50), .updated([.v4]), .queued([.v4]),
                .pass(50),
            ],
            families: [true, true]),
        Case(
            name: "a family that was never up is not reported, and does not count",
            steps: [.node(good), .updated([.v4]), .queued([.v6]), .pass(600)], families: [true]),
        Case(
            name: "the wall clock jumps ahead while an update waits",
            steps: [.node(good), .updated([.v4, .v6]), .queued([.v4]), .jump(86_400), .pass(10)],
            families: [true, true]),
        Case(
            name: "the wall clock jumps back while an update waits for too long",
            steps: [.node(good), .updated([.v4, .v6]), .queued([.v4]), .jump(-86_400), .pass(60)],
            healthz: 503, livez: 503, families: [false, true]),
        Case(
            name: "the node is about to be deleted",
            steps: [.node(Node(name: "n", taints: ["a", "ToBeDeletedByClusterAutoscaler"])), .updated([.v4])],
            healthz: 503, families: [true]),
        Case(
            name: "the node is being deleted", steps: [.node(Node(name: "n", isBeingDeleted: true)), .updated([.v4])],
            healthz: 503, families: [true]),
        Case(
            name: "other taints do not matter",
            steps: [.node(Node(name: "n", taints: ["node.kubernetes.io/unreachable"])), .updated([.v4])],
            families: [true]),
        Case(
            name: "the autoscaler has changed its mind",
            steps: [
                .node(Node(name: "n", taints: ["ToBeDeletedByClusterAutoscaler"])), .node(good), .updated([.v4]),
            ],
            families: [true]),
    ]

    @Test(arguments: cases) func itIsHealthyByTheRules(_ test: Case) throws {
        let time = FakeClocks()
        let health = HealthState(clocks: time.clocks)
        for step in test.steps {
            switch step {
            case .updated(let families): health.updated(families)
            case .queued(let families): health.queuedUpdate(families)
            case .pass(let seconds): time.pass(.seconds(seconds))
            case .jump(let seconds): time.jump(seconds)
            case .node(let node): health.update(node)
            }
        }
        let (healthz, livez) = (health.answer(.healthz), health.answer(.livez))
        #expect(healthz.status == test.healthz)
        #expect(livez.status == test.livez)
        #expect(health.isHealthy == (test.livez == 200))
        for answer in [healthz, livez] {
            let families = ["IPv4", "IPv6"].compactMap { family -> Bool? in
                guard let start = answer.body.firstRange(of: "\"\(family)\":{") else { return nil }
                return answer.body[start.upperBound...].prefix { $0 != "}" }.hasSuffix("\"healthy\":true")
            }
            #expect(families == test.families)
        }
        #expect(livez.body.contains("nodeEligible") == false)
        #expect(health.answers.healthz == [test.healthz: 1] && health.answers.livez == [test.livez: 1])
    }

    @Test func theAnswerIsKubeProxysByteByByte() {
        let time = FakeClocks()
        let health = HealthState(clocks: time.clocks)
        health.update(Node(name: "n"))
        health.updated([.v4, .v6])
        time.pass(.seconds(5))
        #expect(
            health.answer(.healthz).body
                == #"{"lastUpdated":"2026-11-21T01:20:05Z","currentTime":"2026-11-21T01:20:05Z","nodeEligible":true,"#
                + #""healthy":true,"status":{"IPv4":{"lastUpdated":"2026-11-21T01:20:00Z","healthy":true},"#
                + #""IPv6":{"lastUpdated":"2026-11-21T01:20:00Z","healthy":true}}}"#)
        health.queuedUpdate([.v6])
        time.pass(.seconds(60))
        #expect(
            health.answer(.livez).body
                == #"{"lastUpdated":"2026-11-21T01:20:00Z","currentTime":"2026-11-21T01:21:05Z","#
                + #""healthy":false,"status":{"IPv4":{"lastUpdated":"2026-11-21T01:20:00Z","healthy":true},"#
                + #""IPv6":{"lastUpdated":"2026-11-21T01:20:00Z","healthy":false}}}"#)
        #expect(
            HealthState(clocks: time.clocks).answer(.healthz).body
                == #"{"lastUpdated":"0001-01-01T00:00:00Z","currentTime":"2026-11-21T01:21:05Z","nodeEligible":false,"#
                + #""healthy":true,"status":{}}"#)
    }

    @Test func furtherFieldsFollowTheKnownOnes() {
        let time = FakeClocks()
        let health = HealthState(needsNode: false, clocks: time.clocks)
        health.updated([.v4])
        health.describe {
            HealthDetails(
                watches: [
                    .init(kind: "services", age: .milliseconds(1500), isHealthy: true),
                    .init(kind: "nodes", age: nil, isHealthy: false),
                ],
                audit: .init(lastRun: WallTime(seconds: 0, nanoseconds: 120_000_000), differences: 2, repaired: 1))
        }
        let answer = health.answer(.healthz)
        #expect(answer.status == 200)
        #expect(
            answer.body.hasSuffix(
                #""healthy":true}},"watch":{"services":{"ageSeconds":1.5,"healthy":true},"#
                    + #""nodes":{"ageSeconds":null,"healthy":false}},"#
                    + #""audit":{"lastRun":"1970-01-01T00:00:00.12Z","differences":2,"repaired":1}}"#))
    }

    @Test func theTimeIsTwiceTheSyncPeriod() {
        let time = FakeClocks()
        let health = HealthState(syncPeriod: .seconds(100), clocks: time.clocks)
        health.updated()
        health.queuedUpdate()
        time.pass(.seconds(199))
        #expect(health.isHealthy)
        time.pass(.seconds(1))
        #expect(!health.isHealthy)
        #expect(health.lateFamilies == [.v4, .v6])
    }

    @Test(arguments: [
        (Int64(0), Int64(0), "1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
        (951_782_400, 1, "2000-02-29T00:00:00.000000001Z", "Tue, 29 Feb 2000 00:00:00 GMT"),
        (951_868_799, 500_000_000, "2000-02-29T23:59:59.5Z", "Tue, 29 Feb 2000 23:59:59 GMT"),
        (1_709_251_199, 0, "2024-02-29T23:59:59Z", "Thu, 29 Feb 2024 23:59:59 GMT"),
        (1_735_689_599, 0, "2024-12-31T23:59:59Z", "Tue, 31 Dec 2024 23:59:59 GMT"),
        (1_735_689_600, 794_909_322, "2025-01-01T00:00:00.794909322Z", "Wed, 01 Jan 2025 00:00:00 GMT"),
        (4_107_542_400, 0, "2100-03-01T00:00:00Z", "Mon, 01 Mar 2100 00:00:00 GMT"),
        (784_111_777, 0, "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 GMT"),
        (-1, 0, "1969-12-31T23:59:59Z", "Wed, 31 Dec 1969 23:59:59 GMT"),
    ])
    func timesAreWrittenInBothForms(_ seconds: Int64, _ nanoseconds: Int64, _ rfc3339: String, _ http: String) {
        let time = WallTime(seconds: seconds, nanoseconds: nanoseconds)
        #expect(time.rfc3339 == rfc3339)
        #expect(time.httpDate == http)
    }
}
