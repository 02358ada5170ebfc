public import NetTypes
public import Planning
public import Resolver

/// What may be answered while the maps go from one state to another.
public struct Transition: Sendable {
    /// Everything that can be asked.
    public let questions: [Question]
    /// The answers before.
    public let before: [Question: Answer]
    private let desired: DesiredState

    /// From what the maps hold to what is desired.
    public init(from maps: ModelMaps, to desired: DesiredState) throws {
        questions = maps.questions(desired)
        before = try maps.answers(questions)
        self.desired = desired
    }

    /// Rule 1 (design section 4): the answer is the old one or the new one. So a packet is refused only where the old
    /// or the new state refuses it, and never where both have backends.
    public func check(_ maps: ModelMaps) throws {
        for question in questions {
            let answer = try maps.answer(question)
            guard answer == before[question] || answer == desired.answer(question) else {
                throw Violation(
                    """
                    \(question) is answered \(answer), neither as before, \(before[question] as Any), nor as desired, \
                    \(desired.answer(question))
                    """)
            }
        }
    }

    /// Where a new flow may go at any time of the transition; `nil` among them stands for being refused or passed on.
    public func destinations(_ question: Question) -> (endpoints: Set<TransportEndpoint>, mayFail: Bool) {
        let answers = [before[question] ?? .notAService, desired.answer(question)]
        return (
            answers.reduce(into: []) { $0.formUnion($1.endpoints) }, answers.contains { $0.endpoints.isEmpty }
        )
    }
}

extension ModelMaps {
    /// Performs the plan to `desired` up to the write `end`, and judges the maps after each write.
    ///
    /// - Returns: the plan, and whether it was performed to its end.
    @discardableResult
    public mutating func sync(
        to desired: DesiredState, until end: Int = .max
    ) throws -> (plan: Plan, isComplete: Bool) {
        let transition = try Transition(from: self, to: desired)
        let plan = try Planner.plan(from: image, to: desired)
        for write in plan.writes.prefix(end) {
            try perform(write)
            try transition.check(self)
        }
        return (plan, end >= plan.writes.count)
    }
}
