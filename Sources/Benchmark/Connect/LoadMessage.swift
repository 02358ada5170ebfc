/// What client and server of the benchmark say to each other over TCP: messages of one size, in the byte order of the
/// machine that both are on.
enum LoadMessage {
    /// What the client wants.
    enum Kind: UInt8 {
        /// An answer.
        case request = 1
        /// An answer, and that the server then closes.
        case lastRequest
        /// No answer: all that follows is to be read and thrown away, up to the end.
        case stream
    }

    /// Of requests and answers, in bytes.
    static let size = 64
    /// Where the kind is; before it is a number that the answer repeats.
    static let kindOffset = 8

    /// Writes a message.
    static func write(_ kind: Kind, number: UInt64, to buffer: UnsafeMutableRawPointer) {
        buffer.initializeMemory(as: UInt8.self, repeating: 0, count: size)
        buffer.storeBytes(of: number, as: UInt64.self)
        buffer.storeBytes(of: kind.rawValue, toByteOffset: kindOffset, as: UInt8.self)
    }
}
