import Manifests
import ServiceModel
import Testing

@Suite struct HostileManifestTests {
    @Test func everyTruncation() {
        for text in [serviceYAML, sliceYAML, nodeYAML] {
            let bytes = Array(text.utf8)
            for count in 0...bytes.count {
                do throws(ManifestProblem) {
                    let parsed = try ManifestParser().parse(Array(bytes.prefix(count)), file: "cut")
                    #expect(parsed.items.count <= 1)
                } catch {
                    #expect(error.file == "cut" && !error.message.isEmpty)
                }
            }
        }
    }

    @Test(arguments: (1...40).map { UInt64($0) })
    func mutations(seed: UInt64) {
        var state = seed
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let original = Array((serviceYAML + "---\n" + sliceYAML + "---\n" + nodeYAML).utf8)
        let spice = Array("[]{}:,-&*!|>'\"%@`#?~<\n\t \\\u{0}\u{FF}09".utf8) + [0x80, 0xFE]
        for _ in 0..<25 {
            var bytes = original
            for _ in 0...random(4) {
                let position = random(bytes.count)
                switch random(4) {
                case 0: bytes[position] = spice[random(spice.count)]
                case 1: bytes.insert(spice[random(spice.count)], at: position)
                case 2: bytes.removeSubrange(position..<min(bytes.count, position + 1 + random(20)))
                default:
                    bytes.insert(contentsOf: bytes[position..<min(bytes.count, position + random(40))], at: position)
                }
            }
            do throws(ManifestProblem) {
                #expect(try ManifestParser().parse(bytes, file: "mutant").items.count <= 6, "seed \(seed)")
            } catch {
                #expect(error.file == "mutant" && !error.message.isEmpty, "seed \(seed)")
            }
        }
    }

    @Test(.timeLimit(.minutes(5)), arguments: ["[", "{a: ", "- ", "? ", "[[{a: ", "!!x [", "&a ["])
    func nesting(_ unit: String) {
        for depth in [100, 999, 20_000] {
            let text = "apiVersion: v1\nkind: ConfigMap\ndata: " + String(repeating: unit, count: depth)
            #expect(problem(text) != nil)
            #expect(problem(String(repeating: unit, count: depth)) != nil)
        }
    }

    @Test func deepButClosed() {
        let text = String(repeating: "[", count: 900) + String(repeating: "]", count: 900)
        #expect(problem("apiVersion: v1\nkind: ConfigMap\ndata: \(text)\n") == nil)
    }

    /// Each level names the one below several times: a few hundred bytes for an object of a billion.
    @Test(.timeLimit(.minutes(5)), arguments: [false, true]) func aliasBomb(asKey: Bool) {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        for level in 1...12 {
            let uses = Array(repeating: "*a\(level - 1)", count: 9).joined(separator: ", ")
            text += "a\(level): &a\(level) [\(uses)]\n"
        }
        if asKey { text += "? *a12\n: 1\n" }
        #expect(problem(text)?.message.contains("aliases") == true)
    }

    @Test(.timeLimit(.minutes(5))) func largeFile() throws {
        let bytes = [UInt8](repeating: UInt8(ascii: "#"), count: ManifestParser.maximumSize + 1)
        #expect(throws: ManifestProblem.self) { try ManifestParser().parse(bytes, file: "large") }
    }

    @Test func longScalarsAreShortenedInMessages() throws {
        let found = try #require(problem(smallService("web", port: "\"\(String(repeating: "9", count: 5000))\"")))
        #expect(found.message.utf8.count < 200)
    }

    @Test(arguments: [
        "{a: 1, ? b}", "? [a, b]\n: c", "- &x a\n- *y", "%YAML 3.0\n---\na", "%TAG ! x\n---\n!a b", "!<x> y",
    ])
    func odd(_ text: String) {
        #expect(problem(text) != nil)
    }
}
