internal import Dataplane
internal import NeedletailABI
internal import NetTypes

/// An address and a port.
public struct EndpointView: Encodable, Sendable {
    /// The address.
    public let address: String
    /// The port.
    public let port: UInt16
    let text: String

    enum CodingKeys: String, CodingKey {
        case address, port
    }

    init(_ endpoint: TransportEndpoint) {
        address = "\(endpoint.address)"
        port = endpoint.port
        text = endpoint.address.withPort(endpoint.port)
    }
}

/// A flow: both of its entries as one.
public struct FlowView: Encodable, Sendable {
    /// Which of a flow's two entries there are. The kernel evicts old entries one by one; the datapath restores a
    /// missing one with the next packet.
    public enum Entries: String, Encodable, Sendable {
        /// Both.
        case both
        /// The client's direction alone.
        case forward
        /// The backend's direction alone.
        case reply
    }

    /// `TCP` or `UDP`.
    public let `protocol`: String
    /// Who began it.
    public let client: EndpointView
    /// What the client addresses.
    public let frontend: EndpointView
    /// Who answers.
    public let backend: EndpointView
    /// The backend's id.
    public let backendID: UInt32
    /// The service port, `NAMESPACE/NAME:PORT`; `?` and the id when its name is not in the maps.
    public let service: String
    /// The service port's id.
    public let serviceID: UInt32
    /// `opening`, `established`, `closing` or `closed`.
    public let state: String
    /// Seconds since the first packet.
    public let age: Int
    /// Seconds since the last packet of either direction.
    public let idle: Int
    /// State bits by name.
    public let flags: [String]
    /// Which entries there are.
    public let entries: Entries
    let order: Order

    /// By frontend, then client: the flows of a Service stand together.
    struct Order: Comparable {
        let frontend: TransportEndpoint
        let client: TransportEndpoint

        static func < (a: Self, b: Self) -> Bool { (a.frontend, a.client) < (b.frontend, b.client) }
    }

    enum CodingKeys: String, CodingKey {
        case `protocol`, client, frontend, backend, backendID, service, serviceID, state, age, idle, flags, entries
    }

    init(_ entry: FlowEntry, peer: FlowEntry?, _ snapshot: Snapshot) {
        let parties = entry.parties
        var merged = entry
        if let peer { merged.flags.formUnion(peer.flags) }
        self.protocol = "\(entry.transport)"
        client = EndpointView(parties.client)
        frontend = EndpointView(parties.frontend)
        backend = EndpointView(parties.backend)
        backendID = entry.backend.rawValue
        service = snapshot.name(of: entry.service)
        serviceID = entry.service.rawValue
        state = merged.state.rawValue
        age = max(entry.age, peer?.age ?? 0)
        idle = min(entry.idle, peer?.idle ?? .max)
        flags = merged.flags.names
        entries = peer != nil ? .both : entry.direction == .forward ? .forward : .reply
        order = Order(frontend: parties.frontend, client: parties.client)
    }

    static func table(_ detail: Detail) -> TextTable {
        TextTable(
            [
                .left("PROTO"), .left("CLIENT"), .left("FRONTEND"), .left("BACKEND"), .left("SERVICE"), .left("STATE"),
                .right("AGE"), .right("IDLE"), .right("SERVICE-ID").wide, .right("BACKEND-ID").wide,
                .left("FLAGS").wide, .left("NOTE"),
            ], detail)
    }

    var row: [String] {
        let note =
            switch entries {
            case .both: ""
            // Its replies do not pass this node, so there is nothing to be missed.
            case .forward: flags.contains("dsr") ? "DSR" : "no reply entry"
            case .reply: "no forward entry"
            }
        return [
            self.protocol, client.text, frontend.text, backend.text, service, state, Quantity.duration(age),
            Quantity.duration(idle), "\(serviceID)", "\(backendID)", flags.joined(separator: ","), note,
        ]
    }
}

extension FlowEntry.Flags {
    var names: [String] {
        let all: [(Self, String)] = [
            (.syn, "syn"), (.replied, "replied"), (.finForward, "fin-client"), (.finReverse, "fin-backend"),
            (.rst, "rst"), (.remapped, "port-remapped"), (.masqueraded, "masqueraded"), (.dsr, "dsr"),
            (.dsrReply, "dsr-reply"),
        ]
        return all.filter { contains($0.0) }.map(\.1)
    }
}
