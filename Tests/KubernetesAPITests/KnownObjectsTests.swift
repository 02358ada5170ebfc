import KubernetesWire
import ServiceModel
import Testing

@testable import KubernetesAPI

/// A Node: the simplest of objects. `zone` tells states of it apart.
private func object(_ name: String, _ version: Int, zone: String? = nil) -> ReceivedObject {
    ReceivedObject(
        object: .node(Node(name: name, zone: zone ?? "z\(version)")), resourceVersion: ResourceVersion("\(version)"))
}

private func id(_ name: String) -> ObjectName { ObjectName(namespace: "", name: name) }

/// What a catalog holds after such events: names and zones.
private func apply(_ events: [CatalogEvent], to held: inout [String: String]) {
    for event in events {
        switch event {
        case .upsert(.node(let node)): held[node.name] = node.zone
        case .delete(_, let name): held[name.name] = nil
        default: Issue.record("\(event)")
        }
    }
}

extension KnownObjects {
    fileprivate mutating func list(_ objects: [ReceivedObject], _ version: Int) -> [CatalogEvent] {
        var listing = Listing()
        for object in objects { listing.add(object, to: self) }
        return replace(with: listing, version: ResourceVersion("\(version)"), kind: .node)
    }

    /// What an event makes tell; `nil` if it is dropped.
    fileprivate mutating func event(_ event: WatchEvent) -> CatalogEvent? {
        if case .tell(let change) = take(event) { change } else { nil }
    }
}

@Suite struct KnownObjectsTests {
    @Test func aSecondListTellsWhatChangedAndDeletesWhatVanished() {
        var known = KnownObjects()
        #expect(known.list([object("a", 1), object("b", 2), object("c", 3)], 10).count == 3)
        let events = known.list([object("a", 1), object("b", 12), object("d", 13)], 20)
        var held = ["a": "z1", "b": "z2", "c": "z3"]
        apply(events, to: &held)
        #expect(held == ["a": "z1", "b": "z12", "d": "z13"])
        #expect(events.count == 3, "what is as it was is not told again")
        #expect(known.count == 3)
        #expect(known.version?.text == "20")
    }

    @Test func ofARestoredServerEverythingCounts() {
        var known = KnownObjects()
        _ = known.list([object("a", 500, zone: "new"), object("b", 501), object("c", 502)], 600)
        // Lower versions; one version for another state; the same version for the same state.
        var held = ["a": "new", "b": "z501", "c": "z502"]
        apply(
            known.list([object("a", 400, zone: "old"), object("b", 501, zone: "other"), object("c", 502)], 510),
            to: &held)
        #expect(held == ["a": "old", "b": "other", "c": "z502"])
        // From here on, versions below the first list's are new.
        #expect(known.event(.upsert(object("a", 511))) == .upsert(object("a", 511).object))
    }

    @Test func whatIsOlderThanKnownOrDeletedIsDropped() {
        var known = KnownObjects()
        _ = known.list([object("a", 5)], 10)
        #expect(known.event(.upsert(object("a", 12))) != nil)
        #expect(known.event(.upsert(object("a", 11))) == nil, "older than known")
        #expect(known.event(.upsert(object("a", 12))) == nil, "twice")
        #expect(known.event(.delete(object("a", 11))) == nil, "a deletion before the last change")
        #expect(known.event(.delete(object("a", 14))) == .delete(.node, id("a")))
        #expect(known.event(.delete(object("a", 14))) == nil, "twice")
        #expect(known.event(.upsert(object("a", 13))) == nil, "older than its deletion")
        #expect(known.event(.upsert(object("b", 7))) == nil, "older than the list it is not in")
        #expect(known.event(.upsert(object("a", 15))) != nil, "made anew")
        #expect(known.version?.text == "15")
    }

    @Test func bookmarksAdvanceTheVersionAndNeverTurnItBack() {
        var known = KnownObjects()
        _ = known.list([], 10)
        _ = known.take(.bookmark(ResourceVersion("30"), endsInitialEvents: false))
        #expect(known.version?.text == "30")
        guard case .wentBack = known.take(.bookmark(ResourceVersion("20"), endsInitialEvents: false)) else {
            Issue.record("a server that is behind was not noticed")
            return
        }
        _ = known.event(.upsert(object("a", 25)))
        #expect(known.version?.text == "30")
    }

