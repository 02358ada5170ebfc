public import ServiceModel

/// What became new in a directory of manifests.
public struct ManifestBatch: Sendable, Hashable {
    /// Changes of objects, in an order that depends only on the files. The first batch after which each file has been
    /// read ends with `synced`.
    public let events: [CatalogEvent]
    /// All that is wrong now, not only what is new: broken files (what they held before stays in force), objects that
    /// are in two files, the directory itself.
    public let problems: [ManifestProblem]
    /// Objects that are passed over, all of them.
    public let notes: [ManifestProblem]
    /// Whether every file there is has been read whole at least once. While one never has, what it holds is not known:
    /// objects that are missing may be in it.
    public let isComplete: Bool

    /// A batch.
    public init(
        events: [CatalogEvent], problems: [ManifestProblem], notes: [ManifestProblem], isComplete: Bool
    ) {
        self.events = events
        self.problems = problems
        self.notes = notes
        self.isComplete = isComplete
    }
}

/// A directory of manifests that is followed: `*.yaml`, `*.yml` and `*.json`, neither hidden nor in subdirectories.
///
/// Files may be symbolic links, replaced as the kubelet replaces those of a ConfigMap. A file that somebody has open
/// for writing is looked at when they close it, or have not written for a second. When the directory goes away, its
/// objects stay in force until it is there again.
public struct ManifestDirectory: Sendable {
    /// The directory.
    public let path: String
    /// How long changes are gathered before they are looked at, in milliseconds.
    public let debounceMilliseconds: Int32

    /// A directory, which may not be there yet.
    public init(path: String, debounceMilliseconds: Int32 = 20) {
        self.path = path
        self.debounceMilliseconds = debounceMilliseconds
    }

    /// Follows the directory for as long as somebody reads the stream. Each call follows by itself, from the start.
    ///
    /// Batches are changes, so none is dropped if the reader is slow. Throws if the system has no thread or descriptor
    /// to spare.
    public func follow() throws(ManifestProblem) -> AsyncStream<ManifestBatch> {
        do throws(SystemError) {
            let stop = try StopSignal()
            let (stream, continuation) = AsyncStream.makeStream(of: ManifestBatch.self)
            continuation.onTermination = { _ in stop.stop() }
            let directory = self
            try startThread {
                var follower = DirectoryFollower(directory, stop)
                follower.run { continuation.yield($0) }
                continuation.finish()
            }
            return stream
        } catch {
            throw ManifestProblem(file: path, message: "cannot be followed: \(error)")
        }
    }
}
