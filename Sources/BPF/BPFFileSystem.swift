internal import CLibbpf
internal import Glibc
internal import SystemPackage

/// The file system that keeps pinned maps, programs and links.
public enum BPFFileSystem {
    /// Where it is mounted by custom.
    public static let standardPath = "/sys/fs/bpf"

    /// `BPF_FS_MAGIC` of the kernel's `linux/magic.h`.
    private static let magic: UInt = 0xcafe_4a11

    /// Whether `path` exists and lies on a mounted bpffs.
    public static func isMounted(at path: String) -> Bool {
        var status = statfs()
        return statfs(path, &status) == 0 && UInt(bitPattern: Int(status.f_type)) == magic
    }

    /// Mounts a bpffs on an existing directory.
    public static func mount(at path: String) throws(BPFError) {
        try checkErrno("mount", "bpf file system at \(path)") {
            Glibc.mount("bpf", path, "bpf", UInt(MS_NOSUID | MS_NODEV | MS_NOEXEC), "mode=0700") == 0 ? () : nil
        }
    }

    /// Unmounts the bpffs at `path`. Its pins are gone with it.
    public static func unmount(at path: String) throws(BPFError) {
        try checkErrno("umount2", path) { umount2(path, Int32(MNT_DETACH)) == 0 ? () : nil }
    }

    /// Makes sure that the directory `path` exists on a bpffs.
    ///
    /// Missing directories are made. If the nearest existing one is not on a bpffs, one is mounted: at
    /// ``standardPath`` if `path` lies there, else at `path` itself.
    /// - Returns: where it was mounted, or `nil` if it was already.
    @discardableResult
    public static func ensureMounted(containing path: String) throws(BPFError) -> String? {
        let directory = FilePath(path).lexicallyNormalized()
        guard directory.isAbsolute else {
            throw BPFError(
                .invalidArgument, operation: "mount", subject: path, advice: "the path of a pin must be absolute")
        }
        if isMounted(at: nearestExisting(directory).string) {
            try makeDirectories(directory)
            return nil
        }
        let mountPoint = directory.starts(with: FilePath(standardPath)) ? FilePath(standardPath) : directory
        try makeDirectories(mountPoint)
        try mount(at: mountPoint.string)
        try makeDirectories(directory)
        return mountPoint.string
    }

    /// Removes a pin. Returns `false` if there was none. What was pinned lives on while a descriptor refers to it.
    @discardableResult
    public static func unpin(_ path: String) throws(BPFError) -> Bool {
        do {
            try checkErrno("unlink", path) { unlink(path) == 0 ? () : nil }
            return true
        } catch  where error.errno == .noSuchFileOrDirectory {
            return false
        }
    }

    private static func nearestExisting(_ path: FilePath) -> FilePath {
        var candidate = path
        while access(candidate.string, F_OK) != 0, candidate.removeLastComponent() {}
        return candidate
    }

    private static func makeDirectories(_ path: FilePath) throws(BPFError) {
        var prefix = FilePath("/")
        for component in path.components {
            prefix.append(component)
            do {
                try checkErrno("mkdir", prefix.string) { mkdir(prefix.string, 0o700) == 0 ? () : nil }
            } catch  where error.errno == .fileExists {
                continue
            } catch  where access(prefix.string, F_OK) == 0 {
                // Read-only parents answer EROFS or EACCES before they say that the directory is there.
                continue
            }
        }
    }
}
