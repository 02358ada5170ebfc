import TestSupport
import Testing

@testable import AgentSettings

@Suite struct GoDurationTests {
    @Test(arguments: [
        ("0", Duration.zero), ("0s", .zero), ("30s", .seconds(30)), ("1h0m0s", .seconds(3600)),
        ("1.5h", .seconds(5400)), (".5s", .milliseconds(500)), ("1.s", .seconds(1)), ("15m0s", .seconds(900)),
        ("1h1m1s1ms1us1ns", .seconds(3661) + .nanoseconds(1_001_001)), ("1\u{B5}s", .microseconds(1)),
        ("1\u{3BC}s", .microseconds(1)), ("2s1h", .seconds(3602)), ("0.000000001s", .nanoseconds(1)),
    ])
    func read(text: String, expected: Duration) {
        #expect(GoDuration.parse(text) == expected)
    }

    @Test(arguments: [
        "", "30", "s", ".s", "1x", "-1s", "+1s", " 1s", "1 s", "1s ", "1..5s", "99999999999h", "\u{0661}s",
    ])
    func refused(text: String) {
        #expect(GoDuration.parse(text) == nil)
    }

    @Test(arguments: [
        (Duration.zero, "0s"), (.seconds(90), "1m30s"), (.seconds(3600), "1h"), (.milliseconds(500), "500ms"),
        (.seconds(86400), "24h"), (.seconds(61) + .nanoseconds(5), "1m1s5ns"),
    ])
    func written(duration: Duration, text: String) {
        #expect(GoDuration.text(duration) == text)
    }

    @Test("Any duration reads back as it was written")
    func roundTrip() {
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<2000 {
            let scale = Int64(1) << Int64(generator.below(50))
            let duration = Duration.nanoseconds(Int64.random(in: 0...scale, using: &generator))
            #expect(GoDuration.parse(GoDuration.text(duration)) == duration)
        }
    }
}
