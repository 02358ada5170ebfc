internal import Glibc

/// A request to the kernel's routing socket that failed.
public struct NetlinkError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What was tried: `create veth`.
    public let operation: String
    /// On what: `interface veth0`.
    public let object: String
    /// The kernel's error number, positive.
    public let code: Int32
    /// What the kernel itself says about it (the message of an extended acknowledgement), if it says anything.
    public let kernelText: String?

    /// Describes a failure. `code` is a positive errno.
    public init(operation: String, object: String, code: Int32, kernelText: String? = nil) {
        self.operation = operation
        self.object = object
        self.code = code
        self.kernelText = kernelText
    }

    /// Whether the object is not there (any more): a race with whoever removed it, rarely a fault.
    public var isAbsence: Bool { [ENODEV, ENOENT, ESRCH, EADDRNOTAVAIL, ENXIO].contains(code) }

    /// Whether the object is there already.
    public var isDuplicate: Bool { code == EEXIST }

    /// What to do about it, where there is something to say.
    public var advice: String? {
        switch code {
        case EPERM, EACCES: "the caller needs CAP_NET_ADMIN in this network namespace"
        case EEXIST: "it exists already; remove it first or choose another"
        case ENODEV, ENXIO: "there is no such interface (any more); list the interfaces again"
        case ESRCH, ENOENT, EADDRNOTAVAIL: "it is not there (any more); list again"
        case ENETUNREACH, EHOSTUNREACH:
            "the gateway is not on a connected network: bring the interface up and add a route to the gateway first"
        case ENETDOWN: "bring the interface up first"
        case EOPNOTSUPP, EAFNOSUPPORT, EPROTONOSUPPORT: "the kernel lacks this feature or its module is not loaded"
        case EINTR: "the tables change faster than they can be read; try again"
        case ENOBUFS: "notifications came faster than they were read; list everything again"
        case EAGAIN: "the kernel did not answer within 10 seconds"
        case EMFILE, ENFILE: "no file descriptors are left; raise the limit (ulimit -n)"
        default: nil
        }
    }

    /// `create veth: interface veth0: File exists (errno 17): ...`
    public var description: String {
        var text = "\(operation): \(object): \(String(cString: strerror(code))) (errno \(code))"
        if let kernelText { text += "; the kernel says: \(kernelText)" }
        if let advice { text += "; \(advice)" }
        return text
    }
}
