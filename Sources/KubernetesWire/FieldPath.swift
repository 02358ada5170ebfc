/// Finds which field a byte belongs to. Only where an error has to be explained, so that reading need not keep track.
enum FieldPath {
    /// `spec.ports[0].port` for JSON that is readable up to the offset.
    static func json(_ bytes: RawSpan, to offset: Int) -> String {
        var path: [Step] = []
        var index = 0
        var lastString = 0..<0
        var isKey = false
        while index < min(offset, bytes.byteCount) {
            let byte = bytes[index]
            switch byte {
            case UInt8(ascii: "\""):
                let start = index + 1
                index = start
                while index < bytes.byteCount, bytes[index] != UInt8(ascii: "\"") {
                    index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
                }
                lastString = start..<min(index, bytes.byteCount)
            case UInt8(ascii: "{"): path.append(.key(0..<0))
            case UInt8(ascii: "["): path.append(.index(0))
            case UInt8(ascii: "}"), UInt8(ascii: "]"): _ = path.popLast()
            case UInt8(ascii: ":"): isKey = true
            case UInt8(ascii: ","):
                if case .index(let number) = path.last { path[path.count - 1] = .index(number + 1) }
            default: break
            }
            if isKey, case .key = path.last { path[path.count - 1] = .key(lastString) }
            isKey = false
            index += 1
        }
        var text = ""
        for step in path {
            switch step {
            case .key(let range):
                guard !range.isEmpty else { continue }
                text += (text.isEmpty ? "" : ".") + bytes.extracting(range).text
            case .index(let number): text += "[\(number)]"
            }
        }
        return text
    }

    /// `2.1.3` for protobuf: the numbers of the fields around the byte, from the outermost message in.
    static func protobuf(_ bytes: RawSpan, _ range: Range<Int>, to offset: Int) -> String {
        var numbers: [String] = []
        var inner = range
        descend: while numbers.count < 16 {
            var reader = ProtobufReader(bytes, inner)
            while (try? reader.next()) == true {
                guard reader.extent.contains(offset) else { continue }
                numbers.append("\(reader.field)")
                guard let content = try? reader.range(), content.contains(offset) else { break descend }
                inner = content
                continue descend
            }
            break
        }
        return numbers.joined(separator: ".")
    }

    private enum Step {
        case key(Range<Int>)
        case index(Int)
    }
}
