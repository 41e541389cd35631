// swift-tools-version: 6.2
import PackageDescription

// Floor plan: a target imports only targets listed above it. See docs/development.md.

/// Instruction-set floor. x86-64-v3 (AVX2, FMA, F16C) on Intel and AMD; the architecture's baseline elsewhere.
#if arch(x86_64)
  let instructionSet = ["-Xcc", "-march=x86-64-v3"]
#else
  let instructionSet: [String] = []
#endif

/// The tests run on the release build, the code that ships: one build serves both README commands.
let testable: [SwiftSetting] = [.unsafeFlags(["-enable-testing"], .when(configuration: .release))]

/// Rooms with inner loops are optimised in debug builds too: an unoptimised kernel is 450 times slower.
let hot: [SwiftSetting] = [
  // Without -fno-math-errno a square root may set errno and is never vectorised.
  .unsafeFlags(instructionSet + ["-Xcc", "-fno-math-errno"]),
  .unsafeFlags(["-O"], .when(configuration: .debug)),
]
let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"), .enableExperimentalFeature("Lifetimes"),
]

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")

func room(_ name: String, _ dependencies: [Target.Dependency], hot isHot: Bool = false) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: strict + testable + (isHot ? hot : []))
}

func tests(_ name: String, _ dependencies: [Target.Dependency] = [], fixtures: Bool = false) -> Target {
  .testTarget(
    name: name + "Tests", dependencies: [.byName(name: name), "TestSupport"] + dependencies,
    resources: fixtures ? [.copy("Fixtures")] : [], swiftSettings: strict)
}

var targets: [Target] = [
  .systemLibrary(name: "COpenBLAS"),
  .systemLibrary(name: "CZeroMQ"),
  .systemLibrary(name: "CProtobufC"),
  .systemLibrary(name: "CLibCrypto"),
  .systemLibrary(name: "CZstd"),
  .target(name: "CVectorKernels"),
  .target(name: "CMemoryShortage"),
  .target(name: "CWebClient"),
  .target(name: "CWireMessages", dependencies: ["CProtobufC"]),
]

#if arch(x86_64)
  targets += [.systemLibrary(name: "COneDNN"), .target(name: "CInt8Kernels")]
  let matrixBackends: [Target.Dependency] = [
    "CVectorKernels", "CMemoryShortage", "CInt8Kernels", "COpenBLAS", "COneDNN",
  ]
#else
  let matrixBackends: [Target.Dependency] = ["CVectorKernels", "CMemoryShortage", "COpenBLAS"]
#endif

