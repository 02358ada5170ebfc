internal import Glibc

/// A file descriptor that is closed when its owner goes away. The only place in this module that closes one.
package struct LinuxDescriptor: ~Copyable, Sendable {
    /// The number; valid while this value lives.
    package let raw: Int32

    /// Takes over an open descriptor.
    package init(owning raw: Int32) {
        self.raw = raw
    }

    deinit {
        close(raw)
    }
}
