// Review page: sends files to the service one at a time and shows the result of each on a card.
// One module, no build step. Text is set with textContent, so file names and responses are never markup.

// ---------------------------------------------------------------- texts

const VERDICTS = {
  fake: { word: "Fake", sentence: "Looks like an INSwapper swap" },
  suspicious: { word: "Suspicious", sentence: "Possibly an INSwapper swap" },
  real: { word: "Real", sentence: "No INSwapper swap found" },
  undecided: { word: "Undecided", sentence: "Not enough evidence to decide" },
  no_face: { word: "No face", sentence: "No face was found" },
};

const REASONS = {
  face_too_small: "The face is too small to decide, because a swap leaves no visible trace at this size. Use a larger version of the original; enlarging this one does not help.",
  too_soft: "The image is too soft to decide (blurred, strongly compressed or enlarged), because no seam would remain visible. Use a sharper version of the original.",
  no_surroundings: "The face fills the image, so the seam of a swap would be outside it. Separate thresholds apply, and a suspicious score counts as undecided. Use a version that shows more around the head.",
};

const HEADS = {
  real_fake: "Network: real or fake",
  inswapper: "Network: INSwapper",
  boundary: "Network: paste boundary",
  seam: "Trees on seam features",
  quality_pristine: "Image quality: pristine",
  quality_moderate: "Image quality: moderate",
  quality_heavy: "Image quality: heavily degraded",
};

const FAILURES = {
  0: "The service did not answer",
  400: "The upload was damaged",
  404: "This job no longer exists",
  408: "The upload was too slow",
  413: "This file exceeds a limit of the service",
  415: "This file is not a supported image or video",
  422: "This file cannot be read",
  429: "Too many requests",
  500: "Internal error of the service",
  503: "The service is busy or not ready",
};

const STAGES = {
  queued: "Waiting in the queue",
  scenes: "Detecting scenes",
  frames: "Scoring frames",
  finished: "Fetching the result",
};

const VIDEO_NAMES = /\.(3gp|asf|avi|flv|m2ts|m4v|mkv|mov|mp4|mpe?g|mts|ogv|webm|wmv)$/i;

const number = (value, digits = 3) => (value === null ? "–" : value.toFixed(digits));
const percent = (fraction) => `${Math.round(100 * fraction)} %`;
const count = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;
const clock = (seconds) =>
  `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(2).padStart(5, "0")}`;
const bytes = (size) => (size < 1e6 ? `${Math.ceil(size / 1e3)} kB` : `${(size / 1e6).toFixed(1)} MB`);
const isVideo = (file) => file.type.startsWith("video/") || VIDEO_NAMES.test(file.name);

const kindOf = (file) => (isVideo(file) ? "Video" : file.type.startsWith("image/") ? "Image" : "File");

// ---------------------------------------------------------------- building blocks

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== false));
  return node;
}

const el = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const button = (text, onClick, attributes = {}) =>
  el("button", { type: "button", click: onClick, ...attributes }, text);
const byId = (id) => document.getElementById(id);

/** An SVG that is redrawn whenever its width changes, so that its text is not scaled. */
function drawing(attributes, height, draw) {
  const node = svg("svg", { height, ...attributes });
  const redraw = () => {
    const width = node.clientWidth || node.getBoundingClientRect().width;
    if (width) node.replaceChildren(...draw(width).flat().filter(Boolean));
  };
  new ResizeObserver(redraw).observe(node);
  return { node, redraw };
}

const text = (x, y, content, className = "") => svg("text", { x, y, class: className }, content);

/** Path of the verdict's shape around (x, y); used on images, in tables and on the timeline. */
function outline(verdict, x, y, r) {
  const at = (...points) => `M${points.map(([dx, dy]) => `${x + r * dx} ${y + r * dy}`).join("L")}Z`;
  if (verdict === "fake") return at([0, -1.1], [1.1, 0.9], [-1.1, 0.9]);
  if (verdict === "suspicious") return at([0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]);
  if (verdict === "undecided") return at([-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]);
  if (verdict === "no_face") return at([-1, -0.25], [1, -0.25], [1, 0.25], [-1, 0.25]);
  return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
}

const symbol = (verdict) =>
  svg("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" }, svg("path", { d: outline(verdict, 7, 7, 5.5) }));
const badge = (verdict) =>
  el("span", { class: `verdict ${verdict}` }, symbol(verdict), VERDICTS[verdict].word);

function table(caption, columns, rows, { tall = false } = {}) {
  const head = columns.map(([name, kind = ""]) => el("th", { scope: "col", class: kind }, name));
  const body = rows.map(({ cells, current = false }) =>
    el("tr", { "aria-current": current && "true" },
      ...cells.map((cell, k) => el("td", { class: columns[k][1] ?? "" }, ...[cell].flat()))));
  // A scrollable element must be focusable for the keyboard, and a focusable one needs a name.
  return el("div", {}, el("p", { class: "caption", "aria-hidden": "true" }, caption),
    el("div", { class: tall ? "scroll tall" : "scroll", tabindex: "0", role: "group", "aria-label": caption },
      el("table", { "aria-label": caption }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...body))));
}

const announce = (message) => { byId("news").textContent = message; };

async function copyText(content, control) {
  const before = control.textContent;
  try {
    await navigator.clipboard.writeText(content);
    control.textContent = "Copied";
  } catch {
    // The clipboard API needs HTTPS; fall back to execCommand.
    const area = el("textarea", { class: "unseen", "aria-hidden": "true" });
    area.value = content;
    document.body.append(area);
    area.select();
    control.textContent = document.execCommand("copy") ? "Copied" : "Copying failed";
    area.remove();
    control.focus();
  }
  announce(control.textContent);
  setTimeout(() => { control.textContent = before; }, 2000);
}

// ---------------------------------------------------------------- requests to the service

class Failure extends Error {
  constructor(status, problem = {}, retryAfter = null) {
    super(problem.detail ?? problem.title ?? "");
    this.status = status;
    this.title = FAILURES[status] ?? problem.title ?? `The service answered ${status}`;
    this.requestId = problem.request_id ?? null;
    this.waitSeconds = Number.parseInt(retryAfter ?? "", 10) || 0;
  }

  get canRetry() {
    return ![400, 413, 415, 422].includes(this.status);
  }
}

