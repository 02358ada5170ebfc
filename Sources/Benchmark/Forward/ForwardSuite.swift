internal import NetTypes

/// Packets a second through a node, and what a packet costs, for each who can lead them to backends.
///
/// Packets are generated, not sent by sockets, so that the node is what is measured: see ``TrafficGenerator``. Everybody
/// to be compared has a chain of his own, and they take turns in slices of part of a second; each slice is paired with
/// one of plain forwarding in the same round.
public enum ForwardSuite: Suite {
    /// Takes all measurements. Needs root.
    ///
    /// - Parameter progress: gets a line now and then.
    /// - Throws: what keeps the generator from being loaded or plain forwarding from being measured.
    public static func run(_ settings: RunSettings, progress: (String) -> Void) throws -> [Measurement] {
        var measurements: [Measurement] = []
        let fewest = settings.services.min() ?? 1
        for count in settings.services {
            for placement in BenchServices.Placement.allCases where placement == .local || count == fewest {
                let services = try BenchServices(count: count, backends: settings.backends, placement: placement)
                progress("\(count) services, \(placement.rawValue) backends")
                let field = try ForwardField(services, settings, progress)
                measurements += try field.measure(progress)
            }
        }
        return measurements
    }
}

/// What is sent, and so measured.
enum ForwardQuantity: String, CaseIterable {
    /// Data of open TCP connections to a ClusterIP whose endpoints are on the node; nobody masquerades.
    case established
    /// Data of open TCP connections to a NodePort whose endpoints are elsewhere; everybody masquerades.
    case masqueraded
    /// SYNs of connections that have never been, to the ClusterIP.
    case newFlow = "new-flow"

    var placement: BenchServices.Placement { self == .masqueraded ? .remote : .local }
    var frontend: BenchFrontend { self == .masqueraded ? .nodePort : .clusterIP }
    var kind: GeneratedKind { self == .newFlow ? .newFlow : .data }

    /// What a reader must know of its packets.
    func note(_ family: IPFamily) -> String {
        let size = family == .v4 ? "72" : "96"
        return switch self {
        case .established:
            "TCP segments of open connections to a ClusterIP, endpoints on the node, frames of \(size) bytes"
        case .masqueraded:
            "TCP segments of open connections to a NodePort, endpoints on another node, source masqueraded, frames of "
                + "\(size) bytes"
        case .newFlow: "TCP SYNs, each of a tuple never seen before, to a ClusterIP, frames of \(size) bytes"
        }
    }
}
