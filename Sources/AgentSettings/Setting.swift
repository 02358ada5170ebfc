/// What a setting's value looks like in a file.
public enum SettingShape: Sendable, Hashable {
    /// Text.
    case text
    /// `true` or `false`.
    case boolean
    /// A number.
    case number
    /// A number of seconds, or a text such as `30s`.
    case duration
    /// A list of texts, or one text with commas.
    case list
}

/// One thing that can be set, by a key of the configuration file and by a flag: the only place where either is named.
public struct Setting: Sendable {
    /// The key, with that of the group in front: `timeouts.tcpEstablished`.
    public let key: String
    /// The flag without its hyphens.
    public let flag: String
    /// What it means.
    public let help: String
    /// What values look like in a file.
    public let shape: SettingShape
    /// What stands for a value in help.
    public let placeholder: String
    /// The value when nobody says anything.
    public let initial: String?
    private let read: @Sendable (String) throws -> @Sendable (inout Settings) -> Void
    private let write: @Sendable (Settings) -> String?

    init<Value>(
        _ key: String, _ flag: String, _ codec: Codec<Value>,
        _ path: any WritableKeyPath<Settings, Value> & Sendable, _ help: String
    ) {
        self.key = key
        self.flag = flag
        self.help = help
        shape = codec.shape
        placeholder = codec.placeholder
        read = { text in
            let value = try codec.parse(text)
            return { $0[keyPath: path] = value }
        }
        write = { codec.write($0[keyPath: path]) }
        initial = write(Self.untouched)
    }

    /// One that nobody has to say. `absent` is the text for that, if there is one.
    init<Value>(
        _ key: String, _ flag: String, _ codec: Codec<Value>, absent: String? = nil,
        _ path: any WritableKeyPath<Settings, Value?> & Sendable, _ help: String
    ) {
        self.init(key, flag, codec.optional(absent), path, help)
    }

    /// What a text does to settings.
    ///
    /// - Throws: ``InvalidValue``.
    public func assigning(_ text: String) throws -> Override {
        let assign = try read(text)
        return Override { assign(&$0.settings) }
    }

    /// The value, as it would be written; `nil` when there is none.
    public func text(in settings: Settings) -> String? { write(settings) }

    // Made once: ArgumentParser makes the declarations of all flags again and again.
    private static let untouched = Settings()
}

/// What a flag does to settings that a file has given, or nobody.
public struct Override: Sendable {
    private let body: @Sendable (inout LoadedSettings) -> Void

    init(_ body: @escaping @Sendable (inout LoadedSettings) -> Void) {
        self.body = body
    }

    /// Does it.
    public func apply(to loaded: inout LoadedSettings) { body(&loaded) }
}

/// Settings, and what is to be said about how they were given.
public struct LoadedSettings: Sendable, Hashable {
    /// The settings.
    public var settings = Settings()
    /// What was given and has no effect, and why.
    public var warnings: [String] = []

    /// Nothing given.
    public init() {}
}