const cancelled = () => new DOMException("cancelled", "AbortError");

/** Upload a file with XMLHttpRequest, because fetch() reports no upload progress. */
function upload(path, file, { headers = {}, signal, onSent }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    // The service does not need the file's own name.
    form.append("file", file, "upload");
    let sent = 0;
    request.open("POST", path);
    request.responseType = "json";
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => {
      sent = event.loaded;
      onSent(event.lengthComputable ? event.loaded / event.total : 0);
    };
    request.upload.onload = () => onSent(1);
    request.onload = () => {
      const body = request.response ?? {};
      if (request.status < 300) resolve(body);
      else reject(new Failure(request.status, body, request.getResponseHeader("Retry-After")));
    };
    request.onerror = () => reject(new Failure(0, {
      detail: sent && sent < file.size
        ? `The connection closed after ${bytes(sent)} of ${bytes(file.size)}. The file may exceed the service's size limit.`
        : "The connection failed, or the file could not be read.",
    }));
    request.onabort = () => reject(cancelled());
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
}

async function fetchJob(id, signal) {
  let response;
  try {
    response = await fetch(`jobs/${id}`, { signal, cache: "no-store" });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Failure(0, { detail: "The connection failed." });
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Failure(response.status, body, response.headers.get("Retry-After"));
  return body;
}

/** Delete a job and its result; an unfinished job is cancelled. */
const deleteJob = (id) => fetch(`jobs/${id}`, { method: "DELETE", keepalive: true }).catch(() => {});
const unfinished = (job) => job.status === "queued" || job.status === "running";
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Resolves when the job has finished or the event stream fails; onJob receives its progress. */
function followEvents(id, signal, onJob) {
  return new Promise((resolve, reject) => {
    const events = new EventSource(`jobs/${id}/events`);
    const end = (settle, value) => { events.close(); settle(value); };
    events.addEventListener("progress", (event) => onJob(JSON.parse(event.data)));
    for (const name of ["done", "failed", "cancelled"]) events.addEventListener(name, () => end(resolve));
    events.onerror = () => end(resolve);
    signal.addEventListener("abort", () => end(reject, cancelled()), { once: true });
  });
}

async function finishedJob(id, signal, onJob) {
  await followEvents(id, signal, onJob);
  let job = await fetchJob(id, signal);
  while (unfinished(job)) { // The event stream failed: poll instead.
    onJob(job);
    await pause(1000);
    job = await fetchJob(id, signal);
  }
  if (job.status === "cancelled") throw cancelled();
  if (job.status === "failed") throw new Failure(job.error?.status ?? 500, job.error ?? {});
  return job.result;
}

async function scoreImage(file, signal, report) {
  const onSent = (fraction) => report(fraction < 1 ? "Uploading" : "Scoring", fraction < 1 ? fraction : null);
  return upload("detect?heatmap=true", file, { signal, onSent });
}

async function scoreVideo(file, signal, report) {
  const onSent = (fraction) => report(fraction < 1 ? "Uploading" : "Waiting for the service", fraction < 1 ? fraction : null);
  const headers = { Prefer: "respond-async" };
  const answer = await upload("detect/video?heatmap=true", file, { headers, signal, onSent });
  if (!answer.job_id) return answer;
  const leave = () => deleteJob(answer.job_id);
  addEventListener("pagehide", leave);
  try {
    return await finishedJob(answer.job_id, signal, (job) => report(stageWords(job), job.progress));
  } finally {
    removeEventListener("pagehide", leave);
    leave();
  }
}

function stageWords(job) {
  const stage = STAGES[job.stage] ?? job.stage;
  return job.frames_total ? `${stage}: ${job.frames_done} of ${job.frames_total}` : stage;
}

// ---------------------------------------------------------------- drawing on images

const MARKS = {
  fake: { fill: "#b42318", ink: "#ffffff", width: 3.5, dash: [] },
  suspicious: { fill: "#ffc53d", ink: "#2b1d00", width: 3, dash: [12, 5] },
  real: { fill: "#0a6b48", ink: "#ffffff", width: 2, dash: [] },
  undecided: { fill: "#475467", ink: "#ffffff", width: 2.5, dash: [2, 5] },
};
// Approximates OpenCV's inferno; a stronger colour means a more certain paste seam.
const INFERNO = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];
const SEAM_STRENGTH = 0.75;
// If all values are below this, "no seam" is more likely at every point of the map.
const SEAM_LIKELY = 0.5;

