/// Names that a person may have meant.
package enum NearNames {
    /// Up to three of `names` within a few edits of `wanted`, the nearest first.
    package static func suggestions(for wanted: String, among names: some Sequence<String>) -> [String] {
        let limit = max(2, wanted.count / 4)
        return names.map { (distance(wanted, $0, atMost: limit), $0) }
            .filter { $0.0 <= limit }.sorted { $0 < $1 }.prefix(3).map(\.1)
    }

    /// Insertions, deletions and replacements between two strings (Levenshtein); some number above `limit` when it is
    /// more than that.
    static func distance(_ a: String, _ b: String, atMost limit: Int) -> Int {
        let (a, b) = (Array(a.utf8), Array(b.utf8))
        guard abs(a.count - b.count) <= limit else { return limit + 1 }
        var row = Array(0...b.count)
        for (i, left) in a.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, right) in b.enumerated() {
                let cost = min(row[j] + 1, row[j + 1] + 1, diagonal + (left == right ? 0 : 1))
                diagonal = row[j + 1]
                row[j + 1] = cost
            }
        }
        return row[b.count]
    }
}
