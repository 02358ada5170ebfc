internal import Glibc

/// What tells one state of a file from another without reading it.
package struct FileStamp: Equatable {
    let device: UInt64
    let inode: UInt64
    let size: Int64
    let modified: Int64
    let changed: Int64

    init(_ status: stat) {
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        modified = Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
        changed = Int64(status.st_ctim.tv_sec) * 1_000_000_000 + Int64(status.st_ctim.tv_nsec)
    }

    /// Of what a path leads to, symbolic links followed.
    init(path: String) throws(SystemError) {
        var status = stat()
        guard stat(path, &status) == 0 else { throw SystemError(errno) }
        self.init(status)
    }

    /// File times move in ticks of the kernel's clock, so a second write within one may leave them as they were. Only a
    /// stamp that was old when the file was read proves that it has not changed since.
    var isOldEnough: Bool {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec) - max(modified, changed) > 1_000_000_000
    }
}

/// What became of an attempt to read a file.
package enum FileReading {
    case read([UInt8], FileStamp)
    /// Somebody was writing it meanwhile.
    case unsettled
    case failed(String)

    /// Reads a regular file of at most `limit` bytes. Does not wait for anything, nor open what is not a file.
    package init(path: String, limit: Int) {
        do throws(SystemError) {
            var status = stat()
            guard stat(path, &status) == 0 else { throw SystemError(errno) }
            guard status.st_mode & S_IFMT == S_IFREG else {
                self = .failed("not a regular file")
                return
            }
            let file = try OwnedDescriptor(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY))
            guard fstat(file.raw, &status) == 0 else { throw SystemError(errno) }
            let before = FileStamp(status)
            guard status.st_mode & S_IFMT == S_IFREG, before.size <= Int64(limit) else {
                self = .failed("\(before.size) bytes: must be a regular file of at most \(limit)")
                return
            }
            let bytes = try Self.contents(of: file.raw, expected: Int(before.size), limit: limit)
            guard fstat(file.raw, &status) == 0 else { throw SystemError(errno) }
            let isSteady = FileStamp(status) == before && bytes.count == Int(before.size)
            self = isSteady ? .read(bytes, before) : .unsettled
        } catch {
            self = .failed("cannot be read: \(error)")
        }
    }

    private static func contents(of file: Int32, expected: Int, limit: Int) throws(SystemError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: min(expected, limit) + 1)
        var count = 0
        while count < bytes.count {
            let got = bytes.withUnsafeMutableBytes { buffer in
                buffer.baseAddress.map { Glibc.read(file, $0 + count, buffer.count - count) } ?? 0
            }
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw SystemError(errno) }
            if got == 0 { break }
            count += got
        }
        return Array(bytes.prefix(count))
    }
}

/// The manifests of a directory, sorted: visible files with the right endings. Throws when it cannot be read.
func manifestNames(in directory: String) throws(SystemError) -> [String] {
    guard let stream = opendir(directory) else { throw SystemError(errno) }
    defer { closedir(stream) }
    var names: [String] = []
    errno = 0
    while let entry = readdir(stream) {
        let length = Int(entry.pointee.d_reclen) - (MemoryLayout<dirent>.offset(of: \.d_name) ?? 0)
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
            String(decoding: bytes.prefix(min(length, bytes.count)).prefix { $0 != 0 }, as: UTF8.self)
        }
        if isManifestName(name) { names.append(name) }
        errno = 0
    }
    guard errno == 0 else { throw SystemError(errno) }
    return names.sorted()
}

/// `*.yaml`, `*.yml`, `*.json`, not hidden.
func isManifestName(_ name: String) -> Bool {
    !name.hasPrefix(".") && [".yaml", ".yml", ".json"].contains { name.hasSuffix($0) }
}

/// Whether a name stands for a symbolic link.
func isSymbolicLink(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
}

/// Whether a name stands for a file that nobody else names: one just created is about to be written.
func isSingleRegularFile(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && status.st_nlink == 1
}