/** Canvas with the colours of a seam map. Values are divided by `stretch`, 1 for the unchanged map. */
function seamTile({ side, values }, stretch) {
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  values.forEach((value, k) => {
    const strength = Math.min(value / stretch, 1);
    const position = Math.min(strength, 0.999) * (INFERNO.length - 1);
    const low = INFERNO[Math.floor(position)];
    const high = INFERNO[Math.floor(position) + 1];
    low.forEach((c, i) => { image.data[4 * k + i] = c + (position % 1) * (high[i] - c); });
    image.data[4 * k + 3] = 255 * SEAM_STRENGTH * strength;
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Draw a seam map at its corners; it is rotated with the face. */
function drawSeam(context, seamMap, stretch) {
  const [[x, y], [rightX, rightY], , [downX, downY]] = seamMap.corners;
  context.save();
  context.transform(
    (rightX - x) / seamMap.side, (rightY - y) / seamMap.side,
    (downX - x) / seamMap.side, (downY - y) / seamMap.side, x, y);
  context.drawImage(seamTile(seamMap, stretch), 0, 0);
  context.lineWidth = 0.12;
  context.strokeStyle = "rgb(255 255 255 / .7)";
  context.setLineDash([0.5, 0.5]);
  context.strokeRect(0, 0, seamMap.side, seamMap.side);
  context.restore();
}

function boxPath(verdict, x, y, w, h) {
  const path = new Path2D();
  if (verdict !== "real") {
    path.rect(x, y, w, h);
    return path;
  }
  const arm = Math.min(w, h) / 4; // Only corners: less prominent, and distinguishable from a box.
  for (const [cx, cy, dx, dy] of [[x, y, 1, 1], [x + w, y, -1, 1], [x + w, y + h, -1, -1], [x, y + h, 1, -1]]) {
    path.moveTo(cx + dx * arm, cy);
    path.lineTo(cx, cy);
    path.lineTo(cx, cy + dy * arm);
  }
  return path;
}

function drawBox(context, face, k, scale, isSelected, size) {
  const [left, top, right, bottom] = face.box_xyxy.map((v) => v * scale);
  const mark = MARKS[face.verdict];
  const path = boxPath(face.verdict, left, top, right - left, bottom - top);
  context.setLineDash([]);
  context.strokeStyle = "rgb(255 255 255 / .8)";
  context.lineWidth = mark.width + (isSelected ? 4 : 2.5);
  context.stroke(path);
  context.setLineDash(mark.dash);
  context.strokeStyle = mark.fill;
  context.lineWidth = mark.width + (isSelected ? 1 : 0);
  context.stroke(path);
  context.setLineDash([]);
  drawLabel(context, face, k, mark, { left, top, right }, size);
}

function drawLabel(context, face, k, mark, box, size) {
  const words = `${VERDICTS[face.verdict].word} ${number(face.score)}`;
  const label = box.right - box.left < 70 ? `${k + 1}` : `${k + 1}  ${words}`;
  context.font = "600 13px system-ui, sans-serif";
  const width = context.measureText(label).width + 30;
  const x = Math.max(0, Math.min(box.left - 2, size.width - width));
  const y = Math.max(0, box.top - 25);
  context.fillStyle = mark.fill;
  context.beginPath();
  context.roundRect(x, y, width, 22, 4);
  context.fill();
  context.fillStyle = mark.ink;
  context.fill(new Path2D(outline(face.verdict, x + 12, y + 11.5, 5)));
  context.textBaseline = "middle";
  context.fillText(label, x + 23, y + 12);
}

/** Set a canvas's size in CSS pixels and return its context, scaled to that unit. */
function sized(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
}

/** Draw maps first, then boxes, with the selected face last, on top of the others. */
function drawFaces(context, faces, { scale, selected, showSeam, stretchSeam, size }) {
  if (showSeam) {
    context.save();
    context.scale(scale, scale);
    const maps = mapsOf(faces);
    const stretch = (stretchSeam && maps.length && strongest(maps)) || 1;
    for (const map of maps) drawSeam(context, map, stretch);
    context.restore();
  }
  const order = faces.map((_, k) => k).sort((a, b) => (a === selected) - (b === selected));
  for (const k of order) drawBox(context, faces[k], k, scale, k === selected && faces.length > 1, size);
}

const inWords = (faces) =>
  faces.map((face, k) => `face ${k + 1}: ${VERDICTS[face.verdict].word}, score ${number(face.score)}`).join("; ");
const mapsOf = (faces) => faces.map((face) => face.seam_map).filter(Boolean);
const strongest = (maps) => Math.max(...maps.flatMap((map) => map.values));

/** Controls of the seam maps, which set state.showSeam and state.stretchSeam. `describe` shows the
 * maximum of the maps, because a stretched weak map looks like a strong one. */
function seamControls(state, onChange) {
  const words = el("p", { class: "quiet" });
  const check = (label, change) => {
    const box = el("input", { type: "checkbox", change: () => { change(box.checked); onChange(); } });
    return el("label", { class: "check" }, box, label);
  };
  const more = el("div", { hidden: true },
    el("p", { class: "scale" }, "no seam", el("span", { "aria-hidden": "true" }), "seam"), words,
    check("Stretch the colours to the maximum", (on) => { state.stretchSeam = on; }));
  const node = el("div", {}, check("Show the seam map over the faces", (on) => { state.showSeam = on; more.hidden = !on; }), more);
  const describe = (faces) => {
    const maps = mapsOf(faces);
    const maximum = maps.length ? strongest(maps) : 0;
    words.textContent = `Maximum: ${number(maximum)} of 1. ` + (maximum < SEAM_LIKELY
      ? "The map shows no likely seam, and weak colours mean little, even when stretched. "
      : "") + "The map is an illustration; the verdict does not depend on it.";
  };
  return { node, describe };
}

// ---------------------------------------------------------------- details of one face

/** Thresholds that apply to a face. */
const limitsOf = (face, answer) =>
  (face.reasons.includes("no_surroundings") ? answer.threshold.tight : answer.threshold);

const limitWords = ({ suspicious, fake }) =>
  `suspicious from ${number(suspicious)}, fake from ${number(fake)}`;

function meter(score, limits) {
  const { fake, suspicious } = limits;
  const label = `Score ${number(score)} on a scale from 0 to 1; ${limitWords(limits)}`;
  const { node } = drawing({ class: "meter", role: "img", "aria-label": label }, 58, (width) => {
    const x = (value) => 8 + value * (width - 16);
    const zone = (from, to, name) =>
      svg("rect", { class: `zone ${name}`, x: x(from), y: 16, width: Math.max(0, x(to) - x(from)), height: 16 });
    const limit = (value) => svg("line", { class: "limit", x1: x(value), x2: x(value), y1: 12, y2: 36 });
    const tick = (value, words, side) => text(x(value), 50, words, `quiet ${side}`);
    const isClose = x(fake) - x(suspicious) < 120;
    return [
      zone(0, suspicious, "real"), zone(suspicious, fake, "suspicious"), zone(fake, 1, "fake"),
      svg("rect", { class: "axis", x: x(0), y: 16, width: x(1) - x(0), height: 16, fill: "none" }),
      limit(suspicious), limit(fake),
      tick(suspicious, `suspicious ${number(suspicious, 2)}`, isClose || suspicious > 0.8 ? "end" : "middle"),
      tick(fake, `fake ${number(fake, 2)}`, isClose && fake < 0.8 ? "" : fake > 0.8 ? "end" : "middle"),
      svg("path", { class: "pointer", d: `M${x(score)} 27L${x(score) - 7} 7L${x(score) + 7} 7Z` }),
    ];
  });
  return node;
}

function possibleWords(possible) {
  if (possible.length === 2) return "Neither “real” nor “fake” can be ruled out at the detector's confidence level.";
  if (possible.length === 0) return "Neither label fits well; the face differs from those used to calibrate the detector.";
  return `Only “${possible[0]}” is possible at the detector's confidence level.`;
}

function seamChart(evidence) {
  const bands = evidence.bands;
  const known = bands.flatMap((band) => [band.inside_db, band.outside_db]).filter((v) => v !== null);
  if (!known.length) return el("p", { class: "quiet" }, "The image shows too little around the face to measure this.");
  const low = Math.floor(Math.min(...known) / 5) * 5;
  const high = Math.max(low + 5, Math.ceil(Math.max(...known) / 5) * 5);
  const label = bands.map((b, k) =>
    `band ${k + 1}: inside ${number(b.inside_db, 1)}, outside ${number(b.outside_db, 1)} decibels`).join("; ");
  const height = 26 * bands.length + 30;
  return drawing({ class: "chart", role: "img", "aria-label": `Texture by scale. ${label}` }, height, (width) => {
    const x = (db) => 62 + (db - low) / (high - low) * (width - 148);
    const ticks = [];
    for (let db = low; db <= high; db += 5) ticks.push(db);
    return [
      ticks.map((db) => [
        svg("line", { class: "grid", x1: x(db), x2: x(db), y1: 4, y2: height - 24 }),
        text(x(db), height - 8, `${db}`, "quiet middle"),
      ]).flat(),
      text(width - 2, height - 8, "dB", "quiet end"),
      bands.map((band, k) => seamRow(band, k, 17 + 26 * k, x, width)).flat(),
    ];
  }).node;
}

/** Inside minus outside in decibels, with its sign. */
function differenceOf({ drop_db: drop }) {
  return drop === null ? "–" : `${drop > 0 ? "−" : drop < 0 ? "+" : ""}${number(Math.abs(drop), 1)}`;
}

function seamRow(band, k, y, x, width) {
  const { inside_db: inside, outside_db: outside } = band;
  const both = inside !== null && outside !== null;
  return [
    text(0, y + 4, `${number(band.scale_px, 1)} px`, "quiet"),
    both && svg("line", { class: "gap", x1: x(inside), x2: x(outside), y1: y, y2: y }),
    outside !== null && svg("rect", { class: "outside", x: x(outside) - 4.5, y: y - 4.5, width: 9, height: 9 }),
    inside !== null && svg("circle", { class: "inside", cx: x(inside), cy: y, r: 5 }),
    text(width - 2, y + 4, both ? differenceOf(band) : "", k < 2 ? "end strong" : "end"),
  ];
}

function seamSection(evidence) {
  const rows = evidence.bands.map((b) => ({
    cells: [number(b.scale_px, 2), number(b.inside_db, 1), number(b.outside_db, 1), differenceOf(b)],
  }));
  const columns = [["Scale (px)", "number"], ["Inside", "number"], ["Outside", "number"], ["Difference", "number"]];
  return [
    el("h4", {}, "Texture along the seam"),
    el("p", { class: "quiet" }, "INSwapper pastes a low-resolution square of 128 pixels. In a swap the finest texture (top rows) is weaker inside the square than outside; in a soft photograph it is weak on both sides."),
    el("p", { class: "legend" },
      el("span", {}, svg("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" }, svg("circle", { class: "inside", cx: 7, cy: 7, r: 5 })), "inside the square"),
      el("span", {}, svg("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" }, svg("rect", { class: "outside", x: 2.5, y: 2.5, width: 9, height: 9 })), "outside"),
      el("span", {}, "right: difference, inside minus outside")),
    seamChart(evidence),
    el("details", {}, el("summary", {}, "Show as a table"), table("Texture along the seam in decibels", columns, rows)),
  ];
}

function facePanel(face, k, answer) {
  const limits = limitsOf(face, answer);
  const heads = Object.entries(face.heads).map(([name, p]) => [
    el("dt", {}, HEADS[name] ?? name), el("dd", {}, number(p))]);
  return el("div", { class: "face", role: "group", "aria-label": `Face ${k + 1}` },
    el("div", { class: "head" }, el("h3", {}, `Face ${k + 1}`), badge(face.verdict), el("span", {}, `Score ${number(face.score)}`)),
    meter(face.score, limits),
    el("p", { class: "quiet" }, `Thresholds: ${limitWords(limits)}.`),
    face.reasons.map((reason) => el("p", { class: "note" }, REASONS[reason] ?? reason)),
    el("p", {}, possibleWords(face.possible)),
    seamSection(face.seam_evidence),
    el("details", {}, el("summary", {}, "Scores of the detector's parts"), el("dl", { class: "facts" }, ...heads.flat())));
}

const facePx = ({ box_xyxy: [left, top, right, bottom] }) => Math.round(Math.max(right - left, bottom - top));

function faceTable(faces, answer, selected, onSelect) {
  const columns = [["Face"], ["Verdict"], ["Score", "number"], ["Thresholds"], ["Size", "number"], ["Surroundings", "number"], ["Possible labels"], ["Limitations", "long"]];
  const rows = faces.map((face, k) => ({
    current: k === selected,
    cells: [
      button(`Face ${k + 1}`, () => onSelect(k, true), { "aria-pressed": `${k === selected}` }),
      badge(face.verdict), number(face.score), limitWords(limitsOf(face, answer)),
      `${facePx(face)} px`, percent(face.surroundings), face.possible.join(", ") || "none",
      face.reasons.map((reason) => reason.replaceAll("_", " ")).join(", ") || "–",
    ],
  }));
  return table(count(faces.length, "face"), columns, rows);
}

/** Table and detail panel of faces; `show` replaces their content and can restore the focus. */
function facesView(answer, onSelect) {
  const list = el("div");
  const panel = el("div");
  const show = (faces, selected, refocus = false) => {
    list.replaceChildren(...(faces.length ? [faceTable(faces, answer, selected, onSelect)] : []));
    panel.replaceChildren(...(faces.length ? [facePanel(faces[selected], selected, answer)] : []));
    if (refocus) list.querySelector("[aria-pressed=true]")?.focus();
  };
  return { list, panel, show };
}

// Index of the decisive face: the highest score among the faces with the image's verdict.
function decisive(faces, verdict) {
  const score = (k) => (faces[k].verdict === verdict ? 1 : 0) + faces[k].score;
  return faces.reduce((best, _, k) => (score(k) > score(best) ? k : best), 0);
}

// ---------------------------------------------------------------- images

const SHOWN_PX = 2400;

function headline(answer, extra) {
  const { verdict, score } = answer;
  return el("div", { class: "head headline" }, badge(verdict),
    el("strong", {}, VERDICTS[verdict].sentence),
    score === null ? null : el("span", {}, extra));
}

const warningNotes = (warnings) => warnings.map((warning) =>
  el("p", { class: "note warning" }, `Note: ${warning}.`));

function answerFacts(answer, more) {
  const { model, threshold } = answer;
  const sources = { bundle: "the detector's default", setting: "set by the operator", admin: "changed by an administrator" };
  const facts = [
    ...more,
    ["Thresholds", `${limitWords(threshold)} (${sources[threshold.source] ?? threshold.source})`],
    ["Detector", `${model.name}, version ${model.version}, ${model.precision}`],
    ["SHA-256", el("code", {}, model.sha256)],
    ["Time", `${Math.round(answer.timing_ms.total)} ms`],
    ["Request", el("code", {}, answer.request_id)],
  ];
  return el("details", {}, el("summary", {}, "About this result"),
    el("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
}

/** Bitmap no larger than a screen; thirty full-size camera photographs would take gigabytes. */
function bitmapOf(file, width, height) {
  const longer = width > height ? "resizeWidth" : "resizeHeight";
  const options = Math.max(width, height) > SHOWN_PX ? { [longer]: SHOWN_PX, resizeQuality: "high" } : {};
  return createImageBitmap(file, options).catch(() => null);
}

async function imageView(file, answer) {
  const state = { selected: decisive(answer.faces, answer.verdict), showSeam: false, stretchSeam: false };
  const canvas = el("canvas", { role: "img", "aria-label": `The image. ${inWords(answer.faces) || "No face was found"}` });
  const stage = el("div", { class: "stage" }, canvas);
  const { width_px: width, height_px: height } = answer.image;
  const image = await bitmapOf(file, width, height);
  let scale = 1;
  const draw = () => {
    scale = Math.min(stage.clientWidth / width, Math.max(280, innerHeight * 0.62) / height, 3);
    const size = { width: width * scale, height: height * scale };
    const context = sized(canvas, size.width, size.height);
    if (image) context.drawImage(image, 0, 0, size.width, size.height);
    drawFaces(context, answer.faces, { ...state, scale, size });
  };
  const select = (k, refocus = false) => {
    state.selected = k;
    faces.show(answer.faces, k, refocus);
    draw();
  };
  const faces = facesView(answer, select);
  const seam = seamControls(state, draw);
  seam.describe(answer.faces);
  canvas.addEventListener("click", (event) => {
    const hit = faceAt(answer.faces, event.offsetX / scale, event.offsetY / scale);
    if (hit !== -1) select(hit);
  });
  new ResizeObserver(draw).observe(stage);
  select(state.selected);
  return [
    el("div", { class: "split" },
      el("div", {}, stage,
        image ? null : el("p", { class: "quiet" }, "This browser cannot display this format; the boxes show the positions of the faces."),
        mapsOf(answer.faces).length ? seam.node : null),
      el("div", {}, headline(answer, `Score ${number(answer.score)}${answer.faces.length > 1 ? " (the worst face counts)" : ""}`), warningNotes(answer.warnings), faces.panel)),
    faces.list,
    answerFacts(answer, [["Image", `${width} × ${height} px, ${answer.image.format}${answer.image.orientation > 1 ? `, EXIF orientation ${answer.image.orientation} applied` : ""}`]]),
  ];
}

/** Index of the smallest face at a point, so that one in front of a larger one can be selected; or -1. */
function faceAt(faces, x, y) {
  const hits = faces.map((face, k) => [facePx(face), k, face.box_xyxy])
    .filter(([, , [left, top, right, bottom]]) => x >= left && x <= right && y >= top && y <= bottom);
  return hits.length ? hits.sort((a, b) => a[0] - b[0])[0][1] : -1;
}

// ---------------------------------------------------------------- videos

/** Converts any frame index to seconds, by interpolation between the sampled frames. */
function timeScale(frames) {
  const first = frames[0];
  const last = frames.at(-1);
  const step = last.frame_index > first.frame_index
    ? (last.timestamp_s - first.timestamp_s) / (last.frame_index - first.frame_index) : 1 / 25;
  const at = (index) => {
    const after = frames.find((frame) => frame.frame_index >= index) ?? last;
    const before = frames.findLast((frame) => frame.frame_index <= index) ?? first;
    if (after === before || before.frame_index > index || after.frame_index < index) {
      return Math.max(0, before.timestamp_s + step * (index - before.frame_index));
    }
    const fraction = (index - before.frame_index) / (after.frame_index - before.frame_index);
    return before.timestamp_s + fraction * (after.timestamp_s - before.timestamp_s);
  };
  return { at, step };
}

function frameWords(answer, k) {
  const frame = answer.frames[k];
  const score = frame.score === null ? "" : `, score ${number(frame.score)}`;
  return `Frame ${k + 1} of ${answer.frames.length} at ${clock(frame.timestamp_s)}, scene ${frame.scene + 1}: ${VERDICTS[frame.verdict].word}${score}`;
}

const EDGE = { left: 34, right: 10, top: 12, plot: 150, strip: 22 };

function timeline(answer, times, onSelect) {
  const state = { frame: 0, playhead: null };
  const end = Math.max(times.at(Math.max(1, ...answer.scenes.map((scene) => scene.stop_frame))), 0.04);
  const y = (score) => EDGE.top + (1 - score) * EDGE.plot;
  let x = () => 0;
  const { node, redraw } = drawing({ class: "timeline", tabindex: "0", role: "slider", "aria-label": "Sampled frames over time",
    "aria-valuemin": "1", "aria-valuemax": `${answer.frames.length}`, keydown: onKey, pointerdown: onPoint, pointermove: onPoint,
  }, EDGE.top + EDGE.plot + EDGE.strip + 28, (width) => {
    x = (seconds) => EDGE.left + seconds / end * (width - EDGE.left - EDGE.right);
    return [plane(answer.threshold, x(0), x(end), y), answer.scenes.map((scene, k) => sceneMarks(answer, k, times, x, y)).flat(),
      timeTicks(end, x), answer.frames.map((frame) => frameDot(frame, x, y)),
      frameCursor(answer.frames[state.frame], state.playhead, x, y)].flat();
  });
  function onKey(event) {
    const target = keyTarget(event.key, answer.frames, state.frame);
    if (target === null) return;
    event.preventDefault();
    onSelect(target);
  }
  function onPoint(event) {
    if (event.type === "pointermove" && !event.buttons) return;
    onSelect(nearest(answer.frames, (frame) => Math.abs(x(frame.timestamp_s) - event.offsetX)));
  }
  const show = (frame, playhead = null) => {
    Object.assign(state, { frame, playhead });
    node.setAttribute("aria-valuenow", `${frame + 1}`);
    node.setAttribute("aria-valuetext", frameWords(answer, frame));
    redraw();
  };
  return { node, show, played: (seconds) => show(state.frame, Math.min(seconds, end)) };
}

function nearest(items, distance) {
  return items.reduce((best, item, k) => (distance(item) < distance(items[best]) ? k : best), 0);
}

/** Index of the frame that a key selects: next, previous, ends, next or previous scene; else null. */
function keyTarget(key, frames, k) {
  const last = frames.length - 1;
  const scene = frames[k].scene;
  const firstOf = (wanted) => frames.findIndex((frame) => frame.scene === wanted);
  const next = frames.findIndex((frame) => frame.scene > scene);
  const targets = {
    ArrowRight: Math.min(k + 1, last), ArrowUp: Math.min(k + 1, last),
    ArrowLeft: Math.max(k - 1, 0), ArrowDown: Math.max(k - 1, 0),
    Home: 0, End: last,
    PageDown: next === -1 ? last : next,
    PageUp: k > firstOf(scene) ? firstOf(scene) : firstOf(frames[Math.max(k - 1, 0)].scene),
  };
  return targets[key] ?? null;
}

function plane({ fake, suspicious }, left, right, y) {
  const zone = (from, to, name) =>
    svg("rect", { class: `zone ${name}`, x: left, width: right - left, y: y(to), height: y(from) - y(to) });
  const limit = (score) => svg("line", { class: "limit", x1: left, x2: right, y1: y(score), y2: y(score) });
  // A threshold's label is left out where it would overlap another label.
  return [
    zone(fake, 1, "fake"), zone(suspicious, fake, "suspicious"), limit(fake), limit(suspicious),
    text(left - 5, y(1) + 9, "1", "quiet end"), text(left - 5, y(0), "0", "quiet end"),
    text(left - 5, y(fake) + 4, fake > 0.9 ? "" : number(fake, 2), "quiet end"),
    text(left - 5, y(suspicious) + 4, suspicious < 0.1 || fake - suspicious < 0.08 ? "" : number(suspicious, 2), "quiet end"),
    svg("line", { class: "axis", x1: left, x2: right, y1: y(0), y2: y(0) }),
  ];
}

function sceneMarks(answer, k, times, x, y) {
  const scene = answer.scenes[k];
  const [from, to] = [x(times.at(scene.start_frame)), x(times.at(scene.stop_frame))];
  const top = EDGE.top + EDGE.plot + 5;
  const isHighest = k === answer.highest_scene && answer.scenes.length > 1;
  const words = [`Scene ${k + 1}`, isHighest && "highest"].filter(Boolean).join(": ");
  const label = to - from > 8 * words.length ? words : to - from > 16 ? `${k + 1}` : "";
  return [
    svg("rect", { class: isHighest ? "scene highest" : "scene", x: from + 1, y: top, width: Math.max(1, to - from - 2), height: EDGE.strip - 4, rx: 3 }),
    text((from + to) / 2, top + 13, label, isHighest ? "middle strong" : "middle"),
    k > 0 && svg("line", { class: "cut", x1: from, x2: from, y1: EDGE.top, y2: EDGE.top + EDGE.plot }),
    scene.score !== null && svg("line", { class: "mean", x1: from + 2, x2: to - 2, y1: y(scene.score), y2: y(scene.score) }),
  ];
}

function timeTicks(end, x) {
  const bottom = EDGE.top + EDGE.plot + EDGE.strip + 20;
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600];
  const step = steps.find((s) => x(s) - x(0) > 64) ?? 1200;
  const ticks = [];
  for (let t = 0; t <= end + 1e-9; t += step) {
    const words = step < 1 ? clock(t).slice(0, -1) : clock(t).slice(0, -3);
    const anchor = t === 0 ? "" : x(end) - x(t) < 10 ? "end" : "middle";
    ticks.push(text(x(t), bottom, words, `quiet ${anchor}`));
  }
  return ticks;
}

function frameDot(frame, x, y) {
  const at = frame.score === null ? EDGE.top + EDGE.plot - 4 : y(frame.score);
  return svg("path", { class: `dot ${frame.verdict}`, d: outline(frame.verdict, x(frame.timestamp_s), at, 5) });
}

function frameCursor(frame, playhead, x, y) {
  const at = x(frame.timestamp_s);
  const line = (name, where) =>
    svg("line", { class: name, x1: where, x2: where, y1: EDGE.top - 6, y2: EDGE.top + EDGE.plot + 3 });
  return [
    playhead !== null && line("playhead", x(playhead)),
    line("cursor", at),
    svg("circle", { class: "halo", cx: at, cy: frame.score === null ? EDGE.top + EDGE.plot - 4 : y(frame.score), r: 9 }),
  ];
}

/** The local file in a <video>, with the boxes of the sampled frame that is displayed. */
function player(file, answer, times, state, onPlayed) {
  const video = el("video", { controls: true, playsinline: true, preload: "auto", "aria-label": "The video, with the detected faces marked" });
  video.muted = true;
  video.src = URL.createObjectURL(file);
  const over = el("canvas", { class: "over", "aria-hidden": "true" });
  const node = el("div", { class: "stage" }, video, over);
  const paint = () => {
    const size = { width: video.clientWidth, height: video.clientHeight };
    const context = sized(over, size.width, size.height);
    over.style.left = `${video.offsetLeft}px`;
    over.style.top = `${video.offsetTop}px`;
    const frame = answer.frames[nearest(answer.frames, (f) => Math.abs(f.timestamp_s - video.currentTime))];
    if (!video.videoWidth || Math.abs(frame.timestamp_s - video.currentTime) > 0.8 * times.step) return;
    const selected = frame === answer.frames[state.frame] ? state.face : -1;
    drawFaces(context, frame.faces, { scale: size.width / video.videoWidth, ...state, selected, size });
  };
  for (const name of ["loadeddata", "seeked", "timeupdate", "pause"]) video.addEventListener(name, paint);
  video.addEventListener("timeupdate", () => { if (!video.paused) onPlayed(video.currentTime); });
  video.addEventListener("error", () => node.replaceChildren(
    el("p", { class: "missing" }, "This browser cannot play this video. Times, scores and tables are still valid.")));
  new ResizeObserver(paint).observe(video);
  const seek = (seconds) => {
    video.pause();
    video.currentTime = seconds + times.step / 4; // Inside the frame, not on its boundary with the previous one.
  };
  return { node, seek, paint };
}

function tracksTable(answer, onShow) {
  const tracks = answer.tracks ?? [];
  if (!tracks.length) return null;
  const columns = [["Track"], ["Scene", "number"], ["Verdict"], ["Mean score", "number"], ["Highest", "number"], ["Frames", "number"]];
  const rows = tracks.map((track, k) => ({ cells: [
    button(`Show ${k + 1}`, () => onShow(highestOf(track, answer))),
    `${track.scene + 1}`, badge(track.verdict), number(track.score), number(track.highest), `${track.faces.length}`] }));
  return [
    table("Faces tracked within a scene, most alarming first", columns, rows, { tall: true }),
    el("p", { class: "quiet" }, "Faces are tracked by their position in the image, without face recognition."),
  ];
}

const highestOf = (track, answer) => track.faces.reduce((best, at) =>
  (answer.frames[at.frame].faces[at.face].score > answer.frames[best.frame].faces[best.face].score ? at : best));

function scenesTable(answer, times) {
  const columns = [["Scene", "number"], ["From"], ["To"], ["Verdict"], ["Mean score", "number"], ["Note"]];
  const rows = answer.scenes.map((scene, k) => ({ cells: [
    `${k + 1}`, clock(times.at(scene.start_frame)), clock(times.at(scene.stop_frame)), badge(scene.verdict),
    number(scene.score), k === answer.highest_scene ? "highest" : "–"] }));
  return el("details", {}, el("summary", {}, `All scenes as a table (${answer.scenes.length})`), table("Scenes", columns, rows, { tall: true }));
}

function framesTable(answer, onShow) {
  const columns = [["Frame"], ["Time"], ["Scene", "number"], ["Verdict"], ["Score", "number"], ["Faces", "number"]];
  const rows = answer.frames.map((frame, k) => ({ cells: [
    button(`Show ${k + 1}`, () => onShow({ frame: k })), clock(frame.timestamp_s), `${frame.scene + 1}`, badge(frame.verdict),
    number(frame.score), `${frame.faces.length}`] }));
  return el("details", {}, el("summary", {}, `All sampled frames as a table (${answer.frames.length})`), table("Sampled frames", columns, rows, { tall: true }));
}

function timelineLegend() {
  const shapes = ["fake", "suspicious", "real", "undecided", "no_face"].map((verdict) =>
    el("span", {}, svg("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" }, svg("path", { class: `dot ${verdict}`, d: outline(verdict, 7, 7, 5.5) })), VERDICTS[verdict].word));
  const mean = svg("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" }, svg("line", { class: "mean", x1: 0, x2: 14, y1: 7, y2: 7 }));
  return el("p", { class: "legend" }, ...shapes, el("span", {}, mean, "mean of a scene"), el("span", {}, "dashed: thresholds"));
}

