internal import CLibbpf
internal import Glibc
internal import SystemPackage

/// Turns the result of a libbpf 1.x function that returns `-errno` into a thrown error. `errno` itself is not read.
@discardableResult
func check(
    _ result: Int32, _ operation: StaticString, _ subject: @autoclosure () -> String
) throws(BPFError) -> Int32 {
    guard result < 0 else { return result }
    throw BPFError(errno: Errno(rawValue: -result), operation: "\(operation)", subject: subject())
}

/// Runs a call that reports failure by `nil` and `errno`: libbpf functions that return pointers, and libc.
///
/// The call is a closure so that nothing, not even a release, runs between it and the reading of `errno`.
func checkErrno<Result>(
    _ operation: StaticString, _ subject: @autoclosure () -> String, _ call: () -> Result?
) throws(BPFError) -> Result {
    let result = call()
    let number = errno
    guard let result else {
        throw BPFError(errno: Errno(rawValue: number), operation: "\(operation)", subject: subject())
    }
    return result
}

/// Runs a libbpf call and returns what libbpf printed meanwhile on this thread, beside the call's own result.
func capturingLog<Result>(_ call: () -> Result) -> (result: Result, log: String) {
    clibbpf_capture_begin()
    let result = call()
    guard let text = clibbpf_capture_end() else { return (result, "") }
    defer { free(text) }
    return (result, String(cString: text))
}
