public import KubernetesWire

/// What a programming benchmark measures.
public struct ProgrammingSettings: Sendable {
    /// Numbers of Services that are in place.
    public var services: [Int]
    /// Endpoints of each.
    public var endpoints: Int
    /// Changes that are timed at each number of Services.
    public var changes: Int
    /// How the events are written.
    public var format: WireFormat

    /// The settings.
    ///
    /// - Throws: ``BenchmarkError/unusableSetting(_:)`` for an empty list, numbers below 1, or more than there are
    ///   addresses for.
    public init(
        services: [Int] = [100, 1000, 10_000], endpoints: Int = 10, changes: Int = 1000, format: WireFormat = .protobuf
    ) throws(BenchmarkError) {
        guard !services.isEmpty else { throw .unusableSetting("services: give at least one number") }
        let most = ClusterObjects.mostServices
        for count in services where !(1...most).contains(count) {
            throw .unusableSetting("services \(count): must be from 1 to \(most)")
        }
        let room = ClusterObjects.mostEndpoints / (services.max() ?? 1)
        guard (2...max(2, room)).contains(endpoints), endpoints <= room else {
            throw .unusableSetting("endpoints \(endpoints): must be from 2 to \(room) with so many Services")
        }
        guard (1...1_000_000).contains(changes) else {
            throw .unusableSetting("changes \(changes): must be from 1 to 1000000")
        }
        self.services = services
        self.endpoints = endpoints
        self.changes = changes
        self.format = format
    }
}
