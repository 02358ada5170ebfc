import APIStandIn
import ServiceModel
import TestSupport
import Testing

/// Whatever happens to list and watch, what is told converges to the truth and never goes back on the way.
@Suite(.serialized, .timeLimit(.minutes(15))) struct WatchFaultTests {
    @Test(arguments: Wire.all) func everythingIsToldThatHappens(_ wire: Wire) async throws {
        let world = try World(wire)
        let follower = try Follower(world, wire)
        try await follower.converge("at first")
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        for round in 1...5 {
            try world.change(30, round: round, &random)
            try await follower.converge("round \(round), seed \(seed)")
        }
        let requests = try world.server.requests
        #expect(requests.allSatisfy { $0.isHTTP2 == (wire.version == .http2) })
        #expect(requests.contains { $0.verb == .watchList })
        #expect(requests.contains { $0.verb == .list && $0.resource == .services } == !wire.streamsLists)
    }

    /// The first requests go wrong, twice each.
    @Test(arguments: Mishap.refusals + Mishap.interruptions, Wire.streaming)
    func nothingIsMissingAfterABadStart(_ mishap: Mishap, _ wire: Wire) async throws {
        let world = try World(wire)
        try world.server.inject(mishap.fault, into: RequestPattern(.services, .watchList, .list), times: 2)
        try world.server.inject(mishap.fault, into: RequestPattern(.endpointSlices, .watchList, .list), times: 2)
        let follower = try Follower(world, wire)
        try await follower.converge("after the bad start")
        #expect(try world.server.pendingFaults == 0)
    }

    /// Open watches go wrong while objects change, and so does the request that follows.
    @Test(arguments: Mishap.events + Mishap.interruptions, Wire.streaming)
    func aWatchThatGoesWrongIsMadeGood(_ mishap: Mishap, _ wire: Wire) async throws {
        let world = try World(wire)
        let follower = try Follower(world, wire)
        try await follower.converge("at first")
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        for round in 1...2 {
            try world.change(5, round: 2 * round, &random)
            try world.server.disturb(nil, mishap.fault)
            try world.change(20, round: 2 * round + 1, &random)
            try await follower.converge("round \(round), seed \(seed)")
        }
    }

    /// The watch breaks, and the requests that are to replace it go wrong.
    @Test(arguments: Mishap.refusals, Wire.streaming)
    func aWatchThatCannotBeRenewedIsInTheEnd(_ mishap: Mishap, _ wire: Wire) async throws {
        let world = try World(wire)
        let follower = try Follower(world, wire)
        try await follower.converge("at first")
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        try world.server.inject(mishap.fault, into: RequestPattern(.services), times: 2)
        try world.server.inject(mishap.fault, into: RequestPattern(.endpointSlices), times: 2)
        try world.server.resetConnections()
        try world.change(30, round: 1, &random)
        try await follower.converge("seed \(seed)")
        #expect(try world.server.pendingFaults == 0)
    }

    /// What the watch asks for is gone; the list that must follow goes wrong as well, and half a list deletes nothing.
    @Test(arguments: Mishap.refusals + Mishap.interruptions, Wire.usual)
    func aListAfterTheVersionIsGoneDeletesOnlyWhatIsGone(_ mishap: Mishap, _ wire: Wire) async throws {
        let world = try World(wire)
        let follower = try Follower(world, wire)
        try await follower.converge("at first")
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        try world.server.stop()
        try world.change(30, round: 1, &random)
        try world.delete(ObjectID(kind: .service, name: World.name(7)))
        try world.delete(ObjectID(kind: .endpointSlice, name: World.sliceName(7)))
        try world.server.forgetHistory()
        for resource in [Resource.services, .endpointSlices] {
            let pattern = RequestPattern(resource, .watchList, .list)
            try world.server.inject(mishap.fault, into: pattern, times: 2)
        }
        try world.server.restart()
        try await follower.converge("seed \(seed)")
        #expect(try world.server.pendingFaults == 0)
    }

    @Test(arguments: Wire.all) func aServerThatIsDownAtFirstIsWaitedFor(_ wire: Wire) async throws {
        let world = try World(wire)
        try world.server.stop()
        let follower = try Follower(world, wire)
        try await Task.sleep(for: .milliseconds(300))
        #expect(!follower.isSynced)
        try world.put(World.service(3, state: 5))
        try world.server.restart()
        try await follower.converge("when the server is up")
    }

    /// Resource versions that are lower than before: compared with what was known, everything would be old.
    @Test(arguments: Wire.all) func aRestoredServerIsBelieved(_ wire: Wire) async throws {
        let world = try World(wire)
        let follower = try Follower(world, wire)
        try await follower.converge("at first")
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        try world.change(30, round: 1, &random)
        try await follower.converge("before the restart, seed \(seed)")
        try world.restore(resourceVersion: 50)
        try await follower.converge("after the restart, seed \(seed)")
        try world.change(30, round: 2, &random)
        try await follower.converge("after more changes, seed \(seed)")
    }

    /// Connections that are taken and then say nothing, not even a TLS hello.
    @Test(arguments: Wire.streaming) func aSilentServerIsLeftAndComeBackTo(_ wire: Wire) async throws {
        let world = try World(wire)
        let follower = try Follower(world, wire)
        try await follower.converge("at first")
        let before = try world.server.connectionCount
        try world.server.silenceConnections(newOnes: true)
        try world.put(World.slice(1, state: 7))
        try await eventually {
            try world.server.connectionCount > before
        } orExplain: {
            "nobody noticed the silence"
        }
        follower.expectNoRegression("while the server is silent")
        try world.server.endSilence()
        try await follower.converge("when the server speaks again")
    }

    /// Faults of all sorts, one upon the other, while objects change all the time.
    @Test(arguments: Wire.all) func nothingIsToldWronglyInAStormOfFaults(_ wire: Wire) async throws {
        let world = try World(wire)
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        let follower = try Follower(world, wire)
        let all = Mishap.refusals + Mishap.interruptions + Mishap.events
        for round in 1...25 {
            let mishap = all[random.below(all.count)]
            let resource = [nil, Resource.services, .endpointSlices, .nodes][random.below(4)]
            switch random.below(6) {
            case 0: try world.server.inject(mishap.fault, into: RequestPattern(resource), times: 1 + random.below(2))
            case 1: try world.server.resetConnections()
            case 2: try world.server.forgetHistory()
            default: try world.server.disturb(resource, mishap.fault)
            }
            try world.change(1 + random.below(12), round: round, &random)
            try await Task.sleep(for: .milliseconds(random.below(120)))
        }
        try world.server.clearFaults()
        try await follower.converge("after the storm, seed \(seed)")
    }
}
