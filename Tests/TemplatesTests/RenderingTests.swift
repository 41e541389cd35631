import JSON
import TemplateSyntax
import Testing

@testable import Templates

struct RenderingTests {
  @Test(arguments: [
    // White space: trim_blocks, lstrip_blocks, signs, comments, the last line break.
    ("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc"),
    ("a  {%- if true -%}  b  {%- endif -%}  c", "abc"),
    ("a\n  {{ 'x' }}\nb", "a\n  x\nb"),
    ("a\n  {%+ if true %}b{% endif %}", "a\n  b"),
    ("a {#- note -#} b {# note #}\nc", "ab c"),
    ("{% raw %}{{ x }}{% endraw %}\n\n\n", "{{ x }}\n"),
    ("a\r\nb\r", "a\nb"),
    // Literals.
    (#"{{ "it's \"q\" \n \x41\u00e9\101 \d" }}"#, "it's \"q\" \n AéA \\d"),
    ("{{ 'a' 'b' ~ 1_000 ~ 0x1f ~ 1e3 ~ none ~ true }}", "ab1000311000.0NoneTrue"),
    ("{{ [1, 2.5, 'a\\'b', none, {'k': (1,)}] }}", "[1, 2.5, \"a'b\", None, {'k': (1,)}]"),
    // Scopes.
    ("{% set x = 1 %}{% for i in [1, 2] %}{% set x = 9 %}{% endfor %}{{ x }}", "1"),
    ("{% if true %}{% set x = 2 %}{% endif %}{{ x }}", "2"),
    ("{% set ns = namespace(n=0) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "3"),
    // A name that is set further down hides the variable of the caller from the loop above it.
    ("{% for i in [1] %}{{ tools is defined }}{% endfor %}{% set tools = 1 %}", "False"),
    // Loops.
    ("{% for i in 'abc' %}{{ loop.index }}{{ i }}{{ ',' if not loop.last }}{% endfor %}", "1a,2b,3c"),
    ("{% for i in [1, 2, 3, 4] if i is odd %}{{ loop.length }}{{ loop.nextitem }} {% endfor %}", "23 2 "),
    ("{% for i in [] %}a{% else %}none{% endfor %}{% for i in missing %}{% endfor %}", "none"),
    ("{% for i in [1, 2, 3] %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "13"),
    ("{% for i in [1, 2, 3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "1"),
    (
      "{% for i in [[1, [2]], 3] recursive %}{% if i is iterable %}({{ loop(i) }}){% else %}{{ i }}{% endif %}{% endfor %}",
      "(1(2))3"
    ),
    ("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{{ loop.cycle('x', 'y') }}{% endfor %}", "a1xb2y"),
    // Macros, call blocks, set blocks, filter blocks.
    ("{% macro m(a, b='B') %}{{ a }}{{ b }}{{ kwargs.c }}{{ varargs }}{% endmacro %}{{ m(1, 2, 3, c=4) }}", "124(3,)"),
    ("{% macro m() %}<{{ caller('x') }}>{% endmacro %}{% call(y) m() %}{{ y }}{% endcall %}", "<x>"),
    ("{% set x | upper %}a{{ 1 }}{% endset %}{{ x }}{% filter trim %} b {% endfilter %}", "A1b"),
    ("{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}", "3False"),
    ("{% generation %}{{ 'g' }}{% endgeneration %}", "g"),
    // Lookup: methods before keys by a dot, keys before methods in brackets.
    (
      "{{ {'items': 1}['items'] }}{{ {'a': {'b': 2}}.a.b }}{{ [1, 2][-1] }}{{ 'abc'[::-1] }}{{ 'abc'[1:] }}", "122cbabc"
    ),
    ("{{ {}.missing is defined }}{{ 'x'.__class__ }}{{ [].append is defined }}", "FalseFalse"),
    // Arithmetic and comparison as in Python.
    ("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 1 + true }}", "3 -4 2 3.5 1024 2"),
    (
      "{{ 1 == 1.0 }} {{ 1 < 2 < 3 }} {{ 'a' in 'cat' }} {{ 2 not in [1] }} {{ '%s-%05.1f' % ('a', 2.25) }}",
      "True True True True a-002.2"
    ),
    ("{{ 1e16 }} {{ 1e-5 }} {{ 0.1 + 0.2 }} {{ 1e3 }}", "1e+16 1e-05 0.30000000000000004 1000.0"),
    // Filters.
    ("{{ {'b': [1, 2.0], 'a': 'é\"\\n<'} | tojson }}", "{\"b\": [1, 2.0], \"a\": \"é\\\"\\n<\"}"),
    ("{{ {'a': [1]} | tojson(indent=2) }}", "{\n  \"a\": [\n    1\n  ]\n}"),
    ("{{ [{'k': 'b'}, {'k': 'A'}] | sort(attribute='k') | map(attribute='k') | join('-') }}", "A-b"),
    ("{{ [{'r': 'u'}, {'r': 's'}] | selectattr('r', 'equalto', 's') | list | length }}", "1"),
    ("{{ {'b': 1, 'A': 2} | dictsort }}", "[('A', 2), ('b', 1)]"),
    (
      "{{ ' x ' | trim }}{{ 'ab' | first }}{{ 2.5 | round }}{{ '7.9' | int }}{{ none | default('d', true) }}", "xa2.07d"
    ),
    ("{{ ('<' | safe) + '<' }}", "<&lt;"),
    ("{{ 'a\nb' | indent(2, true) }}", "  a\n  b"),
    // Methods.
    ("{{ 'a,b,c'.split(',', 1) }}{{ '  a b '.split() }}{{ 'xaxx'.strip('x') }}", "['a', 'b,c']['a', 'b']a"),
    (
      "{{ 'x'.startswith(('a', 'x')) }}{{ 'aXb'.partition('X') }}{{ '{:>4}|{a!r}'.format(7, a='q') }}",
      "True('a', 'X', 'b')   7|'q'"
    ),
    ("{{ strftime_now('%d %b %Y, %-d %B, %H:%M %j %A') }}", "04 Jul 2025, 4 July, 15:30 185 Friday"),
    ("{{ add_generation_prompt }}{{ tools is none }}{{ messages[0].role }}", "TrueTrueuser"),
  ])
  func renders(source: String, text: String) throws {
    let rendered = try render(source).text
    #expect(rendered.utf8.elementsEqual(text.utf8), "\(source) gives \(rendered.debugDescription)")
  }

  @Test(arguments: [
    ("{{ raise_exception('no ' ~ 1) }}", "no 1"), ("{{ missing.x }}", "'missing' is undefined"),
    ("{{ 'a' + 1 }}", "TypeError"), ("{{ 'a' + missing }}", "UndefinedError"),
    ("{% for i in none %}{% endfor %}", "TypeError"),
    ("{{ [].append(1) }}", "SecurityError"), ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ("{{ range(200000) }}", "OverflowError"),
    ("{% if %}{% endif %}", "TemplateSyntaxError"), ("{{ 'a }}", "TemplateSyntaxError"),
    ("{% nonsense %}", "unknown tag"), ("{{ x | nonsense }}", "No filter named 'nonsense'"),
    ("{% break %}", "SyntaxError"), ("{% set loop.x = 1 %}", "non-namespace"),
    ("{% macro m(a) %}{% endmacro %}{{ m(b=1) }}", "takes no keyword argument 'b'"),
  ])
  func failsAsPython(source: String, part: String) {
    let error = failure(source)
    #expect(error?.kind == .failed || error?.kind == .raised, "\(source)")
    #expect(error?.message.contains(part) == true, "\(source): \(String(describing: error))")
  }

  @Test func namesWhatItLacks() {
    for (source, part) in [
      ("a\n{% include 'b' %}", "line 2: the tag 'include'"), ("{{ 'x' | urlize }}", "the filter 'urlize'"),
      ("{{ cycler(1) }}", "the function 'cycler'"), ("{{ 2 ** 64 }}", "64 bits"),
      ("{{ 'x'.encode() }}", "method 'encode'"),
    ] {
      let error = failure(source)
      #expect(error?.kind == .unsupported, "\(source)")
      #expect(error?.description.contains(part) == true, "\(source): \(String(describing: error))")
    }
    // What is not reached does no harm.
    #expect(try! render("{% if false %}{{ 'x' | urlize }}{% endif %}a").text == "a")
  }

  @Test func messagesAreMadeReadyAsByTransformers() throws {
    let thoughtful: JSONValue = .members(["role": "assistant", "content": .null, "reasoning": "why"])
    #expect(
      try render("{{ messages[0] }}", messages: [thoughtful]).text
        == "{'thinking': 'why', 'role': 'assistant', 'reasoning': 'why', 'reasoning_content': 'why'}")
    #expect(throws: TemplateError.self) { try render("a", messages: []) }
  }

  @Test func textIsCodePoints() throws {
    // "\r\n" is one Swift Character, and "e" with an accent equals "é" to Swift.
    #expect(try render("{{ m | length }}", ["m": "\r\n😀e\u{301}"]).text == "5")
    #expect(try render("{{ m == 'é' }}", ["m": "e\u{301}"]).text == "False")
    #expect(
      try render("[{{ messages[0].content | trim }}]", messages: [user("\u{A0}\u{200B}\u{3000}")]).text == "[\u{200B}]")
  }
}
