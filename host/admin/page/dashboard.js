// The dashboard: one stream of overviews, from which everything is drawn anew; details are asked for.
"use strict";

const KEPT = 60; // points of a curve
const LATE_MS = 60000, BAD_MS = 300000, QUARTER_MS = 6 * 3600000;
const byId = (id) => document.getElementById(id);
const token = { value: "" };
let playing = false; // whoever looks may change something: tidemill dev
const curves = new Map(); // name of a curve -> numbers
const counted = new Map(); // name of a counter -> [time, value]
let overview = null;

const mayChange = () => Boolean(token.value) || playing;

// ---- words ----

function age(ms) {
  if (ms === undefined || ms === null) return "-";
  if (ms < 1000) return "0s";
  if (ms < 120000) return `${Math.floor(ms / 1000)}s`;
  if (ms < 7200000) return `${Math.floor(ms / 60000)}m`;
  if (ms < 172800000) return `${Math.floor(ms / 3600000)}h`;
  return `${Math.floor(ms / 86400000)}d`;
}

const when = (ms) => (ms ? new Date(ms).toISOString().replace(".000Z", "Z") : "-");
const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

function few(n) {
  if (n === null || n === undefined) return "-";
  return n >= 100 ? Math.round(n).toLocaleString("en") : n >= 1 ? n.toFixed(1) : n > 0 ? n.toFixed(2) : "0";
}

// ---- elements ----

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "onclick") made.addEventListener("click", value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function curve(name) {
  const points = curves.get(name) || [];
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "curve");
  svg.setAttribute("viewBox", `0 0 ${KEPT} 20`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const most = Math.max(...points, 1e-9);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const from = KEPT - points.length;
  line.setAttribute("points", points.map((value, i) => `${from + i + 1},${(19 - (18 * value) / most).toFixed(1)}`).join(" "));
  svg.append(line);
  return svg;
}

function keep(name, value) {
  const points = curves.get(name) || [];
  points.push(value);
  if (points.length > KEPT) points.shift();
  curves.set(name, points);
}

// Of a counter: how much a second, since it was seen last.
function rate(name, value, time) {
  const before = counted.get(name);
  counted.set(name, [time, value]);
  if (!before || time <= before[0]) return null;
  return Math.max(0, ((value - before[1]) * 1000) / (time - before[0]));
}

// A table whose rows keep their place and focus: each has a key.
function draw(place, columns, rows, keyOf, classOf) {
  let table = place.querySelector("table");
  if (!rows.length) {
    place.replaceChildren();
    return;
  }
  if (!table) {
    const head = element("tr", {}, ...columns.map((column) => element("th", { scope: "col", class: [column.class === "text" ? "text" : "", column.narrow ? "narrow-off" : ""].filter(Boolean).join(" ") || undefined }, column.title)));
    table = element("table", {}, element("thead", {}, head), element("tbody"));
    place.replaceChildren(element("div", { class: "scroll" }, table));
  }
  const body = table.tBodies[0];
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const wanted = new Set(rows.map(keyOf));
  known.forEach((row, key) => wanted.has(key) || row.remove());
  rows.forEach((data, i) => {
    const key = keyOf(data);
    let row = known.get(key);
    if (!row) {
      row = element("tr", {});
      row.dataset.key = key;
      row.append(...columns.map((column) => element("td", { class: [column.class, column.narrow ? "narrow-off" : ""].filter(Boolean).join(" ") || undefined })));
    }
    known.delete(key);
    row.className = classOf ? classOf(data) : "";
    columns.forEach((column, j) => {
      const cell = row.cells[j];
      const shown = column.show(data);
      // What has not changed keeps the focus, and what is just being pressed.
      if (cell.querySelector("button") && [shown].flat().map((one) => (typeof one === "object" ? one.textContent : one)).join("") === cell.textContent) return;
      if (typeof shown !== "object" || shown === null) {
        if (cell.textContent !== String(shown)) cell.textContent = shown;
      } else cell.replaceChildren(...(Array.isArray(shown) ? shown : [shown]));
    });
    if (body.rows[i] !== row) body.insertBefore(row, body.rows[i] || null);
  });
}

// ---- asking ----

function headers() {
  return token.value ? { Authorization: `Bearer ${token.value}` } : {};
}

async function get(path) {
  const answer = await fetch(path, { headers: headers() });
  if (answer.status === 401) throw new Error("this is for who shows the admin_token");
  const data = await answer.json();
  if (!answer.ok) throw new Error(data.error);
  return data;
}

let toldTimer;
function tell(text) {
  byId("told").textContent = text;
  clearTimeout(toldTimer);
  toldTimer = setTimeout(() => (byId("told").textContent = ""), 8000);
}

async function act(order) {
  try {
    const answer = await fetch("api/action", {
      method: "POST",
      headers: { ...headers(), "Content-Type": "application/json" },
      body: JSON.stringify(order),
    });
    if (answer.status === 401) throw new Error("only who shows the admin_token of [host] may change something");
    const data = await answer.json();
    if (!answer.ok) throw new Error(data.error);
    tell(data.told);
    return true;
  } catch (problem) {
    tell(problem.message);
    return false;
  }
}

// One question: yes or no, or a text. Null: no.
function ask(text, label, value) {
  const dialog = byId("ask");
  byId("ask-text").textContent = text;
  byId("ask-label").hidden = label === undefined;
  byId("ask-label").firstElementChild.textContent = label || "";
  byId("ask-value").value = value || "";
  dialog.returnValue = "no";
  dialog.showModal();
  byId(label === undefined ? "ask-yes" : "ask-value").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? byId("ask-value").value || "yes" : null), { once: true });
  });
}