function videoWords(answer) {
  const highest = answer.scenes[answer.highest_scene];
  if (answer.scenes.length === 1) return `Mean score ${number(answer.score)}`;
  return `Mean score ${number(answer.score)}; highest scene ${number(highest.score)} (scene ${answer.highest_scene + 1} of ${answer.scenes.length})`;
}

function videoView(file, answer) {
  if (!answer.frames.length) return [headline(answer, ""), ...warningNotes(answer.warnings)];
  const times = timeScale(answer.frames);
  const state = { frame: 0, face: 0, showSeam: false, stretchSeam: false };
  const screen = player(file, answer, times, state, (seconds) => line.played(seconds));
  const caption = el("p", { class: "quiet" });
  const show = ({ frame, face = decisive(answer.frames[frame].faces, answer.frames[frame].verdict) }, refocus = false) => {
    Object.assign(state, { frame, face });
    line.show(frame);
    caption.textContent = frameWords(answer, frame);
    seam.describe(answer.frames[frame].faces);
    faces.show(answer.frames[frame].faces, face, refocus);
    screen.seek(answer.frames[frame].timestamp_s);
    screen.paint();
  };
  const line = timeline(answer, times, (frame) => { if (frame !== state.frame) show({ frame }); });
  const faces = facesView(answer, (face, refocus) => show({ frame: state.frame, face }, refocus));
  const seam = seamControls(state, screen.paint);
  const isMapped = answer.frames.some((frame) => mapsOf(frame.faces).length);
  const scored = (k) => answer.frames[k].score ?? -1;
  show({ frame: answer.frames.reduce((best, _, k) => (scored(k) > scored(best) ? k : best), 0) });
  return [
    headline(answer, answer.score === null ? "" : videoWords(answer)), ...warningNotes(answer.warnings),
    el("div", {}, el("h4", {}, "Score over time"), timelineLegend(), line.node,
      el("p", { class: "quiet" }, "Click, or use the arrow keys to move by frame and Page Up and Page Down to move by scene.")),
    el("div", { class: "split" }, el("div", {}, screen.node, caption, isMapped ? seam.node : null), el("div", {}, faces.panel)),
    faces.list, ...(tracksTable(answer, show) ?? []), framesTable(answer, show), scenesTable(answer, times),
    answerFacts(answer, []),
  ];
}

