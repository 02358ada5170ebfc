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
let systemPackage = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

func target(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(name: "\(name)Tests", dependencies: dependencies, exclude: exclude, swiftSettings: settings)
}

let package = Package(
    name: "needletail",
    products: [
        .library(name: "BPF", targets: ["BPF"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // C: what the kernel and the programs speak.
        .systemLibrary(name: "NeedletailABI", path: "bpf/abi"),
        .target(
            name: "CLibbpf", path: "CLibbpf",
            // Statically, so that one file is all a node needs.
            linkerSettings: [.linkedLibrary(":libbpf.a"), .linkedLibrary(":libelf.a"), .linkedLibrary(":libz.a")]),
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
            ["BPF", "Netlink", "Planning", "Maglev", "ServiceModel", "NetTypes", "NeedletailABI", "CBPFObjects",
                systemPackage]),

        tests("NetTypes", ["NetTypes"]),
        tests("ServiceModel", ["ServiceModel", "NetTypes"]),
        tests("PacketKit", ["PacketKit", "NetTypes"]),
        tests(
            "Dataplane",
            [
                "Dataplane", "PacketKit", "BPF", "Planning", "Resolver", "ServiceModel", "Maglev", "NetTypes",
                "NeedletailABI",
            ]),
    ],
    // For #embed.
    cLanguageStandard: .gnu2x
)
