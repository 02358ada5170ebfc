import BPF
import CLinux
import Glibc

/// The demo's directory, with mounts that only the demo and the programs it starts can see: they go with the process,
/// however that ends.
final class Workspace {
    /// The directory.
    let path: String
    /// What the agent follows.
    var manifests: String { "\(path)/manifests" }
    /// What the agent pins under; on a bpf file system of its own.
    var pins: String { "\(path)/bpf/needletail" }
    private var bpf: String { "\(path)/bpf" }

    /// Must be made before any thread is: a mount namespace is a thread's, and those it starts inherit it.
    init() throws {
        let result = nt_unshare_mounts()
        guard result == 0 else { throw DemoError.namespace(-result) }
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? ""
        let pattern = "\(parent.hasPrefix("/") ? parent : "/tmp")/needletail-demo-XXXXXX"
        var template = Array(pattern.utf8CString)
        guard mkdtemp(&template) != nil else { throw DemoError.files("make \(pattern)", errno) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        do {
            for directory in [manifests, bpf] where mkdir(directory, 0o700) != 0 {
                throw DemoError.files("make \(directory)", errno)
            }
            try BPFFileSystem.mount(at: bpf)
        } catch {
            try? remove()
            throw error
        }
    }

    /// Replaces a manifest in one step, as a careful writer does: a reader sees the old or the new.
    func write(_ text: String, to name: String) throws(DemoError) {
        let (path, draft) = ("\(manifests)/\(name)", "\(manifests)/.\(name).new")
        let file = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw .files("make \(draft)", errno) }
        let count = Glibc.write(file, text, text.utf8.count)
        let code = errno
        close(file)
        guard count == text.utf8.count else { throw .files("write \(draft)", code) }
        guard rename(draft, path) == 0 else { throw .files("rename \(draft)", errno) }
    }

    /// What is pinned, at any depth.
    var pinned: [String] { Self.files(under: pins) }

    /// Whether the directory is there, and so what is in it.
    var exists: Bool { access(path, F_OK) == 0 }

    /// Unmounts and removes it all.
    func remove() throws {
        if BPFFileSystem.isMounted(at: bpf) { try BPFFileSystem.unmount(at: bpf) }
        for name in Self.names(in: manifests) { unlink("\(manifests)/\(name)") }
        for directory in [manifests, bpf, path] where rmdir(directory) != 0 && errno != ENOENT {
            throw DemoError.files("remove \(directory)", errno)
        }
    }

    private static func files(under directory: String) -> [String] {
        names(in: directory).flatMap { name in
            let path = "\(directory)/\(name)"
            var status = stat()
            guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return [path] }
            return files(under: path)
        }
    }

    private static func names(in path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}
