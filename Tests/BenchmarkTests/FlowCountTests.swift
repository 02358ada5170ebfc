import Benchmark
import Testing

@Suite struct FlowCountTests {
    @Test(arguments: [
        ("1", 1), ("16", 16), ("64k", 65_536), ("64K", 65_536), ("1M", 1_048_576), ("1m", 1_048_576),
        ("1024", 1024), ("1024M", 1 << 30),
    ])
    func readsPowersOfTwo(_ text: String, _ count: Int) {
        #expect(FlowCount(text)?.count == count)
    }

    @Test(arguments: ["", "k", "0", "3", "100k", "-1", "+1", "1 ", "1G", "2048M", "1.5M", "99999999999999999999", "é"])
    func refusesWhatIsNone(_ text: String) {
        #expect(FlowCount(text) == nil)
        #expect(throws: BenchmarkError.unusableFlowCount(text)) { try FlowCount.list("1,\(text)") }
    }

    @Test func listsAreOrderedAndWithoutRepetitions() throws {
        #expect(try FlowCount.list("1M,1,64k,1024k").map(\.description) == ["1", "64k", "1M"])
    }

    @Test(arguments: 0...30) func descriptionIsReadBack(_ bits: Int) throws {
        let count = try #require(FlowCount(1 << bits))
        #expect(FlowCount(count.description) == count)
    }
}
