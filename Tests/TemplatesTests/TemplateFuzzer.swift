import JSON
import Templates
import TemplateSyntax

/// Makes templates that are nearly right, from a seed: pieces of the language in likely and unlikely order.
struct TemplateFuzzer {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  private mutating func next(_ bound: Int) -> Int {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return Int((z ^ (z >> 31)) % UInt64(bound))
  }

  private mutating func one<Element>(_ choices: [Element]) -> Element { choices[next(choices.count)] }

  private static let pieces = [
    "{{", "}}", "{%", "%}", "{#", "#}", "{{-", "-}}", "{%-", "-%}", "%}\n", " for ", " x ", " in ", " endfor ", " if ",
    " else ", " elif ", " endif ", " set ", "=", " endset ", " macro ", " m(", ")", " endmacro ", " call ", " endcall ",
    " filter ", " endfilter ", " with ", " endwith ", " raw ", " endraw ", " generation ", " endgeneration ", " break ",
    " continue ", " recursive ", " loop", ".index", ".last", ".nextitem", ".cycle(", " ns.a", " namespace(", "'a'",
    "\"b\"", "'\\n'", "'\\", "\\x4", "1", "0", "-1", "1.5", "99999999999999999999", "1e999", "0x1f", "(", "[", "]",
    "{", "}", ":", ",", ".", "|", "~", "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", ">=", " and ", " or ",
    " not ", " is ", "[::-1]", "[1:]", "[:-1]", "[0]", "['a']", "|length", "|tojson", "|tojson(indent=2)", "|trim",
    "|upper", "|list", "|first", "|last", "|join(',')", "|map(attribute='a')", "|select", "|selectattr('role')",
    "|sort", "|reverse", "|dictsort", "|items", "|string", "|int", "|float", "|round", "|default('d')", "|indent",
    "|replace('a','b')", "|batch(2)", "|slice(3)", "|unique", "|sum", "|min", "|center(9)", "|safe", "|e", "|title",
    ".split('a')", ".strip()", ".format(1)", ".items()", ".get('a')", ".join(", ".upper()", ".replace(", "messages",
    "message", "content", "role", "tools", " none ", " true ", " undefined ", "é", "漢", "😀", "\u{0}", "\n", " ",
    "text", "raise_exception('x')", "strftime_now('%d %b %Y')", "range(9)", "dict(a=1)", "'%s'", "caller()", "varargs",
    "kwargs", "{'a': [1, {'b': none}]}", "({}.update)", "*x", "**x", "is mapping", "is odd", "is divisibleby 3",
  ]

  mutating func template() -> String {
    switch next(4) {
    case 0: return (0..<next(40)).map { _ in one(Self.pieces) }.joined()
    case 1: return "{{ " + expression(next(6)) + " }}"
    case 2: return statements(3)
    default:
      // A good template with a piece gone, doubled or replaced.
      var scalars = Array(statements(3).unicodeScalars)
      for _ in 0..<next(4) where !scalars.isEmpty {
        let place = next(scalars.count)
        let end = min(scalars.count, place + 1 + next(6))
        switch next(3) {
        case 0: scalars.removeSubrange(place..<end)
        case 1: scalars.insert(contentsOf: scalars[place..<end], at: place)
        default: scalars.insert(contentsOf: Array(one(Self.pieces).unicodeScalars), at: place)
        }
      }
      return String(String.UnicodeScalarView(scalars))
    }
  }

  private static let atoms = [
    "messages", "messages[0]", "messages[0].content", "x", "ns", "ns.a", "loop", "tools", "'a b'", "''", "'%s %d'", "3",
    "-1", "0", "2.5", "[3, 1, 2]", "{'b': 1, 'a': [2]}", "(1, 'x')", "none", "true", "missing", "range(4)", "[]", "{}",
  ]

  private mutating func expression(_ depth: Int) -> String {
    guard depth > 0 else { return one(Self.atoms) }
    let left = expression(depth - 1)
    switch next(10) {
    case 0, 1:
      return left + one([" + ", " - ", " * ", " / ", " // ", " % ", " ** ", " ~ "]) + expression(next(depth))
    case 2: return left + one([" == ", " != ", " < ", " in ", " not in ", " and ", " or "]) + expression(next(depth))
    case 3: return "(" + left + ")" + one(Self.pieces.filter { $0.hasPrefix("|") })
    case 4: return "(" + left + ")" + one(Self.pieces.filter { $0.hasPrefix(".") || $0.hasPrefix("[") })
    case 5: return "[" + left + ", " + expression(next(depth)) + "]"
    case 6: return "{'k': " + left + "}"
    case 7: return "(" + left + " if " + expression(next(depth)) + " else " + expression(next(depth)) + ")"
    case 8: return left + " is " + one(["defined", "string", "odd", "none", "sequence", "callable", "in [1]"])
    default: return one(["-", "not ", "m(", "("]) + left + ")"
    }
  }

  private mutating func statements(_ depth: Int) -> String {
    (0..<1 + next(3)).map { _ in statement(depth) }.joined()
  }

  private mutating func statement(_ depth: Int) -> String {
    guard depth > 0 else { return "{{ " + expression(next(4)) + " }}" }
    let inner = statements(depth - 1)
    switch next(9) {
    case 0: return "{% for x in " + expression(next(3)) + " %}" + inner + "{% endfor %}"
    case 1: return "{% for x in " + expression(next(3)) + " recursive %}" + inner + "{{ loop(x) }}{% endfor %}"
    case 2: return "{%- if " + expression(next(3)) + " -%}" + inner + "{% else %}" + inner + "{% endif %}"
    case 3: return "{% set ns = namespace(a=" + expression(next(3)) + ") %}" + inner
    case 4: return "{% set ns.a = [ns.a, ns] %}{% set x = " + expression(next(3)) + " %}" + inner
    case 5: return "{% macro m(a, b=1) %}" + inner + "{{ m(a) }}{% endmacro %}{{ m(1) }}"
    case 6: return "{% macro m(a) %}{{ caller(a) }}{% endmacro %}{% call(y) m(1) %}" + inner + "{% endcall %}"
    case 7: return "{% set x %}" + inner + "{% endset %}{% filter upper %}{{ x }}{% endfilter %}"
    default: return "{{ " + expression(next(4)) + " }}" + inner
    }
  }

  /// How a template ended: its text's length, or the kind of its error.
  enum Outcome: Equatable {
    case text(Int)
    case error(TemplateError.Kind)
  }

  /// Limits under which no template takes long.
  static var limits: TemplateLimits {
    var limits = TemplateLimits()
    limits.steps = 20_000
    limits.characters = 200_000
    return limits
  }

  static func outcome(_ source: String) throws -> Outcome {
    var message = JSONObject()
    message["role"] = "user"
    message["content"] = "Hi <|im_end|> 😀"
    let conversation = Conversation(messages: [message], addsGenerationPrompt: true)
    do {
      let template = try Template(source)
      let text = try template.render(conversation, limits: limits, clock: { try LocalTime("2025-07-04") ?? .now() })
      return .text(text.text.utf8.count)
    } catch let error as TemplateError {
      return .error(error.kind)
    }
  }
}
