/// The token of the header `Authorization: Bearer`.
enum BearerToken {
    /// Whether it can be in a header.
    static func isValid(_ token: String) -> Bool {
        !token.isEmpty && token.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }

    /// The token in a file, without the white space around it.
    static func read(_ file: ClusterAccess.Material) throws(ClusterError) -> String {
        let bytes = try file.read()
        let isSpace = { (byte: UInt8) in byte <= 0x20 }
        let trimmed = bytes.drop(while: isSpace).reversed().drop(while: isSpace).reversed()
        let token = String(decoding: trimmed, as: UTF8.self)
        guard isValid(token) else {
            let message = token.isEmpty ? "empty: expected a token" : "expected a token, in a single line of text"
            guard case .file(let path, let place) = file else { throw file.place.error(message) }
            throw place.error("\(path): \(message)")
        }
        return token
    }
}
