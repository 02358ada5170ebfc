import ServiceModel
import Synchronization

/// What a cluster's API held over time, as far as a service proxy is told of it, and what somebody who followed it may
/// therefore say.
final class Truth: Sendable {
    private struct Past: Sendable {
        /// All states of the object, in order; `nil` while there was none.
        var states: [CatalogObject?]
        /// Which of them was told last.
        var told = 0
    }

    private let pasts: Mutex<[ObjectID: Past]>

    /// Begins with these objects, before anybody follows; `nil` for those that nobody is told of.
    init(_ objects: [ObjectID: CatalogObject?]) {
        pasts = Mutex(objects.mapValues { Past(states: [$0]) })
    }

    /// The object is now this, or gone. To be called before the server knows.
    func note(_ id: ObjectID, _ object: CatalogObject?) {
        pasts.withLock { pasts in
            var past = pasts[id] ?? Past(states: [nil])
            if past.states.last != object { past.states.append(object) }
            pasts[id] = past
        }
    }

    /// The objects as they are now.
    var now: Set<CatalogObject> {
        pasts.withLock { Set($0.values.compactMap { $0.states.last ?? nil }) }
    }

    /// The Services and EndpointSlices that were there all the time, from before anybody followed.
    var permanent: Set<ObjectID> {
        pasts.withLock { pasts in
            let permanent = pasts.filter { id, past in
                let isNeeded = id.kind == .service || id.kind == .endpointSlice
                return isNeeded && past.states.allSatisfy { $0 != nil }
            }
            return Set(permanent.keys)
        }
    }

    /// Takes an event that was told; says what is wrong with it: a state that never was, or one from before what was
    /// told already. Going back is what a proxy must never do: it would send traffic to endpoints long gone.
    func check(_ event: CatalogEvent) -> String? {
        let (id, state): (ObjectID, CatalogObject?)
        switch event {
        case .upsert(let object): (id, state) = (object.id, object)
        case .delete(let kind, let name): (id, state) = (ObjectID(kind: kind, name: name), nil)
        case .synced: return nil
        }
        return pasts.withLock { pasts in
            guard var past = pasts[id] else { return "\(id) was told, but never was" }
            guard let index = past.states[past.told...].firstIndex(of: state) else {
                let known = past.states.firstIndex(of: state).map { "state \($0)" } ?? "no state that it had"
                return "\(id): after state \(past.told) of \(past.states.count) \(known) was told: \(state as Any)"
            }
            past.told = index
            pasts[id] = past
            return nil
        }
    }
}