// ---------------------------------------------------------------- cards

const cards = new Set();
const waiting = [];
let isBusy = false;

async function work() {
  if (isBusy) return;
  isBusy = true;
  while (waiting.length) await waiting.shift().run();
  isBusy = false;
}

class Card {
  constructor(file) {
    this.file = file;
    this.name = file.name || "Pasted image";
    this.answer = null;
    this.verdict = null;
    this.abort = new AbortController();
    this.body = el("div", { class: "body" });
    this.controls = el("div", { class: "row" });
    this.node = el("article", { class: "card", "aria-label": this.name },
      el("header", {}, el("div", {}, el("h3", {}, this.name), el("p", { class: "quiet" }, `${kindOf(file)}, ${bytes(file.size)}`)), this.controls),
      this.body);
    cards.add(this);
    this.wait();
  }

  wait() {
    this.verdict = null;
    this.abort = new AbortController();
    this.body.replaceChildren(el("p", { class: "quiet" }, "Waiting for previous files"));
    this.controls.replaceChildren(button("Remove", () => this.remove(), { "aria-label": `Remove ${this.name}` }));
    waiting.push(this);
    work();
  }

  async run() {
    if (!cards.has(this)) return;
    this.showProgress();
    try {
      const score = isVideo(this.file) ? scoreVideo : scoreImage;
      this.answer = await score(this.file, this.abort.signal, (words, fraction) => this.report(words, fraction));
      await this.showAnswer();
    } catch (error) {
      if (error.name === "AbortError") this.showCancelled();
      else if (error instanceof Failure) this.showFailure(error);
      else { this.showFailure(new Failure(-1, { title: "This page failed", detail: String(error) })); throw error; }
    } finally {
      tally();
    }
  }

