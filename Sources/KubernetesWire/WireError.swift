public import ServiceModel

/// What the API server sent cannot be read. Nothing that follows in the same body can be either: the list or watch has
/// to be begun again.
public struct WireError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What is wrong.
    public enum Cause: Sendable, Hashable, CustomStringConvertible {
        /// The bytes are not the format, or hold a value of another type than the field has.
        case malformed(String)
        /// The body ended in the middle.
        case cutShort
        /// One event or object has more bytes than are taken.
        case tooLarge(limit: Int)
        /// An object of another kind than was asked for.
        case otherKind(String)

        /// What is wrong, in words.
        public var description: String {
            switch self {
            case .malformed(let text): text
            case .cutShort: "the answer ends in the middle"
            case .tooLarge(let limit): "larger than the \(limit) bytes that are taken at once"
            case .otherKind(let kind): "of kind \(kind)"
            }
        }
    }

    /// What is wrong.
    public var cause: Cause
    /// The kind that was asked for.
    public var kind: ObjectKind
    /// The object in which it is, when that is known already.
    public var object: ObjectName?
    /// The byte where it was noticed, counted from the beginning of the list, or of the event in a watch.
    public var offset: Int
    /// The field: keys of JSON, numbers of protobuf, from the object (or event, or list) down. Empty where it is none.
    public var path: String

    /// Puts them together.
    public init(cause: Cause, kind: ObjectKind, object: ObjectName? = nil, offset: Int, path: String = "") {
        self.cause = cause
        self.kind = kind
        self.object = object
        self.offset = offset
        self.path = path
    }

    /// `Service shop/web: byte 812: spec.ports[0].port: expected an integer`.
    public var description: String {
        let subject = object.map { "\(kind.rawValue) \($0)" } ?? kind.rawValue
        return "\(subject): byte \(offset): \(path.isEmpty ? "" : "\(path): ")\(cause)"
    }
}

/// An error before it is known which object it is in.
struct Fault: Error {
    let cause: WireError.Cause
    let offset: Int

    static func malformed(_ text: String, at offset: Int) -> Fault { Fault(cause: .malformed(text), offset: offset) }
}
