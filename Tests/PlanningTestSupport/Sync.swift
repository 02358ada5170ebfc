internal import NetTypes
public import Planning
public import Resolver

/// What may be answered while the maps go from one state to another.
public struct Transition: Sendable {
    /// Everything that can be asked.
    public let questions: [Question]
    /// The answers before.
    public let before: [Question: Answer]
    private let maps: ModelMaps
    private let desired: DesiredState

    /// From what the maps hold to what is desired.
    public init(from maps: ModelMaps, to desired: DesiredState) throws {
        questions = maps.questions(desired)
        before = try maps.answers(questions)
        self.maps = maps
        self.desired = desired
    }

    /// Rule 1 (design section 4): the answer is the old one or the new one. So a packet is refused only where the old
    /// or the new state refuses it, and never where both have backends. And a source is let in only where the old or the
    /// new state lets it in.
    public func check(_ maps: ModelMaps) throws {
        for question in questions {
            let answer = try maps.answer(question)
            guard try isAllowed(answer, question) else {
                throw Violation(
                    """
                    \(question) is answered \(answer), neither as before, \(before[question] as Any), nor as desired, \
                    \(desired.answer(question))
                    """)
            }
        }
        let wanted = desired.addresses
        for (address, flags) in maps.image.addresses {
            let steady = (self.maps.image.addresses[address] ?? []).intersection(wanted[address] ?? [])
            guard flags.subtracting(steady).isSubset(of: maps.truth(of: address)) else {
                throw Violation("\(address) is said to be \(flags), and is \(maps.truth(of: address))")
            }
        }
    }

    private func isAllowed(_ answer: Answer, _ question: Question) throws -> Bool {
        let (old, new) = (before[question], desired.answer(question))
        switch answer {
        case old, new: return true
        // Between the ranges of one Service and those of another a frontend may let in nobody.
        case .outOfRange: return changesOwner(question.key)
        // A frontend that is retired passes what an unknown port refuses, and so does an address that is no ClusterIP
        // any more before its new frontends are there.
        case .notAService where new == .unknownPort || old == .unknownPort: return true
        // Ranges and backends may change one after the other.
        default:
            let known = [try maps.answerToAll(question), desired.answerToAll(question)]
            return known.contains(answer) && !(old == .outOfRange && new == .outOfRange)
        }
    }

    private func changesOwner(_ key: TransportEndpoint) -> Bool {
        guard let record = maps.image.frontends[key], let frontend = desired.frontends[key] else { return false }
        return maps.image.services[record.service] != frontend.servicePort
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
