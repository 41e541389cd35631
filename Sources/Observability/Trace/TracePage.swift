import JSON

/// Recorded samples (`samples.jsonl`) as one HTML file that needs nothing else: no network, no other file.
public enum TracePage {
  /// - Parameters:
  ///   - title: of the page, such as the run's folder.
  ///   - groups: lines of `samples.jsonl`.
  public static func html(title: String, groups: [JSONValue]) -> String {
    // In a script element only "<" could end it or open a comment.
    let data = JSONValue.array(groups).encoded(indent: nil).replacing("<", with: "\\u003c")
    return """
      <!doctype html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <title>\(escaped(title)): soft traces</title>
      <style>
      \(style)
      </style>
      </head>
      <body>
      <header>
      <h1>\(escaped(title))</h1>
      <label>Group <select id="groups"></select></label>
      <p class="hint">Keys: <kbd>n</kbd> <kbd>p</kbd> next and previous group, <kbd>Tab</kbd> to a sample's steps, <kbd>←</kbd> <kbd>→</kbd> from step to step, <kbd>Home</kbd> <kbd>End</kbd>.</p>
      </header>
      <main>
      <section id="about" aria-label="The group"></section>
      <section id="samples" aria-label="Its samples"></section>
      </main>
      <aside id="detail" aria-live="polite" aria-label="The chosen step"><p class="hint">Choose a step.</p></aside>
      <noscript>The traces are drawn by the script in this page, which is switched off.</noscript>
      <script type="application/json" id="data">\(data)</script>
      <script>
      \(script)
      </script>
      </body>
      </html>

      """
  }

