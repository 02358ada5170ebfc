public import Dataplane
public import NeedletailABI
public import NetTypes

/// What a packet benchmark measures.
public struct PacketSettings: Sendable {
    /// Numbers of flows.
    public var flows: [FlowCount]
    /// Programs.
    public var programs: [DatapathProgram]
    /// Families.
    public var families: [IPFamily]
    /// Runs of a program in one measurement. Below some 100,000 the fixed cost of a measurement shows.
    public var runs: Int
    /// How often everything is measured, in turns, if there is time.
    public var rounds: Int
    /// No round but the first is begun later than this after the start.
    public var seconds: Int

    /// The settings; by default all programs and families at 1, 64 k and 1 M flows.
    ///
    /// - Throws: ``BenchmarkError/unusableSetting(_:)`` for an empty list, or numbers below 1 or above 100,000,000.
    public init(
        flows: [FlowCount], programs: [DatapathProgram] = DatapathProgram.attachable,
        families: [IPFamily] = IPFamily.allCases, runs: Int = 100_000, rounds: Int = 5, seconds: Int = 70
    ) throws(BenchmarkError) {
        guard !flows.isEmpty, !programs.isEmpty, !families.isEmpty else {
            throw .unusableSetting("nothing to measure: give at least one number of flows, program and family")
        }
        for (name, value) in [("repeat", runs), ("rounds", rounds), ("seconds", seconds)]
        where !(1...100_000_000).contains(value) {
            throw .unusableSetting("\(name) \(value): must be from 1 to 100000000")
        }
        self.flows = flows
        self.programs = programs
        self.families = families
        self.runs = runs
        self.rounds = rounds
        self.seconds = seconds
    }

    /// Flow tables for cases that fill them have room for this many flows at least: a table much smaller than the
    /// kernel's per-CPU free lists evicts what has just been inserted.
    static let smallestTable = 1 << 16
}
