import ServiceModel

/// The objects, what happened to them, and the version all of them are at: etcd and the watch cache in one.
struct ObjectStore {
    /// A change of one object.
    struct Change: Sendable {
        let resource: Resource
        let version: UInt64
        /// The object before, `nil` for a new one.
        let before: StoredObject?
        /// The object after, `nil` for a deletion.
        let after: StoredObject?

        /// What a watch with a selector sees of it: an object that leaves the selector is deleted as far as that goes,
        /// and looks as it was before.
        func event(_ selector: Selector) -> (type: String, object: StoredObject)? {
            let matchedBefore = before.map(selector.matches) ?? false
            switch (before, after) {
            case (_, let after?) where selector.matches(after): return (matchedBefore ? "MODIFIED" : "ADDED", after)
            case (let before?, _) where matchedBefore: return ("DELETED", before.withResourceVersion(version))
            default: return nil
            }
        }
    }

    private(set) var version: UInt64
    private var objects: [Resource: [ObjectName: StoredObject]] = [:]
    private(set) var history: [Change] = []
    /// What happened up to this version is forgotten: nothing can be watched or listed from before it.
    private(set) var forgotten: UInt64

    init(version: UInt64) {
        self.version = version
        forgotten = version
    }

    /// Objects that were there all the time: no watch sees them come. An object without a version gets the store's.
    mutating func load(_ loaded: [StoredObject]) {
        for object in loaded {
            let text = object.json[path: "metadata", "resourceVersion"]?.text ?? "0"
            let version = UInt64(text) ?? 0
            objects[object.resource, default: [:]][object.name] =
                version == 0 ? object.withResourceVersion(self.version) : object
        }
    }

    /// Puts an object in place of the one of its name. `version` is for recorded histories; it must be above the last.
    mutating func put(_ object: StoredObject, version: UInt64? = nil) -> Change {
        advance(to: version)
        let after = object.withResourceVersion(self.version)
        let before = objects[object.resource, default: [:]].updateValue(after, forKey: object.name)
        return note(Change(resource: object.resource, version: self.version, before: before, after: after))
    }

    mutating func delete(_ resource: Resource, _ name: ObjectName, version: UInt64? = nil) -> Change? {
        guard let before = objects[resource]?.removeValue(forKey: name) else { return nil }
        advance(to: version)
        return note(Change(resource: resource, version: self.version, before: before, after: nil))
    }

    /// Lets the version run on, as changes of other kinds do.
    mutating func advance(to version: UInt64? = nil) { self.version = max(version ?? 0, self.version + 1) }

    private mutating func note(_ change: Change) -> Change {
        history.append(change)
        return change
    }

    /// Forgets what happened, as the watch cache does after a while or etcd after a compaction.
    mutating func forget() {
        history = []
        forgotten = version
    }

    func object(_ resource: Resource, _ name: ObjectName) -> StoredObject? { objects[resource]?[name] }

    /// The objects in order of their keys.
    func list(_ resource: Resource, _ selector: Selector = Selector()) -> [StoredObject] {
        (objects[resource] ?? [:]).values.filter(selector.matches).sorted { $0.name < $1.name }
    }

    /// The objects as they were at a version that is not forgotten.
    func list(_ resource: Resource, _ selector: Selector, at version: UInt64) -> [StoredObject] {
        var past = objects[resource] ?? [:]
        for change in history.reversed() where change.version > version && change.resource == resource {
            if let name = (change.before ?? change.after)?.name { past[name] = change.before }
        }
        return past.values.filter(selector.matches).sorted { $0.name < $1.name }
    }
}
