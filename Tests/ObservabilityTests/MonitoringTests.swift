import Foundation
import Observability
import Testing
import Yams

/// The names in files that people install and read are those of metrics that there are.
@Suite struct MonitoringTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static func read(_ path: String) throws -> String {
        String(decoding: try Data(contentsOf: root.appending(path: path)), as: UTF8.self)
    }

    /// All names that a scrape can have: of a histogram those of its three parts.
    private static let series: [String: MetricFamily] = {
        var series: [String: MetricFamily] = [:]
        for family in Metrics.all {
            let suffixes = family.kind == .histogram ? ["_bucket", "_sum", "_count"] : [""]
            for suffix in suffixes { series[family.name + suffix] = family }
        }
        return series
    }()

    private static func strings(_ value: Any, _ key: String) -> [String] {
        if let list = value as? [Any] { return list.flatMap { strings($0, key) } }
        guard let object = value as? [String: Any] else { return [] }
        return object.flatMap { name, inner in
            (name == key ? (inner as? String).map { [$0] } : nil) ?? strings(inner, key)
        }
    }

    /// What an expression of PromQL selects, with the labels it names in selectors.
    private static func selectors(_ expression: String) -> [(name: String, labels: [String])] {
        let name = /\b((?:kubeproxy|needletail|rest_client|process|kubernetes)_[a-z0-9_]+)(?:\{([^}]*)\})?/
        return expression.matches(of: name).map { match in
            let labels = (match.output.2 ?? "").matches(of: /([a-z_]+)\s*(?:=~|!~|!=|=)\s*"/).map {
                String($0.output.1)
            }
            return (String(match.output.1), labels)
        }
    }

    private func check(_ expressions: [String]) {
        for expression in expressions {
            #expect(expression.count { $0 == "(" } == expression.count { $0 == ")" }, "\(expression)")
            #expect(expression.count { $0 == "{" } == expression.count { $0 == "}" }, "\(expression)")
            for (name, labels) in Self.selectors(expression) {
                guard let family = Self.series[name] else {
                    Issue.record("there is no \(name): \(expression)")
                    continue
                }
                let known = Set(family.labels + ["job", "instance", "le"])
                #expect(known.isSuperset(of: labels), "\(name) has no such label: \(expression)")
            }
            // What it groups by must be a label of what it selects.
            let grouped = expression.matches(of: /\bby \(([^)]*)\)/).flatMap {
                $0.output.1.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
            }
            let labels = Set(Self.selectors(expression).flatMap { Self.series[$0.name]?.labels ?? [] })
            #expect(labels.union(["job", "instance", "le"]).isSuperset(of: grouped), "\(expression)")
        }
    }

    @Test func theDashboardShowsMetricsThatThereAre() throws {
        let text = try Self.read("deploy/monitoring/dashboard.json")
        let dashboard = try JSONSerialization.jsonObject(with: Data(text.utf8))
        let expressions = Self.strings(dashboard, "expr")
        #expect(expressions.count > 40)
        check(expressions)
        for query in Self.strings(dashboard, "definition") {
            #expect(Self.selectors(query).allSatisfy { Self.series[$0.name] != nil }, "\(query)")
        }
        let panels = try #require((dashboard as? [String: Any])?["panels"] as? [[String: Any]])
        let identities = panels.compactMap { $0["id"] as? Int }
        #expect(Set(identities).count == panels.count)
    }

    @Test func theAlertsWatchMetricsThatThereAre() throws {
        let rules = try #require(try Yams.load(yaml: Self.read("deploy/monitoring/alerts.yaml")) as? [String: Any])
        let expressions = Self.strings(rules, "expr")
        #expect(expressions.count > 10)
        check(expressions)
        let groups = try #require(rules["groups"] as? [[String: Any]])
        for rule in groups.flatMap({ $0["rules"] as? [[String: Any]] ?? [] }) {
            let name = try #require(rule["alert"] as? String)
            #expect(rule["labels"] is [String: String], "\(name)")
            let annotations = try #require(rule["annotations"] as? [String: String], "\(name)")
            #expect(annotations["summary"]?.isEmpty == false && annotations["description"]?.isEmpty == false, "\(name)")
            // A text may only name labels that the expression leaves.
            let expression = try #require(rule["expr"] as? String)
            let used = annotations.values.flatMap { $0.matches(of: /\$labels\.([a-z_]+)/).map { String($0.output.1) } }
            let left = Set(Self.selectors(expression).flatMap { Self.series[$0.name]?.labels ?? [] })
            #expect(left.union(["job", "instance"]).isSuperset(of: used), "\(name)")
        }
    }

    @Test func theDocumentHasAllMetricsAsTheyAre() throws {
        var documented: [String: (kind: String, labels: [String])] = [:]
        for line in try Self.read("docs/metrics.md").split(separator: "\n") {
            let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            guard cells.count >= 4, let kind = MetricFamily.Kind(rawValue: cells[1]) else { continue }
            let names = cells[0].trimmingCharacters(in: CharacterSet(charactersIn: "`"))
            #expect(documented[names] == nil, "\(names) twice")
            documented[names] = (kind.rawValue, cells[2].matches(of: /`([a-z_]+)`/).map { String($0.output.1) })
        }
        #expect(Set(documented.keys) == Set(Metrics.all.map(\.name)))
        for family in Metrics.all {
            #expect(documented[family.name]?.kind == family.kind.rawValue, "\(family.name)")
            #expect(documented[family.name]?.labels == family.labels, "\(family.name)")
        }
    }
}