targets += [
  room("Machine", ["CMemoryShortage"]),
  room("Kernels", ["Machine"] + matrixBackends, hot: true),
  room("JSON", [], hot: true),
  room("Parameters", ["JSON"]),
  room("TemplateSyntax", [], hot: true),
  room("Templates", ["JSON", "TemplateSyntax"], hot: true),
  room("ModelFiles", ["Kernels", "JSON"], hot: true),
  room("Tokenization", ["JSON", "TemplateSyntax", "Templates"], hot: true),
  room("Transformer", ["Kernels", "ModelFiles", logging], hot: true),
  room("Thinking", ["Kernels", "JSON", "Parameters"], hot: true),
  room("Trajectories", ["Kernels", "JSON", "Parameters", "Thinking"], hot: true),
  room("Objectives", ["Parameters"], hot: true),
  room("Credit", ["JSON", "Parameters"]),
  room("Optimization", ["Kernels"], hot: true),
  room("ExactArithmetic", []),
  room("Verifier", ["ExactArithmetic"]),
  room("Tasks", ["CWebClient", "JSON", "Parameters", "Thinking", "Trajectories", "Verifier"]),
  room("MethodCases", ["JSON", "Kernels", "Parameters", "Thinking", "Trajectories", "Objectives", "Credit", "Tasks"]),
  room("Rollouts", ["Kernels", "Transformer", "Thinking", "Trajectories", logging], hot: true),
  room(
    "Training",
    [
      "Kernels", "ModelFiles", "Transformer", "Parameters", "Thinking", "Trajectories", "Objectives", "Optimization",
      logging,
    ],
    hot: true),
  room("Wire", ["CWireMessages", "CProtobufC", "Machine", "Parameters", "Thinking", "Trajectories", "Objectives"]),
  room("Coordination", []),
  room("Transport", ["CZeroMQ", "Machine", logging]),
  room("WeightSync", ["CLibCrypto", "CZstd", "CVectorKernels", "Kernels"], hot: true),
  room(
    "Benchmarking",
    [
      "Machine", "Kernels", "ModelFiles", "Transformer", "Thinking", "Trajectories", "Objectives", "Optimization",
      "Rollouts",
      "Training", "WeightSync",
    ],
    hot: true),
  room("Observability", ["CWebClient", "JSON", logging]),
  room(
    "RunConfiguration", [yams, "JSON", "Parameters", "Thinking", "Objectives", "Credit", "Tasks", "Observability"]),
  room(
    "Loading",
    [
      "Machine", "Kernels", "JSON", "Templates", "ModelFiles", "Tokenization", "Transformer", "Thinking",
      "Trajectories", "Tasks", "Training", "WeightSync", "Wire", "RunConfiguration", logging,
    ]),
  room(
    "Equality",
    [
      "Machine", "Kernels", "ModelFiles", "Transformer", "Thinking", "Trajectories", "Rollouts", "Training",
      "WeightSync", "Wire",
      logging,
    ]),
  room(
    "Evaluation",
    [
      "Machine", "JSON", "Kernels", "Transformer", "Thinking", "Trajectories", "Tasks", "Rollouts", "Observability",
    ]),
  room("Sessions", ["Wire", "Transport", logging]),
  room("WeightExchange", ["Machine", "Kernels", "Wire", "Transport", "WeightSync", logging]),
  room(
    "Gradients",
    [
      "Machine", "Kernels", "Parameters", "Thinking", "Trajectories", "Objectives", "Training", "Wire", "Coordination",
      "Transport",
      "WeightSync", logging,
    ]),
  room(
    "WorkerLink",
    ["Machine", "Wire", "Coordination", "Transport", "WeightSync", "Sessions", "WeightExchange", "Gradients", logging]),
  room(
    "FrontEnd",
    [
      "Machine", "Parameters", "Thinking", "Trajectories", "Training", "Wire", "Coordination", "Transport",
      "WeightSync",
      "Sessions",
      "WeightExchange", "Gradients", logging,
    ]),
  room(
    "Updates",
    [
      "Machine", "Kernels", "Transformer", "Thinking", "Trajectories", "Objectives", "Credit", "Optimization",
      "Training", "Wire", "Coordination", "Transport", "WeightSync", "Observability", "RunConfiguration", "Loading",
      "Equality", "Gradients", "FrontEnd", logging,
    ]),
  room(
    "Learner",
    [
      "Updates",
      "Machine", "Kernels", "JSON", "ModelFiles", "Tokenization", "Transformer", "Thinking", "Trajectories",
      "Verifier", "Tasks", "Rollouts", "Training", "Wire", "Coordination", "Transport",
      "WeightSync",
      "Observability", "RunConfiguration", "Loading", "Equality", "Evaluation", "Sessions", "FrontEnd",
      logging,
    ]),
  room(
    "Worker",
    [
      "Machine", "Kernels", "Parameters", "ModelFiles", "Transformer", "Thinking", "Trajectories", "Objectives",
      "Rollouts",
      "Training", "Wire", "Coordination", "Transport", "WeightSync", "Loading", "Equality", "Sessions", "Gradients",
      "WorkerLink", logging,
    ]),
  room(
    "Relay",
    [
      "Machine", "Kernels", "Training", "Wire", "Transport", "WeightSync", "Sessions", "Gradients", "WorkerLink",
      "FrontEnd", logging,
    ]),
  room(
    "LocalRun",
    [
      "Machine", "Kernels", "ModelFiles", "Transformer", "Thinking", "Trajectories", "Objectives", "Credit",
      "Optimization", "Tasks", "Rollouts", "Training", "Observability", "RunConfiguration", "Loading", "Evaluation",
      "Sessions", "Updates", "Learner", logging,
    ]),
  room(
    "FleetBenchmarks",
    [
      "Machine", "Kernels", "ModelFiles", "Thinking", "Trajectories", "Wire", "Coordination", "Transport", "WeightSync",
      "Observability", "RunConfiguration", "Sessions", "WorkerLink", "FrontEnd", "Learner", "Worker", "Relay", logging,
    ]),
  .executableTarget(
    name: "softgrpo",
    dependencies: [
      "Machine", "Loading", "Equality", "Evaluation", "Sessions", "Learner", "Worker", "Relay", "LocalRun",
      "FleetBenchmarks", "Kernels", "JSON", "Parameters", "ModelFiles", "Tokenization", "Transformer", "Thinking",
      "Trajectories",
      "Objectives", "Credit", "Optimization", "Verifier", "Tasks", "MethodCases", "Rollouts", "Training",
      "Benchmarking",
      "WeightSync", "Transport", "Observability", "RunConfiguration", "CZeroMQ", "CLibCrypto", "TemplateSyntax",
      "Templates",
      argumentParser, logging,
    ],
    swiftSettings: strict),
  .target(
    name: "TestSupport",
    dependencies: [
      "Kernels", "Parameters", "ModelFiles", "Transformer", "Thinking", "Trajectories", "Objectives", "Wire", logging,
    ],
    path: "Tests/TestSupport",
    swiftSettings: strict + hot),
  .executableTarget(
    name: "softgrpo-fuzz",
    dependencies: [
      "JSON", "Kernels", "ModelFiles", "RunConfiguration", "Thinking", "Trajectories", "TemplateSyntax", "Templates",
      "Tokenization",
      "Transport",
      "WeightSync", "Wire", "TestSupport",
    ],
    path: "Tests/Fuzz", swiftSettings: strict),
  tests("Kernels", ["Machine", "CVectorKernels"]),
  tests("JSON"),
  tests("Parameters"),
  tests("Templates", ["JSON", "TemplateSyntax"], fixtures: true),
  tests("ModelFiles", ["JSON"], fixtures: true),
  tests("Tokenization", ["JSON", "TemplateSyntax", "Templates", "ModelFiles"], fixtures: true),
  tests("Transformer", ["ModelFiles"], fixtures: true),
  tests("Thinking", ["JSON", "Parameters", "Trajectories"], fixtures: true),
  tests("Objectives", ["Parameters"]),
  tests("Credit", ["Parameters"]),
  tests("MethodCases", ["JSON", "Objectives", "Credit"], fixtures: true),
  tests("Optimization"),
  tests("Verifier", ["Tasks"]),
  tests("Tasks", ["JSON", "Parameters", "Verifier"]),
  tests("Rollouts", ["ModelFiles", "Transformer", "Thinking", "Trajectories", "Objectives", "Training"]),
  tests("Training", ["ModelFiles", "Transformer", "Thinking", "Trajectories", "Objectives", "Optimization"]),
  tests("Benchmarking", ["ModelFiles", "Transformer", "Thinking", "Trajectories", "Training"]),
  tests("Wire", ["Parameters", "Thinking", "Trajectories", "Objectives"]),
  tests("Machine"),
  tests("Coordination"),
  tests("Transport"),
  tests("WeightSync"),
  tests("Observability", ["JSON"]),
  tests("RunConfiguration", ["JSON", "Parameters", "Thinking", "Trajectories", "Objectives", "Credit"]),
  tests("Evaluation", ["JSON", "Tasks", "Trajectories"]),
  tests("Sessions", ["Thinking", "Trajectories", "Transport", "Wire"]),
  tests("WorkerLink", ["Thinking", "Trajectories", "Transport", "Wire"]),
  tests(
    "Gradients", ["Kernels", "Objectives", "Thinking", "Trajectories", "Training", "Coordination", "Machine", "Wire"]),
  tests("Equality", ["Kernels", "ModelFiles", "Transformer", "Thinking", "Trajectories"]),
  tests("FrontEnd", ["Coordination", "Thinking", "Trajectories"]),
  tests(
    "Updates",
    [
      "Kernels", "Parameters", "ModelFiles", "Transformer", "Thinking", "Trajectories", "Objectives", "Credit",
      "Optimization", "Rollouts", "Training", "WeightSync", "Equality", logging,
    ]),
  tests(
    "Learner", ["JSON", "Parameters", "RunConfiguration", "Sessions", "Thinking", "Trajectories", "FrontEnd", "Tasks"]),
  tests("FleetBenchmarks", ["Machine", "Kernels", "Thinking", "Trajectories", "Wire", "Sessions"]),
  .testTarget(
    name: "ExtendingTests",
    dependencies: [
      "Kernels", "Parameters", "Transformer", "Thinking", "Trajectories", "Objectives", "Credit", "Tasks", "Rollouts",
      "WeightSync",
      "Observability", "Sessions", "Learner", "TestSupport",
    ],
    swiftSettings: strict),
  .testTarget(
    name: "CommandTests", dependencies: ["softgrpo", "TestSupport"], resources: [.copy("Fixtures")],
    swiftSettings: strict),
  .testTarget(
    name: "RunTests", dependencies: ["softgrpo", "Kernels", "ModelFiles"], resources: [.copy("Fixtures")],
    swiftSettings: strict),
  .testTarget(
    name: "RolesTests",
    dependencies: [
      "Machine", "Kernels", "Parameters", "ModelFiles", "Tokenization", "Transformer", "Thinking", "Trajectories",
      "Objectives",
      "Credit", "Optimization", "Tasks", "Rollouts", "Training", "Wire", "Coordination", "Transport",
      "WeightSync", "Observability", "RunConfiguration", "Loading", "Equality", "Evaluation", "Sessions",
      "WeightExchange", "Gradients", "WorkerLink", "FrontEnd", "Updates", "Learner", "Worker", "Relay", "LocalRun",
      "TestSupport",
    ],
    swiftSettings: strict),
]

let package = Package(
  name: "softgrpo",
  products: [.executable(name: "softgrpo", targets: ["softgrpo"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: targets,
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c17
)
