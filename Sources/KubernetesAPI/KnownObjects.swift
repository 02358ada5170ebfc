internal import KubernetesWire
internal import ServiceModel

/// Which objects of a kind have been told of, in which state: names, versions and digests, not the objects.
///
/// Whatever order events come in, what is told of an object never goes back to an older state. A list is the server's
/// truth, also when its versions are lower: then etcd has been restored.
struct KnownObjects: Sendable {
    /// A state of an object.
    fileprivate struct State: Sendable, Equatable {
        var version: ResourceVersion
        /// Of the value, as a restored server may give one version to two of them.
        var digest: Int

        init(_ received: ReceivedObject) {
            version = received.resourceVersion
            digest = received.object.hashValue
        }
    }

    /// What becomes of an event.
    enum Outcome: Sendable {
        /// To be told.
        case tell(CatalogEvent)
        /// Known, or older than what is known.
        case stale
        /// Nothing to be told.
        case nothing
        /// The server is behind what it said before.
        case wentBack
    }

    /// How many deletions are remembered: an event that was overtaken by one is not far behind.
    private static let rememberedDeletions = 4096

    /// Where to watch from; `nil` before the first list.
    private(set) var version: ResourceVersion?
    private var states: [ObjectName: State] = [:]
    private var deletions: [ObjectName: ResourceVersion] = [:]
    /// The list's version: it has all that happened before.
    private var floor = ResourceVersion("")

    /// How many there are.
    var count: Int { states.count }

    /// Whether an object of this name is known.
    func contains(_ name: ObjectName) -> Bool { states[name] != nil }

    /// Takes an event of a watch.
    mutating func take(_ event: WatchEvent) -> Outcome {
        switch event {
        case .upsert(let received): return upsert(received)
        case .delete(let received): return delete(received)
        case .bookmark(let bookmark, _):
            if let version, bookmark.isOlder(than: version) == true { return .wentBack }
            advance(to: bookmark)
            return .nothing
        case .failure: return .nothing
        }
    }

    private mutating func upsert(_ received: ReceivedObject) -> Outcome {
        let name = received.object.id.name
        let new = State(received)
        let last = states[name]?.version ?? deletions[name] ?? floor
        guard new.version.isOlder(than: last) != true, states[name] != new else { return .stale }
        // A deletion is a state too: only what comes after it brings the object back.
        guard states[name] != nil || deletions[name] != new.version else { return .stale }
        states[name] = new
        deletions[name] = nil
        advance(to: new.version)
        return .tell(.upsert(received.object))
    }

    private mutating func delete(_ received: ReceivedObject) -> Outcome {
        let id = received.object.id
        let last = states[id.name]?.version ?? deletions[id.name] ?? floor
        guard received.resourceVersion.isOlder(than: last) != true else { return .stale }
        if deletions.count >= Self.rememberedDeletions { forgetDeletions() }
        deletions[id.name] = received.resourceVersion
        advance(to: received.resourceVersion)
        guard states.removeValue(forKey: id.name) != nil else { return .stale }
        return .tell(.delete(id.kind, id.name))
    }

    private mutating func advance(to new: ResourceVersion) {
        guard !new.text.isEmpty, let version, new.isOlder(than: version) != true else { return }
        self.version = new
    }

    /// The older half.
    private mutating func forgetDeletions() {
        let ordered = deletions.sorted { $0.value.isOlder(than: $1.value) == true }
        for (name, _) in ordered.prefix(ordered.count / 2) { deletions[name] = nil }
    }

    /// Puts a list that is complete in the place of all that was known. Returns what that changes: what is new or
    /// other, then what is gone.
    mutating func replace(with listing: Listing, version: ResourceVersion, kind: ObjectKind) -> [CatalogEvent] {
        var events = listing.changed.values.map { CatalogEvent.upsert($0) }
        for name in states.keys where listing.states[name] == nil { events.append(.delete(kind, name)) }
        states = listing.states
        deletions = [:]
        floor = version
        self.version = version
        return events
    }

    /// A list that is being read: of objects that are known in the same state, no more than that is kept.
    struct Listing: Sendable {
        fileprivate var states: [ObjectName: State] = [:]
        fileprivate var changed: [ObjectName: CatalogObject] = [:]
        private var gone: [ObjectName: ResourceVersion] = [:]

        /// How many objects it has.
        var count: Int { states.count }

        /// Takes an object of the list. Of several states of one object, the last counts.
        mutating func add(_ received: ReceivedObject, to known: KnownObjects) {
            let name = received.object.id.name
            let new = State(received)
            if let last = states[name]?.version ?? gone[name], new.version.isOlder(than: last) == true { return }
            states[name] = new
            changed[name] = known.states[name] == new ? nil : received.object
        }

        /// Takes a deletion that came while the list was streamed.
        mutating func remove(_ received: ReceivedObject) {
            let name = received.object.id.name
            if let last = states[name]?.version, received.resourceVersion.isOlder(than: last) == true { return }
            gone[name] = received.resourceVersion
            states[name] = nil
            changed[name] = nil
        }
    }
}
