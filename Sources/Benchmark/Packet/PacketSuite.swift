/// Nanoseconds a packet takes in each of the datapath's programs, by BPF_PROG_TEST_RUN; see docs/performance.md.
///
/// Everything to be compared is set up first and then measured in turns, round by round, so that whatever slows the
/// machine for a while slows all cases alike. Each measurement of ours is checked against the datapath's own counters.
public enum PacketSuite: Suite {
    /// Needs root. Attaches nothing; its namespace, programs and maps go with it.
    ///
    /// - Parameter progress: gets a line now and then.
    /// - Throws: `BPFError` or `DatapathError` when the kernel refuses the programs or the memory, `LabError` when it
    ///   refuses the namespace, ``BenchmarkError/preparationFailed(_:)`` when flows could not be set up.
    public static func run(_ settings: RunSettings, progress: (String) -> Void) throws -> [Measurement] {
        let run = PacketRun(settings, try PacketNode())
        try run.prepare(progress)
        return try run.measure(progress)
    }
}
