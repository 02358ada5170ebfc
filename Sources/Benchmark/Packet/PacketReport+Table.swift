internal import NetTypes

extension PacketReport {
    /// The report for a person: per family a table of the cases, one column for each number of flows.
    public var table: String {
        var lines = [
            "\(machine.processor), \(machine.cores) cores, Linux \(machine.kernel), \(machine.date)",
            """
            ns per packet by BPF_PROG_TEST_RUN, net of the harness: median of \(rounds) round(s) [least-greatest]
            ×hit, ×insert: median as a multiple of the floor with one LRU lookup, or one LRU insertion, at as many flows
            """,
        ]
        for family in settings.families { lines += ["", "IPv\(family.rawValue)"] + rows(of: family) }
        let mebibyte = 1_048_576.0
        lines += [
            "",
            """
            \(Decimal.text(seconds, places: 0)) s; BPF maps \(Decimal.text(Double(mapBytes) / mebibyte, places: 0)) MiB, \
            process \(Decimal.text(Double(peakBytes) / mebibyte, places: 0)) MiB at most
            """,
        ]
        for result in results {
            let name = "\(result.what.program) \(result.what.kind.rawValue) IPv\(result.what.family.rawValue)"
            if let problem = result.problem {
                lines.append("FAILED: \(name), \(result.what.flows) flows: \(problem)")
            } else if result.net == nil {
                lines.append(
                    "FAILED: \(name), \(result.what.flows) flows: walks did not fit in a tick of the flow clock")
            }
        }
        return lines.map { "\($0)\n" }.joined()
    }

    /// How often everything was measured.
    private var rounds: Int { results.compactMap(\.net?.count).max() ?? 0 }

    private func rows(of family: IPFamily) -> [String] {
        let mine = results.filter { $0.what.family == family }
        let columns = Set(mine.map(\.what.flows)).sorted()
        var names: [[String]] = []
        for result in mine {
            let name = [result.what.program, result.what.kind.rawValue]
            if !names.contains(name) { names.append(name) }
        }
        let header = ["program", "case"] + columns.map { "\($0) flow\($0.count == 1 ? "" : "s")" }
        let body = names.map { name in
            name
                + columns.map { flows in
                    mine.first { [$0.what.program, $0.what.kind.rawValue] == name && $0.what.flows == flows }
                        .map(cell) ?? ""
                }
        }
        return TextColumns.aligned([header] + body)
    }

    private func cell(_ result: PacketResult) -> String {
        guard result.problem == nil, let net = result.net else { return "failed" }
        let figures = [net.median, net.min, net.max].map { Decimal.text($0, places: 0) }
        var text = "\(figures[0]) [\(figures[1])-\(figures[2])]"
        let (floor, sign): (Floor, String) = result.what.kind == .newFlow ? (.lruInsert, "×insert") : (.lruHit, "×hit")
        if result.what.program != "floor", result.what.kind != .empty, let ratio = ratio(result, to: floor) {
            text += " \(Decimal.text(ratio, places: 2))\(sign)"
        }
        return text
    }
}
