internal import Glibc

extension BPFMap {
    /// The distance in bytes between elements of a mappable array: the value's size rounded up to 8.
    public var mappedStride: Int {
        (staticInfo.valueSize + 7) & ~7
    }

    /// Maps a range of an array's elements into memory for the time of the call, without copying.
    ///
    /// Only the pages which hold these elements are mapped. `body` gets exactly the elements' bytes, ``mappedStride``
    /// apart; programs see what is written at once, and without any order but the memory's own.
    /// - Throws: ``BPFError/Code/invalidArgument`` if the range is not in the map, ``BPFError/Code/unsupported`` if the
    ///   map was not created with ``MapFlags/mappable``; whatever `body` throws.
    public func withMapped<Result>(
        elements: Range<Int>, writable: Bool, body: (UnsafeMutableRawBufferPointer) throws -> Result
    ) throws -> Result {
        guard staticInfo.type == .array, staticInfo.flags.contains(.mappable) else {
            throw BPFError(
                .unsupported, operation: "mmap", subject: "map \(name)",
                detail: "type \(staticInfo.type), flags \(staticInfo.flags)",
                advice: "only arrays created with BPF_F_MMAPABLE can be mapped")
        }
        guard elements.lowerBound >= 0, elements.upperBound <= Int(staticInfo.maxEntries) else {
            throw BPFError(
                .invalidArgument, operation: "mmap", subject: "map \(name)",
                detail: "elements \(elements) of \(staticInfo.maxEntries)")
        }
        guard !elements.isEmpty else { return try body(UnsafeMutableRawBufferPointer(start: nil, count: 0)) }

        let page = sysconf(Int32(_SC_PAGESIZE))
        let start = elements.lowerBound * mappedStride
        let end = elements.upperBound * mappedStride
        let offset = start / page * page
        let length = (end + page - 1) / page * page - offset
        let address = try checkErrno("mmap", "map \(name)") {
            let address = mmap(
                nil, length, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, descriptor.raw, offset)
            return address == MAP_FAILED ? nil : address
        }
        defer { munmap(address, length) }
        return try body(UnsafeMutableRawBufferPointer(start: address + (start - offset), count: end - start))
    }
}
