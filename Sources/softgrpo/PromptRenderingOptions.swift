import ArgumentParser
import JSON
import Loading
import Tokenization

extension SpecialTokensInText: ExpressibleByArgument {}

/// How prompts become what a model reads; the names are those of the run configuration's `model` section.
struct PromptRenderingOptions: ParsableArguments {
  @Option(
    help: "auto (the template that comes with the model), plain, chatml, llama3, deepseek, or a file with a template.")
  var chatTemplate = "auto"
  @Option(help: "System prompt of conversations without one; default: the template's own.")
  var systemPrompt: String?
  @Option(
    help: "NAME=VALUE that the template sees, such as enable_thinking=false; may be given several times.")
  var templateVariable: [String] = []
  @Option(help: "What special tokens in user, system and tool turns become: text, or control as with transformers.")
  var specialTokensInText = SpecialTokensInText.text

  /// - Throws: `CommandError` for a variable that is not NAME=VALUE.
  func rendering() throws -> PromptRendering {
    var rendering = PromptRendering(chatTemplate: chatTemplate)
    rendering.systemPrompt = systemPrompt
    rendering.specialTokensInText = specialTokensInText
    for pair in templateVariable {
      guard let separator = pair.firstIndex(of: "="), separator != pair.startIndex else {
        throw CommandError("--template-variable: expected NAME=VALUE, as in enable_thinking=false, got \"\(pair)\"")
      }
      let name = String(pair[..<separator])
      guard rendering.variables[name] == nil else {
        throw CommandError("--template-variable: \(name) is given twice")
      }
      rendering.variables[name] = Self.value(String(pair[pair.index(after: separator)...]))
    }
    return rendering
  }

  /// JSON where it is JSON (`false`, `3`, `"3"`, `["a"]`), the text itself otherwise.
  private static func value(_ text: String) -> JSONValue {
    (try? JSONValue(parsing: Array(text.utf8))) ?? .string(text)
  }
}
