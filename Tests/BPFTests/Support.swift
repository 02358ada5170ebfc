import CLibbpf
import Foundation
import TestSupport
import Testing

@testable import BPF

/// All tests of this module run one after the other: they count, mount and switch namespaces.
@Suite(.serialized, .needsRoot, .timeLimit(.minutes(2)))
struct BPFTests {}

extension Trait where Self == ConditionTrait {
    static var needsCgroup2: Self {
        .enabled("needs a mounted cgroup v2 hierarchy") { cgroup2Root != nil }
    }
}

/// Where the cgroup v2 hierarchy is mounted: not always at /sys/fs/cgroup.
let cgroup2Root: String? = {
    let mounts = (try? String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)) ?? ""
    for line in mounts.split(separator: "\n") {
        let fields = line.split(separator: " ")
        if fields.count > 2, fields[2] == "cgroup2" { return String(fields[1]) }
    }
    return nil
}()

// The Swift side of the fixture's records; imported C structs have the same shape.
struct TestKey: BitwiseCopyable, Hashable {
    var number: UInt32 = 0
    var port: UInt16 = 0
    var kind: UInt8 = 0
    var reserved: UInt8 = 0
}

struct TestValue: BitwiseCopyable, Equatable {
    var count: UInt64 = 0
    var flags: UInt32 = 0
    var reserved: UInt32 = 0
}

struct TestEvent: BitwiseCopyable, Equatable {
    var sequence: UInt64 = 0
    var length: UInt32 = 0
    var verdict: UInt32 = 0
}

enum Fixture {
    static let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("bpf/out/test_fixture.bpf.o").path

    /// The test object, opened. Built by `make bpf`.
    static func open() throws(BPFError) -> BPFObject {
        try BPFObject(file: path, name: "fixture")
    }

    static func load() throws(BPFError) -> LoadedObject {
        try open().load()
    }
}

/// A frame of `count` bytes, the shortest that test runs take by default.
func frame(_ count: Int = 64) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0) }
}

/// Mounts a bpffs of its own in a temporary directory for the time of `body`.
func withBPFFileSystem<Result>(_ body: (String) throws -> Result) throws -> Result {
    var template = Array("/tmp/bpf-tests-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw CocoaError(.fileWriteUnknown) }
    let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { rmdir(directory) }
    try BPFFileSystem.mount(at: directory)
    defer { try? BPFFileSystem.unmount(at: directory) }
    return try body(directory)
}

/// Runs `body` on a thread of its own in a new network namespace with the veth pair `left`/`right`, both up.
/// The namespace ends with the thread, and the devices with it.
func withVeth<Result: Sendable>(_ body: @Sendable @escaping (_ left: Int32) throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Result, any Error>) in
        Thread {
            continuation.resume(
                with: .init {
                    try #require(clibbpf_unshare_network() == 0)
                    try ip("link", "add", "left", "type", "veth", "peer", "name", "right")
                    try ip("link", "set", "left", "up")
                    try ip("link", "set", "right", "up")
                    return try body(Int32(if_nametoindex("left")))
                })
        }.start()
    }
}

/// Runs `ip` in the calling thread's network namespace, which a child inherits.
func ip(_ arguments: String...) throws {
    var pid = pid_t()
    var argv: [UnsafeMutablePointer<CChar>?] = (["ip"] + arguments).map { strdup($0) } + [nil]
    defer { argv.forEach { free($0) } }
    let spawned = posix_spawnp(&pid, "ip", nil, nil, &argv, environ)
    try #require(spawned == 0, "ip must be installed (iproute2) and in PATH")
    var status: Int32 = 0
    waitpid(pid, &status, 0)
    try #require(status == 0, "ip \(arguments.joined(separator: " "))")
}

/// `struct sockaddr_ll`, which the C library's module lacks.
private struct PacketAddress {
    var family = UInt16(AF_PACKET)
    var etherType: UInt16 = 0
    var interface: Int32
    var hardwareType: UInt16 = 0
    var packetType: UInt8 = 0
    var addressLength: UInt8 = 6
    var address: UInt64 = 0
}

/// Sends `count` broadcast frames out of a device of this thread's namespace.
func send(_ count: Int, outOf interface: Int32) throws {
    let socket = socket(AF_PACKET, Int32(SOCK_RAW.rawValue), 0)
    try #require(socket >= 0)
    defer { close(socket) }
    var address = PacketAddress(interface: interface)
    // An experimental EtherType (IEEE 802), which nothing listens to.
    let bytes = [UInt8](repeating: 0xff, count: 6) + [2, 0, 0, 0, 0, 1, 0x88, 0xb5] + frame(50)
    for _ in 0..<count {
        let sent = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(socket, bytes, bytes.count, 0, $0, socklen_t(MemoryLayout<PacketAddress>.size))
            }
        }
        try #require(sent == bytes.count)
    }
}

/// Descriptors of this process, as the kernel lists them.
func openDescriptors() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap {
        try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
    }.filter { $0.hasPrefix("anon_inode:bpf") || $0.contains("bpf-map") || $0.contains("eventpoll") }
}