  showProgress() {
    this.progress = el("progress", { max: "1", "aria-label": `Progress of ${this.name}` });
    this.words = el("p", {}, "Uploading");
    this.body.replaceChildren(el("div", { class: "working" }, this.words, this.progress));
    this.controls.replaceChildren(button("Cancel", () => this.abort.abort(), { "aria-label": `Cancel ${this.name}` }));
    announce(`Scoring ${this.name}`);
  }

  /** fraction: progress from 0 to 1, null if it is unknown. */
  report(words, fraction) {
    const stage = words.split(":")[0];
    if (this.words.textContent.split(":")[0] !== stage) announce(`${this.name}: ${stage}`);
    this.words.textContent = words;
    if (fraction === null) this.progress.removeAttribute("value");
    else this.progress.value = fraction;
  }

  async showAnswer() {
    const view = isVideo(this.file) ? videoView : imageView;
    const parts = await view(this.file, this.answer);
    this.verdict = this.answer.verdict;
    this.body.replaceChildren(...parts.flat().filter(Boolean));
    const copy = button("Copy JSON", () => copyText(JSON.stringify(this.answer, null, 2), copy));
    this.controls.replaceChildren(copy, this.removeButton());
    const score = this.answer.score === null ? "" : `, score ${number(this.answer.score)}`;
    announce(`${this.name}: ${VERDICTS[this.verdict].sentence}${score}`);
  }

