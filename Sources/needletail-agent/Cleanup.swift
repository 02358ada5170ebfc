import AgentSettings
import ArgumentParser
import BPF
import Dataplane

/// Removes what agents of a pin directory left.
struct Cleanup: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Remove all programs, maps and pins that agents left on this node.",
        discussion: """
            Refuses while an agent runs. Connections through Services end. What the agent did not create is not \
            touched; a bpf file system it mounted stays mounted.
            """)

    @Option(.pinDirectory) var pinDirectory: Override?

    func run() throws {
        var loaded = LoadedSettings()
        pinDirectory?.apply(to: &loaded)
        try Self.removeAll(loaded.settings.pins)
    }

    /// Removes what agents of the directory left, and says what it was.
    static func removeAll(_ pins: PinDirectory) throws {
        // ArgumentParser prints what is thrown, without its usage text, and exits with 1.
        guard try pins.isPresent(), BPFFileSystem.isMounted(at: pins.root) else {
            print("nothing to clean up: there is no \(pins.root) on a bpf file system")
            return
        }
        let lock = try AgentLock(pins)
        let nodeLock = try NodeLock()
        let count = try Attachments.removeAll(pins)
        nodeLock.release()
        lock.release()
        print("removed \(count) attachment(s) and everything pinned under \(pins.root)")
    }
}
