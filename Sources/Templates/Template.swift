import JSON
import TemplateSyntax

/// A chat template as models ship it: jinja2's language, run as `apply_chat_template` of `transformers` runs it.
public struct Template: Sendable {
  public let source: String
  private let parsed: ParsedTemplate

  /// - Throws: `TemplateError` for a template that jinja2 refuses or that holds a tag unknown here.
  public init(_ source: String, limits: TemplateLimits = TemplateLimits()) throws {
    guard source.utf8.count <= limits.source else {
      throw TemplateError(.limit, "the template is longer than \(limits.source) bytes")
    }
    self.source = source
    parsed = try Parser.parse(source)
  }

  /// The text of a conversation.
  ///
  /// - Parameters:
  ///   - variables: what the template sees besides the conversation.
  ///   - clock: the local time, asked when the template calls `strftime_now`.
  /// - Throws: `TemplateError`.
  public func render(
    _ conversation: Conversation, variables: JSONObject = JSONObject(), limits: TemplateLimits = TemplateLimits(),
    clock: @escaping () throws -> LocalTime
  ) throws -> MarkedText {
    let interpreter = Interpreter(parsed, limits: limits, clock: clock)
    let text = try interpreter.render(conversation.values(variables, interpreter.budget))
    guard !text.hasSurrogates else {
      throw TemplateError(.failed, "UnicodeEncodeError: surrogates not allowed")
    }
    return MarkedText(text)
  }

  /// Names that the template mentions anywhere.
  public func mentions(_ name: String) -> Bool { parsed.names.contains(name) }
}

/// A rendered text that knows which of its characters came from the contents of user, system and tool turns.
public struct MarkedText: Sendable, Equatable {
  public var text: String
  /// Ranges of UTF-8 bytes, in order and apart from each other.
  public var marked: [Range<Int>]

  public init(text: String, marked: [Range<Int>]) {
    self.text = text
    self.marked = marked
  }

  init(_ text: Text) {
    self.text = text.string
    marked = []
    var offset = 0
    for unit in text.units {
      let code = unit & Text.codeBits
      let end = offset + (code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4)
      if unit & Text.mark != 0 {
        if let last = marked.last, last.upperBound == offset {
          marked[marked.count - 1] = last.lowerBound..<end
        } else {
          marked.append(offset..<end)
        }
      }
      offset = end
    }
  }
}
