/// The dashboard's page: one HTML file that fetches from the server that gave it and from nowhere else.
enum DashboardPage {
  static func html(title: String) -> String {
    let name = title.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing("\"", with: "&quot;")
    return """
      <!doctype html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <link rel="icon" href="data:,">
      <title>\(name): softgrpo</title>
      <style>
      \(style)
      </style>
      </head>
      <body>
      <a class="skip" href="#curves">Skip to the curves</a>
      <header>
      <h1>\(name)</h1>
      <p id="phase" role="status">Waiting for the run's status.</p>
      <progress id="progress" max="1" value="0" aria-label="Steps done"></progress>
      <nav aria-label="On this page"><a href="#curves">Curves</a> <a href="#workers">Workers</a> <a href="#warnings">Warnings</a>
      <a href="#evaluations">Evaluations</a> <a href="traces">Soft traces</a></nav>
      </header>
      <main>
      <dl id="figures"></dl>
      <section id="warnings" aria-labelledby="warnings-title"><h2 id="warnings-title">Warnings</h2><ul id="warning-list"></ul></section>
      <section id="curves" aria-labelledby="curves-title" tabindex="-1"><h2 id="curves-title">Curves</h2>
      <p class="hint">Keys in a curve: <kbd>←</kbd> <kbd>→</kbd> from point to point, <kbd>Home</kbd> <kbd>End</kbd>.</p>
      <div id="charts"></div>
      <label>Another metric <select id="more"><option value="">choose…</option></select></label>
      </section>
      <section id="workers" aria-labelledby="workers-title"><h2 id="workers-title">Workers</h2>
      <p id="fleet"></p>
      <div class="wide"><table><thead><tr><th scope="col">worker</th><th scope="col">samples out</th><th scope="col">slots</th>
      <th scope="col">version</th><th scope="col">tokens/s</th><th scope="col">state</th></tr></thead><tbody id="worker-rows"></tbody></table></div>
      </section>
      <section id="evaluations" aria-labelledby="evaluations-title"><h2 id="evaluations-title">Evaluations</h2>
      <div class="wide"><table><thead id="evaluation-head"></thead><tbody id="evaluation-rows"></tbody></table></div>
      </section>
      </main>
      <noscript>The dashboard is drawn by the script in this page, which is switched off.</noscript>
      <script>
      \(script)
      </script>
      </body>
      </html>

      """
  }

  private static let style = """
    :root { color-scheme: light dark; --ground: #fff; --text: #1b1b1b; --faint: #5c5c5c; --line: #ccc; --card: #f6f6f6; --curve: #0062a3; --bad: #a43d00; }
    @media (prefers-color-scheme: dark) { :root { --ground: #141414; --text: #e8e8e8; --faint: #a8a8a8; --line: #444; --card: #1e1e1e; --curve: #56b4e9; --bad: #ff9a57; } }
    * { box-sizing: border-box; }
    body { margin: 0; font: 15px/1.5 system-ui, sans-serif; background: var(--ground); color: var(--text); }
    header, main { padding: 0.5rem 1rem; max-width: 90rem; margin: 0 auto; }
    h1 { font-size: 1.3rem; margin: 0.3rem 0; overflow-wrap: anywhere; }
    h2 { font-size: 1.05rem; margin: 1.4rem 0 0.3rem; }
    a { color: var(--curve); }
    nav a { margin-right: 0.8rem; }
    .skip { position: absolute; left: -100rem; }
    .skip:focus { left: 1rem; top: 0.3rem; background: var(--ground); padding: 0.3rem; }
    :focus-visible { outline: 3px solid var(--curve); outline-offset: 1px; }
    progress { width: 100%; height: 0.8rem; accent-color: var(--curve); }
    .hint, dt { color: var(--faint); }
    dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 0.5rem; margin: 0.6rem 0; }
    dl div { background: var(--card); border-radius: 6px; padding: 0.4rem 0.6rem; }
    dt { font-size: 0.8rem; }
    dd { margin: 0; font-size: 1.2rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
    #warning-list { padding-left: 1.2rem; margin: 0; }
    #warning-list li.bad { color: var(--bad); }
    #charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 0.8rem; margin: 0.4rem 0 0.8rem; }
    figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: 0.4rem 0.6rem; min-width: 0; }
    figcaption { display: flex; justify-content: space-between; gap: 0.5rem; flex-wrap: wrap; }
    figcaption span { color: var(--faint); font-variant-numeric: tabular-nums; }
    svg { width: 100%; height: 9rem; display: block; }
    svg text { fill: var(--faint); font-size: 11px; }
    svg path { fill: none; stroke: var(--curve); stroke-width: 1.6; vector-effect: non-scaling-stroke; }
    svg .mark { stroke: var(--faint); stroke-dasharray: 3 3; }
    .wide { overflow-x: auto; }
    table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
    th, td { text-align: right; padding: 0.15rem 0.7rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
    th:first-child, td:first-child { text-align: left; padding-left: 0; }
    select { font: inherit; max-width: 100%; }
    kbd { border: 1px solid var(--line); border-radius: 3px; padding: 0 0.3em; }
    """

