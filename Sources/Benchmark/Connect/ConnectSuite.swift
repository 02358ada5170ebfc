/// Connections, requests and bytes a second by real sockets, from client to backend through a node: by a Service of
/// Needletail's or of a peer's, and directly.
public enum ConnectSuite: Suite {
    /// Connections that a client has at the same time unless told otherwise.
    public static let defaultConnections = 16

    /// Takes all measurements, with ``defaultConnections``.
    public static func run(_ settings: RunSettings, progress: (String) -> Void) throws -> [Measurement] {
        try run(settings, connections: defaultConnections, progress: progress)
    }

    /// Takes all measurements.
    ///
    /// - Parameter connections: that a client has at the same time, from 1 to 1024.
    /// - Throws: ``BenchmarkError/unusableSetting(_:)``. What cannot be measured is answered as skipped or failed.
    public static func run(
        _ settings: RunSettings, connections: Int, progress: (String) -> Void
    ) throws -> [Measurement] {
        guard (1...LoadClient.mostConnections).contains(connections) else {
            throw BenchmarkError.unusableSetting(
                "connections \(connections): must be from 1 to \(LoadClient.mostConnections)")
        }
        var measurements: [Measurement] = []
        for services in settings.services {
            let field = try ConnectField(settings, services: services, connections: connections, progress: progress)
            for _ in 0..<settings.repeats { field.takeRound(progress: progress) }
            measurements += field.measurements
        }
        return measurements
    }
}
