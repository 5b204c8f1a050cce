// swift-tools-version: 6.2
// Weir's modules and the arrows between them. Arrows point down only; nothing in the data plane
// imports Foundation, NIO or swift-log, and nothing in the control plane imports LinuxIO.
// `scripts/lint` builds with --explicit-target-dependency-import-check error, which holds the graph.

import PackageDescription

/// Every target: warnings are errors, and each unsafe use is marked, so that it can be searched for.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// Data-path targets also inline and specialise across modules, which a release build does not do by itself.
let dataPath: [SwiftSetting] =
    strict + [
        .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release))
    ]

/// Control-plane targets talk to libraries that do not annotate their unsafe interfaces.
let control: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
]

let tests: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
]

let package = Package(
    name: "weir",
    products: [
        .executable(name: "weir", targets: ["weir"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.5.1"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // C: the Linux calls that `import Glibc` does not show. Debug builds can make any of them fail.
        .target(
            name: "CLinux",
            cSettings: [.define("WEIR_FAULT_INJECTION", .when(configuration: .debug))]
        ),
        .systemLibrary(name: "CCapability", pkgConfig: "libcap", providers: [.apt(["libcap-dev"])]),
        // HTTP/2 framing and HPACK: nghttp2 1.52 or later, as Debian 12 has it.
        .systemLibrary(name: "CNGHTTP2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
        // OpenSSL 3.0 or later, as Debian 12 has it.
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),

        // Core: values and pure state machines. Balancing imports nothing; HTTPCore's HTTP2 directory is unsafe
        // island 3, around nghttp2.
        .target(name: "Balancing", swiftSettings: dataPath),
        .target(name: "HTTPCore", dependencies: ["Balancing", "CNGHTTP2"], swiftSettings: dataPath),

        // Data plane. LinuxIO is unsafe island 1; above it no pointer is seen.
        .target(
            name: "LinuxIO", dependencies: ["Balancing", "CLinux", "CCapability"],
            swiftSettings: dataPath),
        // Unsafe island 2: OpenSSL. Descriptors and worker memory come from island 1.
        .target(
            name: "TLSTermination", dependencies: ["Balancing", "CLinux", "COpenSSL", "LinuxIO"],
            swiftSettings: dataPath),
        .target(name: "Reactor", dependencies: ["Balancing", "LinuxIO"], swiftSettings: dataPath),
        // What the modes have in common: listeners, workers, the way to targets, access logs.
        .target(
            name: "Serving", dependencies: ["Balancing", "LinuxIO", "Reactor", "TLSTermination"],
            swiftSettings: dataPath),
        .target(
            name: "NetworkMode",
            dependencies: ["Balancing", "LinuxIO", "Reactor", "Serving", "TLSTermination"],
            swiftSettings: dataPath),
        .target(
            name: "ApplicationMode",
            dependencies: ["Balancing", "HTTPCore", "LinuxIO", "Reactor", "Serving", "TLSTermination"],
            swiftSettings: dataPath),
        .target(
            name: "HealthChecking",
            dependencies: ["Balancing", "HTTPCore", "LinuxIO", "Reactor", "TLSTermination"],
            swiftSettings: dataPath),

        // Control plane.
        .target(name: "AdminModel", swiftSettings: control),
        .target(
            name: "ControlPlane",
            // HTTPCore: the rules of application listeners are checked and explained by what matches them.
            dependencies: [
                "AdminModel", "Balancing", "HTTPCore",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "GRDBSQLite", package: "GRDB.swift"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: control),
        .target(
            name: "AdminServer",
            dependencies: [
                "AdminModel", "Balancing", "ControlPlane",
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: control),
        .executableTarget(
            name: "weir",
            dependencies: [
                "AdminModel", "AdminServer", "ApplicationMode", "Balancing", "ControlPlane", "HealthChecking",
                "LinuxIO",
                "NetworkMode", "Reactor", "Serving", "TLSTermination",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: control),

        // Tests. Those of the data plane depend on no server package, so that the inner loop stays short; those of
        // HTTPCore ask SwiftNIO's parser for a second opinion.
        .target(name: "CAllocationCount", path: "Tests/CAllocationCount"),
        // Certificates by the `openssl` command, for every test that speaks TLS.
        .target(
            name: "TestCertificates", dependencies: ["Balancing"], path: "Tests/TestCertificates",
            swiftSettings: tests),
        .testTarget(
            name: "BalancingTests", dependencies: ["Balancing", "CAllocationCount", "HTTPCore"],
            swiftSettings: tests),
        .testTarget(
            name: "HTTPCoreTests",
            dependencies: [
                "Balancing", "CAllocationCount", "HTTPCore",
                // Its llhttp is the second opinion on every head that is accepted.
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            swiftSettings: tests),
        .testTarget(
            name: "LinuxIOTests", dependencies: ["CLinux", "LinuxIO", "Reactor"], swiftSettings: tests),
        .testTarget(
            name: "TLSTerminationTests",
            dependencies: [
                "Balancing", "CAllocationCount", "CLinux", "COpenSSL", "LinuxIO", "TLSTermination",
                "TestCertificates",
            ],
            swiftSettings: tests),
        .testTarget(
            name: "NetworkModeTests",
            dependencies: [
                "CAllocationCount", "CLinux", "LinuxIO", "NetworkMode", "Reactor", "Serving",
                "TLSTermination",
            ],
            swiftSettings: tests),
        .testTarget(
            name: "ApplicationModeTests",
            dependencies: [
                "ApplicationMode", "Balancing", "CAllocationCount", "CLinux", "LinuxIO", "Serving",
            ],
            swiftSettings: tests),
        .testTarget(
            name: "HealthCheckingTests",
            dependencies: [
                "HTTPCore", "HealthChecking", "LinuxIO", "Reactor", "TLSTermination", "TestCertificates",
            ],
            swiftSettings: tests),
        .testTarget(
            name: "ControlPlaneTests", dependencies: ["AdminModel", "Balancing", "ControlPlane"],
            swiftSettings: tests),
        .testTarget(
            name: "AdminTests",
            dependencies: [
                "AdminModel", "AdminServer", "ControlPlane", "weir",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: tests),
        // What the fuzzers run, as a library: the tests replay the corpus through the same functions.
        .target(
            name: "FuzzTargets",
            dependencies: [
                "AdminModel", "AdminServer", "Balancing", "ControlPlane", "HTTPCore", "LinuxIO",
                "NetworkMode",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/Fuzz/Targets", swiftSettings: tests),
        .testTarget(name: "FuzzTests", dependencies: ["FuzzTargets"], swiftSettings: tests),
        .testTarget(name: "TidyTests", swiftSettings: tests),
    ]
)

// The fuzzer itself needs libFuzzer's instrumentation, so that only scripts/fuzz builds it.
if Context.environment["WEIR_FUZZING"] != nil {
    package.targets.append(
        .executableTarget(
            name: "weir-fuzz", dependencies: ["FuzzTargets"], path: "Tests/Fuzz/Driver",
            swiftSettings: tests + [.unsafeFlags(["-parse-as-library"])]))
}

// The sanitizers look at the data plane: without the server packages their build takes a minute, not twenty.
if Context.environment["WEIR_DATA_PLANE_ONLY"] != nil {
    let others: Set = [
        "AdminModel", "ControlPlane", "AdminServer", "weir", "ControlPlaneTests", "AdminTests", "FuzzTargets",
        "FuzzTests", "TidyTests",
    ]
    package.products = []
    package.targets.removeAll { others.contains($0.name) }
}
