import Testing

@testable import BPF
@testable import Dataplane

/// What is reported when the kernel will not load the programs.
struct LoadFailureTests {
    private static let refusal = BPFError(
        .verifierRejected, operation: "bpf_object__load", subject: "needletail", detail: "the verifier's words")

    @Test(arguments: [
        (KernelVersion(major: 5, minor: 15), true, "Linux 6.1.0 or newer, this is 5.15.0"),
        // The version comes first: another kernel is needed anyway.
        (KernelVersion(major: 5, minor: 15), false, "Linux 6.1.0 or newer, this is 5.15.0"),
        (KernelVersion(major: 6, minor: 1), false, "CONFIG_DEBUG_INFO_BTF"),
        (KernelVersion(major: 6, minor: 18), false, "/sys/kernel/btf/vmlinux"),
    ])
    func theKernelLacksSomething(version: KernelVersion, hasBTF: Bool, says: String) throws {
        let explained = Datapath.explain(Self.refusal, version: version, hasBTF: hasBTF)
        guard case DatapathError.unsupportedKernel(let text) = explained else {
            Issue.record("not about the kernel: \(explained)")
            return
        }
        #expect(text.contains(says))
        #expect(text.contains("the verifier's words"))
    }

    @Test(arguments: [KernelVersion(major: 6, minor: 1), KernelVersion(major: 6, minor: 18)])
    func otherFailuresAreReportedAsTheyAre(version: KernelVersion) throws {
        let explained = try #require(
            Datapath.explain(Self.refusal, version: version, hasBTF: true) as? BPFError)
        #expect(explained.description == Self.refusal.description)
    }
}
