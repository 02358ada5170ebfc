import NetTypes
import ServiceModel
import TestSupport
import Testing

@testable import Observability

/// A datapath that counts by id, as the maps do: ids are handed out again after a while, and begin from zero.
private struct Counting {
    struct Port {
        let id: UInt32
        var figures = ServiceFigures()
    }

    private(set) var ports: [ServicePortName: Port] = [:]
    private var freeIDs: [UInt32] = []
    private var nextID: UInt32 = 1

    mutating func add(_ name: ServicePortName) {
        guard ports[name] == nil else { return }
        if freeIDs.isEmpty {
            freeIDs.append(nextID)
            nextID += 1
        }
        ports[name] = Port(id: freeIDs.removeLast())
    }

    mutating func remove(_ name: ServicePortName) {
        if let port = ports.removeValue(forKey: name) { freeIDs.append(port.id) }
    }

    mutating func count(_ name: ServicePortName, _ generator: inout SeededGenerator) {
        ports[name]?.figures += ServiceFigures(
            forward: .init(packets: UInt64(generator.below(100)), bytes: UInt64(generator.below(100_000))),
            reverse: .init(packets: UInt64(generator.below(100)), bytes: UInt64(generator.below(100_000))),
            newFlows: UInt64(generator.below(10)),
            refused: generator.below(4) == 0 ? ["no-endpoints": UInt64(generator.below(10))] : [:])
    }

    var readings: [ServiceReading] {
        ports.map { ServiceReading(id: $0.value.id, name: $0.key, figures: $0.value.figures) }
    }
}

private func port(_ number: Int) -> ServicePortName {
    ServicePortName(
        service: ObjectName(namespace: "ns\(number % 3)", name: "svc\(number)"), port: number % 2 == 0 ? "http" : "",
        transport: number % 5 == 0 ? .udp : .tcp)
}

private func packets(_ count: UInt64) -> ServiceFigures { ServiceFigures(forward: .init(packets: count, bytes: count)) }

private func reading(_ id: UInt32, _ name: ServicePortName, _ count: UInt64) -> ServiceReading {
    ServiceReading(id: id, name: name, figures: packets(count))
}

