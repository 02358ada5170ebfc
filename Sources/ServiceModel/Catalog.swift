public import NetTypes

/// The objects as last seen, with the EndpointSlices of each Service at hand.
public struct Catalog: Sendable {
    /// What a run of events changed.
    public struct Changes: Sendable, Hashable {
        /// Services to resolve anew: changed, deleted, or with a slice that came, went, changed or moved. A name may be
        /// in here without a Service of that name (slices can come first).
        public var services: Set<ObjectName> = []
        /// Of them, those whose Service object itself came, went or changed.
        public var serviceObjects: Set<ObjectName> = []
        /// Names of EndpointSlices that came, went or changed, those without a Service too.
        public var endpointSlices: Set<ObjectName> = []
        /// Names of Nodes that came, went or changed.
        public var nodes: Set<String> = []
        /// Names of ServiceCIDRs that came, went or changed.
        public var serviceCIDRs: Set<String> = []
        /// Whether a `synced` event was among them.
        public var becameSynced = false

        /// No change.
        public init() {}

        /// Notes a Service object.
        mutating func note(_ service: ObjectName) {
            services.insert(service)
            serviceObjects.insert(service)
        }

        /// Whether there is nothing to do.
        public var isEmpty: Bool {
            services.isEmpty && endpointSlices.isEmpty && nodes.isEmpty && serviceCIDRs.isEmpty && !becameSynced
        }
    }

    /// All Services.
    public private(set) var services: [ObjectName: Service] = [:]
    /// All EndpointSlices, those without a Service too.
    public private(set) var slices: [ObjectName: EndpointSlice] = [:]
    /// All Nodes.
    public private(set) var nodes: [String: Node] = [:]
    /// All ServiceCIDRs.
    public private(set) var serviceCIDRs: [String: ServiceCIDR] = [:]
    /// Whether the source has told everything it held at its start.
    public private(set) var isSynced = false

    /// Of each Service, in order.
    private var sliceNames: [ObjectName: [ObjectName]] = [:]

    /// An empty catalog.
    public init() {}

    /// The EndpointSlices of a Service, by name.
    public func slices(of service: ObjectName) -> [EndpointSlice] {
        (sliceNames[service] ?? []).compactMap { slices[$0] }
    }

    /// The prefixes ClusterIPs are taken from, each once, in order.
    public var clusterIPRanges: [CIDR] {
        Set(serviceCIDRs.values.lazy.flatMap(\.cidrs).compactMap { CIDR($0) }).sorted()
    }

    /// Takes in events, in order. An object that is written as it already was changes nothing.
    public mutating func apply(_ events: some Sequence<CatalogEvent>) -> Changes {
        var changes = Changes()
        for event in events {
            switch event {
            case .upsert(.service(let service)):
                if services.updateValue(service, forKey: service.name) != service { changes.note(service.name) }
            case .upsert(.endpointSlice(let slice)): replace(slice.name, with: slice, &changes)
            case .upsert(.node(let node)):
                if nodes.updateValue(node, forKey: node.name) != node { changes.nodes.insert(node.name) }
            case .upsert(.serviceCIDR(let range)):
                if serviceCIDRs.updateValue(range, forKey: range.name) != range {
                    changes.serviceCIDRs.insert(range.name)
                }
            case .delete(.service, let name):
                if services.removeValue(forKey: name) != nil { changes.note(name) }
            case .delete(.endpointSlice, let name): replace(name, with: nil, &changes)
            case .delete(.node, let name):
                if nodes.removeValue(forKey: name.name) != nil { changes.nodes.insert(name.name) }
            case .delete(.serviceCIDR, let name):
                if serviceCIDRs.removeValue(forKey: name.name) != nil { changes.serviceCIDRs.insert(name.name) }
            case .synced:
                isSynced = true
                changes.becameSynced = true
            }
        }
        return changes
    }

    /// A slice that changes its Service label leaves one Service and joins another: both are affected.
    private mutating func replace(_ name: ObjectName, with slice: EndpointSlice?, _ changes: inout Changes) {
        let previous = slices[name]
        guard previous != slice else { return }
        slices[name] = slice
        changes.endpointSlices.insert(name)
        let (old, new) = (previous?.service, slice?.service)
        if let old { changes.services.insert(old) }
        if let new { changes.services.insert(new) }
        guard old != new else { return }
        if let old {
            sliceNames[old]?.removeAll { $0 == name }
            if sliceNames[old]?.isEmpty == true { sliceNames[old] = nil }
        }
        if let new {
            let place = sliceNames[new]?.firstIndex { $0 > name } ?? sliceNames[new]?.endIndex ?? 0
            sliceNames[new, default: []].insert(name, at: place)
        }
    }
}
