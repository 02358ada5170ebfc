// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let systemPackage = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let asyncHTTPClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioHTTPCompression = Target.Dependency.product(name: "NIOHTTPCompression", package: "swift-nio-extras")
let nioHTTP2 = Target.Dependency.product(name: "NIOHTTP2", package: "swift-nio-http2")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

func target(_ name: String, _ dependencies: [Target.Dependency] = [], _ extra: [SwiftSetting] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings + extra)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(name: "\(name)Tests", dependencies: dependencies, exclude: exclude, swiftSettings: settings)
}

let planningTestDependencies: [Target.Dependency] = [
    "Planning", "Resolver", "ServiceModel", "Maglev", "NetTypes", "NeedletailABI",
]

let package = Package(
    name: "needletail",
    products: [
        .library(name: "BPF", targets: ["BPF"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // C: what the kernel and the programs speak.
        .systemLibrary(name: "NeedletailABI", path: "bpf/abi"),
        .target(
            name: "CLibbpf", path: "CLibbpf",
            // Statically, so that one file is all a node needs.
            linkerSettings: [.linkedLibrary(":libbpf.a"), .linkedLibrary(":libelf.a"), .linkedLibrary(":libz.a")]),
        .systemLibrary(name: "BenchABI", path: "bpf/abi/bench"),
        .target(name: "CLinux"),
        .target(name: "CBPFObjects"),

        // The kernel from Swift; nothing here knows of services.
        target("BPF", ["CLibbpf", systemPackage]),
        target("Netlink", ["CLinux", "NetTypes"]),

        // Pure: values in, values out.
        target("NetTypes"),
        target("Maglev", ["NetTypes"]),
        target("PacketKit", ["NetTypes"]),
        target("ServiceModel", ["NetTypes"]),
        target("Resolver", ["ServiceModel", "NetTypes"]),
        target("Planning", ["Resolver", "ServiceModel", "Maglev", "NetTypes", "NeedletailABI"]),

        // Where both meet.
        target(
            "Dataplane",
            [
                "BPF", "Netlink", "Planning", "Maglev", "ServiceModel", "NetTypes", "NeedletailABI", "CBPFObjects",
                systemPackage,
            ],
            // Swift 6.3.1 crashes in a release build when it inlines into another module a function that uses an
            // imported C struct through BPFMap ("Conformance of 'nt_meta' to 'BitwiseCopyable' not found").
            [.unsafeFlags(["-disable-cmo"])]),

        target("Manifests", ["ServiceModel", "NetTypes", yams]),
        // A cluster's API: bytes to values, and list and watch over them.
        target("KubernetesWire", ["ServiceModel", "NetTypes"], [.enableExperimentalFeature("Lifetimes")]),
        target(
            "KubernetesAPI",
            [
                "KubernetesWire", "Manifests", "ServiceModel", "NetTypes", asyncHTTPClient, logging, nioCore, nioHTTP1,
                nioHTTPCompression, nioPosix, nioSSL, subprocess, systemPackage,
            ]),
        // Health, metrics: what others look at.
        target("Observability", ["ServiceModel", "NetTypes", nioCore, nioHTTP1, nioPosix]),
        target(
            "Agent",
            [
                "CLinux", "Dataplane", "KubernetesAPI", "Manifests", "Netlink", "Observability", "Planning", "Resolver",
                "ServiceModel", "NetTypes", "NeedletailABI", "BPF",
                logging, lifecycle,
            ]),

        // What the agent is told: by a file, by flags.
        target(
            "AgentSettings",
            [
                "Agent", "Dataplane", "KubernetesAPI", "Manifests", "Netlink", "NetTypes", "Resolver", "ServiceModel",
                logging,
            ]),

        // Programs: arguments in, a library called.
        .executableTarget(
            name: "needletail-agent",
            dependencies: [
                "Agent", "AgentSettings", "Dataplane", "KubernetesAPI", "Netlink", "NetTypes", "Resolver", "BPF",
                argumentParser, logging, lifecycle, unixSignals,
            ],
            swiftSettings: settings),

        // Networks of namespaces, for tests, demo and benchmarks.
        target("NetLab", ["CLinux", "Netlink", "NetTypes"]),

        // Measuring.
        target(
            "Benchmark",
            [
                "BPF", "CLinux", "Dataplane", "KubernetesWire", "Maglev", "NetLab", "Netlink", "PacketKit", "Planning",
                "Resolver", "ServiceModel", "NetTypes", "NeedletailABI", "BenchABI", "CBPFObjects",
            ]),
        .executableTarget(
            name: "needletail-bench",
            dependencies: ["Benchmark", "Dataplane", "KubernetesWire", "NetTypes", "NeedletailABI", argumentParser],
            swiftSettings: settings),

        tests(
            "Benchmark",
            [
                "Benchmark", "BPF", "Dataplane", "KubernetesWire", "Maglev", "NetLab", "Netlink", "NetTypes",
                "NeedletailABI", "Resolver", "TestSupport", "needletail-bench",
            ]),
        .executableTarget(
            name: "needletail-demo",
            dependencies: [
                "NetLab", "Dataplane", "Netlink", "NetTypes", "NeedletailABI", "BPF", "CLinux", argumentParser,
            ],
            swiftSettings: settings),
        // The operator's view.
        target(
            "Inspection",
            [
                "Dataplane", "PacketKit", "Planning", "Maglev", "ServiceModel", "NetTypes", "NeedletailABI", "BPF",
                systemPackage,
            ]),
        .executableTarget(
            name: "needletail",
            dependencies: ["Inspection", "Dataplane", "NetTypes", argumentParser, unixSignals, yams],
            swiftSettings: settings),

        tests("NetTypes", ["NetTypes"]),
        .target(name: "TestSupport", dependencies: ["BPF"], path: "Tests/TestSupport", swiftSettings: settings),
        .target(
            name: "PlanningTestSupport", dependencies: planningTestDependencies + ["TestSupport"],
            path: "Tests/PlanningTestSupport",
            swiftSettings: settings),
        // An API server for tests.
        .target(
            name: "APIStandIn",
            dependencies: ["ServiceModel", nioCore, nioHTTP1, nioHTTP2, nioPosix, nioSSL, nioTLS],
            path: "Tests/APIStandIn", swiftSettings: settings),
        tests(
            "APIStandIn", ["APIStandIn", "ServiceModel", asyncHTTPClient, nioCore, nioHTTP1, nioSSL],
            exclude: ["Fixtures"]),
        .testTarget(
            name: "KubernetesAPIFaultTests",
            dependencies: ["APIStandIn", "KubernetesAPI", "ServiceModel", "TestSupport", logging],
            swiftSettings: settings),
        // What docs/datapath.md says, for the programs to be compared with.
        .target(
            name: "ReferenceModel",
            dependencies: ["PacketKit", "Maglev", "ServiceModel", "NetTypes", "NeedletailABI"],
            path: "Tests/ReferenceModel", swiftSettings: settings),
        tests(
            "Differential",
            [
                "ReferenceModel", "Dataplane", "PacketKit", "BPF", "NetLab", "Netlink", "Planning", "Resolver",
                "ServiceModel", "NetTypes", "NeedletailABI", "TestSupport",
            ]),
        tests("Planning", planningTestDependencies + ["PlanningTestSupport", "TestSupport"]),
        tests("CrashPoint", planningTestDependencies + ["PlanningTestSupport", "TestSupport", "Dataplane", "BPF"]),
        tests("BPF", ["BPF", "CLibbpf", "TestSupport", systemPackage], exclude: ["fixtures"]),
        tests("Maglev", ["Maglev", "NetTypes", "TestSupport"]),
        tests("Netlink", ["Netlink", "NetLab", "NetTypes", "CLinux", "TestSupport"]),
        tests("NetLab", ["NetLab", "Netlink", "NetTypes", "TestSupport"]),
        .testTarget(
            name: "DemoTests", dependencies: ["needletail-demo", "needletail-agent", "TestSupport"],
            swiftSettings: settings),
        tests(
            "AgentSettings",
            [
                "AgentSettings", "Agent", "Dataplane", "KubernetesAPI", "Manifests", "NetTypes", "Netlink", "Resolver",
                "CLinux", "NetLab", "TestSupport", logging,
            ]),
        .testTarget(
            name: "AgentProgramTests", dependencies: ["needletail-agent", "AgentSettings"], swiftSettings: settings),
        tests("Resolver", ["Resolver", "ServiceModel", "NetTypes", "TestSupport"]),
        tests("Manifests", ["Manifests", "ServiceModel", "NetTypes"]),
        tests(
            "KubernetesAPI",
            [
                "KubernetesAPI", "KubernetesWire", "ServiceModel", logging, nioCore, nioHTTP1, nioPosix, nioSSL,
                subprocess,
            ]),
        tests("ServiceModel", ["ServiceModel", "NetTypes"]),
        tests(
            "KubernetesWire", ["KubernetesWire", "Manifests", "ServiceModel", "NetTypes", "TestSupport"],
            exclude: ["Fixtures"]),
        tests(
            "Inspection",
            [
                "Inspection", "needletail", "Dataplane", "BPF", "Netlink", "NetLab", "PacketKit", "Planning",
                "Resolver",
                "ServiceModel", "NetTypes", "NeedletailABI",
            ]),
        tests("PacketKit", ["PacketKit", "NetTypes"]),
        tests("Observability", ["Observability", "ServiceModel", "NetTypes", "TestSupport", nioCore, yams]),
        tests(
            "Dataplane",
            [
                "Dataplane", "PacketKit", "BPF", "Planning", "Resolver", "ServiceModel", "Maglev", "NetTypes",
                "NeedletailABI", "NetLab", "Netlink", "TestSupport",
            ]),
        tests(
            "Topology",
            [
                "APIStandIn", "BPF", "Dataplane", "Manifests", "NeedletailABI", "NetLab", "NetTypes", "Netlink",
                "Planning", "Resolver", "ServiceModel", "Maglev", "PacketKit", "TestSupport", "needletail-agent",
                "needletail",
            ]),
    ],
    // For #embed.
    cLanguageStandard: .gnu2x
)
