extension ChatTemplate {
  /// Templates of common families, for models that come without one: by the name that `chat_template` takes.
  public enum Family: String, Sendable, CaseIterable {
    /// `<|im_start|>role\ncontent<|im_end|>\n`
    case chatml
    /// `<|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>`, the date of the preamble fixed.
    case llama3
    /// `<｜User｜>content<｜Assistant｜>`, with a thought opened.
    case deepseek

    /// The template. A `bos_token` that the model does not name is the family's own.
    var source: String {
      switch self {
      case .chatml:
        """
        {% for message in messages %}
        {{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
        {%- endfor %}
        {% if add_generation_prompt %}
        {{ '<|im_start|>assistant\\n' }}
        {%- endif %}
        """
      case .llama3:
        """
        {{- bos_token | default('<|begin_of_text|>', true) }}
        {%- set date_string = date_string | default('26 Jul 2024', true) %}
        {%- set start = 1 if messages[0].role == 'system' else 0 %}
        {{- '<|start_header_id|>system<|end_header_id|>\\n\\nCutting Knowledge Date: December 2023\\nToday Date: ' }}
        {{- date_string + '\\n\\n' }}
        {%- if start %}{{- messages[0].content | trim }}{% endif %}
        {{- '<|eot_id|>' }}
        {%- for message in messages[start:] %}
            {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' }}
        {%- endfor %}
        {%- if add_generation_prompt %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
        {%- endif %}
        """
      case .deepseek:
        """
        {{- bos_token | default('<｜begin▁of▁sentence｜>', true) }}
        {%- set ns = namespace(system='') %}
        {%- for message in messages if message.role == 'system' %}{% set ns.system = message.content %}{% endfor %}
        {{- ns.system }}
        {%- for message in messages if message.role != 'system' %}
            {%- if message.role == 'assistant' %}
                {{- '<｜Assistant｜>' + message.content.split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}
            {%- else %}
                {{- '<｜User｜>' + message.content }}
            {%- endif %}
        {%- endfor %}
        {%- if add_generation_prompt %}
            {{- '<｜Assistant｜><think>\\n' }}
        {%- endif %}
        """
      }
    }

    /// Tokens by which a vocabulary shows that its model knows the family.
    var tokens: [String] {
      switch self {
      case .chatml: ["<|im_start|>", "<|im_end|>"]
      case .llama3: ["<|start_header_id|>", "<|eot_id|>"]
      case .deepseek: ["<｜User｜>", "<｜Assistant｜>"]
      }
    }
  }

  /// One turn after another, without chat tokens.
  public static let plain = ChatTemplate(.plain, name: "plain")

  public init(family: Family) throws { try self.init(source: family.source, name: family.rawValue) }

  /// The template of a model that comes without one.
  ///
  /// - Parameter tokens: the model's added tokens.
  /// - Returns: `plain` for a vocabulary without chat tokens.
  /// - Throws: `TokenizationError` when there are chat tokens: a guess would train on wrong prompts.
  public static func absent(tokens: [String]) throws -> ChatTemplate {
    func has(_ token: String) -> Bool { tokens.contains { $0.utf8.elementsEqual(token.utf8) } }
    guard let family = Family.allCases.first(where: { $0.tokens.allSatisfy(has) }) else { return .plain }
    throw TokenizationError(
      "the model has the chat tokens \(family.tokens.joined(separator: " and ")) but comes without a chat template. Set "
        + "`chat_template` (--chat-template) to a file with its template, to `\(family.rawValue)`, or to `plain`.")
  }
}
