internal import BPF
internal import NeedletailABI
internal import NetTypes

extension FlowTable {
    /// The entry of the flow's other direction; `nil` when the kernel has evicted it, or it has become another flow's.
    public func peer(of flow: FlowEntry) throws -> FlowEntry? {
        let tuple = flow.rewritten.reversed
        let direction: FlowDirection = flow.direction == .forward ? .reverse : .forward
        let found =
            switch tuple.source.address.family {
            case .v4: try entry(nt_flow_key4(tuple, direction), in: maps.flows4[flow.transport])
            case .v6: try entry(nt_flow_key6(tuple, direction), in: maps.flows6[flow.transport])
            }
        guard let found, found.rewritten == flow.onWire.reversed else { return nil }
        return found
    }

    private func entry<Key: WireFlowKey & BitwiseCopyable, Value: WireFlowValue & BitwiseCopyable>(
        _ key: Key, in map: BPFMap<Key, Value>
    ) throws -> FlowEntry? {
        try map.lookup(key).flatMap { FlowEntry(key, $0, Self.currentTick()) }
    }
}
