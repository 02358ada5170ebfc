import Testing

@testable import Observability

@Suite struct MetricsTextTests {
    @Test(arguments: [
        (0.0, "0"), (-0.0, "-0"), (1, "1"), (-1, "-1"), (0.001, "0.001"), (0.0001, "0.0001"), (0.00002, "2e-05"),
        (16.384, "16.384"), (100_000, "100000"), (123_456, "123456"), (1_000_000, "1e+06"),
        (1_234_567, "1.234567e+06"), (123_456_789, "1.23456789e+08"), (1e21, "1e+21"), (1.5e-7, "1.5e-07"),
        (1e100, "1e+100"), (0.1 + 0.2, "0.30000000000000004"), (.infinity, "+Inf"), (-.infinity, "-Inf"),
        (.nan, "NaN"), (12.5, "12.5"), (-12.5, "-12.5"), (1.7e9, "1.7e+09"), (999_999.5, "999999.5"),
    ])
    func numbersAreWrittenAsGoWritesThem(_ number: Double, _ text: String) {
        #expect(MetricsText.goText(number) == text)
    }

    @Test func theTextIsThatOfTheFormat() {
        var text = MetricsText()
        var durations = HistogramValue(bounds: [0.001, 0.5, 1_000_000])
        for value in [0.0005, 0.001, 0.25, 3, 2_000_000] { durations.observe(value) }
        let requests = MetricFamily("requests_total", .counter, ["code", "path"], "Answers \\ of\nall kinds.")
        text.add(requests, [.init(["503", "/"], .count(1)), .init(["200", "a\"b\\c\nd"], .count(12_345_678_901))])
        text.add(MetricFamily("nothing", .gauge, [], "Never shown."), [])
        text.add(
            MetricFamily("duration_seconds", .histogram, ["phase"], "Long."), [.init(["plan"], .histogram(durations))])
        text.add(MetricFamily("age", .gauge, [], "Old."), .number(0.25))
        #expect(
            text.render() == #"""
                # HELP age Old.
                # TYPE age gauge
                age 0.25
                # HELP duration_seconds Long.
                # TYPE duration_seconds histogram
                duration_seconds_bucket{phase="plan",le="0.001"} 2
                duration_seconds_bucket{phase="plan",le="0.5"} 3
                duration_seconds_bucket{phase="plan",le="1e+06"} 4
                duration_seconds_bucket{phase="plan",le="+Inf"} 5
                duration_seconds_sum{phase="plan"} 2.0000032515e+06
                duration_seconds_count{phase="plan"} 5
                # HELP requests_total Answers \\ of\nall kinds.
                # TYPE requests_total counter
                requests_total{code="200",path="a\"b\\c\nd"} 12345678901
                requests_total{code="503",path="/"} 1

                """#)
    }

    @Test func aSeriesIsWrittenOnceHoweverOftenItIsGiven() throws {
        var text = MetricsText()
        let family = MetricFamily("things", .gauge, ["kind"], "Things.")
        text.add(family, [.init(["a"], .count(1)), .init(["b"], .count(2))])
        text.add(family, [.init(["a"], .count(3))])
        let parsed = try PrometheusText(text.render())
        #expect(parsed["things", ["kind": "a"]] == 1)
        #expect(parsed.families.map(\.series.count) == [2])
    }

    @Test func bucketsIncludeTheirUpperBound() {
        var histogram = HistogramValue(bounds: [1, 2])
        for value in [-5, 0.5, 1, 1.5, 2, 2.5, .infinity, .nan] { histogram.observe(value) }
        #expect(histogram.counts == [3, 2, 2])
        #expect(histogram.count == 7)
        #expect(histogram.sum == .infinity)
    }

    @Test func foreignCountsFillTheBucketsThereAre() {
        #expect(HistogramValue(bounds: [1, 2], counts: [5], sum: 1).counts == [5, 0, 0])
        #expect(HistogramValue(bounds: [1], counts: [5, 6, 7], sum: 1).counts == [5, 13])
    }

    @Test func observationsOfAllThreadsCount() async {
        let histogram = Histogram(Buckets.sync)
        let counter = Counter()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for index in 0..<1000 {
                        histogram.observe(.milliseconds(index))
                        counter.add()
                    }
                }
            }
        }
        #expect(histogram.value.count == 8000)
        #expect(counter.value == 8000)
        #expect(abs(histogram.value.sum - 8 * 499.5) < 0.001)
    }

    @Test func bucketsAreThoseOfKubeProxy() {
        #expect(Buckets.sync.count == 15 && Buckets.sync.first == 0.001 && Buckets.sync.last == 16.384)
        // 2 + 59 + 12 + 7
        #expect(Buckets.networkProgramming.count == 80 && Buckets.networkProgramming.last == 300)
        for buckets in [Buckets.sync, Buckets.networkProgramming, Buckets.restClient, Buckets.work] {
            #expect(buckets == buckets.sorted() && Set(buckets).count == buckets.count)
        }
    }
}