  showFailure(failure) {
    this.verdict = "failed";
    this.body.replaceChildren(el("div", { class: "note error" }, el("h4", {}, failure.title),
      failure.message ? el("p", {}, `Message: ${failure.message}`) : null,
      failure.requestId ? el("p", { class: "quiet" }, "Request ", el("code", {}, failure.requestId)) : null));
    this.controls.replaceChildren(failure.canRetry ? this.retryButton(failure.waitSeconds) : "", this.removeButton());
    byId("alarm").textContent = `${this.name}: ${failure.title}. ${failure.message}`;
    if (failure.canRetry) checkService();
  }

  showCancelled() {
    this.verdict = "cancelled";
    this.body.replaceChildren(el("p", { class: "quiet" }, "Cancelled. The service has deleted the file."));
    this.controls.replaceChildren(this.retryButton(0), this.removeButton());
    announce(`${this.name}: cancelled`);
  }

  /** Button that is disabled for as long as the service's Retry-After. */
  retryButton(seconds) {
    const again = button("Try again", () => this.wait(), { "aria-label": `Try ${this.name} again` });
    const countDown = (left) => {
      again.disabled = left > 0;
      again.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
      if (left > 0) setTimeout(countDown, 1000, left - 1);
    };
    countDown(seconds);
    return again;
  }

