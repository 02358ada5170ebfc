public import Dataplane
internal import NetTypes

/// Answers questions about a pinned datapath, whether or not an agent runs.
public struct Inspector: Sendable {
    /// Where it is pinned.
    public let pins: PinDirectory
    let maps: DatapathMaps

    /// Opens the pinned maps.
    ///
    /// - Throws: ``InspectionError`` of kind ``InspectionError/Kind/unavailable``.
    public init(pins: PinDirectory) throws(InspectionError) {
        self.pins = pins
        do {
            maps = try DatapathMaps(pinnedIn: pins)
        } catch {
            throw InspectionError.opening(pins, error)
        }
    }

    func snapshot() throws -> Snapshot { try Snapshot(maps) }
}
