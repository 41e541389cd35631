/// A piece of a template's source.
package struct Token: Sendable {
  package enum Kind: Sendable, Equatable {
    case data(Text)
    case variableBegin
    case variableEnd
    case blockBegin
    case blockEnd
    case name(String)
    case string(Text)
    case integer(Int)
    case float(Double)
    case symbol(String)
    case end
  }

  package var kind: Kind
  package var line: Int

  package func isName(_ name: String) -> Bool { kind == .name(name) }
  package func isSymbol(_ symbol: String) -> Bool { kind == .symbol(symbol) }

  /// How messages call it.
  package var description: String {
    switch kind {
    case .data: "template data / text"
    case .variableBegin: "begin of print statement"
    case .variableEnd: "end of print statement"
    case .blockBegin: "begin of statement block"
    case .blockEnd: "end of statement block"
    case .name(let name): name
    case .string(let text): text.string
    case .integer(let value): String(value)
    case .float(let value): PythonNumber.representation(value)
    case .symbol(let symbol): symbol
    case .end: "end of template"
    }
  }
}