// Enter in the field means yes, not the first button.
byId("ask-value").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  byId("ask").close("yes");
});

// ---- the overview ----

const shortly = (text) => (text.length > 90 ? `${text.slice(0, 88)} ...` : text);

function verdict(now) {
  const troubles = now.trouble_count;
  if (now.error) return ["bad", now.error];
  if (!now.running) return ["bad", "no host runs on this state"];
  if (now.unready.length) return ["bad", `not ready: ${shortly(now.unready[0])}`];
  if (troubles) return ["bad", `${plural(troubles, "thing")} ${troubles === 1 ? "does" : "do"} not work`];
  const dead = now.handlers.reduce((sum, handler) => sum + handler.dead, 0);
  if (now.event_count) return ["bad", `${plural(now.event_count, "gap")}: records were lost`];
  if (now.handlers.some((handler) => !handler.paused && handler.lag_ms >= BAD_MS)) return ["bad", "a handler is far behind"];
  if (dead) return ["late", plural(dead, "dead letter")];
  if (now.handlers.some((handler) => handler.lag_ms >= LATE_MS)) return ["late", "a handler is behind"];
  if (now.handlers.some((handler) => handler.paused)) return ["late", "a handler is paused"];
  return ["good", "well"];
}

function number(now, metric, labels) {
  return now.numbers.filter((one) => one.metric === metric && labels.every((label) => one.labels.includes(label))).reduce((sum, one) => sum + one.value, 0);
}

