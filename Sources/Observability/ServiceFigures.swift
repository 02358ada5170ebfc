public import ServiceModel

/// What has been counted for a service port.
public struct ServiceFigures: Sendable, Hashable {
    /// Translated packets and their bytes, from the IP header on.
    public struct Traffic: Sendable, Hashable {
        /// Packets.
        public var packets: UInt64
        /// Bytes.
        public var bytes: UInt64

        /// Puts the two together.
        public init(packets: UInt64 = 0, bytes: UInt64 = 0) {
            self.packets = packets
            self.bytes = bytes
        }
    }

    /// From clients to backends.
    public var forward: Traffic
    /// From backends to clients.
    public var reverse: Traffic
    /// Flows begun.
    public var newFlows: UInt64
    /// Packets refused, by reason; reasons without any may be left out.
    public var refused: [String: UInt64]

    /// Puts them together.
    public init(
        forward: Traffic = Traffic(), reverse: Traffic = Traffic(), newFlows: UInt64 = 0,
        refused: [String: UInt64] = [:]
    ) {
        self.forward = forward
        self.reverse = reverse
        self.newFlows = newFlows
        self.refused = refused
    }

    static func += (sum: inout ServiceFigures, more: ServiceFigures) {
        sum.forward.packets &+= more.forward.packets
        sum.forward.bytes &+= more.forward.bytes
        sum.reverse.packets &+= more.reverse.packets
        sum.reverse.bytes &+= more.reverse.bytes
        sum.newFlows &+= more.newFlows
        sum.refused.merge(more.refused, uniquingKeysWith: &+)
    }

    /// What came since `earlier`; `nil` if one of the figures has gone down, so that it has begun from zero meanwhile.
    func since(_ earlier: ServiceFigures) -> ServiceFigures? {
        var difference = self
        for path in [\ServiceFigures.forward.packets, \.forward.bytes, \.reverse.packets, \.reverse.bytes, \.newFlows] {
            let (result, overflow) = self[keyPath: path].subtractingReportingOverflow(earlier[keyPath: path])
            guard !overflow else { return nil }
            difference[keyPath: path] = result
        }
        for (reason, before) in earlier.refused {
            let (result, overflow) = (refused[reason] ?? 0).subtractingReportingOverflow(before)
            guard !overflow else { return nil }
            difference.refused[reason] = result
        }
        return difference
    }
}

/// A service port as it was read from the datapath.
public struct ServiceReading: Sendable, Hashable {
    /// The id that its figures are kept by.
    public var id: UInt32
    /// Whose id it is.
    public var name: ServicePortName
    /// What has been counted since the id was given to it.
    public var figures: ServiceFigures

    /// Puts them together.
    public init(id: UInt32, name: ServicePortName, figures: ServiceFigures) {
        self.id = id
        self.name = name
        self.figures = figures
    }
}