  /// Names that a page without them leaves out are simply not drawn.
  private static let script = #"""
    "use strict";
    const shown = ["reward/mean", "thinking_length/mean", "completion_length/mean", "actor/entropy", "softness/effective_components",
      "softness/mixed", "actor/kl_loss", "actor/grad_norm", "actor/pg_clipfrac", "perf/tokens_per_second", "time/step", "training/audit_failures"];
    const $ = id => document.getElementById(id);
    const number = value => value === null || value === undefined ? "–" : typeof value === "string" ? value
      : Number.isInteger(value) && Math.abs(value) < 1e15 ? value.toLocaleString("en") : Math.abs(value) >= 1e7 || (value && Math.abs(value) < 0.001) ? value.toExponential(2)
      : Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : value.toFixed(3);
    const make = (name, text, attributes = {}) => {
      const element = document.createElement(name);
      if (text !== undefined) element.textContent = text;
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      return element;
    };
    const duration = seconds => seconds < 90 ? Math.round(seconds) + " s" : seconds < 5400 ? Math.round(seconds / 60) + " min" : (seconds / 3600).toFixed(1) + " h";
    const get = async path => {
      const answer = await fetch(path);
      if (!answer.ok) throw new Error(path + " answered " + answer.status);
      return answer.json();
    };

