internal import Dataplane
internal import NeedletailABI
internal import NetTypes
internal import PacketKit
internal import Planning

/// What would become of packets, and why.
public struct TraceReport: Report {
    /// In the order they were given.
    public let traces: [PacketTrace]

    /// A block for each packet.
    public func text(_ detail: Detail) -> String {
        traces.map { $0.text(detail) }.joined(separator: "\n")
    }
}

/// Where a packet comes from.
public enum TraceOrigin: String, Sendable, Hashable, CaseIterable, Encodable {
    /// A workload of this node: it enters by the host's end of its veth.
    case pod
    /// A process of the node itself: the socket hooks see it, no program on a device does.
    case node
    /// Outside: it enters by an external device.
    case external

    /// Reads an origin.
    public init(_ text: String) throws(FilterError) {
        guard let origin = Self(rawValue: text.lowercased()) else {
            throw FilterError(description: "expected pod, node or external")
        }
        self = origin
    }
}

/// What would become of a packet.
public struct PacketTrace: Encodable, Sendable {
    /// The packet, in a line.
    public let packet: String
    /// Where it comes from.
    public let from: TraceOrigin
    /// The device it comes by; absent for the node's own, and when no device carries the program.
    public let device: String?
    /// The device's index.
    public let interface: Int32?
    /// What one must know to trust the rest.
    public let notes: [String]
    /// The programs that see it, in their order.
    public let steps: [TraceStep]
    /// What connecting would do; for the node's own only.
    public let connect: ConnectTrace?
    /// What becomes of it in the end.
    public let verdict: TraceVerdict

    func text(_ detail: Detail) -> String {
        var list = FieldList()
        list.add("Packet", packet)
        let origin =
            switch from {
            case .external: "from outside"
            case .pod: "from a pod"
            case .node: "from the node itself"
            }
        list.add("Enters", (device.map { "by \($0) (index \(interface ?? 0)), " } ?? "") + origin)
        if !notes.isEmpty { list.add("Note", notes) }
        list.add("Verdict", verdict.text)
        var text = list.render()
        if let connect { text += "\n" + connect.text(detail) }
        for step in steps { text += "\n" + step.text(detail) }
        return text
    }
}

/// What becomes of a packet.
public struct TraceVerdict: Encodable, Sendable {
    /// The kinds of end.
    public enum Action: String, Encodable, Sendable {
        /// The stack gets it as it came.
        case passed
        /// The stack gets it translated.
        case translated
        /// It leaves by a device, translated, and the stack never sees it.
        case sent
        /// It is answered by the program itself.
        case answered
        /// It is dropped.
        case dropped
        /// XDP leaves it to tc.
        case left
        /// A process connects to a backend.
        case connected
        /// A process cannot connect.
        case refused
    }

    /// Which.
    public let action: Action
    /// Why, in words.
    public let explanation: String
    /// The device it leaves by; absent when it does not.
    public let device: String?
    /// The packet as it is afterwards, or what answers it, in a line; absent when it is dropped.
    public let packet: String?

    init(_ action: Action, _ explanation: String, device: String? = nil, packet: String? = nil) {
        self.action = action
        self.explanation = explanation
        self.device = device
        self.packet = packet
    }

    var text: String {
        let out = device.map { " out of \($0)" } ?? ""
        let name = action == .left ? "left to tc" : action == .translated ? "passed to the stack" : action.rawValue
        return "\(name)\(out): \(explanation)"
    }
}

/// What one program does with a packet.
public struct TraceStep: Encodable, Sendable {
    /// A field of a packet that changes.
    public struct Rewrite: Encodable, Sendable {
        /// Its name.
        public let field: String
        /// What it was; empty for one that was not there.
        public let before: String
        /// What it becomes; empty for one that is there no more.
        public let after: String
    }

    /// The state of the packet's flow.
    public struct Flow: Encodable, Sendable {
        /// `new`, `found`, `reply`, `unusable` or `none`.
        public let state: String
        /// State bits by name; of a new flow those it begins with.
        public let flags: [String]
        /// The same in words.
        public let explanation: String
    }

