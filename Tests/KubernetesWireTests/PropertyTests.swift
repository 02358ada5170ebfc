import KubernetesWire
import ServiceModel
import TestSupport
import Testing

/// Takes bytes in pieces of random sizes, and everything that is there after each.
func readList(
    _ bytes: [UInt8], _ kind: ObjectKind, _ format: WireFormat, pieces: (Int) -> Int
) throws(WireError) -> ReceivedList {
    var reader = ListReader(kind: kind, format: format)
    var items: [ReceivedObject] = []
    var offset = 0
    while offset < bytes.count {
        let size = min(max(pieces(offset), 1), bytes.count - offset)
        let piece = Array(bytes[offset..<offset + size])
        reader.append(piece.span.bytes)
        while let item = try reader.next() { items.append(item) }
        offset += size
    }
    let end = try reader.finish()
    return ReceivedList(resourceVersion: end.resourceVersion, continueToken: end.continueToken, items: items)
}

func readEvents(
    _ bytes: [UInt8], _ kind: ObjectKind, _ format: WireFormat, pieces: (Int) -> Int
) throws(WireError) -> (events: [WatchEvent], isInsideEvent: Bool) {
    var reader = WatchReader(kind: kind, format: format)
    var events: [WatchEvent] = []
    var offset = 0
    while offset < bytes.count {
        let size = min(max(pieces(offset), 1), bytes.count - offset)
        let piece = Array(bytes[offset..<offset + size])
        reader.append(piece.span.bytes)
        while let event = try reader.next() { events.append(event) }
        offset += size
    }
    return (events, reader.isInsideEvent)
}

@Suite("Whatever is sent is read")
struct PropertyTests {
    @Test("A list is what was written, however it is cut", arguments: ObjectKind.allCases, WireFormat.allCases)
    func lists(_ kind: ObjectKind, _ format: WireFormat) throws {
        for seed in 0..<60 as Range<UInt64> {
            var generator = SampleGenerator(seed: seed)
            let samples = (0..<generator.random.below(7)).map { _ in generator.sample(kind) }
            let token = generator.often() ? "" : "next page"
            let bytes = generator.list(samples, kind, format, continuing: token)
            var random = generator.random
            let largest = [1, 3, 40, 4000][random.below(4)]
            let list = try readList(bytes, kind, format) { _ in 1 + random.below(largest) }
            #expect(list.items == samples.map(\.received), "seed \(seed)")
            #expect(list.resourceVersion.text == "77" && list.continueToken == token, "seed \(seed)")
        }
    }

    @Test("A watch is what was written, however it is cut", arguments: ObjectKind.allCases, WireFormat.allCases)
    func watches(_ kind: ObjectKind, _ format: WireFormat) throws {
        for seed in 0..<60 as Range<UInt64> {
            var generator = SampleGenerator(seed: seed)
            var expected: [WatchEvent] = []
            var bytes: [UInt8] = []
            for _ in 0..<generator.random.below(7) {
                let sample = generator.sample(kind)
                let type = ["ADDED", "MODIFIED", "DELETED"][generator.random.below(3)]
                bytes += generator.event(type, sample, kind, format)
                expected.append(type == "DELETED" ? .delete(sample.received) : .upsert(sample.received))
            }
            var random = generator.random
            let largest = [1, 3, 40, 4000][random.below(4)]
            let (events, isInside) = try readEvents(bytes, kind, format) { _ in 1 + random.below(largest) }
            #expect(events == expected && !isInside, "seed \(seed)")
        }
    }

    @Test("Every way of cutting a stream in two gives the same events", arguments: WireFormat.allCases)
    func everyCut(_ format: WireFormat) throws {
        var generator = SampleGenerator(seed: 3)
        let samples = [generator.sample(.endpointSlice), generator.sample(.endpointSlice)]
        let bytes = samples.flatMap { generator.event("ADDED", $0, .endpointSlice, format) }
        for cut in 1..<bytes.count {
            let (events, _) = try readEvents(bytes, .endpointSlice, format) { $0 == 0 ? cut : bytes.count }
            #expect(events == samples.map { .upsert($0.received) }, "cut at \(cut)")
        }
    }

    @Test("A list that ends early is an error at every byte", arguments: WireFormat.allCases)
    func truncatedLists(_ format: WireFormat) {
        var generator = SampleGenerator(seed: 4)
        let samples = [generator.sample(.service), generator.sample(.service)]
        let bytes = generator.list(samples, .service, format, continuing: "")
        // The trailing fields of the envelope are empty, and a list without them is one too.
        let complete = format == .json ? bytes.count : bytes.count - 4
        for end in 0..<complete {
            let prefix = Array(bytes[..<end])
            #expect(throws: WireError.self, "cut at \(end)") {
                try ListReader.read(prefix.span.bytes, kind: .service, format: format)
            }
        }
    }

    @Test("A watch that ends early tells what came before, and that it was cut", arguments: WireFormat.allCases)
    func truncatedWatches(_ format: WireFormat) throws {
        var generator = SampleGenerator(seed: 5)
        let samples = [generator.sample(.service), generator.sample(.service)]
        let first = generator.event("ADDED", samples[0], .service, format)
        let bytes = first + generator.event("ADDED", samples[1], .service, format)
        for end in 1..<bytes.count {
            let (events, isInside) = try readEvents(Array(bytes[..<end]), .service, format) { _ in bytes.count }
            #expect(events.count == (end < first.count ? 0 : 1), "cut at \(end)")
            #expect(isInside == (end != first.count), "cut at \(end)")
        }
    }

    @Test("No damage makes a reader crash, hang or make up objects", arguments: WireFormat.allCases)
    func damage(_ format: WireFormat) {
        for seed in 0..<400 as Range<UInt64> {
            var generator = SampleGenerator(seed: seed)
            let kind = ObjectKind.allCases[generator.random.below(4)]
            let samples = (0..<3).map { _ in generator.sample(kind) }
            let isList = generator.often()
            var bytes =
                isList
                ? generator.list(samples, kind, format, continuing: "")
                : samples.flatMap { generator.event("MODIFIED", $0, kind, format) }
            for _ in 0..<1 + generator.random.below(4) {
                let place = generator.random.below(bytes.count)
                switch generator.random.below(4) {
                case 0: bytes[place] = UInt8(generator.random.below(256))
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(Array(#"{}[]",:\"#.utf8)[generator.random.below(8)], at: place)
                default: bytes[place] ^= 1 << UInt8(generator.random.below(8))
                }
            }
            var random = generator.random
            let count: Int?
            if isList {
                count = try? readList(bytes, kind, format) { _ in 1 + random.below(500) }.items.count
            } else {
                count = try? readEvents(bytes, kind, format) { _ in 1 + random.below(500) }.events.count
            }
            #expect(count ?? 0 <= bytes.count / 2, "seed \(seed)")
        }
    }
}
