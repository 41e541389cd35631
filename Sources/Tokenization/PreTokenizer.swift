/// The steps that cut text into words before byte-pair encoding, as tokenizer.json lists them.
struct PreTokenizer: Sendable, Equatable {
  enum Step: Sendable, Equatable {
    /// Splits numbers off, one by one or in runs.
    case digits(individual: Bool)
    /// Cuts each piece into the words of a pattern.
    case words(WordPattern)
    /// Begins each piece with a space unless it has one (`add_prefix_space`).
    case prefixSpace
  }

  var steps: [Step]

  /// Cuts a text.
  /// - Parameter bytes: valid UTF-8.
  /// - Returns: the text, with spaces where a step adds them, and the byte offsets at which its words end.
  func words(of bytes: [UInt8]) -> (bytes: [UInt8], ends: [Int]) {
    var run = ScalarRun(bytes)
    // Ends of the pieces, counted in scalars.
    var ends = run.classes.isEmpty ? [] : [run.classes.count]
    for step in steps {
      switch step {
      case .digits(let individual): ends = Self.splitDigits(run, ends, individual: individual)
      case .words(let pattern):
        var start = 0
        var cut: [Int] = []
        for end in ends {
          while start < end {
            start = pattern.wordEnd(in: run, from: start, to: end)
            cut.append(start)
          }
        }
        ends = cut
      case .prefixSpace: (run, ends) = Self.addPrefixSpaces(run, ends)
      }
    }
    return (run.bytes, ends.map { run.starts[$0] })
  }

  private static func splitDigits(_ run: ScalarRun, _ ends: [Int], individual: Bool) -> [Int] {
    var out: [Int] = []
    var start = 0
    for end in ends {
      while start < end {
        let numeric = ScalarClass.isNumeric(run.classes[start])
        start += 1
        if !(numeric && individual) {
          while start < end, ScalarClass.isNumeric(run.classes[start]) == numeric { start += 1 }
        }
        out.append(start)
      }
    }
    return out
  }

  private static func addPrefixSpaces(_ run: ScalarRun, _ ends: [Int]) -> (ScalarRun, [Int]) {
    var bytes: [UInt8] = []
    var out: [Int] = []
    var start = 0
    var added = 0
    for end in ends {
      if run.classes[start] != ScalarClass.space {
        bytes.append(0x20)
        added += 1
      }
      bytes.append(contentsOf: run.bytes[run.starts[start]..<run.starts[end]])
      out.append(end + added)
      start = end
    }
    return (ScalarRun(bytes), out)
  }
}
