public import BPF
internal import Glibc
public import NeedletailABI
internal import SystemPackage

/// A program of the datapath that can be run on a packet without consequences: no flow begins, no counter moves, nothing
/// is sent. It works with the live maps, and says what it did.
public struct TraceProgram: Sendable {
    /// What a run gave.
    public struct Outcome: Sendable {
        /// The verdict, and the packet afterwards.
        public let run: TestRun
        /// What the program did and why.
        public let record: nt_trace
        /// The counters that would have moved.
        public var counters: [DatapathCounter] {
            DatapathCounter.allCases.filter { record.counted >> UInt64($0.rawValue) & 1 != 0 }
        }
    }

    /// Which program it is the twin of.
    public let original: DatapathProgram
    private let program: Program
    private let pins: PinDirectory
    private let record: BPFMap<UInt32, nt_trace>

    /// Opens the twin of a program.
    ///
    /// - Throws: ``DatapathError/noTrace(_:)`` when the agent could not load it; else as ``DatapathMaps/init(pinnedIn:)``.
    public init(_ original: DatapathProgram, pinnedIn pins: PinDirectory) throws {
        guard try pins.isPresent() else { throw DatapathError.notRunning(pins.root) }
        do {
            program = try Program.open(pinnedAt: pins.trace(original))
            record = try .open(pinnedAt: pins.map("nt_trace"))
        } catch {
            guard error.code == .notFound else { throw error }
            throw DatapathError.noTrace(pins.root)
        }
        self.original = original
        self.pins = pins
    }

    /// Attachments of the original whose instructions are not those of the twin: made by an agent of another version,
    /// or the present one has just begun. What the twin says need not be what they do.
    public var differing: [Attachment] {
        Attachments.all(in: pins).filter { attachment in
            guard attachment.program == original, let live = attachment.attachedProgram(in: pins) else { return false }
            return live.tag != program.tag
        }
    }

    /// Runs it on a frame, from its Ethernet header on. `context` is as for `Program.testRun`.
    ///
    /// One at a time: others wait, since there is one record.
    public func run(_ packet: [UInt8], context: [UInt8] = []) throws -> Outcome {
        let opened = open("\(pins.root)/trace", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard opened >= 0 else { throw DatapathError.unreadable(pins.root, "\(Errno(rawValue: errno))") }
        let lock = OwnedDescriptor(adopting: opened)
        while flock(lock.raw, LOCK_EX) != 0 {
            let failure = Errno(rawValue: errno)
            guard failure == .interrupted else { throw DatapathError.unreadable(pins.root, "\(failure)") }
        }
        try record.update(0, nt_trace())
        let run = try program.testRun(packet: packet, context: context)
        return Outcome(run: run, record: try record.lookup(0) ?? nt_trace())
    }
}

extension Attachment {
    /// The program that hangs there; `nil` when none does, or it cannot be read.
    func attachedProgram(in pins: PinDirectory) -> Program? {
        if mechanism == .clsact { return try? Program.open(pinnedAt: pins.link(self)) }
        guard let link = try? Link.open(pinnedAt: pins.link(self)) else { return nil }
        return try? Program.open(id: link.programID)
    }
}
