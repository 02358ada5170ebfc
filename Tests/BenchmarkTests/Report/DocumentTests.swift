import Benchmark
import Foundation
import Testing

@Suite struct BenchDocumentTests {
    @Test("A document is read back as it was, whatever is in it", arguments: UInt64(1)...40)
    func roundTrip(_ seed: UInt64) throws {
        let report = try MadeUp.random(seed)
        #expect(try Report(json: Array(report.json.utf8)) == report, "seed \(seed)")
    }

    @Test("Documents conform to the schema, comparisons included", arguments: UInt64(0)...20)
    func conforms(_ seed: UInt64) throws {
        let report = try seed == 0 ? MadeUp.complete : MadeUp.random(seed)
        let comparison = Comparison(from: try MadeUp.complete, to: report)
        let checker = try SchemaChecker(contentsOf: SchemaChecker.documents)
        #expect(try checker.problems(report.json) == [], "seed \(seed)")
        #expect(try checker.problems(report.document(comparison: comparison)) == [], "seed \(seed)")
    }

    @Test("The schema refuses a document that lacks a key or has another type in its place")
    func schemaRefuses() throws {
        let report = try MadeUp.complete
        let whole = report.document(comparison: Comparison(from: report, to: report))
        let checker = try SchemaChecker(contentsOf: SchemaChecker.documents)
        let json = try JSONSerialization.jsonObject(with: Data(whole.utf8))
        var count = 0
        for damaged in Self.damages(json) {
            count += 1
            let text = String(decoding: try JSONSerialization.data(withJSONObject: damaged.json), as: UTF8.self)
            #expect(try !checker.problems(text).isEmpty, "\(damaged.what)")
        }
        #expect(count > 100)
    }

    /// Every way to take one member of an object away, or to put a list of nothing but itself in its place. Of a list
    /// the first element stands for all.
    private static func damages(_ json: Any, _ place: String = "$") -> [(what: String, json: Any)] {
        if let object = json as? [String: Any] {
            return object.flatMap { key, value -> [(what: String, json: Any)] in
                let name = "\(place).\(key)"
                var wrapped = object
                wrapped[key] = [[value]]
                // What only a comparison has is no part of every document.
                var answers: [(what: String, json: Any)] = [("\(name) wrapped", wrapped)]
                if name != "$.comparison" {
                    var without = object
                    without[key] = nil
                    answers.append(("\(name) removed", without))
                }
                return answers
                    + damages(value, name).map { damage in
                        var changed = object
                        changed[key] = damage.json
                        return (damage.what, changed)
                    }
            }
        }
        guard let list = json as? [Any], let first = list.first else { return [] }
        return damages(first, "\(place)[0]").map { ($0.what, [$0.json] + list.dropFirst()) }
    }

    @Test(
        "What is no document is refused, with what is wrong",
        arguments: [
            ("", "old.json is no document of needletail-bench"), ("[]", "is no document"), ("{", "is no document"),
            ("{\"a\": 1}", "has no \"schema\""), ("{\"schema\": 1}", "schema"),
            ("{\"schema\": \"needletail-bench/packet/1\"}", "is a document of schema \"needletail-bench/packet/1\""),
            ("{\"schema\": \"needletail-bench/run/1\"}", "has no \"version\""),
        ])
    func refuses(_ text: String, _ expected: String) throws {
        let error = try #require(throws: ReportError.self) {
            try Report(json: Array(text.utf8), path: "old.json")
        }
        #expect(error.description.contains(expected), "\(error)")
        #expect(error.description.hasPrefix("old.json is"))
    }

    @Test(
        "A damaged value is refused with its place",
        arguments: [
            ("\"unit\": \"ns/packet\"", "\"unit\": \"ns\"", "measurements[0].unit"),
            ("\"cores\": 2", "\"cores\": \"two\"", "machine.cores"),
            ("\"outcome\": \"measured\"", "\"outcome\": \"guessed\"", "\"guessed\" is no outcome"),
            ("\"flows\": [\"1\"", "\"flows\": [\"3\"", "\"3\" is not a number of flows"),
            ("\"families\": [\"v4\"", "\"families\": [\"v5\"", "\"v5\" is not an address family"),
            ("\"repeat\": 5", "\"repeat\": 0", "repeat 0"),
            ("[0, 20]", "[0]", "a point of latencies"),
        ])
    func refusesDamage(_ old: String, _ new: String, _ expected: String) throws {
        let json = try MadeUp.complete.json
        let range = try #require(json.range(of: old))
        let damaged = json.replacingCharacters(in: range, with: new)
        let error = try #require(throws: ReportError.self) { try Report(json: Array(damaged.utf8)) }
        #expect(error.description.contains(expected), "\(error)")
    }

    @Test("A document cut anywhere is refused, and nothing worse happens")
    func cut() throws {
        let bytes = Array(try MadeUp.report([try MadeUp.complete.measurements[1]]).json.utf8)
        for count in bytes.indices.dropLast() {
            #expect(throws: ReportError.self) { try Report(json: Array(bytes[..<count])) }
        }
    }

    @Test func aFileThatIsNotThereIsNamed() throws {
        #expect(throws: ReportError.unreadable(path: "/proc/self/nothing", errno: ENOENT)) {
            try Report(contentsOf: "/proc/self/nothing")
        }
    }
}
