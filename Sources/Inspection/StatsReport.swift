internal import Dataplane
internal import NeedletailABI
internal import NetTypes
internal import Planning
internal import ServiceModel

/// What was counted for a service port, or how much of it in a second.
public struct TrafficView<Number: Encodable & Sendable>: Encodable, Sendable {
    /// Packets from clients to backends.
    public let packets: Number
    /// Their bytes, from the IP header on.
    public let bytes: Number
    /// Packets from backends to clients that passed this node.
    public let replyPackets: Number
    /// Their bytes.
    public let replyBytes: Number
    /// Flows begun.
    public let newFlows: Number
    /// Packets refused, by reason; reasons without any are left out.
    public let refused: [String: Number]

    init(_ statistics: ServiceStatistics, _ convert: (UInt64) -> Number) {
        packets = convert(statistics.forward.packets)
        bytes = convert(statistics.forward.bytes)
        replyPackets = convert(statistics.reverse.packets)
        replyBytes = convert(statistics.reverse.bytes)
        newFlows = convert(statistics.newFlows)
        refused = Dictionary(
            uniqueKeysWithValues: statistics.refused.filter { $0.value > 0 }.map { ($0.key.name, convert($0.value)) })
    }
}

extension TrafficView<UInt64> {
    /// Since the service port has its id.
    init(total statistics: ServiceStatistics) { self.init(statistics) { $0 } }

    var text: String {
        let reasons = refused.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
        let refusals = reasons.isEmpty ? "nothing refused" : "refused: \(reasons.joined(separator: ", "))"
        return "\(newFlows) new flows, \(packets) packets (\(Quantity.bytes(bytes))) to backends, \(replyPackets) "
            + "(\(Quantity.bytes(replyBytes))) back, \(refusals)"
    }
}

extension TrafficView<Double> {
    /// In a second.
    init(_ statistics: ServiceStatistics, in seconds: Double) {
        self.init(statistics) { Quantity.rounded(Double($0) / seconds) }
    }
}

/// The traffic of a service port.
public struct ServiceTraffic: Encodable, Sendable {
    /// The Service's namespace; absent when its name is not in the maps.
    public let namespace: String?
    /// The Service's name.
    public let name: String?
    /// The name of the Service's port; empty for a port without one.
    public let portName: String?
    /// `TCP` or `UDP`.
    public let `protocol`: String?
    /// The service port's id.
    public let serviceID: UInt32
    /// Flows there are.
    public let flows: Int
    /// Since the service port has its id, or since it was counted first.
    public let total: TrafficView<UInt64>
    /// In a second of the time between two readings; absent in the first.
    public let rate: TrafficView<Double>?
    let title: String
    let sortKeys: [StatsOrder: UInt64]

    enum CodingKeys: String, CodingKey {
        case namespace, name, portName, `protocol`, serviceID, flows, total, rate
    }
}

/// A client or a backend with many flows.
public struct Talker: Encodable, Sendable {
    /// The address.
    public let address: String
    /// The port; absent for clients, which have many.
    public let port: UInt16?
    /// `TCP` or `UDP`; absent for clients.
    public let `protocol`: String?
    /// Flows it has.
    public let flows: Int
    /// The part of all flows of the node, in percent.
    public let share: Double
    let text: String

    enum CodingKeys: String, CodingKey {
        case address, port, `protocol`, flows, share
    }
}

/// By what service ports are put in order.
public enum StatsOrder: String, Sendable, Hashable, CaseIterable {
    /// Packets in both directions.
    case packets
    /// Bytes in both directions.
    case bytes
    /// Flows there are.
    case flows
    /// Packets refused.
    case refused

    /// Reads an order.
    public init(_ text: String) throws(FilterError) {
        guard let order = Self(rawValue: text.lowercased()) else {
            throw FilterError(description: "expected packets, bytes, flows or refused")
        }
        self = order
    }
}

/// The traffic of the node's Services.
public struct StatsReport: Report {
    /// Seconds between the two readings that rates are made of; absent when there is but one.
    public let interval: Double?
    /// Service ports, the busiest first.
    public let services: [ServiceTraffic]
    /// How many there are, shown or not.
    public let servicePorts: Int
    /// Clients with the most flows.
    public let clients: [Talker]
    /// Backends with the most flows.
    public let backends: [Talker]

    /// A row for each service port, then who has the most flows.
    public func text(_ detail: Detail) -> String {
        let perSecond = interval == nil ? "" : "/S"
        let reasons = StatRefusal.allCases.map(\.name)
        var table = TextTable(
            [
                .left("SERVICE"), .left("PROTO"), .right("FLOWS"), .right("NEW\(perSecond)"),
                .right("PACKETS\(perSecond)"), .right("BYTES\(perSecond)"), .right("REPLIES\(perSecond)"),
                .right("BYTES\(perSecond)"),
            ] + reasons.map { .right($0.uppercased() + perSecond).wide } + [.right("REFUSED\(perSecond)")], detail)
        for service in services {
            let cells = service.rate.map { Self.cells($0, reasons) } ?? Self.cells(service.total, reasons)
            table.add([service.title, service.protocol ?? "?", "\(service.flows)"] + cells)
        }
        var text = table.render()
        let hidden = servicePorts - services.count
        if hidden > 0 { text += "and \(Quantity.count(hidden, "port")) more: --top shows more of them\n" }
        for (title, talkers) in [("CLIENT", clients), ("BACKEND", backends)] where !talkers.isEmpty {
            var table = TextTable([.left(title), .right("FLOWS"), .right("SHARE")], detail)
            for talker in talkers { table.add([talker.text, "\(talker.flows)", Quantity.percent(talker.share)]) }
            text += "\n" + table.render()
        }
        return text
    }

