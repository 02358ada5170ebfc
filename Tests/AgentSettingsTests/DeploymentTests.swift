import Agent
import Dataplane
import Foundation
import Manifests
import Testing

@testable import AgentSettings
@testable import KubernetesAPI

/// The files under deploy/, as far as they can be tried without a cluster.
@Suite struct DeploymentTests {
    private static let deploy = DocumentationTests.root.appending(path: "deploy")

    private static let yaml: [String] = {
        let files = FileManager.default.enumerator(atPath: deploy.path())
        return (files?.compactMap { $0 as? String } ?? []).filter { $0.hasSuffix(".yaml") || $0.hasSuffix(".conf") }
            .filter { !$0.hasSuffix(".tmpfiles.conf") }.sorted()
    }()

    private func bytes(_ path: String) throws -> [UInt8] {
        Array(try Data(contentsOf: Self.deploy.appending(path: path)))
    }

    private func documents(_ path: String) throws -> [Cursor] {
        try Documents.read(try bytes(path), file: path)
    }

    private func document(_ path: String, _ kind: String) throws -> Cursor {
        try #require(
            try documents(path).first { try $0.field("kind")?.string() == kind }, "\(path) has no \(kind)")
    }

    /// What is at a path of keys and numbers of elements.
    private func at(_ cursor: Cursor, _ path: String) throws -> Cursor {
        try path.split(separator: ".").reduce(cursor) { cursor, part in
            if let index = Int(part) { return try cursor.elements()[index] }
            return try cursor.required(String(part))
        }
    }

    private func strings(_ cursor: Cursor) throws -> [String] { try cursor.elements().map { try $0.string() } }

    private func container() throws -> Cursor {
        try at(try document("kubernetes/base/daemonset.yaml", "DaemonSet"), "spec.template.spec.containers.0")
    }

    @Test("Every YAML file can be read", arguments: yaml)
    func readable(path: String) throws {
        #expect(try !documents(path).isEmpty)
    }

    @Test(
        "The configurations that are shipped are accepted, and have a cluster for source",
        arguments: ["kubernetes/base/agent.yaml", "systemd/agent.yaml"])
    func configurations(path: String) throws {
        let loaded = try SettingsFile.parse(try bytes(path), file: path)
        #expect(loaded.warnings == [])
        #expect(loaded.settings.cluster.kubeconfig == "/etc/needletail/kubeconfig.conf")
        _ = try loaded.settings.configuration(environment: [:], hostName: "node")
    }

    @Test("Files that kustomize is told of are there")
    func kustomize() throws {
        for path in Self.yaml.filter({ $0.hasSuffix("kustomization.yaml") }) {
            let directory = Self.deploy.appending(path: path).deletingLastPathComponent()
            let kustomization = try #require(try documents(path).first)
            var names = try kustomization.elements("resources").map { try $0.string() }
            for generator in try kustomization.elements("configMapGenerator") {
                #expect(try generator.required("name").string() == "needletail-agent")
                names += try generator.elements("files").map { try $0.string() }
            }
            #expect(!names.isEmpty)
            for name in names {
                #expect(
                    FileManager.default.fileExists(atPath: directory.appending(path: name).path()), "\(path): \(name)")
            }
            // Patches are lists of operations, one YAML document each.
            for patch in try kustomization.elements("patches") {
                let text = try patch.required("patch").string()
                #expect(try !Documents.read(Array(text.utf8), file: path)[0].elements().isEmpty)
            }
        }
    }

    @Test("The DaemonSet's names, labels and account are those of the other objects")
    func names() throws {
        let daemonSet = try document("kubernetes/base/daemonset.yaml", "DaemonSet")
        let account = try document("kubernetes/base/rbac.yaml", "ServiceAccount")
        let binding = try document("kubernetes/base/rbac.yaml", "ClusterRoleBinding")
        let name = try at(account, "metadata.name").string()
        #expect(try at(daemonSet, "spec.template.spec.serviceAccountName").string() == name)
        #expect(try at(binding, "subjects.0.name").string() == name)
        #expect(try at(binding, "subjects.0.namespace").string() == "kube-system")
        #expect(try at(binding, "roleRef.name").string() == "system:node-proxier")
        let label = "needletail-agent"
        #expect(try at(daemonSet, "spec.selector.matchLabels.k8s-app").string() == label)
        #expect(try at(daemonSet, "spec.template.metadata.labels.k8s-app").string() == label)
        let patched = String(decoding: try bytes("kubernetes/overlays/mount-bpffs/kustomization.yaml"), as: UTF8.self)
        #expect(patched.contains("image: \(try container().required("image").string())\n"))
        let image = try container().required("image").string()
        #expect(String(decoding: try bytes("Containerfile"), as: UTF8.self).contains("-t \(image) "))
    }

    @Test("The container's flags are flags, and its mounts are where the configuration looks")
    func flags() throws {
        let container = try container()
        let known = Set(Setting.all.map(\.flag)).union(["config", "init-only"])
        var given = try strings(try container.required("args"))
        for overlay in ["beside-kube-proxy", "mount-bpffs"] {
            let text = String(decoding: try bytes("kubernetes/overlays/\(overlay)/kustomization.yaml"), as: UTF8.self)
            given += text.split { " \n[],".contains($0) }.map(String.init).filter { $0.hasPrefix("--") }
        }
        #expect(given.count >= 8)
        for flag in given {
            let parts = flag.dropFirst(2).split(separator: "=", maxSplits: 1).map(String.init)
            #expect(known.contains(parts[0]), "\(flag)")
            if let setting = Setting.all.first(where: { $0.flag == parts[0] }), parts.count == 2,
                !parts[1].contains("$(")
            {
                _ = try setting.assigning(parts[1])
            }
        }
        let mounts = try container.elements("volumeMounts").map { try $0.required("mountPath").string() }
        let settings = try SettingsFile.parse(try bytes("kubernetes/base/agent.yaml"), file: "agent.yaml").settings
        let configuration = try settings.configuration(environment: [:], hostName: "node")
        #expect(mounts.contains(try #require(configuration.cgroup)))
        #expect(mounts.contains("/sys/fs/bpf") && configuration.pins.root.hasPrefix("/sys/fs/bpf/"))
        #expect(mounts.contains("/etc/needletail"))
    }

    @Test("The role lets the agent list and watch what it asks for")
    func rights() {
        // Rules of `system:node-proxier` as of Kubernetes 1.36
        // (`plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go`), group and resource.
        let allowed = ["/services", "/nodes", "discovery.k8s.io/endpointslices", "networking.k8s.io/servicecidrs"]
        let kinds = [
            WatchedKind.services(proxyName: nil), WatchedKind.services(proxyName: "needletail"),
            WatchedKind.endpointSlices, WatchedKind.node("node"), WatchedKind.serviceCIDRs,
        ]
        for kind in kinds {
            // `/api/v1/RESOURCE` of the core group, `/apis/GROUP/VERSION/RESOURCE` of others.
            let parts = kind.path.split(separator: "/").map(String.init)
            let group = parts[0] == "api" ? "" : parts[1]
            #expect(allowed.contains("\(group)/\(parts[parts.count - 1])"), "\(kind.path)")
        }
    }

    @Test("It has the capabilities that were tried and no more, and probes that a draining node survives")
    func privileges() throws {
        let container = try container()
        #expect(
            try strings(try at(container, "securityContext.capabilities.add"))
                == ["BPF", "NET_ADMIN", "PERFMON", "SYS_RESOURCE"])
        #expect(try strings(try at(container, "securityContext.capabilities.drop")) == ["ALL"])
        #expect(try at(container, "securityContext").field("privileged") == nil)
        #expect(try at(container, "livenessProbe.httpGet.path").string() == "/livez")
        #expect(try at(container, "readinessProbe.httpGet.path").string() == "/healthz")
        let port = try at(container, "livenessProbe.httpGet.port").integer()
        #expect(Settings().agent.healthBindAddress == ":\(port)")
        let unit = String(decoding: try bytes("systemd/needletail-agent.service"), as: UTF8.self)
        #expect(unit.contains("CapabilityBoundingSet=CAP_BPF CAP_NET_ADMIN CAP_PERFMON CAP_SYS_RESOURCE\n"))
    }
}
