import Testing

@testable import Tasks

@Suite struct MazeTaskTests {
  /// What a prompt says, read back from its text.
  private struct Question {
    var edges: [Character: [Character]] = [:]
    var start: Character
    var named: [Character]

    init(_ text: String) throws {
      var rest = Array(text.dropFirst("<bos>".count).dropLast("<think>".count))
      while rest.count > 2, rest[1] == ">" {
        edges[rest[0], default: []].append(rest[2])
        rest.removeFirst(3)
      }
      start = try #require(rest.first)
      named = Array(rest.dropFirst())
    }

    func ends(after steps: Int) -> Set<Character> {
      (0..<steps).reduce([start]) { reached, _ in Set(reached.flatMap { edges[$0] ?? [] }) }
    }

    func isWalk(_ nodes: some Sequence<Character>) -> Bool {
      var current = start
      for node in nodes {
        guard edges[current]?.contains(node) == true else { return false }
        current = node
      }
      return true
    }
  }

  @Test(arguments: [MazeTask(), MazeTask(nodes: 12, degree: 3, depth: 3, candidates: 3, targets: 1, walks: 2)])
  func answersAreTheReachableCandidatesInTheirOrder(_ task: MazeTask) throws {
    for index in 0..<200 as Range<UInt64> {
      let example = try GeneratedTask.maze(task).example(.training, seed: 3, index: index)
      let question = try Question(example.prompt.text)
      let ends = question.ends(after: task.depth)
      #expect(question.edges.count == task.nodes && question.edges.allSatisfy { Set($1).count == task.degree })
      #expect(question.edges.allSatisfy { !$1.contains($0) }, "no edge leads back to its own node")
      #expect(question.named.count == task.candidates && Set(question.named).count == task.candidates)
      #expect(String(question.named.filter(ends.contains)) == example.prompt.answer)
      #expect(example.prompt.answer.count == task.targets && example.answer == example.prompt.answer)
      #expect(example.thought.count == task.depth * task.walks)
      for walk in 0..<task.walks {
        #expect(question.isWalk(Array(example.thought)[walk * task.depth..<(walk + 1) * task.depth]))
      }
    }
  }

  @Test func theTeacherWalksToATargetAsOftenAsItIsExpert() throws {
    func share(_ expert: Double) throws -> Double {
      let task = GeneratedTask.maze(MazeTask(expert: expert))
      let hits = try (0..<500 as Range<UInt64>).count { index in
        let example = try task.example(.training, seed: 4, index: index)
        return try example.answer.contains(#require(example.thought.last))
      }
      return Double(hits) / 500
    }
    #expect(try share(1) == 1)
    let random = try share(0)
    #expect((0.4...0.75).contains(random))
    #expect(try share(0.5) > random + 0.1)
  }

  @Test func heldOutGraphsAreNeverTrainedOn() throws {
    let task = GeneratedTask.maze(MazeTask())
    let held = try Set(task.heldOut(count: 200, seed: 1).map(\.prompt.id))
    let trained = try Set((0..<400).map { try task.example(.training, seed: 1, index: $0).prompt.id })
    #expect(held.count == 200 && trained.isDisjoint(with: held))
  }

  @Test func everySymbolIsInTheVocabulary() throws {
    let symbols = try #require(GeneratedTask.maze(MazeTask(nodes: 4, candidates: 3, targets: 1)).symbols)
    #expect(symbols.special.count == 5 + 12 && symbols.special.contains("a>d") && !symbols.special.contains("a>a"))
    #expect(symbols.characters == ["a", "b", "c", "d"])
  }

  @Test func badOptionsAreNamed() {
    func message(_ task: MazeTask) -> String {
      #expect(throws: TaskError.self) { try GeneratedTask.maze(task).validate() }?.message ?? ""
    }
    #expect(message(MazeTask(nodes: 27)).contains("maze.nodes"))
    #expect(message(MazeTask(nodes: 5, degree: 5)).contains("maze.degree"))
    #expect(message(MazeTask(targets: 5)).contains("maze.targets"))
    #expect(message(MazeTask(degree: 9, depth: 9)).contains("maze.depth"))
    #expect(message(MazeTask(expert: 2)).contains("maze.expert"))
    // Every node is reached, so no candidate is out of reach.
    #expect(throws: TaskError.self) {
      try GeneratedTask.maze(MazeTask(nodes: 3, degree: 2, depth: 8, candidates: 3, targets: 1))
        .example(.training, seed: 1, index: 0)
    }
  }
}
