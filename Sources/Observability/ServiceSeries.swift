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

    /// Takes in a reading of all service ports there are. To be called at each scrape, and best also just before ids
    /// are freed: what is counted between the last reading and the end of an id is lost.
    public mutating func update(_ readings: [ServiceReading]) {
        end(except: Set(readings.map(\.name)))
        var pooledNames: Set<ServicePortName> = []
        var seen: [UInt32: ServiceReading] = [:]
        seen.reserveCapacity(readings.count)
        for reading in readings.sorted(by: { ($0.name, $0.id) < ($1.name, $1.id) }) {
            let recent = recentFigures(reading)
            seen[reading.id] = reading
            if !isFirst { total += recent }
            if own[reading.name] == nil, own.count < limit { own[reading.name] = recall(reading.name) }
            if own[reading.name] != nil {
                own[reading.name]? += recent
            } else {
                pooledNames.insert(reading.name)
                if !isFirst { pooled += recent }
            }
        }
        last = seen
        pooledPorts = pooledNames.count
        isFirst = false
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
