internal import CLibbpf
internal import Glibc
internal import SystemPackage

/// A map whose elements are kept by the sockets themselves and go with them. Programs find an element by its socket;
/// from outside, an iterator goes through all that there are, in all network namespaces.
public final class SocketStorage: Sendable {
    private let descriptor: OwnedDescriptor
    /// The map's name.
    public let name: String

    init(descriptor: consuming OwnedDescriptor, name: String) {
        self.descriptor = descriptor
        self.name = name
    }

    /// Runs an iterator program (`SEC("iter/bpf_sk_storage_map")`) over the sockets that have an element, and returns
    /// what it wrote.
    ///
    /// - Throws: ``BPFError``; `EACCES` if the program reads beyond the element.
    public func records<Record: BitwiseCopyable>(
        by program: Program, of type: Record.Type = Record.self
    ) throws(BPFError) -> [Record] {
        let bytes = try output(of: program)
        let stride = MemoryLayout<Record>.stride
        return bytes.withUnsafeBytes { buffer in
            (0..<buffer.count / stride).map { buffer.loadUnaligned(fromByteOffset: $0 * stride, as: Record.self) }
        }
    }

    private func output(of program: Program) throws(BPFError) -> [UInt8] {
        var target = bpf_iter_link_info()
        target.map.map_fd = UInt32(bitPattern: descriptor.raw)
        let made = withUnsafeMutablePointer(to: &target) { target in
            var options = bpf_link_create_opts()
            options.sz = MemoryLayout<bpf_link_create_opts>.size
            options.iter_info = target
            options.iter_info_len = UInt32(MemoryLayout<bpf_iter_link_info>.size)
            return bpf_link_create(program.descriptor.raw, 0, BPF_TRACE_ITER, &options)
        }
        let link = OwnedDescriptor(adopting: try check(made, "bpf_link_create", "iterator over map \(name)"))
        let iterator = OwnedDescriptor(
            adopting: try check(bpf_iter_create(link.raw), "bpf_iter_create", "iterator over map \(name)"))
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = try checkErrno("read", "iterator over map \(name)") { () -> Int? in
                let count = read(iterator.raw, &chunk, chunk.count)
                return count < 0 ? (errno == EINTR || errno == EAGAIN ? -1 : nil) : count
            }
            guard count != 0 else { return bytes }
            if count > 0 { bytes += chunk.prefix(count) }
        }
    }
}
