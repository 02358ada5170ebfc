import Agent
import Foundation
import NetLab
import Netlink
import TestSupport
import Testing

/// What kube-proxy leaves on a node, made in a namespace by the programs that it uses itself.
@Suite(.needsRoot, .timeLimit(.minutes(5))) struct KubeProxyDetectorTests {
    private let namespace: NetworkNamespace

    init() throws {
        namespace = try NetworkNamespace(name: "kube-proxy")
    }

    private func run(_ program: String, _ arguments: String...) throws {
        let process = try ChildProcess(program, arguments, in: namespace)
        let end = try process.wait(timeout: .seconds(30))
        #expect(end == .exited(0), "\(program) \(arguments): \(process.lines.map(\.text))")
    }

    private func findings(ownPorts: Set<UInt16> = []) throws -> [KubeProxyFinding] {
        try namespace.run { KubeProxyDetector(ownPorts: ownPorts).findings() }
    }

    @Test("An empty namespace shows nothing")
    func nothing() throws {
        #expect(try findings() == [])
    }

    @Test("Tables of the nftables mode, one of each family", .needs("nft"))
    func nftables() throws {
        try run("nft", "add table ip kube-proxy")
        #expect(try findings() == [KubeProxyFinding(.nftTable, family: "ip")])
        try run("nft", "add table ip6 kube-proxy")
        // Not kube-proxy's: those of another family or name.
        try run("nft", "add table inet kube-proxy")
        try run("nft", "add table ip kube-router")
        #expect(
            try findings() == [KubeProxyFinding(.nftTable, family: "ip"), KubeProxyFinding(.nftTable, family: "ip6")])
        try run("nft", "delete table ip kube-proxy")
        #expect(try findings() == [KubeProxyFinding(.nftTable, family: "ip6")])
    }

    @Test(
        "The chain of the iptables mode",
        arguments: [
            ("iptables-nft", "ip", false), ("ip6tables-nft", "ip6", false), ("iptables-legacy", "ip", true),
            ("ip6tables-legacy", "ip6", true),
        ])
    func iptables(program: String, family: String, isLegacy: Bool) throws {
        guard paths(of: program) != nil else {
            try Test.cancel("needs the program \(program)")
        }
        // What the kubelet makes is no sign, nor is a rule that only speaks of one.
        try run(program, "-w", "-t", "nat", "-N", "KUBE-KUBELET-CANARY")
        try run(program, "-w", "-t", "nat", "-N", "KUBE-SERVICES-NOT")
        #expect(try findings() == [])
        try run(program, "-w", "-t", "nat", "-N", "KUBE-SERVICES")
        try run(program, "-w", "-t", "nat", "-A", "PREROUTING", "-j", "KUBE-SERVICES")
        let expected = KubeProxyFinding(.iptablesChain(isLegacy: isLegacy), family: family)
        #expect(try findings() == [expected])
        #expect(!expected.isRunning)
        try run(program, "-w", "-t", "nat", "-F")
        try run(program, "-w", "-t", "nat", "-X", "KUBE-SERVICES")
        #expect(try findings() == [])
    }

    @Test("The device of the IPVS mode")
    func ipvs() throws {
        try namespace.withNetlink { try $0.createVeth(VethEnd(name: "kube-ipvs0"), peer: VethEnd(name: "peer")) }
        #expect(try findings() == [KubeProxyFinding(.ipvsDevice)])
    }

    @Test("A process of that name, in this namespace only", .needs("sleep"))
    func process() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "kube-proxy-\(UUID())")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: directory) }
        let program = directory.appending(path: "kube-proxy").path()
        try FileManager.default.copyItem(atPath: try #require(paths(of: "sleep")), toPath: program)
        let process = try ChildProcess(program, ["60"], in: namespace)
        defer { try? process.signal(SIGKILL) }
        let finding = KubeProxyFinding(.process(process.pid))
        #expect(finding.isRunning)
        // The kernel gives it the name at execve.
        let deadline = ContinuousClock.now + .seconds(30)
        while try findings() != [finding], ContinuousClock.now < deadline { usleep(10_000) }
        #expect(try findings() == [finding])
        let elsewhere = try NetworkNamespace(name: "elsewhere")
        #expect(try elsewhere.run { KubeProxyDetector().findings() } == [])
    }

    @Test(
        "Answers on kube-proxy's ports",
        arguments: [
            (10249, "nftables", true), (10249, "needletail", false), (10249, "nftables and more", false),
            (10256, #"{"lastUpdated":"2026-11-21T00:00:00Z","nodeEligible":true}"#, true), (10256, "ok", false),
        ])
    func ports(port: UInt16, body: String, isKubeProxy: Bool) throws {
        let server = try AnsweringServer(
            "HTTP/1.0 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)", port: port, in: namespace)
        defer { server.close() }
        #expect(try findings() == (isKubeProxy ? [KubeProxyFinding(.port(port))] : []))
        // The agent's own server is no sign.
        #expect(try findings(ownPorts: [port]) == [])
    }

    @Test("A finding is told when it appears, and not again within five minutes")
    func warnings() {
        let (table, device) = (KubeProxyFinding(.nftTable, family: "ip"), KubeProxyFinding(.ipvsDevice))
        var warnings = KubeProxyWarnings()
        let start = ContinuousClock.now
        func news(_ findings: [KubeProxyFinding], after seconds: Int) -> [KubeProxyFinding] {
            warnings.news(findings, at: start + .seconds(seconds))
        }
        #expect(news([table], after: 0) == [table])
        #expect(news([table], after: 10) == [])
        #expect(news([table, device], after: 20) == [device])
        #expect(news([], after: 30) == [])
        // It comes and goes: kept back, and told when its time has come.
        #expect(news([table], after: 40) == [])
        #expect(news([table], after: 299) == [])
        #expect(news([table], after: 300) == [table])
        #expect(news([table], after: 3600) == [])
        #expect(news([], after: 3700) == [])
        #expect(news([table], after: 3800) == [table])
    }

    @Test("Each finding says what to do")
    func advice() {
        let texts: [(KubeProxyFinding, String)] = [
            (KubeProxyFinding(.process(7)), "process 7 is kube-proxy: both serve the same Services"),
            (KubeProxyFinding(.port(10249)), "kube-proxy answers on 127.0.0.1:10249: both serve"),
            (KubeProxyFinding(.nftTable, family: "ip6"), "nft delete table ip6 kube-proxy"),
            (KubeProxyFinding(.iptablesChain(isLegacy: true), family: "ip6"), "ip6tables-legacy-save | grep"),
            (KubeProxyFinding(.iptablesChain(isLegacy: false), family: "ip"), "iptables-save | grep"),
            (KubeProxyFinding(.ipvsDevice), "ip link delete kube-ipvs0"),
        ]
        for (finding, text) in texts { #expect("\(finding)".contains(text)) }
    }
}

/// Answers every connection to a port of the loopback address with the same bytes.
private final class AnsweringServer: Sendable {
    private let listener: Int32

    init(_ answer: String, port: UInt16, in namespace: NetworkNamespace) throws {
        listener = try namespace.run {
            let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            let bound = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            try #require(bound == 0 && listen(listener, 8) == 0)
            return listener
        }
        Thread.detachNewThread { [listener] in
            while case let connection = accept(listener, nil, nil), connection >= 0 {
                var request = [UInt8](repeating: 0, count: 1024)
                _ = recv(connection, &request, request.count, 0)
                _ = send(connection, Array(answer.utf8), answer.utf8.count, Int32(MSG_NOSIGNAL))
                Glibc.close(connection)
            }
        }
    }

    func close() {
        shutdown(listener, Int32(SHUT_RDWR))
        Glibc.close(listener)
    }
}

extension Trait where Self == ConditionTrait {
    static func needs(_ program: String) -> Self {
        .enabled(if: paths(of: program) != nil, "needs the program \(program)")
    }
}

/// Where a program of the system is.
private func paths(of program: String) -> String? {
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map { "\($0)/\(program)" }.first { access($0, X_OK) == 0 }
}
