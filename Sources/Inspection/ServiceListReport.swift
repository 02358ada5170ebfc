internal import Dataplane
internal import NeedletailABI
internal import NetTypes
internal import Planning
internal import ServiceModel

/// What new connections meet in one scope of a frontend.
public struct ScopeView: Encodable, Sendable {
    /// `external` or `internal`.
    public let scope: String
    /// The backend set's id; absent when refused.
    public let set: UInt32?
    /// How many backends the set has; absent when refused, and when the set is gone.
    public let backends: Int?
    /// Why they are refused, as a stable name; absent when they are not.
    public let refusal: String?
    /// The same in words.
    public let explanation: String
    /// Whether the source of all its traffic is rewritten, whatever the backend.
    public let masquerade: Bool

    init(_ scope: ScopeName, _ key: TransportEndpoint, _ record: FrontendRecord, _ image: MapImage) {
        self.scope = scope.rawValue
        masquerade = record.flags.contains(scope == .external ? .masqueradeExternal : .masqueradeInternal)
        switch scope.answer(record) {
        case .refuse where record.flags.contains(.retired):
            (set, backends, refusal) = (nil, nil, "retired")
            explanation = "removed: serves the flows it has, starts no new ones"
        case .refuse(let code):
            (set, backends, refusal) = (nil, nil, code.name)
            explanation = code.explanation(scope, isLoopback: key.address.isLoopback)
        case .set(let id):
            let known = image.sets[id]
            set = id.rawValue
            backends = known.map { Int($0.backends) }
            refusal = nil
            explanation =
                known.map { "\(Quantity.count(Int($0.backends), "backend")) of set \(id.rawValue)" }
                ?? "set ?\(id.rawValue), which is gone: the maps were changed while they were read"
        }
    }

    /// The number of backends or the refusal.
    var summary: String { refusal ?? backends.map(String.init) ?? "?\(set ?? 0)" }
}

/// An address, port and protocol that is balanced.
public struct FrontendView: Encodable, Sendable {
    /// The Service's namespace; absent when its name is not in the maps.
    public let namespace: String?
    /// The Service's name; absent when it is not in the maps.
    public let name: String?
    /// The name of the Service's port; empty for a port without one, absent when it is not in the maps.
    public let portName: String?
    /// The service port's id.
    public let serviceID: UInt32
    /// What it stems from: `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalIP`.
    public let kind: FrontendKindName
    /// The address.
    public let address: String
    /// The port.
    public let port: UInt16
    /// `TCP` or `UDP`.
    public let `protocol`: String
    /// Whether it has been removed and only serves the flows it has.
    public let retired: Bool
    /// For traffic that arrives on external devices.
    public let external: ScopeView
    /// For traffic of this node's workloads.
    public let `internal`: ScopeView
    /// Seconds a client stays with its backend after its last new connection; absent when each is balanced by itself.
    public let affinity: UInt32?
    /// Prefixes that may begin connections; absent when everybody may.
    public let sourceRanges: [String]?
    /// How outside traffic reaches backends on other nodes: `snat` or `dsr`.
    public let forwarding: String
    /// Name and endpoint as tables show them.
    let title: String
    let endpoint: String

    enum CodingKeys: String, CodingKey {
        case namespace, name, portName, serviceID, kind, address, port, `protocol`, retired, external, `internal`
        case affinity, sourceRanges, forwarding
    }

    init(_ key: TransportEndpoint, _ record: FrontendRecord, _ snapshot: Snapshot) {
        let service = snapshot.image.services[record.service]
        namespace = service?.service.namespace
        name = service?.service.name
        portName = service?.port
        serviceID = record.service.rawValue
        kind = FrontendKindName(record.flags)
        address = "\(key.address)"
        port = key.port
        self.protocol = "\(key.transport)"
        retired = record.flags.contains(.retired)
        external = ScopeView(.external, key, record, snapshot.image)
        `internal` = ScopeView(.internal, key, record, snapshot.image)
        affinity = record.affinity == 0 ? nil : record.affinity
        sourceRanges =
            record.flags.contains(.sourceRanges)
            ? (snapshot.image.ranges[record.service] ?? []).filter { $0.family == key.address.family }.sorted()
                .map(\.description) : nil
        forwarding = record.flags.contains(.dsr) ? "dsr" : "snat"
        title = snapshot.name(of: record.service)
        endpoint = "\(key)"
    }

    /// What is special about the traffic of a scope.
    func options(_ scope: ScopeView) -> [String] {
        var options: [String] = []
        if sourceRanges != nil { options.append("source-ranges") }
        if scope.masquerade { options.append("masquerade") }
        if forwarding == "dsr", scope.scope == external.scope { options.append("dsr") }
        return options
    }

    /// The same of both scopes, and of the whole.
    var options: [String] {
        (affinity == nil ? [] : ["affinity"]) + options(external)
            + options(`internal`).filter { !options(external).contains($0) }
    }
}

/// Frontends, one to a row.
public struct ServiceListReport: Report {
    /// By service name, then kind, then address.
    public let frontends: [FrontendView]

    /// One row for each frontend; a scope shows its number of backends or why it refuses.
    public func text(_ detail: Detail) -> String {
        var table = TextTable(
            [
                .left("SERVICE"), .left("KIND"), .left("FRONTEND"), .left("EXTERNAL"), .left("INTERNAL"),
                .right("SERVICE-ID").wide, .right("EXTERNAL-SET").wide, .right("INTERNAL-SET").wide,
                .left("OPTIONS").wide, .left("STATE"),
            ], detail)
        for frontend in frontends {
            table.add([
                frontend.title, frontend.kind.rawValue, frontend.endpoint, frontend.external.summary,
                frontend.internal.summary, "\(frontend.serviceID)", frontend.external.set.map(String.init) ?? "",
                frontend.internal.set.map(String.init) ?? "", frontend.options.joined(separator: ","),
                frontend.retired ? "retired" : "active",
            ])
        }
        return table.render()
    }
}

extension Inspector {
    /// The frontends a filter lets through.
    ///
    /// - Throws: ``InspectionError/Kind/notFound`` when it names a Service that is not there.
    public func services(_ filter: ServiceFilter = ServiceFilter()) throws -> ServiceListReport {
        let snapshot = try snapshot()
        try snapshot.check(namespace: filter.namespace, name: filter.name)
        return ServiceListReport(
            frontends: snapshot.frontends { filter.matches($0, $1, snapshot) }
                .map { FrontendView($0.key, $0.record, snapshot) })
    }
}
