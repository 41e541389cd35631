import JSON

/// Pieces of JSON, with strings given as UTF-8.
struct JSONText {
  private var text = ""

  var bytes: [UInt8] { Array(text.utf8) }

  mutating func raw(_ piece: String) { text += piece }

  mutating func string(_ content: some Collection<UInt8>) { text.appendJSON(String(decoding: content, as: UTF8.self)) }

  mutating func list<Element>(_ elements: some Sequence<Element>, _ write: (inout JSONText, Element) -> Void) {
    for (index, element) in elements.enumerated() {
      if index > 0 { text += "," }
      write(&self, element)
    }
  }
}
