/// What the demo says of Needletail, each with what was seen, and whether that bears it out.
final class Claims {
    private struct Claim {
        let text: String
        let evidence: String
        let holds: Bool
    }

    private let console: Console
    private var claims: [Claim] = []

    init(_ console: Console) {
        self.console = console
    }

    /// Whether everything claimed so far happened.
    var allHold: Bool { claims.allSatisfy(\.holds) }

    /// Puts a claim on record, and tells.
    func claim(_ text: String, _ evidence: String, _ holds: Bool) {
        claims.append(Claim(text: text, evidence: evidence, holds: holds))
        console.print(" \(mark(holds)) \(text)")
        console.explain(evidence)
    }

    /// All of them, and the verdict.
    func summarize() {
        console.heading("Summary")
        for claim in claims {
            console.print(" \(mark(claim.holds)) \(claim.text)")
            if !claim.holds { console.explain(claim.evidence) }
        }
        console.print()
        let failed = claims.count { !$0.holds }
        console.print(
            failed == 0
                ? console.styled(" All \(claims.count) claims held.", .green)
                : console.styled(" \(failed) of \(claims.count.of("claim")) did not hold.", .red))
    }

    private func mark(_ holds: Bool) -> String {
        holds ? console.styled("✓", .green) : console.styled("✗", .red)
    }
}
