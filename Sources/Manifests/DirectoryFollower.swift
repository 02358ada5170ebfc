internal import Glibc

/// The loop of the thread that follows a directory: wait, gather, scan.
struct DirectoryFollower {
    /// How often things are looked at that no event tells of: whether the path still leads to the same directory,
    /// whether it is there again, what symbolic links lead to.
    private static let tickMilliseconds: Int32 = 1000

    private let directory: ManifestDirectory
    private let stop: StopSignal
    private var scanner: DirectoryScanner
    /// Files open for writing, with the time of the last write.
    private var writing: [String: ContinuousClock.Instant] = [:]

    init(_ directory: ManifestDirectory, _ stop: StopSignal) {
        self.directory = directory
        self.stop = stop
        scanner = DirectoryScanner(directory: directory.path)
    }

    /// Follows until told to stop.
    mutating func run(_ yield: (ManifestBatch) -> Void) {
        var watch: DirectoryWatch?
        var isDue = true
        var isGone = false
        while true {
            let isLost = isGone || watch?.isCurrent != true
            if isLost {
                writing = [:]
                watch = nil
                isGone = false
            }
            var problem: ManifestProblem?
            if watch == nil { problem = open(&watch) }
            isDue = isDue || isLost
            if isDue, let batch = scanner.scan(beingWritten: Set(writing.keys), watchProblem: problem) { yield(batch) }

            let wait = writing.isEmpty && scanner.unsettled.isEmpty ? Self.tickMilliseconds : 100
            let ready = waitReadable([stop.descriptor, watch?.descriptor ?? -1], milliseconds: wait)
            if ready[0] { return }
            if ready[1] {
                guard !waitReadable([stop.descriptor], milliseconds: directory.debounceMilliseconds)[0] else { return }
                for change in watch?.drain() ?? [] {
                    note(change)
                    // The path may lead to a new directory with the old one's inode number by now.
                    if change.has(UInt32(IN_DELETE_SELF), UInt32(IN_IGNORED), UInt32(IN_UNMOUNT)) { isGone = true }
                }
            }
            let settled = settle()
            isDue = ready[1] || settled || !scanner.unsettled.isEmpty || scanner.hasSymbolicLinks
        }
    }

    /// Sets the watch. Without one (the limits on inotify are per user, and small) the directory is scanned at every
    /// tick instead.
    private func open(_ watch: inout DirectoryWatch?) -> ManifestProblem? {
        do throws(SystemError) {
            watch = try DirectoryWatch(path: directory.path)
            return nil
        } catch {
            let message = "changes are looked for once a second, since it cannot be watched: \(error)"
            return ManifestProblem(file: directory.path, message: message)
        }
    }

    /// Keeps account of who is being written: half of a file may be a valid manifest with half of the objects.
    private mutating func note(_ change: DirectoryWatch.Change) {
        if change.has(UInt32(IN_CLOSE_WRITE), UInt32(IN_MOVED_TO), UInt32(IN_MOVED_FROM), UInt32(IN_DELETE)) {
            writing[change.name] = nil
        } else if change.has(UInt32(IN_MODIFY)) && isManifestName(change.name) {
            writing[change.name] = .now
        } else if change.has(UInt32(IN_CREATE)) && isManifestName(change.name) {
            if isSingleRegularFile("\(directory.path)/\(change.name)") { writing[change.name] = .now }
        }
    }

    /// Takes writers for done that have not written for a second; some never close.
    private mutating func settle() -> Bool {
        let count = writing.count
        writing = writing.filter { ContinuousClock.now - $0.value < .seconds(1) }
        return writing.count < count
    }
}
