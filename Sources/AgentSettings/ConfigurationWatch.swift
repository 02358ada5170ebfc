/// Follows the content of a configuration file.
///
/// It is read every few seconds rather than watched by inotify: that works for each way of replacing files, the
/// kubelet's for ConfigMaps included.
public struct ConfigurationWatch: Sendable {
    /// What has become of the file.
    public enum Change: Sendable, Hashable {
        /// It holds something else than the agent runs by, and that can be used.
        case changed
        /// It is gone, or holds something that cannot be used.
        case invalid(SettingsProblem)
        /// It holds again what the agent runs by.
        case restored
    }

    private enum State: Equatable {
        case content([UInt8])
        case unreadable(SettingsProblem)
    }

    private let path: String
    private let interval: Duration
    private let initial: [UInt8]

    /// Begins with the content as it is now.
    ///
    /// - Throws: when it cannot be read.
    public init(_ path: String, every interval: Duration = .seconds(3)) throws(SettingsProblem) {
        self.path = path
        self.interval = interval
        initial = try SettingsFile.contents(of: path)
    }

    /// What the content says that this began with: what to run by.
    public func settings() throws(SettingsProblem) -> LoadedSettings {
        try SettingsFile.parse(initial, file: path)
    }

    /// Tells each change once, until the stream is dropped.
    public func changes() -> AsyncStream<Change> {
        let (stream, continuation) = AsyncStream.makeStream(of: Change.self)
        let task = Task {
            var last = State.content(initial)
            while (try? await Task.sleep(for: interval)) != nil {
                let state = look()
                if state != last { continuation.yield(change(to: state)) }
                last = state
            }
            continuation.finish()
        }
        continuation.onTermination = { _ in task.cancel() }
        return stream
    }

    private func look() -> State {
        do throws(SettingsProblem) {
            return .content(try SettingsFile.contents(of: path))
        } catch {
            return .unreadable(error)
        }
    }

    private func change(to state: State) -> Change {
        switch state {
        case .unreadable(let problem): return .invalid(problem)
        case .content(initial): return .restored
        case .content(let bytes):
            do throws(SettingsProblem) {
                _ = try SettingsFile.parse(bytes, file: path)
                return .changed
            } catch {
                return .invalid(error)
            }
        }
    }
}
