internal import CLibbpf
internal import Glibc

/// What a test run of a program gave.
public struct TestRun: Sendable {
    /// What the program returned in its last run.
    public let verdict: UInt32
    /// The packet after the last run, as far as the output capacity went.
    public let output: [UInt8]
    /// The context (`struct __sk_buff`, `struct xdp_md`) after the last run; empty if none was given.
    public let context: [UInt8]
    /// Mean time of a run, in nanoseconds.
    public let durationPerRun: UInt32

    /// The verdict of a tc program, where -1 (`TC_ACT_UNSPEC`, `TCX_NEXT`) has a meaning.
    public var signedVerdict: Int32 {
        Int32(bitPattern: verdict)
    }
}

extension Program {
    /// Runs the program on a packet, without a device (`BPF_PROG_TEST_RUN`).
    ///
    /// The kernel does not restore the packet between repetitions.
    /// - Parameters:
    ///   - packet: the frame from its Ethernet header on, at least 14 bytes.
    ///   - repeat: how often; 1 or more.
    ///   - outputCapacity: bytes kept for the packet afterwards; 256 more than the packet if `nil`.
    ///   - context: bytes of the program's context before the run; the kernel refuses values in fields it does not
    ///     take from outside.
    /// - Throws: `ENOSPC` if the packet outgrew the capacity; `EINVAL` if it is too short or too long.
    public func testRun(
        packet: [UInt8], repeat repetitions: Int = 1, outputCapacity: Int? = nil, context: [UInt8] = []
    ) throws(BPFError) -> TestRun {
        var output = [UInt8](repeating: 0, count: outputCapacity ?? packet.count + 256)
        var contextOutput = [UInt8](repeating: 0, count: context.count)
        guard let repetitions = Int32(exactly: repetitions), repetitions > 0 else {
            throw BPFError(
                .invalidArgument, operation: "bpf_prog_test_run_opts", subject: "program \(name)",
                detail: "\(repetitions) repetitions")
        }
        var options = bpf_test_run_opts()
        options.sz = MemoryLayout<bpf_test_run_opts>.size
        options.`repeat` = repetitions
        let result = packet.withUnsafeBytes { packet in
            context.withUnsafeBytes { context in
                output.withUnsafeMutableBytes { output in
                    contextOutput.withUnsafeMutableBytes { contextOutput in
                        options.data_in = packet.baseAddress
                        options.data_size_in = UInt32(packet.count)
                        options.data_out = output.baseAddress
                        options.data_size_out = UInt32(output.count)
                        if !context.isEmpty {
                            options.ctx_in = context.baseAddress
                            options.ctx_size_in = UInt32(context.count)
                            options.ctx_out = contextOutput.baseAddress
                            options.ctx_size_out = UInt32(contextOutput.count)
                        }
                        return bpf_prog_test_run_opts(descriptor.raw, &options)
                    }
                }
            }
        }
        try check(result, "bpf_prog_test_run_opts", "program \(name)")
        return TestRun(
            verdict: options.retval, output: Array(output.prefix(Int(options.data_size_out))),
            context: Array(contextOutput.prefix(Int(options.ctx_size_out))), durationPerRun: options.duration)
    }

    /// Runs an XDP program on frames that are then handled as if a driver had received them: what it redirects is sent
    /// (`BPF_F_TEST_XDP_LIVE_FRAMES`, Linux 5.18). They come by the loopback device of the calling thread's network
    /// namespace, 64 at a time, and what becomes of them is done on this thread for the most part.
    ///
    /// The kernel makes the frames once and uses them again and again, as others left them.
    /// - Parameters:
    ///   - frame: what is in them at first, from the Ethernet header on.
    ///   - count: how many; 1 or more.
    /// - Returns: the mean time a frame took, in nanoseconds, without that in which the thread gave way to others.
    public func sendLive(frame: [UInt8], count: Int) throws(BPFError) -> UInt32 {
        guard let repetitions = Int32(exactly: count), repetitions > 0 else {
            throw BPFError(
                .invalidArgument, operation: "bpf_prog_test_run_opts", subject: "program \(name)",
                detail: "\(count) frames")
        }
        var options = bpf_test_run_opts()
        options.sz = MemoryLayout<bpf_test_run_opts>.size
        options.`repeat` = repetitions
        options.flags = UInt32(BPF_F_TEST_XDP_LIVE_FRAMES)
        let result = frame.withUnsafeBytes { frame in
            options.data_in = frame.baseAddress
            options.data_size_in = UInt32(frame.count)
            return bpf_prog_test_run_opts(descriptor.raw, &options)
        }
        try check(result, "bpf_prog_test_run_opts", "live frames of program \(name)")
        return options.duration
    }

    /// Runs the program on a packet, with a context given as a record. `struct xdp_md` is one; `struct __sk_buff` has a
    /// union and must be given as bytes.
    public func testRun<Context: BitwiseCopyable>(
        packet: [UInt8], repeat repetitions: Int = 1, outputCapacity: Int? = nil, context: Context
    ) throws(BPFError) -> TestRun {
        try testRun(
            packet: packet, repeat: repetitions, outputCapacity: outputCapacity,
            context: withUnsafeBytes(of: context) { Array($0) })
    }
}
