internal import ServiceModel

/// The state of a directory of manifests: what each file held when it was last good, and what was told of it.
struct DirectoryScanner {
    private struct File {
        var stamp: FileStamp?
        var manifest = ParsedManifest()
        var problem: ManifestProblem?
        /// Has been whole since the directory is followed: what it holds is known.
        var wasRead = false
    }

    let directory: String
    /// Whether a file is a symbolic link: a change of what it leads to may go unnoticed in the directory itself.
    private(set) var hasSymbolicLinks = false
    /// Files that changed while they were read, and must be read again.
    private(set) var unsettled: Set<String> = []
    private var files: [String: File] = [:]
    private var told: [ObjectID: CatalogObject] = [:]
    private var isSynced = false
    private var last = ManifestBatch(events: [], problems: [], notes: [], isComplete: false)

    init(directory: String) { self.directory = directory }

    /// Looks at the directory again and says what is new; `nil` if nothing is. Files in `beingWritten` stay as they
    /// were. `watchProblem` is a standing problem of the caller's, to be told with the others.
    mutating func scan(beingWritten: Set<String>, watchProblem: ManifestProblem?) -> ManifestBatch? {
        var problems: [ManifestProblem] = []
        var events: [CatalogEvent] = []
        do throws(SystemError) {
            let names = try manifestNames(in: directory)
            readFiles(names, beingWritten)
            problems += files.values.compactMap(\.problem)
            if let watchProblem { problems.append(watchProblem) }
            events = differences(to: collect(&problems))
            // A file that changed under the first reading is not missing: what it held must not be taken for deleted.
            if !isSynced, unsettled.isEmpty {
                events.append(.synced)
                isSynced = true
            }
        } catch {
            problems.append(
                ManifestProblem(
                    file: directory, message: "cannot be read, what it held stays in force: \(error)"))
            problems += files.values.compactMap(\.problem)
        }
        let notes = files.values.flatMap(\.manifest.notes).sorted()
        let batch = ManifestBatch(
            events: events, problems: problems.sorted(), notes: notes,
            isComplete: isSynced && unsettled.isEmpty && files.values.allSatisfy(\.wasRead))
        let isOther =
            batch.problems != last.problems || batch.notes != last.notes || batch.isComplete != last.isComplete
        guard !events.isEmpty || isOther else { return nil }
        last = batch
        return batch
    }

    private mutating func readFiles(_ names: [String], _ beingWritten: Set<String>) {
        let present = Set(names)
        files = files.filter { present.contains($0.key) }
        unsettled = []
        hasSymbolicLinks = false
        for name in names {
            if isSymbolicLink("\(directory)/\(name)") { hasSymbolicLinks = true }
            if !beingWritten.contains(name) { read(name) }
        }
    }

    /// A file that is broken now keeps the objects it had when it was whole.
    private mutating func read(_ name: String) {
        let path = "\(directory)/\(name)"
        var file = files[name] ?? File()
        if let stamp = file.stamp, let now = try? FileStamp(path: path), now == stamp { return }
        switch FileReading(path: path, limit: ManifestParser.maximumSize) {
        case .unsettled:
            unsettled.insert(name)
            return
        case .failed(let message):
            file.stamp = nil
            file.problem = ManifestProblem(file: name, message: message)
        case .read(let bytes, let stamp):
            file.stamp = stamp.isOldEnough ? stamp : nil
            do throws(ManifestProblem) {
                file.manifest = try ManifestParser().parse(bytes, file: name)
                file.problem = nil
                file.wasRead = true
            } catch {
                file.problem = error
            }
        }
        files[name] = file
    }

    /// The objects of all files. Of an object in several places the first one counts, by file name, then by line.
    private func collect(_ problems: inout [ManifestProblem]) -> [ObjectID: CatalogObject] {
        var objects: [ObjectID: CatalogObject] = [:]
        var owners: [ObjectID: String] = [:]
        for (name, file) in files.sorted(by: { $0.key < $1.key }) {
            for item in file.manifest.items {
                let id = item.object.id
                if let owner = owners[id] {
                    problems.append(
                        ManifestProblem(
                            file: name, line: item.line, message: "\(id) is in \(owner) already: ignored here"))
                    continue
                }
                owners[id] = name
                objects[id] = item.object
            }
        }
        return objects
    }

    private mutating func differences(to objects: [ObjectID: CatalogObject]) -> [CatalogEvent] {
        defer { told = objects }
        let gone = told.keys.filter { objects[$0] == nil }.sorted()
        let changed = objects.filter { told[$0.key] != $0.value }.sorted { $0.key < $1.key }
        return changed.map { .upsert($0.value) } + gone.map { .delete($0.kind, $0.name) }
    }
}