    /// Whether the client stays with its last backend.
    public struct Affinity: Encodable, Sendable {
        /// Seconds.
        public let timeout: Int
        /// Whether the last backend was taken.
        public let used: Bool
    }

    /// The place in the Maglev table that decides.
    public struct Slot: Encodable, Sendable {
        /// Which.
        public let slot: Int
        /// Of how many.
        public let slots: Int
    }

    /// The backend.
    public struct Backend: Encodable, Sendable {
        /// Its id.
        public let id: UInt32
        /// Its address; absent when the id names nothing any more.
        public let address: String?
        /// Its port.
        public let port: UInt16?
        /// `active`, `terminating` or `gone`.
        public let state: BackendStateName
        /// Whether it runs on this node.
        public let local: Bool
    }

    /// Whose address the backend sees.
    public struct Source: Encodable, Sendable {
        /// Whether it is this node's instead of the client's.
        public let masqueraded: Bool
        /// Whether the packet is encapsulated, so that the backend's node answers the client.
        public let encapsulated: Bool
        /// Whether the client is the backend.
        public let hairpin: Bool
        /// Why.
        public let explanation: String
    }

    /// The way out.
    public struct Path: Encodable, Sendable {
        /// What the routing table says.
        public let routing: String
        /// The device it leads out of; absent without a route.
        public let device: String?
        /// Its index.
        public let interface: Int32?
        /// In bytes; absent when it is not known.
        public let mtu: Int?
        /// Our MAC address; absent when the neighbour is not known.
        public let source: String?
        /// The neighbour's MAC address.
        public let destination: String?
        /// Whether XDP may send packets out of the device.
        public let xdp: Bool

        fileprivate var text: String {
            guard let device else { return routing }
            var parts = ["out of \(device) (index \(interface ?? 0))"]
            if let source, let destination {
                parts.append("\(source) to \(destination)")
            } else {
                parts.append("the neighbour is not known yet")
            }
            if let mtu { parts.append("MTU \(mtu)") }
            return parts.joined(separator: ", ")
        }
    }

    /// The program.
    public let program: String
    /// Whether it hangs on the device.
    public let attached: Bool
    /// Whether the program on a device has other code than the one that was run: an agent of another version attached
    /// it.
    public let differs: Bool
    /// The frontend that was found; absent when none was.
    public let frontend: FrontendView?
    /// `external` or `internal`; absent without a frontend.
    public let scope: ScopeView?
    /// The prefix that makes the packet a pod's, and so of the internal scope, although it comes by an external device;
    /// absent otherwise.
    public let podPrefix: String?
    /// What that says of the Service's policies; absent without a frontend.
    public let policy: String?
    /// Whether `loadBalancerSourceRanges` let the client in; absent when there are none.
    public let sourceAllowed: Bool?
    /// The flow; absent when none was looked for.
    public let flow: Flow?
    /// Session affinity; absent when the Service has none, or no backend was looked for.
    public let affinity: Affinity?
    /// The slot; absent when none was looked up.
    public let slot: Slot?
    /// The backend; absent when none was found.
    public let backend: Backend?
    /// Whose address the backend sees; absent when it goes to none.
    public let source: Source?
    /// The way out; absent when the stack is to find it.
    public let path: Path?
    /// What changes in the packet.
    public let rewrites: [Rewrite]
    /// What the program says.
    public let verdict: TraceVerdict
    /// Names of the counters that would have moved.
    public let counters: [String]