  private static func escaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing("\"", with: "&quot;")
  }

  private static let style = """
    :root { color-scheme: light dark; --ground: #fff; --text: #1b1b1b; --faint: #5c5c5c; --line: #ccc; --card: #f6f6f6; --soft: 0, 114, 178; --good: #00674a; --bad: #a43d00; }
    @media (prefers-color-scheme: dark) { :root { --ground: #141414; --text: #e8e8e8; --faint: #a8a8a8; --line: #444; --card: #1e1e1e; --soft: 86, 180, 233; --good: #3fd3a4; --bad: #ff9a57; } }
    * { box-sizing: border-box; }
    body { margin: 0; font: 15px/1.5 system-ui, sans-serif; background: var(--ground); color: var(--text); padding-bottom: 17rem; }
    header, main { padding: 0.5rem 1rem; }
    h1 { font-size: 1.2rem; margin: 0.3rem 0; overflow-wrap: anywhere; }
    select { font: inherit; max-width: 100%; }
    .hint { color: var(--faint); margin: 0.3rem 0; }
    kbd { border: 1px solid var(--line); border-radius: 3px; padding: 0 0.3em; }
    pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card); padding: 0.5rem; border-radius: 4px; margin: 0.3rem 0; max-height: 14rem; overflow: auto; }
    #samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: 0.8rem; }
    article { border: 1px solid var(--line); border-radius: 6px; padding: 0.6rem; min-width: 0; }
    article.whole { grid-column: 1 / -1; }
    h2 { font-size: 1rem; margin: 0 0 0.3rem; }
    dl { display: flex; flex-wrap: wrap; gap: 0 1.2rem; margin: 0; }
    dt { color: var(--faint); } dd { margin: 0; } dl div { display: flex; gap: 0.4rem; }
    .good { color: var(--good); } .bad { color: var(--bad); }
    .steps { margin: 0.5rem 0; line-height: 2; }
    .steps button { font: 14px ui-monospace, monospace; border: 1px solid var(--line); border-radius: 3px; color: inherit; background: transparent; padding: 0 0.25em; margin: 0 1px; white-space: pre; cursor: pointer; }
    .steps button[aria-pressed=true] { outline: 3px solid rgb(var(--soft)); }
    .steps button:focus-visible { outline: 3px solid currentColor; }
    .steps .forced, .steps .replayed { border-style: dashed; color: var(--faint); }
    .steps .end { border-width: 2px; font-weight: bold; }
    .mark { color: var(--faint); border-left: 3px solid rgb(var(--soft)); padding-left: 0.4em; margin: 0 0.3em; }
    #detail { position: fixed; bottom: 0; left: 0; right: 0; max-height: 16rem; overflow: auto; background: var(--card); border-top: 2px solid var(--line); padding: 0.5rem 1rem; }
    #detail table { border-collapse: collapse; } #detail td { padding: 0 0.6rem 0 0; font-family: ui-monospace, monospace; white-space: pre; }
    .bar { display: inline-block; height: 0.8em; background: rgb(var(--soft)); }
    """

  private static let script = """
    'use strict';
    const groups = JSON.parse(document.getElementById('data').textContent);
    const $ = (id) => document.getElementById(id);
    const make = (tag, text, name) => { const e = document.createElement(tag); if (text !== undefined) e.textContent = text; if (name) e.className = name; return e; };
    const shown = (text) => text === '' ? '∅' : text.replace(/\\n/g, '⏎').replace(/\\t/g, '⇥');
    const figure = (value) => typeof value === 'number' ? value.toFixed(3) : value === null || value === undefined ? '–' : String(value);
    const facts = (pairs) => { const list = make('dl'); for (const [name, value, kind] of pairs) { const pair = make('div'); pair.append(make('dt', name), make('dd', value, kind)); list.append(pair); } return list; };
    const kinds = { soft: 'soft step', token: 'token', end: 'token that ends the thinking or the answer', forced: 'forced text', replayed: 'replayed step' };
    function detail(sample, index) {
      const step = sample.steps[index], box = $('detail');
      box.replaceChildren(make('h2', 'sample ' + sample.index + ', step ' + (index + 1) + ' of ' + sample.steps.length + ': ' + kinds[step.k]));
      const weights = step.t.map((pair) => pair[1]);
      const entropy = weights.reduce((sum, w) => w > 0 ? sum - w * Math.log(w) : sum, 0);
      const pairs = [['log-prob', figure(step.l)], ['advantage', figure('a' in step ? step.a : sample.advantage)]];
      if (step.k === 'soft') pairs.push(['entropy of the mixture', figure(entropy) + ' nats'], ['weights shown', figure(weights.reduce((a, b) => a + b, 0))]);
      if ('h' in step) pairs.push(['entropy of the distribution', figure(step.h) + ' nats']);
      box.append(facts(pairs));
      const table = make('table');
      for (const [token, weight] of step.t) {
        const row = make('tr'), bar = make('span', undefined, 'bar'), cell = make('td');
        bar.style.width = (weight * 20) + 'rem'; cell.append(bar);
        row.append(make('td', shown(token)), make('td', figure(weight)), cell); table.append(row);
      }
      box.append(table);
    }
    function steps(sample) {
      const line = make('div', undefined, 'steps'); line.setAttribute('role', 'group'); line.setAttribute('aria-label', 'Steps of sample ' + sample.index);
      const buttons = sample.steps.map((step, index) => {
        const token = step.t.length ? step.t[0][0] : '', largest = step.t.length ? step.t[0][1] : 0;
        const button = make('button', shown(token), step.k); button.type = 'button'; button.tabIndex = index ? -1 : 0; button.setAttribute('aria-pressed', 'false');
        if (step.k === 'soft') { button.style.background = 'rgba(var(--soft), ' + (0.1 + 0.6 * (1 - largest)).toFixed(2) + ')'; button.title = largest.toFixed(3); }
        button.addEventListener('focus', () => { for (const other of document.querySelectorAll('.steps button[aria-pressed=true]')) other.setAttribute('aria-pressed', 'false'); button.setAttribute('aria-pressed', 'true'); for (const other of buttons) other.tabIndex = -1; button.tabIndex = 0; detail(sample, index); });
        button.addEventListener('click', () => button.focus());
        button.addEventListener('keydown', (event) => {
          const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: buttons.length - 1 }[event.key];
          if (to !== undefined && buttons[to]) { event.preventDefault(); buttons[to].focus(); }
        });
        return button;
      });
      let isThinking = sample.steps.some((step) => step.k === 'soft');
      let lastSoft = -1; sample.steps.forEach((step, index) => { if (step.k === 'soft') lastSoft = index; });
      buttons.forEach((button, index) => {
        line.append(button);
        const next = sample.steps[index + 1];
        if (isThinking && index >= lastSoft && (!next || next.k !== 'end')) { line.append(make('span', 'the thought ends', 'mark')); isThinking = false; }
      });
      return line;
    }
    function show(index) {
      const group = groups[index]; $('groups').value = index; history.replaceState(null, '', '#' + index);
      const about = $('about');
      about.replaceChildren(facts([['step', String(group.step)], ['prompt', group.prompt_id], ['policy', group.policy], ['reference answer', group.reference]]), make('pre', group.prompt));
      const best = Math.max(...group.samples.map((s) => s.reward)), list = $('samples'); list.replaceChildren();
      for (const sample of [...group.samples].sort((a, b) => b.reward - a.reward || a.index - b.index)) {
        const card = make('article', undefined, sample.steps ? 'whole' : ''); card.append(make('h2', 'sample ' + sample.index));
        card.append(facts([['reward', figure(sample.reward), sample.reward > 0 && sample.reward === best ? 'good' : 'bad'], ['advantage', figure(sample.advantage)], ['thinking', String(sample.thinking)], ['length', String(sample.length)], ['ended by', sample.finish === 'stop' ? 'itself' : 'its budget'], ['version', String(sample.version)]]));
        if (sample.steps) card.append(steps(sample)); else card.append(make('pre', sample.text));
        card.append(facts([['answer', sample.answer]]));
        for (const [name, text] of Object.entries(sample.explanations)) card.append(facts([[name, text]]));
        list.append(card);
      }
      $('detail').replaceChildren(make('p', 'Choose a step.', 'hint'));
    }
    groups.forEach((group, index) => { const option = make('option', 'step ' + group.step + ', ' + group.prompt_id); option.value = index; $('groups').append(option); });
    $('groups').addEventListener('change', (event) => show(Number(event.target.value)));
    document.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === 'SELECT') return;
      const at = Number($('groups').value);
      if (event.key === 'n' && groups[at + 1]) show(at + 1);
      if (event.key === 'p' && groups[at - 1]) show(at - 1);
    });
    show(Math.min(Math.max(0, Number(location.hash.slice(1)) || 0), groups.length - 1));
    """
}
