import Testing

@testable import Observability

@Suite struct MetricsTextTests {
    @Test(arguments: [
        (0.0, "0"), (-0.0, "-0"), (1, "1"), (-1, "-1"), (0.001, "0.001"), (0.0001, "0.0001"), (0.00002, "2e-05"),
        (16.384, "16.384"), (100_000, "100000"), (123_456, "123456"), (1_000_000, "1e+06"), (1_234_567, "1.234567e+06"),
        (123_456_789, "1.23456789e+08"), (1e21, "1e+21"), (1.5e-7, "1.5e-07"), (1e100, "1e+100"),
        (0.1 + 0.2, "0.30000000000000004"),
        (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"), (12.5, "12.5"), (1.7e9, "1.7e+09"),
    ])
    func numbersAreWrittenAsGoWritesThem(_ number: Double, _ text: String) {
        #expect(MetricsText.goText(number) == text)
    }
}
