internal import BPF
internal import FoundationEssentials
internal import Glibc
internal import NetTypes

/// Why an earlier document cannot be used.
public enum ReportError: Error, Sendable, Hashable, CustomStringConvertible {
    /// It cannot be read.
    case unreadable(path: String, errno: Int32)
    /// It is not JSON, or lacks what every document has.
    case noDocument(path: String, why: String)
    /// It says that it is something else.
    case otherSchema(path: String, found: String)

    /// What is wrong and what to do about it.
    public var description: String {
        switch self {
        case .unreadable(let path, let errno): "\(path) cannot be read: \(String(cString: strerror(errno)))"
        case .noDocument(let path, let why):
            "\(path) is no document of needletail-bench: \(why). Give a file that `needletail-bench run -o json` wrote"
        case .otherSchema(let path, let found):
            """
            \(path) is a document of schema "\(found)", and this program reads "\(Report.schema)": take it anew with \
            `needletail-bench run -o json`
            """
        }
    }
}

extension Report {
    /// Reads a document from a file.
    ///
    /// - Throws: ``ReportError``, naming the file.
    public init(contentsOf path: String) throws(ReportError) {
        try self.init(json: Self.read(path), path: path)
    }

    /// Reads what ``json`` wrote. What is derived from samples is not read but derived again.
    ///
    /// - Parameters:
    ///   - json: The document's bytes.
    ///   - path: What errors call it.
    /// - Throws: ``ReportError`` when they are no such document.
    public init(json: [UInt8], path: String = "the document") throws(ReportError) {
        struct Beginning: Decodable {
            let schema: String
        }
        do {
            let data = Data(json)
            let found = try JSONDecoder().decode(Beginning.self, from: data).schema
            guard found == Self.schema else { throw ReportError.otherSchema(path: path, found: found) }
            self = try JSONDecoder().decode(ReportDocument.self, from: data).report
        } catch let error as ReportError {
            throw error
        } catch let error as DecodingError {
            throw .noDocument(path: path, why: error.reason)
        } catch {
            throw .noDocument(path: path, why: "\(error)")
        }
    }

    private static func read(_ path: String) throws(ReportError) -> [UInt8] {
        let number = open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { throw .unreadable(path: path, errno: errno) }
        let descriptor = OwnedDescriptor(adopting: number)
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor.raw, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                throw .unreadable(path: path, errno: errno)
            }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
    }
}

extension DecodingError {
    /// Where and what, in one line.
    fileprivate var reason: String {
        switch self {
        case .keyNotFound(let key, let context): "\(Self.place(context)) has no \"\(key.stringValue)\""
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            "\(Self.place(context)): \(context.debugDescription)"
        @unknown default: "\(self)"
        }
    }

    private static func place(_ context: Context) -> String {
        var path = ""
        for key in context.codingPath {
            if let index = key.intValue {
                path += "[\(index)]"
            } else {
                path += path.isEmpty ? key.stringValue : ".\(key.stringValue)"
            }
        }
        return path.isEmpty ? "its top level" : path
    }
}

/// The document as it is written.
private struct ReportDocument: Decodable {
    struct Machine: Decodable {
        let kernel: String
        let processor: String
        let cores: Int
        let date: String
    }

    struct Load: Decodable {
        let start: Double
        let end: Double
    }

    struct Pin: Decodable {
        let name: String
        let pin: String
    }

    struct Settings: Decodable {
        let suites: [SuiteName]
        let against: [Peer]
        let services: [Int]
        let backends: Int
        let flows: [String]
        let families: [String]
        let duration: Double
        let `repeat`: Int
        let with: [Pin]
    }

    struct Key: Decodable {
        struct Condition: Decodable {
            let name: String
            let value: String
        }

        let suite: SuiteName
        let quantity: String
        let subject: String
        let conditions: [Condition]

        var key: Measurement.Key {
            Measurement.Key(suite, quantity, of: subject, conditions.map { .init($0.name, $0.value) })
        }
    }

    struct Latencies: Decodable {
        let count: Int
        let points: [[Double]]
    }

    struct Entry: Decodable {
        let key: Key
        let unit: Measurement.Unit
        let outcome: String
        let reason: String?
        let note: String?
        let samples: [Double]
        let latencies: Latencies?
        let reference: Key?

        private enum CodingKeys: String, CodingKey {
            case unit, outcome, reason, note, samples, latencies, reference
        }

        init(from decoder: any Decoder) throws {
            key = try Key(from: decoder)
            let members = try decoder.container(keyedBy: CodingKeys.self)
            unit = try members.decode(Measurement.Unit.self, forKey: .unit)
            outcome = try members.decode(String.self, forKey: .outcome)
            reason = try members.decodeIfPresent(String.self, forKey: .reason)
            note = try members.decodeIfPresent(String.self, forKey: .note)
            samples = try members.decode([Double].self, forKey: .samples)
            latencies = try members.decodeIfPresent(Latencies.self, forKey: .latencies)
            reference = try members.decodeIfPresent(Key.self, forKey: .reference)
        }
    }

    let version: String
    let command: [String]
    let machine: Machine
    let load: Load
    let settings: Settings
    let seconds: Double
    let measurements: [Entry]

    var report: Report {
        get throws {
            let header = Report.Header(
                version: version, command: command,
                machine: .init(
                    kernel: machine.kernel, processor: machine.processor, cores: machine.cores, date: machine.date),
                loadAtStart: load.start, loadAtEnd: load.end, settings: try settings.settings)
            return Report(header: header, measurements: try measurements.map { try $0.measurement }, seconds: seconds)
        }
    }
}

extension ReportDocument.Settings {
    fileprivate var settings: RunSettings {
        get throws {
            try RunSettings(
                suites: suites, peers: against, services: services, backends: backends,
                flows: try flows.map { text throws(BenchmarkError) in
                    guard let count = FlowCount(text) else { throw .unusableFlowCount(text) }
                    return count
                },
                families: try families.map { name throws(BenchmarkError) in
                    guard let family = IPFamily.allCases.first(where: { "\($0)" == name }) else {
                        throw .unusableSetting("\"\(name)\" is not an address family: v4 and v6 are")
                    }
                    return family
                },
                duration: duration, repeats: `repeat`, others: with.map { PinnedProgram(name: $0.name, path: $0.pin) })
        }
    }
}

extension ReportDocument.Entry {
    fileprivate var measurement: Measurement {
        get throws {
            let ending: Measurement.Outcome
            switch outcome {
            case "measured": ending = .measured
            case "skipped": ending = .skipped(reason ?? "")
            case "failed": ending = .failed(reason ?? "")
            default: throw BenchmarkError.unusableSetting("\"\(outcome)\" is no outcome of a measurement")
            }
            return Measurement(
                key.key, in: unit, samples: samples, latencies: try latencies.map { try $0.summary },
                reference: reference?.key, outcome: ending, note: note)
        }
    }
}

extension ReportDocument.Latencies {
    fileprivate var summary: LatencySummary {
        get throws {
            LatencySummary(
                count: count,
                points: try points.map { pair in
                    guard pair.count == 2 else {
                        throw BenchmarkError.unusableSetting("a point of latencies is a percentile and a latency")
                    }
                    return .init(percentile: pair[0], latency: pair[1])
                })
        }
    }
}
