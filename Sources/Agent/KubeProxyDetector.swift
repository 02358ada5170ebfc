internal import Glibc
internal import NetTypes
internal import Netlink

/// Looks for kube-proxy and for what it programs, in the calling thread's network namespace. Changes nothing.
public struct KubeProxyDetector: Sendable {
    private let ownPorts: Set<UInt16>

    /// - Parameter ownPorts: those that this agent itself listens on by now.
    public init(ownPorts: Set<UInt16> = []) {
        self.ownPorts = ownPorts
    }

    /// All signs. What may not be looked at, or cannot be on this kernel, is no sign. May take a second for each port
    /// that takes connections and says nothing.
    public func findings() -> [KubeProxyFinding] {
        processes() + ports() + tables() + devices()
    }

    /// Processes of that name in this network namespace, as far as this process sees them.
    private func processes() -> [KubeProxyFinding] {
        guard let directory = opendir("/proc") else { return [] }
        defer { closedir(directory) }
        let here = Self.namespace("thread-self")
        var found: [KubeProxyFinding] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let id = Int32(name), Self.line("/proc/\(name)/comm") == "kube-proxy" else { continue }
            // Clusters in containers (kind) have theirs elsewhere. Who may not know takes it for one of this node's.
            guard let there = Self.namespace(name), there != here else {
                found.append(KubeProxyFinding(.process(id)))
                continue
            }
        }
        return found
    }

    private static func namespace(_ process: String) -> [UInt64]? {
        var status = stat()
        guard stat("/proc/\(process)/ns/net", &status) == 0 else { return nil }
        return [UInt64(status.st_dev), UInt64(status.st_ino)]
    }

    private static func line(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = read(descriptor, &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer.prefix(count).prefix { $0 != 10 }, as: UTF8.self) : nil
    }

    /// The metrics server tells the mode; the health server's answer has a field that nobody else's has.
    private func ports() -> [KubeProxyFinding] {
        let modes = ["iptables", "ipvs", "nftables", "kernelspace"]
        let checks: [(port: UInt16, path: String, isKubeProxy: (String) -> Bool)] = [
            (10249, "/proxyMode", { body in modes.contains { body.hasSuffix("\r\n\r\n\($0)") } }),
            (10256, "/healthz", { $0.contains("\"lastUpdated\"") }),
        ]
        return checks.compactMap { check in
            guard !ownPorts.contains(check.port), let answer = Self.get(check.port, check.path),
                check.isKubeProxy(answer)
            else { return nil }
            return KubeProxyFinding(.port(check.port))
        }
    }

    /// The first few kilobytes of an answer, head and body.
    private static func get(_ port: UInt16, _ path: String) -> String? {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { return nil }
        defer { close(socket) }
        var limit = timeval(tv_sec: 1, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(socket, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        let request = Array("GET \(path) HTTP/1.0\r\nHost: 127.0.0.1:\(port)\r\n\r\n".utf8)
        guard connected == 0, send(socket, request, request.count, Int32(MSG_NOSIGNAL)) == request.count
        else { return nil }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while answer.count < 8192 {
            let count = recv(socket, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            answer += buffer.prefix(count)
        }
        return answer.isEmpty ? nil : String(decoding: answer, as: UTF8.self)
    }

    private func tables() -> [KubeProxyFinding] {
        var found: [KubeProxyFinding] = []
        var netfilter = try? NetfilterTables()
        for (family, name) in [(IPFamily.v4, "ip"), (.v6, "ip6")] {
            if (try? netfilter?.hasTable("kube-proxy", family)) == true {
                found.append(KubeProxyFinding(.nftTable, family: name))
            }
            if (try? netfilter?.hasChain("KUBE-SERVICES", in: "nat", family)) == true {
                found.append(KubeProxyFinding(.iptablesChain(isLegacy: false), family: name))
            }
            if (try? NetfilterTables.hasLegacyChain("KUBE-SERVICES", in: "nat", family)) == true {
                found.append(KubeProxyFinding(.iptablesChain(isLegacy: true), family: name))
            }
        }
        return found
    }

    private func devices() -> [KubeProxyFinding] {
        guard if_nametoindex("kube-ipvs0") > 0 else { return [] }
        return [KubeProxyFinding(.ipvsDevice)]
    }
}