    const charts = new Map();
    const width = 400, height = 130, left = 46, bottom = 16;
    const svg = (name, attributes, text) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      if (text !== undefined) element.textContent = text;
      return element;
    };
    function chart(name) {
      if (charts.has(name)) return charts.get(name);
      const figure = make("figure");
      const caption = make("figcaption");
      const value = make("span", "");
      caption.append(make("strong", name), value);
      const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", tabindex: "0" });
      figure.append(caption, drawing);
      const made = { figure, drawing, value, at: null, points: [], steps: [] };
      drawing.addEventListener("keydown", event => {
        const count = made.steps.length;
        if (!count) return;
        const at = made.at ?? count - 1;
        const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: count - 1 }[event.key];
        if (next === undefined) return;
        event.preventDefault();
        made.at = Math.max(0, Math.min(count - 1, next));
        draw(name);
      });
      drawing.addEventListener("mousemove", event => {
        const box = drawing.getBoundingClientRect();
        const share = ((event.clientX - box.left) / box.width * width - left) / (width - left - 4);
        made.at = Math.max(0, Math.min(made.steps.length - 1, Math.round(share * (made.steps.length - 1))));
        draw(name);
      });
      drawing.addEventListener("mouseleave", () => { made.at = null; draw(name); });
      drawing.addEventListener("blur", () => { made.at = null; draw(name); });
      charts.set(name, made);
      return made;
    }
    function draw(name) {
      const { drawing, value, at, points, steps } = chart(name);
      const known = points.filter(point => point !== null);
      drawing.replaceChildren();
      if (!known.length) return;
      let low = Infinity, high = -Infinity;
      for (const point of known) { low = Math.min(low, point); high = Math.max(high, point); }
      if (high === low) { high += Math.abs(high) * 0.1 || 1; low -= Math.abs(low) * 0.1 || 1; }
      const first = steps[0], last = steps[steps.length - 1];
      const x = step => left + (step - first) / Math.max(1, last - first) * (width - left - 4);
      const y = point => 6 + (high - point) / (high - low) * (height - bottom - 12);
      let path = "", isOn = false;
      points.forEach((point, index) => {
        if (point === null) { isOn = false; return; }
        path += (isOn ? "L" : "M") + x(steps[index]).toFixed(1) + " " + y(point).toFixed(1);
        isOn = true;
      });
      if (known.length === 1) path += "h3";
      drawing.append(svg("path", { d: path }));
      drawing.append(svg("text", { x: 0, y: 12 }, number(high)), svg("text", { x: 0, y: height - bottom - 2 }, number(low)));
      drawing.append(svg("text", { x: left, y: height - 3 }, "step " + first), svg("text", { x: width - 4, y: height - 3, "text-anchor": "end" }, String(last)));
      const place = at ?? points.findLastIndex(point => point !== null);
      if (at !== null) drawing.append(svg("line", { class: "mark", x1: x(steps[at]), x2: x(steps[at]), y1: 4, y2: height - bottom }));
      value.textContent = `${number(points[place])} at step ${steps[place]}`;
      drawing.setAttribute("aria-label", `${name}: ${value.textContent}; from ${number(low)} to ${number(high)} over steps ${first} to ${last}`);
    }

    let names = [], seen = {};
    async function curves() {
      const known = await get("api/names");
      if (known.length !== names.length) {
        names = known;
        const more = $("more"), chosen = more.value;
        more.replaceChildren(make("option", "choose…", { value: "" }), ...names.filter(name => !shown.includes(name)).map(name => make("option", name, { value: name })));
        more.value = chosen;
      }
      const wanted = shown.filter(name => names.includes(name));
      if (!wanted.length) return;
      // Of the curves that are here only what is new: every point but the last stays as it is.
      const key = encodeURIComponent(wanted.join(",")), before = seen.key === key ? seen : { steps: [] };
      const since = before.steps.length > 1 ? `&state=${before.state}&from=${before.steps.at(-2)}` : "";
      const answer = await get("api/curves?names=" + key + since);
      const kept = answer.from === null ? 0 : before.steps.length - 1;
      const steps = [...before.steps.slice(0, kept), ...answer.steps];
      const points = new Map(wanted.map(name => [name, [...(kept ? before.points.get(name).slice(0, kept) : []), ...(answer.series[name] ?? [])]]));
      seen = { key, state: answer.state, steps, points };
      for (const name of wanted) {
        const made = chart(name);
        made.steps = steps;
        made.points = points.get(name);
        if (made.at !== null) made.at = Math.min(made.at, made.steps.length - 1);
        if (!made.figure.isConnected) $("charts").append(made.figure);
        draw(name);
      }
    }
    $("more").addEventListener("change", event => {
      if (!event.target.value) return;
      shown.push(event.target.value);
      names = [];
      curves().catch(failed);
    });

    async function status() {
      const answer = await fetch("api/status");
      if (answer.status === 503) {
        $("phase").textContent = "The run has not begun to sample: it loads its model or warms it up.";
        return;
      }
      if (!answer.ok) throw new Error("api/status answered " + answer.status);
      const now = await answer.json();
      const age = now.now - now.time;
      const isLost = now.phase !== "ended" && !now.is_running;
      const words = { sampling: `samples: ${now.finished_groups} of ${now.groups} groups`, updating: "updates its weights", ended: "has ended" };
      $("phase").textContent = `Step ${now.completed_steps} of ${now.total_steps} done, ${isLost ? "is not running: it was stopped or died; --resume goes on" : words[now.phase] ?? now.phase}`
        + (now.phase !== "ended" && !isLost && age > 30 ? `; nothing was heard of it for ${duration(age)}` : "");
      $("progress").value = now.total_steps ? now.completed_steps / now.total_steps : 0;
      document.title = `${now.completed_steps}/${now.total_steps} ${now.name}: softgrpo`;
      const metrics = now.metrics;
      const rate = metrics["time/step"];
      const figures = [["reward", metrics["reward/mean"]], ["thinking length", metrics["thinking_length/mean"]], ["entropy", metrics["actor/entropy"]],
        ["effective components", metrics["softness/effective_components"]], ["tokens/s", metrics["perf/tokens_per_second"]],
        ["seconds a step", rate], ["left", rate && now.phase !== "ended" && !isLost ? duration(rate * (now.total_steps - now.completed_steps)) : undefined]];
      $("figures").replaceChildren(...figures.filter(pair => pair[1] !== undefined).map(([name, value]) => {
        const box = make("div");
        box.append(make("dt", name), make("dd", number(value)));
        return box;
      }));
      $("fleet").textContent = `${now.workers.length} workers, ${now.leased_samples} samples out, ${now.queued_samples} wait, ${now.lost_sessions} sessions lost`
        + (now.version === null ? "" : `, version ${now.version}`);
      $("worker-rows").replaceChildren(...now.workers.map(worker => {
        const row = make("tr");
        row.append(...[worker.name, worker.leased_samples, worker.active_slots, worker.held_version < 0 ? "–" : worker.held_version,
          Math.round(worker.tokens_per_second), now.phase === "ended" || isLost ? "–" : worker.is_draining ? "drains" : "works"].map(cell => make("td", cell)));
        return row;
      }));
    }
    async function warnings() {
      const all = (await get("api/warnings")).reverse();
      // The newest of each kind.
      const list = all.filter((one, place) => all.findIndex(other => other.name === one.name) === place);
      const times = name => all.filter(one => one.name === name).length;
      $("warning-list").replaceChildren(...(list.length ? list.map(one => make("li", `step ${one.step ?? "?"}: ${one.what ?? ""}` + (one.causes ?? []).map(cause => `: ${cause.why}; ${cause.remedy}`).join("") + ` [${one.name ?? ""}` + (times(one.name) > 1 ? `, ${times(one.name)} times]` : "]"), { class: "bad" }))
        : [make("li", "None.")]));
    }
    async function evaluations() {
      const list = await get("api/evaluations");
      const columns = [...new Set(list.flatMap(one => Object.keys(one.metrics)))].filter(name => /pass@|maj@/.test(name)).slice(0, 12);
      const head = make("tr");
      head.append(...["after step", ...columns.map(name => name.replace(/^eval\//, ""))].map(name => make("th", name, { scope: "col" })));
      $("evaluation-head").replaceChildren(...(list.length ? [head] : []));
      $("evaluation-rows").replaceChildren(...list.map(one => {
        const row = make("tr");
        row.append(make("td", one.step), ...columns.map(name => make("td", number(one.metrics[name]))));
        return row;
      }));
      if (!list.length) {
        const row = make("tr");
        row.append(make("td", "None yet."));
        $("evaluation-rows").replaceChildren(row);
      }
    }

    function failed(error) { $("phase").textContent = "The dashboard's server does not answer: " + error.message; }
    async function look() {
      if (!document.hidden) {
        try { await status(); await curves(); await warnings(); await evaluations(); } catch (error) { failed(error); }
      }
      setTimeout(look, 3000);
    }
    look();
    """#
}
