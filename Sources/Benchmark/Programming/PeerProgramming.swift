internal import NetLab
internal import NetTypes

/// What the program of a peer takes for the same work: all rules from none, then one change after the other.
struct PeerProgramming {
    private let kind: PeerKind

    init(_ kind: PeerKind) {
        self.kind = kind
    }

    /// How long all rules may take to be made. iptables over nf_tables needs ever more for each one.
    private static let limit = Duration.seconds(60)
    /// Changes in a round, so that a slow program does not take all the time, nor a fast one too much.
    private static let changes = 2...200

    /// One round at a place. What cannot be measured there is not tried again.
    func measure(_ place: Place, _ settings: RunSettings, _ results: inout MeasurementSeries) {
        let full = place.key("full", kind.subject)
        guard !results.hasEnded(full) else { return }
        do throws(PeerError) {
            try measureRound(place, settings, &results)
        } catch {
            for (quantity, unit) in [
                ("full", Measurement.Unit.milliseconds), ("change", .microseconds),
                ("change, processor", .microseconds),
                ("list", .microseconds),
            ] { results.end(place.key(quantity, kind.subject), unit, error.outcome) }
        }
    }

    private func measureRound(
        _ place: Place, _ settings: RunSettings, _ results: inout MeasurementSeries
    ) throws(PeerError) {
        var cluster = try PeerCluster(
            family: .v4, measured: [], services: place.services, endpointsOfOthers: place.backends)
        let namespace: NetLab.NetworkNamespace
        do {
            namespace = try NetLab.NetworkNamespace(name: "node with \(kind.subject)")
        } catch {
            throw .failed("\(error)")
        }
        let program = try RuleProgram(kind, .v4, in: namespace)
        try program.prepare(cluster)
        let first = try program.write(program.full(cluster), limit: Self.limit)
        results.add(
            place.key("full", kind.subject), .milliseconds, first.wall, reference: place.key("full", "needletail"),
            note: Self.note)
        var (walls, processor): ([Double], Double) = ([], 0)
        var listings: [Double] = []
        var former: [Int: [TransportEndpoint]] = [:]
        var random: UInt64 = 0x9E37_79B9_7F4A_7C15
        let end = ContinuousClock.now + .seconds(settings.duration)
        repeat {
            random ^= random << 13
            random ^= random >> 7
            random ^= random << 17
            let index = Int(random % UInt64(place.services))
            let before = cluster.services[index].endpoints
            var after = before
            if let all = former.removeValue(forKey: index) {
                after = all
            } else {
                former[index] = before
                after.remove(at: Int(random >> 32) % after.count)
            }
            cluster.setEndpoints(after, of: index)
            let commands = program.change(cluster, of: index, formerly: before)
            if let cost = try program.list(limit: Self.limit) { listings.append(cost.wall * 1000) }
            let cost = try program.write(commands, limit: Self.limit)
            walls.append(cost.wall * 1000)
            processor += cost.processor * 1000
        } while walls.count < Self.changes.lowerBound
            || (walls.count < Self.changes.upperBound && ContinuousClock.now < end)
        results.add(
            place.key("change", kind.subject), .microseconds, latencies: walls,
            reference: place.key("change", "needletail"), note: Self.note)
        results.add(
            place.key("change, processor", kind.subject), .microseconds, processor / Double(walls.count),
            reference: place.key("change, processor", "needletail"), note: Self.note)
        results.add(
            place.key("list", kind.subject), .microseconds, latencies: listings,
            note: "what kube-proxy asks before a change: with nftables always, with iptables up to 1000 endpoints")
    }

    private static let note = "the program that kube-proxy runs; what kube-proxy itself does comes on top"
}
