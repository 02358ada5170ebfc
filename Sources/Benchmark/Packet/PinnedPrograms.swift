internal import BPF

/// A program of somebody else's, ready to be run; or why it cannot be.
struct PinnedTarget {
    let program: Program
    let hook: Hook

    /// Opens the pin and finds out how the program can be called.
    ///
    /// - Throws: ``BenchmarkError/unusableSetting(_:)`` for what is no XDP or tc program, or takes no packet.
    init(_ other: PinnedProgram, _ programs: BenchPrograms) throws {
        let program: Program
        do {
            program = try Program.open(pinnedAt: other.path)
        } catch {
            throw BenchmarkError.unusableSetting("\(other.name): \(error)")
        }
        self.program = program
        let candidates: [Hook]
        switch program.type {
        case .xdp: candidates = [.xdp, .linearXDP]
        case .schedulerClassifier: candidates = [.tc]
        default:
            throw BenchmarkError.unusableSetting(
                "\(other.name): the program pinned at \(other.path) is of type \(program.type), neither xdp nor sched_cls"
            )
        }
        var refusals: [String] = []
        for hook in candidates {
            do {
                try programs.accept(program, on: hook)
                self.hook = hook
                return
            } catch {
                refusals.append(error.description)
            }
        }
        throw BenchmarkError.unusableSetting(
            "\(other.name): the kernel does not call the program pinned at \(other.path) from another one: "
                + refusals.joined(separator: "; "))
    }

    /// A verdict by its name.
    func describe(_ verdict: Int32) -> String {
        let names: [Int32: String] =
            hook == .tc
            ? [
                -1: "TC_ACT_UNSPEC", 0: "TC_ACT_OK", 1: "TC_ACT_RECLASSIFY", 2: "TC_ACT_SHOT", 3: "TC_ACT_PIPE",
                4: "TC_ACT_STOLEN", 7: "TC_ACT_REDIRECT",
            ] : [0: "XDP_ABORTED", 1: "XDP_DROP", 2: "XDP_PASS", 3: "XDP_TX", 4: "XDP_REDIRECT"]
        return names[verdict] ?? "\(verdict)"
    }
}