    private static func cells(_ total: TrafficView<UInt64>, _ reasons: [String]) -> [String] {
        let refused = reasons.map { total.refused[$0] ?? 0 }
        return ["\(total.newFlows)", "\(total.packets)", Quantity.bytes(total.bytes)]
            + ["\(total.replyPackets)", Quantity.bytes(total.replyBytes)]
            + (refused + [refused.reduce(0, +)]).map(String.init)
    }

    private static func cells(_ rate: TrafficView<Double>, _ reasons: [String]) -> [String] {
        func number(_ value: Double) -> String { Quantity.fixed(value, digits: value > 0 && value < 10 ? 1 : 0) }
        func bytes(_ value: Double) -> String { Quantity.bytes(UInt64(max(0, value.rounded()))) }
        let refused = reasons.map { rate.refused[$0] ?? 0 }
        return [number(rate.newFlows), number(rate.packets), bytes(rate.bytes)]
            + [number(rate.replyPackets), bytes(rate.replyBytes)]
            + (refused + [refused.reduce(0, +)]).map(number)
    }
}

/// A reading of the traffic counters, to be compared with the next.
public struct StatsReading: Sendable {
    let statistics: [ServiceID: ServiceStatistics]
    let time: ContinuousClock.Instant
}

/// Which service ports to show, and how.
public struct StatsQuestion: Sendable, Hashable {
    /// The Service, or one port of it; `nil` is all.
    public var service: ServiceSelector?
    /// At most so many service ports, clients and backends.
    public var top = 20
    /// What comes first.
    public var order = StatsOrder.packets
    /// Whether to look through the flows for those who have most of them.
    public var countsFlows = true

    /// All service ports, by packets.
    public init() {}
}

extension Inspector {
    /// The traffic of service ports: since `last`, or all there was. The reading is for the next time.
    ///
    /// - Throws: ``InspectionError/Kind/notFound`` when a Service is named that is not there.
    public func stats(
        _ question: StatsQuestion = StatsQuestion(), since last: StatsReading? = nil
    ) throws -> (report: StatsReport, reading: StatsReading) {
        let snapshot = try snapshot()
        let ids =
            try question.service.map { try snapshot.ports(matching: $0).map(\.id) }
            ?? Array(snapshot.image.services.keys)
        let reading = StatsReading(statistics: try ServiceStatistics.read(maps, ids: ids), time: .now)
        let seconds = last.map { $0.time.duration(to: reading.time) / .seconds(1) }
        let flows = question.countsFlows ? try TalkerCounts(maps, of: question.service == nil ? nil : Set(ids)) : nil
        let services = reading.statistics.map { id, statistics -> ServiceTraffic in
            let name = snapshot.image.services[id]
            let recent = last.map { statistics.since($0.statistics[id] ?? ServiceStatistics()) }
            let shown = recent ?? statistics
            return ServiceTraffic(
                namespace: name?.service.namespace, name: name?.service.name, portName: name?.port,
                protocol: name.map { "\($0.transport)" }, serviceID: id.rawValue,
                flows: flows?.byService[id] ?? 0, total: TrafficView(total: statistics),
                rate: recent.flatMap { recent in seconds.map { TrafficView(recent, in: $0) } },
                title: snapshot.name(of: id),
                sortKeys: [
                    .packets: shown.forward.packets + shown.reverse.packets,
                    .bytes: shown.forward.bytes + shown.reverse.bytes,
                    .flows: UInt64(flows?.byService[id] ?? 0), .refused: shown.allRefused,
                ])
        }
        .sorted { a, b in
            let (left, right) = (a.sortKeys[question.order] ?? 0, b.sortKeys[question.order] ?? 0)
            return (right, a.title, a.serviceID) < (left, b.title, b.serviceID)
        }
        let report = StatsReport(
            interval: seconds.map(Quantity.rounded), services: Array(services.prefix(question.top)),
            servicePorts: services.count,
            clients: flows?.clients(question.top) ?? [], backends: flows?.backends(question.top) ?? [])
        return (report, reading)
    }
}

/// Who has how many flows.
private struct TalkerCounts {
    private(set) var byService: [ServiceID: Int] = [:]
    private var byClient: [IPAddress: Int] = [:]
    private var byBackend: [TransportEndpoint: Int] = [:]
    private var all = 0

    /// Counts the clients' directions, of these service ports.
    init(_ maps: DatapathMaps, of services: Set<ServiceID>?) throws {
        try FlowTable(maps).forEach { flow in
            // What answers a connection of the node itself has an entry, and no service.
            guard flow.direction == .forward, flow.service.rawValue != 0,
                services.map({ $0.contains(flow.service) }) ?? true
            else { return }
            all += 1
            byService[flow.service, default: 0] += 1
            let parties = flow.parties
            byClient[parties.client.address, default: 0] += 1
            byBackend[parties.backend, default: 0] += 1
        }
    }

    func clients(_ count: Int) -> [Talker] {
        byClient.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(count).map { address, flows in
            Talker(
                address: "\(address)", port: nil, protocol: nil, flows: flows,
                share: Quantity.percentage(flows, of: all), text: "\(address)")
        }
    }

    func backends(_ count: Int) -> [Talker] {
        byBackend.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(count).map { endpoint, flows in
            Talker(
                address: "\(endpoint.address)", port: endpoint.port, protocol: "\(endpoint.transport)", flows: flows,
                share: Quantity.percentage(flows, of: all), text: "\(endpoint)")
        }
    }
}