    func text(_ detail: Detail) -> String {
        var list = FieldList()
        if let frontend {
            list.add("Frontend", "\(frontend.endpoint), \(frontend.kind.rawValue) of \(frontend.title)")
        } else if flow?.state != "reply" {
            list.add("Frontend", "none")
        }
        if let scope {
            list.add("Scope", "\(scope.scope): \(scope.refusal.map { "refused, \($0): " } ?? "")\(scope.explanation)")
        }
        if let podPrefix { list.add("Detected", "a pod's packet: its source is in \(podPrefix)") }
        if let policy { list.add("Policy", policy) }
        if let sourceAllowed {
            list.add(
                "Ranges", "loadBalancerSourceRanges \(sourceAllowed ? "contain" : "do not contain") the client")
        }
        if let flow { list.add("Flow", flow.explanation) }
        if let affinity {
            let used = affinity.used ? "the client's last backend" : "the client has none that would do"
            list.add("Affinity", "ClientIP, \(Quantity.duration(affinity.timeout)): \(used)")
        }
        if let slot { list.add("Slot", "\(slot.slot) of \(slot.slots)") }
        if let backend {
            let address =
                backend.address.flatMap(IPAddress.init).map { $0.withPort(backend.port ?? 0) } ?? "?\(backend.id)"
            let place = backend.local ? "on this node" : "on another node"
            list.add("Backend", "\(address), id \(backend.id), \(backend.state.rawValue), \(place)")
        }
        if let source { list.add("Source", source.explanation) }
        if let path { list.add("Path", path.text) }
        if !rewrites.isEmpty {
            let width = rewrites.map(\.field.count).max() ?? 0
            list.add(
                "Rewrites",
                rewrites.map { rewrite in
                    let gap = String(repeating: " ", count: width - rewrite.field.count)
                    return "\(rewrite.field)\(gap)  \(rewrite.before.isEmpty ? "-" : rewrite.before) -> "
                        + (rewrite.after.isEmpty ? "-" : rewrite.after)
                })
        }
        if let packet = verdict.packet { list.add("Becomes", packet) }
        list.add("Verdict", verdict.text)
        list.add("Counters", counters.isEmpty ? "none" : counters.joined(separator: ", "))
        let attachment =
            differs
            ? ", which is not the code on the device" : attached ? "" : ", which hangs on no device here"
        let fields = list.render().split(separator: "\n").map { "  \($0)\n" }.joined()
        return "\(program)\(attachment)\n\(fields)"
    }
}

/// What connecting to an address would do, or sending a datagram there, for a process of the node.
public struct ConnectTrace: Encodable, Sendable {
    /// A backend and its part of new connections.
    public struct Choice: Encodable, Sendable {
        /// Its id.
        public let id: UInt32
        /// Its address.
        public let address: String
        /// Its port.
        public let port: UInt16
        /// Its part, in percent.
        public let share: Double
        let text: String

        enum CodingKeys: String, CodingKey {
            case id, address, port, share
        }
    }

    /// Whether the hooks are there.
    public let hooks: Bool
    /// The frontend that was found; absent when none was.
    public let frontend: FrontendView?
    /// Its internal scope.
    public let scope: ScopeView?
    /// What that says of the Service's policies.
    public let policy: String?
    /// Whether `loadBalancerSourceRanges` let the node in; absent when there are none.
    public let sourceAllowed: Bool?
    /// Seconds that the node's processes stay with a backend; absent without affinity.
    public let affinity: Int?
    /// The backends, one of which is chosen at random.
    public let backends: [Choice]

    func text(_ detail: Detail) -> String {
        var list = FieldList()
        list.add("Frontend", frontend.map { "\($0.endpoint), \($0.kind.rawValue) of \($0.title)" } ?? "none")
        if let scope {
            list.add("Scope", "\(scope.scope): \(scope.refusal.map { "refused, \($0): " } ?? "")\(scope.explanation)")
        }
        if let policy { list.add("Policy", policy) }
        if let sourceAllowed {
            list.add(
                "Ranges", "loadBalancerSourceRanges \(sourceAllowed ? "contain" : "do not contain") the node")
        }
        if let affinity { list.add("Affinity", "ClientIP, \(Quantity.duration(affinity)): by network namespace") }
        if !backends.isEmpty {
            let shown = detail == .wide ? backends[...] : backends.prefix(10)
            var lines = shown.map { "\($0.text), \(Quantity.percent($0.share)) of connections" }
            if shown.count < backends.count { lines.append("and \(backends.count - shown.count) more (-o wide)") }
            list.add("Backends", lines)
        }
        let fields = list.render().split(separator: "\n").map { "  \($0)\n" }.joined()
        return "socket hooks\(hooks ? "" : ", which are not there")\n\(fields)"
    }
}
