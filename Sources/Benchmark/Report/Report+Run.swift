internal import Dataplane
internal import Glibc

extension Report {
    /// Runs suites and gathers what they answer.
    ///
    /// A suite that cannot be run at all answers with one failed measurement, so that the others' are not lost.
    ///
    /// - Parameters:
    ///   - settings: What to measure.
    ///   - command: The command line, for the header.
    ///   - progress: Gets a line now and then.
    public static func run(
        _ settings: RunSettings, command: [String], progress: (String) -> Void
    ) -> Report {
        let machine = Machine()
        let load = loadAverage
        let started = ContinuousClock.now
        var measurements: [Measurement] = []
        for name in settings.suites {
            progress("\(name.rawValue): starting")
            do {
                measurements += try name.suite.run(settings) { progress("\(name.rawValue): \($0)") }
            } catch {
                progress("\(name.rawValue): failed: \(error)")
                measurements.append(
                    Measurement(
                        .init(name, "suite", of: "suite as a whole"), in: .count, outcome: .failed("\(error)")))
            }
        }
        let header = Header(
            version: NeedletailVersion.current, command: command, machine: machine, loadAtStart: load,
            loadAtEnd: loadAverage,
            settings: settings)
        let duration = (ContinuousClock.now - started).components
        return Report(
            header: header, measurements: measurements,
            seconds: Double(duration.seconds) + Double(duration.attoseconds) / 1e18)
    }

    /// Processes that ran or wanted to, on average over the last minute; 0 where the system does not tell.
    private static var loadAverage: Double {
        var load = 0.0
        return getloadavg(&load, 1) == 1 ? load : 0
    }
}
