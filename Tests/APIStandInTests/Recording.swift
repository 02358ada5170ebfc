import APIStandIn
import Foundation

/// What a real API server said.
enum Recording {
    static func bytes(_ name: String) throws -> [UInt8] {
        let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures")
        return Array(try Data(contentsOf: directory.appendingPathComponent(name)))
    }

    static func json(_ name: String) throws -> JSON { try JSON(parsing: bytes(name)) }

    /// The objects of a recorded list.
    static func objects(_ resource: Resource, _ name: String) throws -> [StoredObject] {
        (try json(name)["items"]?.elements ?? []).map { StoredObject(resource, $0) }
    }

    /// The events of a recorded watch.
    static func events(_ name: String) throws -> [(type: String, object: JSON)] {
        try bytes(name).split(separator: 0x0A).map { line in
            let event = try JSON(parsing: line)
            return (event["type"]?.text ?? "", event["object"] ?? .null)
        }
    }

    /// A recorded answer: status, names and values of the header fields, body.
    static func answer(_ name: String) throws -> (status: UInt, headers: [String: String], body: [UInt8]) {
        let text = String(decoding: try bytes(name), as: UTF8.self).replacingOccurrences(of: "\r\n", with: "\n")
        let parts = text.components(separatedBy: "\n\n")
        var headers: [String: String] = [:]
        let lines = parts[0].split(separator: "\n")
        for line in lines.dropFirst() {
            let sides = line.split(separator: ":", maxSplits: 1)
            headers[String(sides[0])] = sides[1].trimmingCharacters(in: .whitespaces)
        }
        let status = UInt(lines[0].split(separator: " ")[1]) ?? 0
        return (status, headers, Array(parts.dropFirst().joined(separator: "\n\n").utf8))
    }
}