    @Test func versionsThatAreNoNumbersAreTakenAsTheyCome() {
        var known = KnownObjects()
        _ = known.list([], 10)
        let strange = ReceivedObject(object: object("a", 1).object, resourceVersion: ResourceVersion("x"))
        #expect(known.event(.upsert(strange)) != nil)
        #expect(known.event(.upsert(object("a", 2))) != nil)
    }

    /// However a stream's events are repeated and put out of order, no object goes back, and all end as they are.
    @Test(arguments: UInt64(1)...40)
    func eventsOutOfOrderNeverGoBack(_ seed: UInt64) {
        var random = SplitMix(seed)
        let names = (0..<5).map { "n\($0)" }
        var known = KnownObjects()
        var held: [String: String] = [:]
        apply(known.list(names.prefix(3).map { object($0, 1) }, 10), to: &held)
        // A history: what each object is after each version.
        var truth = held
        var events: [WatchEvent] = []
        for version in 11...60 {
            let name = names[Int.random(in: 0..<5, using: &random)]
            if truth[name] != nil, Bool.random(using: &random) {
                truth[name] = nil
                events.append(.delete(object(name, version)))
            } else {
                truth[name] = "z\(version)"
                events.append(.upsert(object(name, version)))
            }
        }
        // Disordered: each event may come late, and again.
        var disordered = events
        for _ in 0..<20 { disordered.append(events[Int.random(in: 0..<events.count, using: &random)]) }
        disordered.shuffle(using: &random)
        var newest: [String: Int] = [:]
        for event in disordered {
            guard let change = known.event(event) else { continue }
            let version: Int
            let name: String
            switch event {
            case .upsert(let object), .delete(let object):
                version = Int(object.resourceVersion.text) ?? 0
                name = object.object.id.name.name
            default: continue
            }
            #expect(
                version > newest[name] ?? 0, "seed \(seed): \(name) went back from \(newest[name] ?? 0) to \(version)")
            newest[name] = version
            apply([change], to: &held)
        }
        #expect(held == truth, "seed \(seed)")
        #expect(known.count == truth.count, "seed \(seed)")
    }

    @Test func manyDeletionsDoNotPileUp() {
        var known = KnownObjects()
        _ = known.list([], 10)
        for version in 11..<20_000 {
            _ = known.event(.upsert(object("n\(version)", version)))
            _ = known.event(.delete(object("n\(version)", version + 1)))
        }
        #expect(known.count == 0)
        // The last ones are remembered.
        #expect(known.event(.upsert(object("n19998", 19_998))) == nil)
    }
}

/// Pseudo-random numbers that a seed determines.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

@Suite struct PauseTests {
    @Test func pausesDoubleUpToALimitAndAddARandomPart() {
        var timing = ClusterTiming()
        timing.firstBackoff = .seconds(1)
        timing.longestBackoff = .seconds(10)
        timing.healthy = .seconds(60)
        var backoff = Backoff(timing)
        let start = ContinuousClock.now
        #expect(
            [0, 0, 0, 0, 0, 0].map { backoff.pause(at: start, random: $0) }
                == [1, 2, 4, 8, 10, 10].map { .seconds($0) })
        #expect(backoff.pause(at: start, random: 1) == .seconds(20))
        // Two healthy minutes later it begins again.
        #expect(backoff.isRested(at: start + .seconds(30)) == false)
        #expect(backoff.pause(at: start + .seconds(200), random: 0.5) == .milliseconds(1500))
    }

    @Test func requestsComeInBurstsThenAtTheirRate() {
        let limiter = RequestLimiter(requestsPerSecond: 2, burst: 3)
        let start = ContinuousClock.now
        let waits = (0..<5).map { _ in limiter.turn(at: start) }
        #expect(waits[..<3].allSatisfy { $0 == .zero })
        #expect(waits[3] > .milliseconds(400) && waits[3] <= .milliseconds(500))
        #expect(waits[4] > .milliseconds(900) && waits[4] <= .seconds(1))
        #expect(limiter.turn(at: start + .seconds(60)) == .zero)
        #expect(RequestLimiter(requestsPerSecond: 0, burst: 0).turn(at: start) == .zero)
    }

    @Test func notesAreShortenedBetweenCharacters() {
        #expect(EventQueue.shortened("äöü", to: 6) == "äöü")
        #expect(EventQueue.shortened("äöü", to: 5) == "äö")
        #expect(EventQueue.shortened("", to: 0) == "")
    }

    @Test func timesAreWrittenAsKubernetesDoes() {
        #expect(WallTime(nanoseconds: 1_795_226_821_000_250_999).text == "2026-11-21T02:07:01.000250Z")
    }
}
