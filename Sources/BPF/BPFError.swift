internal import CLibbpf
public import SystemPackage

/// What failed, on which object, why, and what to do about it.
public struct BPFError: Error, Sendable, CustomStringConvertible {
    /// The class of a failure. New ones may be added: compare with `==`, do not expect to know them all.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        private enum Storage: Hashable {
            case system(Errno)
            case verifierRejected, invalidObject, layoutMismatch, incompatibleMap, wrongKind
            case notFound, unsupported, invalidArgument
        }

        private let storage: Storage

        /// A system call failed for a reason that has no code of its own.
        public static func system(_ errno: Errno) -> Code { Code(storage: .system(errno)) }
        /// The kernel's verifier refused a program; ``BPFError/log`` says why.
        public static let verifierRejected = Code(storage: .verifierRejected)
        /// The bytes are no BPF object that libbpf can read.
        public static let invalidObject = Code(storage: .invalidObject)
        /// A Swift type and the kernel's or the object's record of it differ in size.
        public static let layoutMismatch = Code(storage: .layoutMismatch)
        /// A pinned map is not what the object defines; ``BPFError/detail`` lists every difference.
        public static let incompatibleMap = Code(storage: .incompatibleMap)
        /// A pin holds a map where a program was expected, or the like.
        public static let wrongKind = Code(storage: .wrongKind)
        /// There is no map, program, variable, struct or pin of that name.
        public static let notFound = Code(storage: .notFound)
        /// This kernel, driver or map type cannot do it.
        public static let unsupported = Code(storage: .unsupported)
        /// The caller asked for something that cannot be.
        public static let invalidArgument = Code(storage: .invalidArgument)

        /// A few words, without the particulars.
        public var description: String {
            switch storage {
            case .system(let errno): errno.explanation
            case .verifierRejected: "the verifier rejected the program"
            case .invalidObject: "not a usable BPF object"
            case .layoutMismatch: "sizes differ"
            case .incompatibleMap: "the pinned map does not fit"
            case .wrongKind: "wrong kind of object"
            case .notFound: "not found"
            case .unsupported: "not supported here"
            case .invalidArgument: "invalid argument"
            }
        }
    }

    /// The class of the failure.
    public let code: Code
    /// The libbpf function, `bpf` command or system call that failed.
    public let operation: String
    /// The object it failed on: a map, program, device or path.
    public let subject: String
    /// The system's error number, where a system call failed.
    public let errno: Errno?
    /// The particulars: differences found, or the end of the kernel's log. May be empty, may have several lines.
    public let detail: String
    /// What to do about it, where that is known.
    public let advice: String?
    /// Everything libbpf and the verifier said during the call; empty if they were silent.
    public let log: String
    /// How many entries a batch had written, or deleted, when it failed; `nil` for other operations.
    public internal(set) var entriesDone: Int?

    init(
        _ code: Code, operation: String, subject: String, errno: Errno? = nil, detail: String = "",
        advice: String? = nil, log: String = "", entriesDone: Int? = nil
    ) {
        self.code = code
        self.operation = operation
        self.subject = subject
        self.errno = errno
        self.detail = detail
        self.advice = advice
        self.log = log
        self.entriesDone = entriesDone
    }

    /// One paragraph for a person: operation, object, reason, particulars, advice; a log's lines follow.
    public var description: String {
        let isLog = detail.contains("\n")
        var text = "\(operation) failed on \(subject): \(code)"
        if let errno, code != .system(errno) { text += " (\(errno.explanation))" }
        if let entriesDone { text += ", after \(entriesDone) entries" }
        if !detail.isEmpty, !isLog { text += ": \(detail)" }
        if let advice { text += "; \(advice)" }
        if isLog { text += ":\n\(detail)" }
        return text
    }
}

extension Errno {
    /// `ENOTSUPP`, which the kernel means for itself but lets out of `bpf(2)`; libc has no text for it.
    static let kernelNotSupported = Errno(rawValue: 524)

    /// libbpf's own error numbers begin here (`__LIBBPF_ERRNO__START`); all are about the object.
    var isOfLibbpf: Bool {
        rawValue >= __LIBBPF_ERRNO__START.rawValue
    }

    /// The text of the error with its number, so that it can be searched for.
    var explanation: String {
        if self == .kernelNotSupported { return "operation not supported by this kernel object (ENOTSUPP)" }
        guard isOfLibbpf else { return "\(description) (errno \(rawValue))" }
        let text = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer -> String in
            guard let start = buffer.baseAddress else { return "" }
            buffer.initialize(repeating: 0)
            _ = libbpf_strerror(rawValue, start, buffer.count)
            return String(cString: start)
        }
        return "\(text) (libbpf \(rawValue))"
    }
}

extension BPFError {
    /// The error for an errno of `operation`; code and advice follow from the number and the operation.
    init(
        errno: Errno, operation: String, subject: String, detail: String = "", advice: String? = nil, log: String = ""
    ) {
        let code: Code
        switch errno {
        case .kernelNotSupported, .notSupportedOnSocket: code = .unsupported
        case .noSuchFileOrDirectory where operation == "bpf_obj_get": code = .notFound
        case _ where errno.isOfLibbpf: code = .invalidObject
        default: code = .system(errno)
        }
        self.init(
            code, operation: operation, subject: subject, errno: errno, detail: detail,
            advice: advice ?? Self.advice(for: errno, operation: operation), log: log)
    }

    private static func advice(for errno: Errno, operation: String) -> String? {
        switch (errno, operation) {
        case (.notPermitted, "bpf_obj_pin"):
            "the path must be on a mounted bpf file system, and the process needs CAP_BPF"
        case (.notPermitted, "mount"), (.permissionDenied, "mount"):
            "mounting a bpf file system needs root or CAP_SYS_ADMIN: run as root"
        case (.notPermitted, "mkdir"), (.permissionDenied, "mkdir"):
            "the process may not make directories there: run as root"
        case (.notPermitted, _):
            """
            run as root, or give the process CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (CAP_SYS_ADMIN to mount or to \
            look objects up by id)
            """
        case (.permissionDenied, "bpf_obj_get"), (.permissionDenied, "bpf_obj_pin"):
            "the process may not search or write the pin's directory"
        case (.argListTooLong, "bpf_map_update_elem"), (.argListTooLong, "bpf_map_update_batch"):
            "the map is full, or the index is beyond its end: raise its max_entries"
        case (.noSuchFileOrDirectory, "bpf_obj_pin"):
            "the directory must exist, on a mounted bpf file system"
        case (.fileExists, "bpf_obj_pin"):
            "something is pinned there already: open it, or remove the file first"
        case (.argListTooLong, "bpf_map_create"):
            "max_entries is too large for the map's type"
        case (.invalidArgument, "bpf_map_create"):
            "max_entries is 0, or the kernel does not know the map's type, flags or this combination of them"
        case (.noMemory, _):
            "the kernel could not allocate the memory: lower max_entries, or raise the cgroup's memory limit"
        case (.operationNotSupportedByDevice, _):
            "there is no such device in this thread's network namespace"
        default: nil
        }
    }
}
