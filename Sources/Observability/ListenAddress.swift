public import NetTypes

/// Where a server listens.
public struct ListenAddress: Sendable, Hashable, CustomStringConvertible {
    /// The address; `nil`: all of the node's, of both families.
    public let address: IPAddress?
    /// The TCP port; 0 lets the kernel choose.
    public let port: UInt16

    /// Puts the two together.
    public init(address: IPAddress?, port: UInt16) {
        self.address = address
        self.port = port
    }

    /// Reads `192.0.2.1:10256`, `[2001:db8::1]:10256` or `:10256`. `0.0.0.0` and `[::]` stand for all addresses of both
    /// families, as they do in Go and hence for kube-proxy.
    public init(_ text: String) throws(ListenAddressError) {
        guard let colon = text.lastIndex(of: ":") else { throw ListenAddressError(text: text, problem: "has no port") }
        var host = text[..<colon]
        if host.first == "[", host.last == "]" {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw ListenAddressError(text: text, problem: "has an IPv6 address without brackets")
        }
        let digits = text[text.index(after: colon)...]
        guard let port = UInt16(digits), digits.allSatisfy(\.isNumber) else {
            throw ListenAddressError(text: text, problem: "has a port that is no number from 0 to 65535")
        }
        guard !host.isEmpty else {
            self.init(address: nil, port: port)
            return
        }
        guard let address = IPAddress(host) else {
            throw ListenAddressError(text: text, problem: "has an address that is neither IPv4 nor IPv6")
        }
        self.init(address: address.isUnspecified ? nil : address, port: port)
    }

    /// As it is written; all addresses as `:PORT`.
    public var description: String { address.map { $0.withPort(port) } ?? ":\(port)" }
}

/// A text that says nowhere to listen.
public struct ListenAddressError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The text.
    public let text: String
    /// What is wrong with it.
    public let problem: String

    /// What is wrong, and what would be right.
    public var description: String {
        "\"\(text)\" \(problem): expected ADDRESS:PORT, such as 127.0.0.1:10249, [::1]:10249, or :10249 for all addresses"
    }
}
