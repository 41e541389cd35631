import ArgumentParser
import Transport

struct Keys: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keys", abstract: "Lists the keys that may connect, takes them off, and pardons those in quarantine.",
    subcommands: [List.self, Revoke.self, Pardon.self])

  struct Folder: ParsableArguments {
    @Option(help: "The cluster's folder of keys, or the learner's part of it.")
    var keys: String

    var list: String {
      get throws { try KeyDirectory(keys).allowListPath }
    }

    /// Keys by their names on the list, or in quarantine, or as they are written.
    func find(_ texts: [String]) throws -> [PublicKey] {
      let listed = try AllowList.read(list)
      let caught = try Quarantine(besideList: list).read()
      return try texts.map { text in
        let named = Set(
          listed.filter { AllowList.withoutMark($0.value) == text }.map(\.key)
            + caught.filter { $0.name == text }.map(\.key))
        // A name goes before a key: a host's name of 40 letters is Z85 too.
        if named.isEmpty, let key = try? PublicKey(text) { return key }
        guard named.count == 1, let key = named.first else {
          throw ValidationError(
            named.isEmpty
              ? "no key is called \"\(text)\"; `softgrpo keys list` shows them"
              : "\(named.count) keys are called \"\(text)\": give the key itself")
        }
        return key
      }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Shows every key, its name and whether it may connect.")
    @OptionGroup var folder: Folder

    func run() throws {
      let path = try folder.list
      let caught = Dictionary(try Quarantine(besideList: path).read().map { ($0.key, $0) }) { first, _ in first }
      let listed = try AllowList.read(path)
      for (key, name) in listed.sorted(by: { $0.value < $1.value }) {
        let state = caught[key].map { "in quarantine since \($0.since): \($0.reason)" } ?? "may connect"
        print("\(key)  \(name)  \(state)")
      }
      for entry in caught.values.sorted(by: { $0.since < $1.since }) where listed[entry.key] == nil {
        print("\(entry.key)  \(entry.name)  not listed; in quarantine since \(entry.since): \(entry.reason)")
      }
    }
  }

  struct Revoke: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Takes keys off the list; a running learner ends their sessions within a heartbeat.")
    @OptionGroup var folder: Folder
    @Argument(help: "Names on the list, or keys.") var names: [String]

    func run() throws {
      for key in try folder.find(names) {
        let isListed = try AllowList.remove(key, from: folder.list)
        print(isListed ? "\(key) is off the list" : "\(key) was not on the list")
      }
    }
  }

  struct Pardon: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lets keys in again that were in quarantine; a running learner reads it within a heartbeat.")
    @OptionGroup var folder: Folder
    @Argument(help: "Names, or keys.") var names: [String]

    func run() throws {
      let path = try folder.list
      let keys = try folder.find(names)
      let pardoned = try Quarantine(besideList: path).remove(Set(keys))
      for key in keys {
        print(pardoned.contains { $0.key == key } ? "\(key) may connect again" : "\(key) was not in quarantine")
      }
    }
  }
}
