import Foundation
import Logging
import Testing
import TestSupport

@testable import Transport

/// A folder that ends with its test.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "softgrpo-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func write(_ text: String, to name: String) throws {
    try text.write(toFile: "\(path)/\(name)", atomically: true, encoding: .utf8)
  }
}

@Suite struct KeyTests {
  @Test func z85OfTheSpecification() {
    let bytes: [UInt8] = [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B]
    #expect(Z85.encode(bytes) == "HelloWorld")
    #expect(Z85.decode("HelloWorld") == bytes)
    for text in ["HelloWorl", "Hello World", "Hell\"World", "#####", "%nSc1"] { #expect(Z85.decode(text) == nil) }
    #expect(Z85.decode("%nSc0") == [255, 255, 255, 255])
  }

  @Test func aPairIsAPair() throws {
    let pair = try KeyPair.generate()
    #expect(try pair.secretKey.publicKey() == pair.publicKey)
    #expect(try PublicKey(pair.publicKey.text) == pair.publicKey)
    #expect(try KeyPair.generate().publicKey != pair.publicKey)
    #expect("\(pair.secretKey)" == "(secret)" && String(reflecting: pair.secretKey) == "(secret)")
  }

  @Test func aBadKeySaysWhatAKeyIs() throws {
    let error = #expect(throws: TransportError.self) { try PublicKey("short") }
    #expect(error?.message.contains("40 characters of Z85") == true)
    let secret = String(repeating: "x", count: 39) + " "
    let hidden = #expect(throws: TransportError.self) { try SecretKey(secret) }
    #expect(hidden?.message.contains("xxx") == false)
  }

  /// A path of 40 characters of Z85 is a path still: it was once taken for the key itself, which no learner has.
  @Test func aPathThatCouldBeAKeyNamesItsFile() throws {
    let folder = try TemporaryFolder()
    let pair = try KeyPair.generate()
    // The temporary folder's path may be too long, so a link stands for it.
    let link = "/tmp/z85." + String(UInt64.random(in: 0...UInt64.max), radix: 36)
    #expect(symlink(folder.path, link) == 0)
    defer { unlink(link) }
    let path = link + "/" + String(repeating: "k", count: PublicKey.textCount - link.utf8.count - 1)
    #expect(throws: Never.self) { try PublicKey(path) }
    try KeyFile.writePublic(pair.publicKey, name: "box", to: path)
    #expect(try KeyFile.publicKey(path) == pair.publicKey)
  }

  @Test func filesKeepTheKeyAndItsPrivacy() throws {
    let folder = try TemporaryFolder()
    let pair = try KeyPair.generate()
    let path = "\(folder.path)/box.key"
    try KeyFile.writeSecret(pair, name: "box \"1\"\n", to: path)
    var status = stat()
    #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
    let read = try KeyFile.readSecret(path)
    #expect(read.pair.publicKey == pair.publicKey && read.name == "box 1" && read.warning == nil)
    let existing = #expect(throws: TransportError.self) { try KeyFile.writeSecret(pair, name: "", to: path) }
    #expect(existing?.message.contains("never replaced") == true)
    chmod(path, 0o644)
    #expect(try KeyFile.readSecret(path).warning?.contains("chmod 600") == true)
    #expect(try KeyFile.publicKey(path) == pair.publicKey)
    #expect(try KeyFile.publicKey(pair.publicKey.text) == pair.publicKey)

    try KeyFile.writePublic(pair.publicKey, name: "box", to: "\(folder.path)/box.pub")
    #expect(try KeyFile.publicKey("\(folder.path)/box.pub") == pair.publicKey)
    let wrong = #expect(throws: TransportError.self) { try KeyFile.readSecret("\(folder.path)/box.pub") }
    #expect(wrong?.message.contains("it is a public file") == true)
    let other = try KeyPair.generate().publicKey
    try folder.write(
      "public-key = \"\(other)\"\nsecret-key = \"\(pair.secretKey.text)\"\n", to: "mixed.key")
    let mixed = #expect(throws: TransportError.self) { try KeyFile.readSecret("\(folder.path)/mixed.key") }
    #expect(mixed?.message.contains("does not belong") == true)
    #expect(mixed?.message.contains(pair.secretKey.text) == false)
    #expect(throws: TransportError.self) { try KeyFile.readSecret("\(folder.path)/none.key") }
  }

  @Test func listsAreReadStrictlyAndAgainWhenTheyChange() throws {
    let folder = try TemporaryFolder()
    let keys = try (0..<3).map { _ in try KeyPair.generate().publicKey }
    try folder.write("# workers\n\n\(keys[0]) box one  \n  \(keys[1])\n", to: "list")
    let list = try AllowList(path: "\(folder.path)/list")
    #expect(list.judge(keys[0]) == .allowed(name: "box one"))
    #expect(list.judge(keys[1]) == .allowed(name: String(keys[1].text.prefix(8))))
    #expect(list.judge(keys[2]) == .unknown)
    #expect(!list.refresh(logger: quiet))

    try folder.write("\(keys[0]) box\n\(keys[2]) third worker\n", to: "list")
    #expect(list.generation == 0)
    #expect(list.refresh(logger: quiet))
    #expect(list.generation == 1)
    #expect(list.judge(keys[1]) == .unknown && list.judge(keys[2]) == .allowed(name: "third worker"))
    // A half-written file takes nobody's right away.
    try folder.write("\(keys[0]) box\n\(keys[2].text.dropLast())", to: "list")
    #expect(!list.refresh(logger: quiet))
    #expect(list.judge(keys[2]) == .allowed(name: "third worker"))
    try FileManager.default.removeItem(atPath: "\(folder.path)/list")
    #expect(!list.refresh(logger: quiet))
    #expect(list.count == 2)

    try list.quarantine(keys[2], reason: "spoke nonsense")
    #expect(list.judge(keys[2]) == .quarantined(reason: "spoke nonsense") && list.quarantinedCount == 1)
    // Being listed again does not end it.
    try folder.write("\(keys[2]) again\n", to: "list")
    #expect(list.refresh(logger: quiet))
    #expect(list.judge(keys[2]) == .quarantined(reason: "spoke nonsense"))

    try folder.write("\(keys[0]) a\n\(keys[0]) b\n", to: "twice")
    let twice = #expect(throws: TransportError.self) { try AllowList(path: "\(folder.path)/twice") }
    #expect(twice?.message.contains("twice:2") == true)
    try folder.write("ssh-rsa AAAA box\n", to: "ssh")
    let foreign = #expect(throws: TransportError.self) { try AllowList(path: "\(folder.path)/ssh") }
    #expect(foreign?.message.contains("KEY NAME") == true)
  }

  @Test func aClusterIsMadeAndExtended() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/keys"
    let directory = KeyDirectory(path)
    let first = try directory.extend(workers: ["a", "b"])
    #expect(first.madeServer && first.madeWorkers == ["a", "b"] && first.workerCount == 2)
    let second = try directory.extend(workers: ["b", "c"])
    #expect(!second.madeServer && second.madeWorkers == ["c"] && second.workerCount == 3)
    #expect(second.serverKey == first.serverKey)

    guard case .server(let keys, let allowed) = try directory.serverSecurity().security else {
      Issue.record("no server security")
      return
    }
    #expect(keys.publicKey == first.serverKey && allowed.count == 3)
    for place in [path, "\(path)/workers"] {
      guard case .client(let own, let serverKey) = try KeyDirectory(place).clientSecurity(name: "c").security else {
        Issue.record("no client security")
        continue
      }
      #expect(serverKey == first.serverKey && allowed.judge(own.publicKey) == .allowed(name: "c"))
    }
    _ = try KeyDirectory("\(path)/learner").serverSecurity()
    // Who was taken off the list stays off, though the key is still here.
    let list = "\(path)/learner/authorized_workers"
    let lines = try String(contentsOfFile: list, encoding: .utf8).split(separator: "\n").filter { !$0.hasSuffix(" b") }
    try (lines.joined(separator: "\n") + "\n").write(toFile: list, atomically: true, encoding: .utf8)
    #expect(try directory.extend(workers: ["a", "b", "c"]).workerCount == 2)
    // A list that is gone is made of what there is.
    try FileManager.default.removeItem(atPath: list)
    #expect(try directory.extend(workers: ["a", "b", "c"]).workerCount == 3)
    for name in ["", "../x", "a/b", "server", ".hidden", "-o", "a b"] {
      #expect(throws: TransportError.self) { try directory.extend(workers: [name]) }
    }
  }

  @Test func workersStartedAlikeTakeKeysOfTheirOwn() throws {
    let folder = try TemporaryFolder()
    let directory = KeyDirectory(folder.path)
    _ = try directory.extend(workers: ["worker-1", "worker-2"])
    var first: LoadedSecurity? = try directory.clientSecurity(name: nil)
    let second = try directory.clientSecurity(name: "no key of this name")
    func key(_ loaded: LoadedSecurity?) -> PublicKey? {
      if case .client(let keys, _) = loaded?.security { keys.publicKey } else { nil }
    }
    let firstKey = key(first)
    #expect(firstKey != nil && firstKey != key(second))
    let error = #expect(throws: TransportError.self) { try directory.clientSecurity(name: nil) }
    #expect(error?.message.contains("keygen --cluster DIR --workers N") == true)
    first = nil
    #expect(key(try directory.clientSecurity(name: nil)) == firstKey)
    #expect(throws: TransportError.self) { try KeyDirectory("\(folder.path)/learner").clientSecurity(name: nil) }
    #expect(throws: TransportError.self) { try KeyDirectory("\(folder.path)/workers").serverSecurity() }
  }
}