@Suite struct ServiceSeriesTests {
    /// Whatever comes and goes between scrapes: no series ever goes down, there are never more than the limit, every
    /// scrape can be read, and nothing that was counted between two readings of an id gets lost or counted twice.
    @Test(arguments: 0..<30) func countersNeverGoDown(_ run: Int) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let names = 16
        let limit = run % 5 == 0 ? 0 : generator.below(24)
        var series = ServiceSeries(limit: limit)
        var datapath = Counting()
        var highest: [String: Double] = [:]
        var expected = ServiceFigures()
        var before: [ServicePortName: ServiceFigures]?
        var idsBefore: [ServicePortName: UInt32] = [:]
        for step in 0..<60 {
            for _ in 0..<generator.below(20) {
                let name = port(generator.below(names))
                switch generator.below(6) {
                case 0: datapath.add(name)
                case 1: datapath.remove(name)
                default: datapath.count(name, &generator)
                }
            }
            series.update(datapath.readings)
            // What a reader that sees just these readings can know.
            if let before {
                for (name, port) in datapath.ports {
                    let known = idsBefore[name] == port.id ? before[name].flatMap(port.figures.since) : nil
                    expected += known ?? port.figures
                }
            }
            before = datapath.ports.mapValues(\.figures)
            idsBefore = datapath.ports.mapValues(\.id)
            #expect(series.total.forward == expected.forward, "seed \(seed), step \(step)")
            #expect(series.total.refused.values.reduce(0, +) == expected.refused.values.reduce(0, +), "seed \(seed)")
            #expect(series.own.count <= limit)
            #expect(series.own.count + series.pooledPorts == datapath.ports.count, "seed \(seed)")

            var text = MetricsText()
            series.write(to: &text)
            let parsed = try PrometheusText(text.render())
            var present: [String: Double] = [:]
            for family in parsed.families where family.type == "counter" {
                for sample in family.series {
                    let key = "\(sample.name) \(sample.labels.sorted { $0.key < $1.key })"
                    #expect(sample.value >= highest[key] ?? 0, "\(key), seed \(seed), step \(step)")
                    present[key] = sample.value
                }
            }
            // Only so many names are remembered while they are away: beyond that, one that comes back is a new series.
            highest = limit >= names ? highest.merging(present) { $1 } : present
        }
    }

    /// When ids are given back with a last reading, as the agent does, nothing at all is lost or counted twice, whenever
    /// it is scraped.
    @Test(arguments: 0..<30) func nothingIsLostWithAnID(_ run: Int) {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        var series = ServiceSeries(limit: run % 5 == 0 ? 0 : generator.below(24))
        var datapath = Counting()
        series.update([])
        var expected = ServiceFigures()
        for step in 0..<400 {
            let name = port(generator.below(16))
            switch generator.below(8) {
            case 0: datapath.add(name)
            case 1:
                let closed = datapath.readings.filter { $0.name == name }
                datapath.remove(name)
                series.close(closed)
            case 2: series.update(datapath.readings)
            default:
                let before = datapath.ports[name]?.figures ?? ServiceFigures()
                datapath.count(name, &generator)
                expected += datapath.ports[name]?.figures.since(before) ?? ServiceFigures()
            }
            guard step % 50 == 49 else { continue }
            series.update(datapath.readings)
            #expect(series.total.forward == expected.forward, "seed \(seed), step \(step)")
            #expect(series.total.newFlows == expected.newFlows, "seed \(seed), step \(step)")
        }
    }

    @Test func aServiceThatWasThereBetweenTwoReadingsIsCounted() {
        var series = ServiceSeries(limit: 2)
        // Whoever is gone before anybody asked has counted for the agent before.
        series.close([reading(9, port(4), 1000)])
        series.update([reading(1, port(1), 100)])
        series.close([reading(2, port(2), 40)])
        #expect(series.own[port(2)] == packets(40))
        series.update([reading(1, port(1), 110)])
        #expect(series.total == packets(50))
        // Its id begins from zero, whoever has it: here, itself again.
        series.close([reading(1, port(1), 115)])
        series.update([reading(1, port(1), 115), reading(2, port(2), 1)])
        #expect(series.own == [port(1): packets(230), port(2): packets(41)])
        #expect(series.total == packets(50 + 5 + 115 + 1))
    }

    @Test func firstComeFirstServed() {
        var series = ServiceSeries(limit: 2)
        series.update([reading(1, port(1), 10), reading(2, port(2), 20)])
        // Later ones share, whatever their names.
        series.update([
            reading(1, port(1), 11), reading(2, port(2), 22), reading(3, port(0), 7), reading(4, port(3), 5),
        ])
        #expect(series.own == [port(1): packets(11), port(2): packets(22)])
        #expect(series.pooled == packets(12))
        #expect(series.pooledPorts == 2)
        // When one goes, the next has a series, from then on; what it had in the pool stays there.
        series.update([reading(2, port(2), 22), reading(3, port(0), 9), reading(4, port(3), 6)])
        #expect(series.own == [port(2): packets(22), port(0): packets(2)])
        #expect(series.pooled == packets(13))
        #expect(series.total == packets(1 + 2 + 12 + 2 + 1))
    }

    @Test func anIDThatIsGivenToAnotherBeginsFromZero() {
        var series = ServiceSeries()
        series.update([reading(1, port(1), 100)])
        // The other has counted more meanwhile than the first ever had.
        series.update([reading(1, port(2), 150)])
        #expect(series.own == [port(2): packets(150)])
        #expect(series.total == packets(150))
    }

    @Test func aServiceThatIsMadeAnewGoesOnCounting() {
        var series = ServiceSeries()
        series.update([reading(1, port(1), 100)])
        // Under the same id, from zero.
        series.update([reading(1, port(1), 30)])
        #expect(series.own == [port(1): packets(130)])
        // Under another, seen missing meanwhile.
        series.update([])
        #expect(series.own.isEmpty)
        series.update([reading(7, port(1), 5)])
        #expect(series.own == [port(1): packets(135)])
        #expect(series.total == packets(35))
        #expect(series.pooled == ServiceFigures())
    }

    @Test func theAgentsStartIsNoTraffic() {
        var series = ServiceSeries(limit: 1)
        series.update([reading(1, port(1), 1000), reading(2, port(2), 5000)])
        // Own series go on where the agent before left them; sums would leap.
        #expect(series.own == [port(1): packets(1000)])
        #expect(series.pooled == ServiceFigures() && series.total == ServiceFigures())
    }

    @Test func whatIsRememberedIsBounded() {
        var series = ServiceSeries(limit: 10)
        for round in 0..<1000 { series.update((0..<10).map { reading(UInt32($0), port(round * 10 + $0), 1) }) }
        let remembered =
            Mirror(reflecting: series).children.first { $0.label == "endedOrder" }?.value as? [ServicePortName]
        #expect(remembered?.count == 10)
    }
}
