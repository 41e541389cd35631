import JSON
import Testing

@testable import Templates

/// Whatever a template does, it ends soon, takes little memory and never ends the process.
struct LimitTests {
  @Test(arguments: [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{{ 'x' * 999999999999 }}",
    "{{ [0] * 999999999999 }}",
    "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = ns.x | select %}{% endfor %}{{ ns.x | list }}",
    "{{ 'x' | center(99999999999) }}", "{{ '%999999999d' % 1 }}", "{{ '{:999999999}'.format(1) }}",
    "{{ 'x'.ljust(99999999999) }}", "{{ [1] | batch(999999999999, 0) | list }}", "{{ 'a' | indent(99999999) }}",
    "{{ range(99999) | list | join('x' * 9999) }}",
  ])
  func ends(source: String) {
    #expect(failure(source)?.kind == .limit, "\(source)")
  }

  @Test func deepSourcesAreRefused() {
    for source in [
      "{{ " + String(repeating: "(", count: 100_000), "{{ " + String(repeating: "[", count: 100_000),
      "{{ " + String(repeating: "not ", count: 50_000) + "1 }}",
      "{{ " + String(repeating: "-", count: 100_000) + "1 }}",
      "{{ 1" + String(repeating: " + 1", count: 50_000) + " }}",
      "{{ x" + String(repeating: ".x", count: 50_000) + " }}",
      "{{ x" + String(repeating: "|e", count: 50_000) + " }}",
      String(repeating: "{% if 1 %}", count: 20_000), String(repeating: "{% for x in y %}", count: 15_000),
      "{% set " + String(repeating: "(", count: 100_000), String(repeating: " ", count: 1 << 19),
    ] {
      #expect(failure(source)?.kind == .limit, "\(source.prefix(30))")
    }
  }

  @Test func circlesAreLetGo() throws {
    let source =
      "{% set ns = namespace() %}{% set ns.a = [ns] %}{% macro m() %}{{ ns.a is defined }}{% endmacro %}{% set ns.m = m %}{{ ns.m() }}"
    #expect(try render(source).text == "True")
    #expect(failure("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}")?.kind == .limit)
  }

  @Test func randomTemplatesEnd() throws {
    var texts = 0
    for seed in 1...3000 as ClosedRange<UInt64> {
      var fuzzer = TemplateFuzzer(seed: seed)
      if case .text = try TemplateFuzzer.outcome(fuzzer.template()) { texts += 1 }
    }
    // Many of them are good templates: the fuzzing reaches beyond the parser.
    #expect(texts > 300)
  }
}
