internal import NeedletailABI
internal import NetTypes

/// What the frontends at one address are, in numbers.
struct AddressUse {
    private var clusterIPs = 0
    private var loadBalancers = 0
    /// Those with backends in some scope.
    private var answering = 0

    /// Counts a frontend in, or out (`difference` -1). A retired one is nobody's any more.
    mutating func add(_ record: FrontendRecord?, _ difference: Int) {
        guard let record, !record.flags.contains(.retired) else { return }
        if record.flags.contains(.clusterIP) { clusterIPs += difference }
        if record.flags.contains(.loadBalancer) { loadBalancers += difference }
        if !record.sets.isEmpty { answering += difference }
    }

    static func + (a: Self, b: Self) -> Self {
        var sum = a
        sum.clusterIPs += b.clusterIPs
        sum.loadBalancers += b.loadBalancers
        sum.answering += b.answering
        return sum
    }

    /// Whether it says nothing.
    var isEmpty: Bool { clusterIPs == 0 && loadBalancers == 0 && answering == 0 }

    /// What the address is; `nil` where it is none that is kept account of.
    var flags: AddressFlags? {
        var flags: AddressFlags = []
        if clusterIPs > 0 { flags.insert(.clusterIP) }
        if loadBalancers > 0 { flags.insert(.loadBalancer) }
        guard !flags.isEmpty else { return nil }
        if answering > 0 { flags.insert(.endpoints) }
        return flags
    }
}

/// The two writes that take an address from one meaning to another: what it no longer is goes before frontends change,
/// what it is from now on comes after. An answer for a port that is just appearing must not be a refusal.
struct AddressChange {
    let early: MapWrite?
    let late: MapWrite?

    init(_ address: IPAddress, from old: AddressFlags?, to new: AddressFlags?) {
        var present = old
        if let old, !old.subtracting(new ?? []).isEmpty {
            let kept = old.intersection(new ?? [])
            present = kept.isEmpty ? nil : kept
            early = .address(address, present)
        } else {
            early = nil
        }
        late = present == new ? nil : .address(address, new)
    }
}

/// The lowest and the highest of some addresses, of one family.
struct AddressBounds {
    private(set) var range: ClosedRange<IPAddress>?

    mutating func extend(to address: IPAddress) {
        guard let range else { return self.range = address...address }
        self.range = min(range.lowerBound, address)...max(range.upperBound, address)
    }

    /// Whether taking `address` away changes the bounds.
    func isBound(_ address: IPAddress) -> Bool { address == range?.lowerBound || address == range?.upperBound }
}
