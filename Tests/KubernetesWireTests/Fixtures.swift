import KubernetesWire
import ServiceModel

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Answers of a real API server (kube-apiserver 1.36.2), byte for byte.
enum Fixture {
    static func bytes(_ name: String) throws -> [UInt8] {
        let folder = "/" + #filePath.split(separator: "/").dropLast().joined(separator: "/")
        return Array(try Data(contentsOf: URL(fileURLWithPath: "\(folder)/Fixtures/\(name)")))
    }

    /// The body of a recorded answer with its header.
    static func body(_ name: String) throws -> [UInt8] {
        let all = try bytes(name)
        var last: [UInt8] = []
        for index in all.indices {
            last = last.suffix(3) + [all[index]]
            if last == Array("\r\n\r\n".utf8) || last.suffix(2) == Array("\n\n".utf8) {
                return Array(all[(index + 1)...])
            }
        }
        return []
    }

    static func list(_ name: String, _ kind: ObjectKind, _ format: WireFormat) throws -> ReceivedList {
        let bytes = try bytes(name)
        return try ListReader.read(bytes.span.bytes, kind: kind, format: format)
    }

    static func status(_ body: [UInt8]) -> APIStatus? { APIStatus(body: body.span.bytes) }

    static func events(_ name: String, _ kind: ObjectKind, _ format: WireFormat) throws -> [WatchEvent] {
        let bytes = try bytes(name)
        return try events(bytes, kind, format)
    }

    static func events(_ bytes: [UInt8], _ kind: ObjectKind, _ format: WireFormat) throws -> [WatchEvent] {
        var reader = WatchReader(kind: kind, format: format)
        reader.append(bytes.span.bytes)
        var events: [WatchEvent] = []
        while let event = try reader.next() { events.append(event) }
        return events
    }
}
