import Foundation
import Testing

/// `keygen` and `bench transport` as a user runs them, and what the roles say about keys.
struct KeyCommandTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func mode(_ name: String) throws -> Int {
    let attributes = try FileManager.default.attributesOfItem(atPath: scratch.path(name))
    return try #require(attributes[.posixPermissions] as? Int)
  }

  @Test func aClusterInOneCommand() throws {
    let first = try scratch.succeed(["keygen", "--cluster", "keys", "--workers", "2"]).output
    #expect(first.contains("2 authorized, 2 of them new"))
    #expect(try mode("keys/learner/server.key") == 0o600 && mode("keys/workers/worker-1.key") == 0o600)
    #expect(try mode("keys/workers") == 0o700)
    let server = try scratch.text("keys/learner/server.key")
    // More workers later: nothing that exists changes.
    let second = try scratch.succeed(["keygen", "--cluster", "keys", "--names", "worker-2, box"]).output
    #expect(second.contains("3 authorized, 1 of them new: box"))
    #expect(try scratch.text("keys/learner/server.key") == server)
    let lines = try scratch.text("keys/learner/authorized_workers").split(separator: "\n").filter {
      !$0.hasPrefix("# ")
    }
    #expect(lines.map { $0.split(separator: " ").last } == ["worker-1", "worker-2", "box"])
    #expect(lines.allSatisfy { $0.split(separator: " ")[0].utf8.count == 40 })
  }

  @Test func aClusterWithARelay() throws {
    let output = try scratch.succeed([
      "keygen", "--cluster", "keys", "--names", "a", "--relay", "rack=b,c", "--relay", "hall=",
    ]).output
    #expect(output.contains("relays      2, 2 of them new: rack, hall"))
    #expect(output.contains("--connect tcp://RELAY:5555 --server-key rack"))
    func names(_ file: String) throws -> [Substring?] {
      try scratch.text(file).split(separator: "\n").filter { !$0.hasPrefix("# ") }.map {
        $0.split(separator: " ").last { $0 != "(relay)" }
      }
    }
    #expect(try names("keys/learner/authorized_workers") == ["a", "b", "c", "rack", "hall"])
    #expect(try names("keys/relays/rack/downstream/authorized_workers") == ["b", "c"])
    #expect(try names("keys/relays/hall/downstream/authorized_workers").isEmpty)
    #expect(try mode("keys/relays/rack/downstream/server.key") == 0o600 && mode("keys/relays/rack") == 0o700)
    // Without names it is for all workers of the command.
    _ = try scratch.succeed(["keygen", "--cluster", "other", "--workers", "3", "--relay", "relay"])
    #expect(try names("other/relays/relay/downstream/authorized_workers").count == 3)
  }

  @Test func aSinglePair() throws {
    let output = try scratch.succeed(["keygen", "--output", "box.key"]).output
    let pub = try scratch.text("box.key.pub")
    #expect(try mode("box.key") == 0o600 && !pub.contains("secret-key"))
    let line = try #require(output.split(separator: "\n").last)
    #expect(line.hasSuffix(" box") && pub.contains(line.prefix(40)))
    let again = try scratch.run("keygen", "--output", "box.key")
    #expect(again.status != 0 && again.errors.contains("never replaced"))
  }

  @Test func whatIsWrongIsNamed() throws {
    for (arguments, expected) in [
      (["keygen"], "--cluster DIR"),
      (["keygen", "--cluster", "a", "--output", "b"], "--cluster DIR"),
      (["keygen", "--cluster", "a", "--workers", "0"], "--workers"),
      (["keygen", "--cluster", "a", "--names", "x/y"], "cannot name a worker's key"),
      (["keygen", "--cluster", "a", "--relay", "rack"], "rack=box-1,box-2"),
      (["keygen", "--cluster", "a", "--relay", "rack=b,b"], "twice"),
      (["keygen", "--output", "a", "--relay", "rack=b"], "--cluster"),
      (["relay", "--connect", "tcp://127.0.0.1:1", "--keys", "none"], "server.pub"),
      (["bench", "transport", "--relays", "-1"], "--relays"),
      (["worker", "--connect", "tcp://box:5555"], "keygen"),
      (["worker", "--connect", "tcp://127.0.0.1:1", "--keys", "none"], "server.pub"),
      (["worker", "--connect", "tcp://127.0.0.1:1", "--key", "none"], "--server-key"),
      (["bench", "transport", "--security", "tls"], "none or curve"),
      (["bench", "transport", "--workers", "0"], "--workers"),
    ] {
      let outcome = try Program.run(arguments, in: scratch)
      #expect(outcome.status != 0, "\(arguments)")
      #expect(outcome.errors.contains(expected), "\(arguments): \(outcome.errors)")
    }
  }

  @Test func transportBenchmarkReports() throws {
    let output = try scratch.succeed([
      "bench", "transport", "--workers", "3", "--relays", "0,2", "--security", "none,curve", "--seconds", "0.2",
      "--steps", "20",
      "--rate", "20", "--json",
    ]).output
    let report = try #require(try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any])
    #expect((report["trajectory_bytes"] as? Int ?? 0) > 20 * 5 * 8)
    let limits = try #require(report["loopback_megabytes_per_second"] as? [String: Double])
    #expect(limits.keys.sorted() == ["curve", "none"] && limits.values.allSatisfy { $0 > 0 })
    let rows = try #require(report["results"] as? [[String: Any]])
    #expect(rows.map { $0["workers"] as? Int } == [3, 3, 3, 3])
    #expect(rows.map { $0["relays"] as? Int } == [0, 2, 0, 2])
    #expect(
      rows.map { $0["security"] as? String } == ["none", "none", "curve", "curve"]
    )
    for row in rows {
      for key in [
        "trajectories_per_second", "megabytes_per_second", "microseconds_per_trajectory", "fraction_of_loopback",
      ] {
        #expect((row[key] as? Double ?? 0) > 0, "\(key)")
      }
      for key in ["lost_trajectories", "lost_sessions", "repeated_results"] { #expect(row[key] as? Int == 0, "\(key)") }
    }
  }
}
