import ArgumentParser
import Benchmark
import Glibc

/// How a report is written.
enum Format: String, ExpressibleByArgument, CaseIterable {
    case table, json, html
}

/// Where a report goes, and in which form.
struct Output: ParsableArguments {
    @Option(name: .shortAndLong, help: "table, json or html.")
    var output = Format.table

    @Option(help: ArgumentHelp("Write to this file instead of standard output.", valueName: "path"))
    var outputFile: String?

    /// Writes a report, and a comparison with it.
    func write(_ report: Report, _ comparison: Comparison? = nil) throws {
        var text =
            switch output {
            case .table: report.text(comparison: comparison)
            case .json: report.document(comparison: comparison)
            case .html: report.page(comparison: comparison)
            }
        guard let outputFile else {
            try text.withUTF8 { try Self.write($0, to: STDOUT_FILENO, "standard output") }
            return
        }
        // The old file stays until the new one is whole.
        let temporary = "\(outputFile).\(getpid())"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw OutputError(path: temporary, errno: errno) }
        defer { close(descriptor) }
        do {
            try text.withUTF8 { try Self.write($0, to: descriptor, outputFile) }
            guard rename(temporary, outputFile) == 0 else { throw OutputError(path: outputFile, errno: errno) }
        } catch {
            unlink(temporary)
            throw error
        }
    }

    /// Complains about a file that cannot be written before minutes are spent on what goes into it.
    func check() throws {
        guard let outputFile else { return }
        let cut = outputFile.lastIndex(of: "/")
        let directory = cut.map { $0 == outputFile.startIndex ? "/" : String(outputFile[..<$0]) } ?? "."
        guard access(directory, W_OK) == 0 else { throw OutputError(path: outputFile, errno: errno) }
    }

    private static func write(_ bytes: UnsafeBufferPointer<UInt8>, to descriptor: Int32, _ path: String) throws {
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
            if count < 0 {
                if errno == EINTR { continue }
                throw OutputError(path: path, errno: errno)
            }
            done += count
        }
    }
}

/// A report that could not be written.
struct OutputError: Error, CustomStringConvertible {
    let path: String
    let errno: Int32

    var description: String { "\(path) cannot be written: \(String(cString: strerror(errno)))" }
}

/// An earlier report to be compared with.
struct FailOnWorse: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Exit with 1 if anything compared is worse by more than this, beyond noise.", valueName: "percent"))
    var failOnWorse: Double?

    func validate() throws {
        if let failOnWorse, failOnWorse < 0 || !failOnWorse.isFinite {
            throw ValidationError("--fail-on-worse \(failOnWorse): must be a percentage from 0 up")
        }
    }

    /// - Throws: an exit code of 1 if that is so.
    func check(_ comparison: Comparison) throws {
        guard let failOnWorse, comparison.percentWorse > failOnWorse else { return }
        Bench.progress(
            "something is \(Int(comparison.percentWorse.rounded())) % worse than before, beyond noise")
        throw ExitCode.failure
    }
}