const quoted = (name, value) => `${name}="${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;

function classOf(handler) {
  if (handler.dead || handler.lag_ms >= BAD_MS || (handler.trimmed_ms !== undefined && handler.trimmed_ms < QUARTER_MS)) return "bad";
  return handler.lag_ms >= LATE_MS || handler.retrying || handler.paused || handler.idle || handler.catching_up ? "late" : "";
}

function tags(handler) {
  const tag = (text) => element("span", { class: "tag" }, text);
  return [
    handler.paused ? tag("paused") : null,
    handler.idle && !handler.paused ? tag("not running") : null,
    handler.catching_up ? tag("catching up") : null,
  ].filter(Boolean);
}

function buttons(handler) {
  const name = handler.handler;
  const button = (text, title, onclick) => element("button", { type: "button", title, onclick }, text);
  return [
    handler.paused
      ? button("resume", `feed ${name} again`, () => act({ do: "resume", handler: name }))
      : button("pause", `stop feeding ${name}, keep its place`, async () => {
          const reason = await ask(`Pause ${name}? It keeps its place.`, "why", "");
          if (reason !== null) act({ do: "pause", handler: name, reason: reason === "yes" ? "" : reason });
        }),
    " ",
    button("seek", `move ${name} to another place`, async () => {
      const to = await ask(`Where does ${name} go on? trim_horizon, latest, a time (2h ago: 2h), or a sequence number of its only shard.`, "at", "trim_horizon");
      if (to !== null) act({ do: "seek", handler: name, to });
    }),
  ];
}

const handlerColumns = [
  { title: "Handler", show: (h) => [h.handler, ...tags(h)] },
  { title: "Lag", class: "lag", show: (h) => age(h.lag_ms) },
  { title: "", narrow: true, show: (h) => curve(`lag ${h.handler}`) },
  { title: "Settled/s here", show: (h) => few(h.settled) },
  { title: "", narrow: true, show: (h) => curve(`settled ${h.handler}`) },
  { title: "In flight", show: (h) => h.in_flight },
  { title: "Retry", show: (h) => h.retrying },
  { title: "Waiting", narrow: true, show: (h) => h.waiting.toLocaleString("en") },
  { title: "Dead", show: (h) => (h.dead ? element("button", { type: "button", class: "link", onclick: () => showLettersOf(h.handler) }, h.dead.toLocaleString("en")) : "0") },
  { title: "Trimmed in", narrow: true, show: (h) => age(h.trimmed_ms) },
  { title: "Version", narrow: true, show: (h) => h.version },
];
const actColumn = { title: "", show: (h) => buttons(h) };

const streamColumns = [
  { title: "Stream of table", show: (s) => s.table },
  { title: "Shards", show: (s) => s.shards.toLocaleString("en") },
  { title: "Records/s", show: (s) => few(s.rate) },
  { title: "", narrow: true, show: (s) => curve(`read ${s.arn}`) },
  { title: "Records", narrow: true, show: (s) => s.records.toLocaleString("en") },
  { title: "GetRecords", narrow: true, show: (s) => s.calls.toLocaleString("en") },
  { title: "Last read", show: (s) => (s.read_ms ? `${age(overview.time_ms - s.read_ms)} ago` : "-") },
];

const snapshotColumns = [
  { title: "Handler", show: (s) => s.handler },
  { title: "Table", show: (s) => s.table },
  { title: "Read", show: (s) => element("progress", { max: Math.max(s.items, s.items_about, 1), value: s.items, "aria-label": `of table ${s.table}` }) },
  { title: "Items", show: (s) => s.items.toLocaleString("en") },
  { title: "Of about", narrow: true, show: (s) => Math.max(s.items, s.items_about).toLocaleString("en") },
  { title: "Segments", narrow: true, show: (s) => `${s.segments_finished} of ${s.segments}` },
  { title: "Left", show: (s) => (s.left_ms >= 0 ? age(s.left_ms) : "-") },
];

const targetColumns = [
  { title: "Target", show: (t) => t.name },
  { title: "Messages/s", show: (t) => few(t.rate) },
  { title: "", narrow: true, show: (t) => curve(`target ${t.name}`) },
  { title: "Accepted", show: (t) => t.accepted.toLocaleString("en") },
  { title: "Refused", show: (t) => t.refused.toLocaleString("en") },
  { title: "Waiting", show: (t) => t.waiting.toLocaleString("en") },
];

const hostColumns = [
  { title: "Host", show: (h) => h.name },
  { title: "State", show: (h) => h.state },
  { title: "Shards", show: (h) => h.shards },
  { title: "Records/s", show: (h) => few(h.records_per_second) },
  { title: "Reactors", narrow: true, show: (h) => h.reactors },
  { title: "Beat", show: (h) => (h.beat_ms ? `${age(overview.time_ms - h.beat_ms)} ago` : "-") },
  { title: "Since", narrow: true, show: (h) => when(h.since_ms) },
  { title: "Version", narrow: true, show: (h) => h.version },
];

function targetsOf(now) {
  const all = new Map();
  for (const one of now.numbers) {
    const found = /target="((?:[^"\\]|\\.)*)"/.exec(one.labels);
    if (!found || !one.metric.startsWith("tidemill_target_")) continue;
    const target = all.get(found[1]) || { name: found[1], accepted: 0, refused: 0, waiting: 0 };
    all.set(found[1], target);
    if (one.metric === "tidemill_target_waiting_messages") target.waiting += one.value;
    else if (one.labels.includes('result="accepted"')) target.accepted += one.value;
    else target.refused += one.value;
  }
  return [...all.values()];
}

function count(now) {
  for (const handler of now.handlers) {
    handler.settled = rate(`settled ${handler.handler}`, number(now, "tidemill_records_total", [quoted("handler", handler.handler)]), now.time_ms);
    keep(`settled ${handler.handler}`, handler.settled || 0);
    keep(`lag ${handler.handler}`, handler.lag_ms || 0);
  }
  for (const stream of now.streams) {
    stream.rate = rate(`read ${stream.arn}`, stream.records, now.time_ms);
    keep(`read ${stream.arn}`, stream.rate || 0);
  }
  now.targets = targetsOf(now);
  for (const target of now.targets) {
    target.rate = rate(`target ${target.name}`, target.accepted, now.time_ms);
    keep(`target ${target.name}`, target.rate || 0);
  }
}

function drawTroubles(now) {
  byId("trouble-section").hidden = !now.troubles.length && !now.unready.length;
  const line = (text, small) => element("li", {}, text, element("small", {}, small));
  byId("troubles").replaceChildren(
    ...now.unready.filter((text) => !now.troubles.some((trouble) => text.includes(trouble.text))).map((text) => line(text, "not ready")),
    ...now.troubles.map((trouble) => line(`${trouble.subject}: ${trouble.text}`, `for ${age(now.time_ms - trouble.since_ms)}, since ${when(trouble.since_ms)}${trouble.count > 1 ? `, ${trouble.count} times` : ""}`)),
    ...(now.trouble_count > now.troubles.length ? [line(`and ${now.trouble_count - now.troubles.length} more`, "tidemill status has them all")] : []),
  );
  byId("event-section").hidden = !now.events.length;
  byId("events").replaceChildren(...now.events.map((event) => line(`${event.handler}, shard ${event.shard}: ${event.text}`, `${event.kind}, ${when(event.time_ms)}; tidemill dead drop --gaps: it was seen`)));
}

function drawAll(now) {
  const [state, words] = verdict(now);
  byId("verdict").className = state;
  if (byId("verdict").textContent !== words) byId("verdict").textContent = words;
  document.title = `${state === "good" ? "" : "! "}tidemill ${now.group || ""}`;
  if (now.error) return;
  byId("group").textContent = now.group === "tidemill" ? "" : now.group;
  byId("facts").textContent = `version ${now.version}${now.started_ms ? `, runs for ${age(now.time_ms - now.started_ms)}` : ""}, ${now.state}`;
  byId("token-form").hidden = !now.may_change || now.playground;
  if (now.playground && !playing) beginPlaying();
  drawTroubles(now);
  byId("handlers-empty").hidden = now.handlers.length > 0;
  byId("streams-empty").hidden = now.streams.length > 0;
  draw(byId("handlers"), mayChange() ? [...handlerColumns, actColumn] : handlerColumns, now.handlers, (h) => h.handler, classOf);
  draw(byId("streams"), streamColumns, now.streams, (s) => s.arn);
  byId("snapshot-section").hidden = !now.snapshots.length;
  draw(byId("snapshots"), snapshotColumns, now.snapshots, (s) => `${s.handler} ${s.table}`);
  byId("target-section").hidden = !now.targets.length;
  draw(byId("targets"), targetColumns, now.targets, (t) => t.name);
  byId("host-section").hidden = !now.hosts.length;
  byId("targets-title").textContent = now.hosts.length > 1 ? "Targets, as this host sends to them" : "Targets";
  draw(byId("hosts"), hostColumns, now.hosts, (h) => `${h.name} ${h.since_ms}`, (h) => (h.state === "runs" ? "" : "late"));
  const dead = now.handlers.reduce((sum, handler) => sum + handler.dead, 0);
  byId("letter-count").textContent = dead ? `(${dead.toLocaleString("en")})` : "";
  for (const id of ["redrive-all", "drop-all"]) byId(id).hidden = !mayChange();
  const chosen = byId("letter-handler");
  const names = now.handlers.map((handler) => handler.handler);
  if ([...chosen.options].slice(1).map((option) => option.value).join("\n") !== names.join("\n")) {
    const value = chosen.value;
    chosen.replaceChildren(element("option", { value: "" }, "all"), ...names.map((name) => element("option", { value: name }, name)));
    chosen.value = names.includes(value) ? value : "";
  }
}

function take(text) {
  overview = JSON.parse(text);
  if (!overview.error) count(overview);
  drawAll(overview);
}

// Server-sent events, read by hand: EventSource cannot show a token.
async function watch() {
  for (let pause = 500; ; pause = Math.min(pause * 2, 10000)) {
    let why = "the host does not answer; trying again", reader = null;
    try {
      const answer = await fetch("api/events", { headers: headers() });
      if (answer.status === 401) {
        byId("verdict").textContent = "this host shows itself to who has its admin_token";
        byId("verdict").className = "late";
        await new Promise((resolve) => (watch.again = resolve));
        continue;
      }
      if (!answer.ok) {
        why = (await answer.json()).error;
        throw new Error(why);
      }
      reader = answer.body.getReader();
      const decoder = new TextDecoder();
      let left = "";
      for (let part; !(part = await reader.read()).done; ) {
        left += decoder.decode(part.value, { stream: true });
        for (let end; (end = left.indexOf("\n\n")) >= 0; left = left.slice(end + 2)) {
          const event = left.slice(0, end);
          if (event.startsWith("data: ")) take(event.slice(6));
          pause = 500;
        }
      }
    } catch (problem) {
      console.debug(problem);
      if (reader) reader.cancel().catch(() => {});
    }
    byId("verdict").textContent = why;
    byId("verdict").className = "bad";
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

// ---- dead letters ----

let letters = [];

const letterColumns = [
  { title: "Letter", show: (l) => element("button", { type: "button", class: "link", onclick: () => showLetter(l.id) }, String(l.id)) },
  { title: "Handler", class: "text", show: (l) => l.handler },
  { title: "Failed", narrow: true, show: (l) => when(l.failed_ms) },
  { title: "Attempts", narrow: true, show: (l) => l.attempts },
  { title: "Key", class: "text", show: (l) => keyText(l.keys) },
  { title: "Error", class: "text", show: (l) => l.error.split("\n")[0] + (l.marked ? " (marked to be redriven)" : "") },
];

function keyText(keys) {
  return Object.values(keys || {}).map((value) => Object.values(value)[0]).join(", ");
}

function filter() {
  return { handler: byId("letter-handler").value, error: byId("letter-error").value };
}

async function loadLetters(more) {
  const { handler, error } = filter();
  const after = more && letters.length ? letters[letters.length - 1].id : 0;
  try {
    const found = await get(`api/letters?${new URLSearchParams({ handler, error, after, limit: 50 })}`);
    letters = more ? [...letters, ...found.letters] : found.letters;
    byId("letters-more").hidden = !found.more;
    byId("letters-empty").hidden = letters.length > 0;
    byId("letters-empty").textContent = "There are none.";
    draw(byId("letters"), letterColumns, letters, (l) => String(l.id));
  } catch (problem) {
    tell(problem.message);
  }
}

function showLettersOf(handler) {
  byId("letter-handler").value = handler;
  byId("letter-error").value = "";
  loadLetters(false);
  byId("letter-section").scrollIntoView();
}

// {"S": "x"} as it would stand in a handler, numbers with all their digits.
function written(value) {
  if (value === undefined) return "";
  const [type, inner] = Object.entries(value)[0];
  if (type === "M") return `{${Object.entries(inner).map(([name, one]) => `${JSON.stringify(name)}: ${written(one)}`).join(", ")}}`;
  if (type === "L") return `[${inner.map(written).join(", ")}]`;
  if (type === "NULL") return "null";
  if (type === "N") return String(inner);
  if (type === "NS") return `set(${inner.join(", ")})`;
  if (type === "SS" || type === "BS") return `set(${inner.map((one) => JSON.stringify(one)).join(", ")})`;
  return JSON.stringify(inner);
}

const member = (image, name) => (image && Object.hasOwn(image, name) ? image[name] : undefined);

function difference(before, after) {
  const names = [...new Set([...Object.keys(before || {}), ...Object.keys(after || {})])].sort();
  return element(
    "table",
    { class: "diff" },
    element("thead", {}, element("tr", {}, ...["Attribute", "Old", "New"].map((title) => element("th", { scope: "col" }, title)))),
    element(
      "tbody",
      {},
      ...names.map((name) => {
        const was = written(member(before, name)), is = written(member(after, name));
        return element("tr", {}, element("td", {}, name), element("td", { class: was === is ? "" : "was" }, was), element("td", { class: was === is ? "" : "is" }, is));
      }),
    ),
  );
}

async function showLetter(id) {
  try {
    const letter = (await get(`api/letters?id=${id}&limit=1`)).letters[0];
    if (!letter) throw new Error(`there is no dead letter ${id} any more`);
    const change = (letter.record && letter.record.dynamodb) || {};
    const facts = {
      handler: `${letter.handler} (version ${letter.version || "unknown"})`, table: letter.table, shard: letter.shard, sequence: letter.sequence,
      event: letter.event_id, written: when(letter.record_time_ms), failed: `${when(letter.failed_ms)}, attempt ${letter.attempts}`,
      why: letter.condition || undefined, "refused by": letter.refused_by || undefined,
    };
    const one = (what, more) => element("button", { type: "button", ...more, onclick: async () => (await act({ do: what, ids: [id] })) && loadLetters(false) }, what);
    byId("letter").replaceChildren(
      element("h3", {}, `Dead letter ${id}`),
      element("dl", {}, ...Object.entries(facts).filter(([, value]) => value).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])),
      element("pre", {}, letter.traceback ? `${letter.error}\n${letter.traceback}` : letter.error),
      difference(change.OldImage, change.NewImage || (change.OldImage ? undefined : change.Keys)),
      element("details", {}, element("summary", {}, "the whole record"), element("pre", {}, JSON.stringify(letter.record, null, 2))),
      ...(mayChange() ? [one("redrive"), " ", one("drop", { class: "danger" }), " "] : []),
      element("button", { type: "button", onclick: () => (byId("letter").hidden = true) }, "close"),
    );
    byId("letter").hidden = false;
    byId("letter").focus();
  } catch (problem) {
    tell(problem.message);
  }
}

async function changeAll(what) {
  const { handler, error } = filter();
  const which = handler || error ? `${handler ? `of ${handler}` : ""}${error ? ` whose error has "${error}"` : ""}` : "of all handlers";
  if ((await ask(`${what === "drop" ? "Drop" : "Redrive"} every dead letter ${which}?`)) === null) return;
  if (await act({ do: what, handler, error, all: !handler && !error })) loadLetters(false);
}

// ---- shards and cost, when they are opened ----

const shardColumns = [
  { title: "Shard", class: "text", show: (s) => s.shard },
  { title: "Table", class: "text", narrow: true, show: (s) => s.table },
  { title: "Host", narrow: true, show: (s) => s.owner || "-" },
  { title: "Lag", class: "lag", show: (s) => age(s.lag_ms) },
  { title: "Records", narrow: true, show: (s) => s.records.toLocaleString("en") },
  { title: "Handlers", class: "text", show: (s) => s.handlers.slice(0, 5).map((h) => `${h.handler} ${h.position === "after" ? age(h.lag_ms) : h.position}`).join(", ") + (s.handlers.length > 5 ? `, and ${s.handlers.length - 5} more` : "") },
];

async function loadShards() {
  try {
    const found = await get(`api/shards?${new URLSearchParams({ match: byId("shard-match").value, limit: 200 })}`);
    byId("shard-count").textContent = `${found.shards.length} of ${plural(found.count, "shard")}, those furthest behind first`;
    draw(byId("shards"), shardColumns, found.shards, (s) => s.shard, (s) => (s.lag_ms >= BAD_MS ? "bad" : s.lag_ms >= LATE_MS ? "late" : ""));
  } catch (problem) {
    tell(problem.message);
  }
}

const money = (sum) => (sum >= 1 ? sum.toFixed(2) : sum.toFixed(6));

async function loadCost() {
  try {
    const cost = await get("api/cost");
    const days = cost.days || 0;
    if (!days) {
      byId("cost").replaceChildren(element("p", { class: "empty" }, "Nothing was counted yet."));
      return;
    }
    const columns = [
      { title: "What", class: "text", show: (l) => l.what },
      { title: "A day", show: (l) => few(l.count / days) },
      { title: `${cost.currency} a day`, show: (l) => money(l.cost / days) },
      { title: "a month", narrow: true, show: (l) => money((l.cost / days) * 30) },
      { title: "a million records", narrow: true, show: (l) => (cost.records ? money((l.cost / cost.records) * 1e6) : "-") },
    ];
    byId("cost").replaceChildren(element("p", {}, `${money(cost.cost_day)} ${cost.currency} a day, ${money(cost.cost_month)} a month, ${money(cost.cost_million_records)} for a million records`), element("div"));
    draw(byId("cost").lastElementChild, columns, cost.lines, (l) => l.what);
  } catch (problem) {
    tell(problem.message);
  }
}

// ---- the playground of tidemill dev ----

async function dynamodb(operation, input) {
  const answer = await fetch(`api/dynamodb?operation=${operation}`, {
    method: "POST",
    headers: { ...headers(), "Content-Type": "application/json" },
    body: JSON.stringify(input),
  });
  const data = await answer.json();
  if (!answer.ok) throw new Error(data.message || data.Message || data.error || data.__type);
  return data;
}

const TYPES = ["S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"];
const isTyped = (value) => value && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length === 1 && TYPES.includes(Object.keys(value)[0]);

// Plain JSON with DynamoDB's types; what has them stays.
function typed(value) {
  if (isTyped(value)) return value;
  if (value === null) return { NULL: true };
  if (typeof value === "string") return { S: value };
  if (typeof value === "number") return { N: String(value) };
  if (typeof value === "boolean") return { BOOL: value };
  if (Array.isArray(value)) return { L: value.map(typed) };
  return { M: Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, typed(inner)])) };
}

const itemOf = (value) => Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, typed(inner)]));

async function safely(work) {
  try {
    await work();
  } catch (problem) {
    tell(problem.message);
  }
}

async function loadItems() {
  const table = byId("table").value;
  if (!table) return;
  const { Table: description } = await dynamodb("DescribeTable", { TableName: table });
  const keys = description.KeySchema.map((key) => key.AttributeName);
  const found = await dynamodb("Scan", { TableName: table, Limit: 50 });
  const keyOf = (item) => Object.fromEntries(keys.map((name) => [name, item[name]]));
  byId("items").replaceChildren();
  draw(
    byId("items"),
    [
      { title: "Item", class: "text", show: (item) => written({ M: item }) },
      { title: "", show: (item) => [
        element("button", { type: "button", onclick: () => (byId("item").value = JSON.stringify(item, null, 1)) }, "edit"), " ",
        element("button", { type: "button", class: "danger", onclick: () => safely(async () => {
          await dynamodb("DeleteItem", { TableName: table, Key: keyOf(item) });
          await loadItems();
        }) }, "delete"),
      ] },
    ],
    found.Items,
    (item) => JSON.stringify(keyOf(item)),
  );
  if (!found.Items.length) byId("items").replaceChildren(element("p", { class: "empty" }, "It is empty."));
  if (!byId("item").value) byId("item").value = JSON.stringify(found.Items.length ? found.Items[0] : Object.fromEntries(keys.map((name) => [name, "..."])), null, 1);
}

async function loadInbox() {
  const messages = await get("api/inbox");
  byId("inbox").replaceChildren(...messages.map((message) => element("li", {}, message)));
  if (!messages.length) byId("inbox").replaceChildren(element("li", { class: "empty" }, "Nothing came to TIDEMILL_DEV_URL/inbox/ yet."));
}

function beginPlaying() {
  playing = true;
  byId("playground").hidden = false;
  byId("handlers").replaceChildren(); // other columns
  safely(async () => {
    const { TableNames: names } = await dynamodb("ListTables", {});
    byId("table").replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    await loadItems();
  });
}

byId("table-form").addEventListener("submit", (event) => {
  event.preventDefault();
  byId("item").value = "";
  safely(loadItems);
});
byId("item-form").addEventListener("submit", (event) => {
  event.preventDefault();
  safely(async () => {
    await dynamodb("PutItem", { TableName: byId("table").value, Item: itemOf(JSON.parse(byId("item").value)) });
    tell("written");
    await loadItems();
  });
});
byId("inbox-show").addEventListener("click", () => safely(loadInbox));

// ---- life ----

function useToken(value) {
  token.value = value;
  byId("token").value = "";
  byId("token-state").textContent = value ? "in use, until this page is closed" : "";
  for (const id of ["handlers"]) byId(id).replaceChildren(); // other columns
  if (overview && !overview.error) drawAll(overview);
  if (watch.again) watch.again();
  watch.again = null;
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(byId("token").value);
});
byId("letter-filter").addEventListener("submit", (event) => {
  event.preventDefault();
  loadLetters(false);
});
byId("shard-filter").addEventListener("submit", (event) => {
  event.preventDefault();
  loadShards();
});
byId("letters-more").addEventListener("click", () => loadLetters(true));
byId("redrive-all").addEventListener("click", () => changeAll("redrive"));
byId("drop-all").addEventListener("click", () => changeAll("drop"));
byId("shard-section").addEventListener("toggle", () => byId("shard-section").open && loadShards());
byId("cost-section").addEventListener("toggle", () => byId("cost-section").open && loadCost());
watch();