  removeButton() {
    return button("Remove", () => this.remove(), { "aria-label": `Remove ${this.name}` });
  }

  remove() {
    this.abort.abort();
    cards.delete(this);
    const next = this.node.nextElementSibling ?? this.node.previousElementSibling;
    URL.revokeObjectURL(this.node.querySelector("video")?.src);
    this.node.remove();
    (next?.querySelector("header button") ?? byId("results")).focus();
    tally();
  }
}

function tally() {
  const verdicts = [...cards].map((card) => card.verdict);
  const of = (verdict) => verdicts.filter((v) => v === verdict).length;
  const parts = Object.keys(VERDICTS).filter(of).map((verdict) => `${of(verdict)} ${VERDICTS[verdict].word.toLowerCase()}`);
  if (of("failed")) parts.push(`${of("failed")} failed`);
  if (of("cancelled")) parts.push(`${of("cancelled")} cancelled`);
  if (of(null)) parts.push(`${of(null)} pending`);
  byId("tally").textContent = cards.size ? `${count(cards.size, "file")}: ${parts.join(", ")}` : "None yet";
  byId("clear").hidden = cards.size < 2;
}

// ---------------------------------------------------------------- intake

/** Add cards for new files: the newest batch first, its files in the order given. */
function take(files) {
  const batch = [...files].map((file) => new Card(file));
  byId("cards").prepend(...batch.map((card) => card.node));
  tally();
}

const chooser = byId("files");
const drop = byId("drop");
chooser.addEventListener("change", () => { take(chooser.files); chooser.value = ""; });
byId("clear").addEventListener("click", () => { for (const card of [...cards]) card.remove(); });

// The whole window accepts files; otherwise a file dropped next to the field would replace this page.
addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take(event.dataTransfer.files);
});
addEventListener("paste", (event) => { if (event.clipboardData.files.length) take(event.clipboardData.files); });

async function checkService() {
  const line = byId("service");
  const say = (className, words) => { line.className = `service ${className}`; line.textContent = words; };
  try {
    const response = await fetch("ready", { cache: "no-store" });
    const body = await response.json();
    if (response.ok) say("ready", "Service ready");
    else say("faulty", `Service not ready: ${body.detail}`);
  } catch {
    say("faulty", "Service not reachable");
  }
}

checkService();
