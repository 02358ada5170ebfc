public import ServiceModel

/// Makes counters that never go down out of what the datapath counts by service port id.
///
/// The datapath's figures are tied to ids: they vanish with a service port, begin from zero when the id is given to
/// another one, and there may be tens of thousands. What monitoring wants is one series for a name, for a bounded number of
/// names. So at most ``limit`` service ports have series of their own, first come, first served, until they go away; what
/// is counted for all others goes to one pool. What a service port had counted is not moved to the pool when it goes
/// away: the pool would leap by all that it ever counted, and every rate over it. It stays accounted in ``total``, and
/// is remembered, of the last ``limit`` names, for the service port to go on from when it comes back.
public struct ServiceSeries: Sendable {
    /// How many service ports have series of their own at most.
    public let limit: Int
    /// Those that have, and what has been counted for them: all that the datapath knew at the first reading, and
    /// everything since.
    public private(set) var own: [ServicePortName: ServiceFigures] = [:]
    /// What has been counted for service ports without series of their own since the first reading.
    public private(set) var pooled = ServiceFigures()
    /// How many service ports there are now without series of their own.
    public private(set) var pooledPorts = 0
    /// What has been counted for all service ports since the first reading, those that are gone among them.
    public private(set) var total = ServiceFigures()

    private var last: [UInt32: ServiceReading] = [:]
    private var isFirst = true
    private var ended: [ServicePortName: ServiceFigures] = [:]
    /// The names of `ended`, the one that went first in front.
    private var endedOrder: [ServicePortName] = []

    /// Nothing read yet. A `limit` of 0 has everything pooled.
    public init(limit: Int = 1000) {
        self.limit = max(0, limit)
    }

    /// How often ids have been given back: a reading of all service ports holds what has been counted if this is the
    /// same before and after.
    public private(set) var closings = 0

    /// Takes in the last readings of ids that are given back, for which nothing is counted any more: what has come since
    /// the reading of all before would be lost otherwise.
    public mutating func close(_ readings: [ServiceReading]) {
        closings += 1
        // The sums begin with the first reading of all.
        guard !isFirst else { return }
        for reading in readings.sorted(by: { ($0.name, $0.id) < ($1.name, $1.id) }) {
            let recent = recentFigures(reading)
            last[reading.id] = nil
            count(recent, for: reading.name)
        }
    }

    /// Takes in a reading of all service ports there are. To be called at each scrape.
    public mutating func update(_ readings: [ServiceReading]) {
        end(except: Set(readings.map(\.name)))
        var pooledNames: Set<ServicePortName> = []
        var seen: [UInt32: ServiceReading] = [:]
        seen.reserveCapacity(readings.count)
        for reading in readings.sorted(by: { ($0.name, $0.id) < ($1.name, $1.id) }) {
            let recent = recentFigures(reading)
            seen[reading.id] = reading
            count(recent, for: reading.name)
            if own[reading.name] == nil { pooledNames.insert(reading.name) }
        }
        last = seen
        pooledPorts = pooledNames.count
        isFirst = false
    }

    /// Adds what has been counted to the sums and to a series: the service port's own, if there is one or room for one.
    private mutating func count(_ recent: ServiceFigures, for name: ServicePortName) {
        if !isFirst { total += recent }
        if own[name] == nil, own.count < limit { own[name] = recall(name) }
        if own[name] != nil {
            own[name]? += recent
        } else if !isFirst {
            pooled += recent
        }
    }

    /// What came since the last reading of the id. An id that has begun from zero shows it by its name, or by a figure
    /// that has gone down.
    private func recentFigures(_ reading: ServiceReading) -> ServiceFigures {
        guard let before = last[reading.id], before.name == reading.name else { return reading.figures }
        return reading.figures.since(before.figures) ?? reading.figures
    }

    /// Takes the series of service ports that are gone, and remembers what they had.
    private mutating func end(except present: Set<ServicePortName>) {
        for name in own.keys.filter({ !present.contains($0) }).sorted() {
            ended[name] = own.removeValue(forKey: name)
            endedOrder.append(name)
        }
        for name in endedOrder.prefix(max(0, endedOrder.count - limit)) { ended[name] = nil }
        endedOrder.removeFirst(max(0, endedOrder.count - limit))
    }

    private mutating func recall(_ name: ServicePortName) -> ServiceFigures {
        guard let figures = ended.removeValue(forKey: name) else { return ServiceFigures() }
        endedOrder.removeAll { $0 == name }
        return figures
    }
}
