/// What a source of objects has to tell at one time.
public struct ObjectBatch: Sendable {
    /// Changes, in order. The first batch after which the source has told everything ends with `synced`.
    public var events: [CatalogEvent]
    /// All that is wrong with the source's objects now, not only what is new; `nil`: as before.
    public var problems: [String]?
    /// What is passed over, for the log.
    public var notes: [String]
    /// Whether everything the source has is known. While it is not, objects that are missing may merely be unread.
    public var isComplete: Bool
    /// When the first byte of what it tells was there.
    public var received: ContinuousClock.Instant

    /// Puts them together.
    public init(
        events: [CatalogEvent], problems: [String]? = nil, notes: [String] = [], isComplete: Bool = true,
        received: ContinuousClock.Instant = .now
    ) {
        self.events = events
        self.problems = problems
        self.notes = notes
        self.isComplete = isComplete
        self.received = received
    }
}
