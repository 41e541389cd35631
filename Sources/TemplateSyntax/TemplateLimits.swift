/// What a template may spend. A template comes with a model from elsewhere: it may be wrong or hostile.
public struct TemplateLimits: Sendable {
  /// Expressions and statements run.
  public var steps = 10_000_000
  /// Characters and elements of all texts and lists made on the way: about four bytes and forty bytes each.
  public var characters = 1 << 27
  /// Characters of the template itself.
  public var source = 1 << 18
  /// Expressions, statements and macro calls within each other while it runs.
  public var depth = 600

  public init() {}

  /// Levels of one expression, or of blocks in each other, in the source.
  package static let sourceDepth = 120
  /// Lists and mappings in each other.
  package static let valueDepth = 150
}

/// What is left of the limits.
package final class TemplateBudget {
  private(set) var steps: Int
  private(set) var characters: Int

  package init(_ limits: TemplateLimits) {
    steps = limits.steps
    characters = limits.characters
  }

  package func step(_ count: Int = 1) throws {
    steps -= count
    guard steps >= 0 else { throw TemplateError(.limit, "the template takes too many steps") }
  }

  /// Before `count` characters are made.
  package func charge(_ count: Int) throws {
    guard count <= characters else { throw TemplateError(.limit, "the template makes too much text") }
    characters -= count
  }

  /// Before `count` elements of lists are made.
  package func charge(elements count: Int) throws {
    try charge(count < Int.max / 16 ? count * 10 : count)
  }
}
