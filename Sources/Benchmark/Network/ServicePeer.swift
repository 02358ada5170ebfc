internal import NetLab

/// Somebody else who leads packets for Services to their endpoints, by rules in a node's network namespace.
protocol ServicePeer: Sendable {
    /// What it is called in reports.
    var subject: String { get }

    /// Why it cannot be had here; `nil` when it can.
    func unavailability() -> String?

    /// Puts the rules for all Services in place, both families, in the order of their numbers: that of the measured one
    /// comes last. They go with the namespace.
    func install(_ services: BenchServices, on node: Host) throws
}
