"use strict";
// The page works without this file; with it, a verdict takes one key and the next pair is there at once.
document.documentElement.classList.add("scripted");
const $ = (query) => document.querySelector(query);
const view = { mode: "side", zoom: 1, x: 50, y: 50, match: false };
const ready = new Map(); // pictures of the next pair by address, decoded ahead, each as often as the page shows it
let ahead = { after: "", section: null }; // what follows a pair, whatever the verdict on it
let flight = Promise.resolve(); // what is on its way to the ledger, one after the other

function draw() {
  const stage = $(".stage");
  $("#tools").hidden = !stage;
  $("#wipe-field").hidden = view.mode !== "wipe";
  if (!stage) return;
  stage.dataset.mode = view.mode;
  const set = (name, value) => stage.style.setProperty(name, value);
  set("--zoom", view.zoom), set("--x", `${view.x}%`), set("--y", `${view.y}%`), set("--wipe", `${$("#wipe").value}%`);
  $("#zoom").value = view.zoom;
  $("#match").checked = view.match;
  $(`[name=mode][value=${view.mode}]`).checked = true;
  for (const picture of stage.querySelectorAll("[data-plain]")) {
    const wanted = view.match ? picture.dataset.matched : picture.dataset.plain;
    if (picture.getAttribute("src") !== wanted) picture.src = wanted;
  }
}

function preload() {
  const wanted = ($("#pair").dataset.following || "").split(" ").filter(Boolean);
  ready.clear();
  for (const address of wanted.map((id) => `/picture/${id}`)) {
    const picture = new Image();
    picture.src = address;
    picture.decode().catch(() => {});
    ready.set(address, [...(ready.get(address) || []), picture]);
  }
}

const parsed = (html) => new DOMParser().parseFromString(html, "text/html").querySelector("#pair");

function change(section) {
  // The pictures are put in last: an image that moves to another document is fetched anew.
  const gaps = [...section.querySelectorAll("img")].map((picture) => {
    const gap = picture.ownerDocument.createElement("span");
    picture.replaceWith(gap);
    return [gap, picture];
  });
  const arrived = document.adoptNode(section);
  for (const [gap, wanted] of gaps) {
    const picture = ready.get(wanted.getAttribute("src"))?.pop() || new Image();
    for (const { name, value } of wanted.attributes) if (picture.getAttribute(name) !== value) picture.setAttribute(name, value);
    gap.replaceWith(picture);
  }
  $("#pair").replaceWith(arrived);
  Object.assign(view, { zoom: 1, x: 50, y: 50 });
  draw();
  preload();
  $("#pair h1").focus({ preventScroll: true });
  $("#said").textContent = $("#pair .problem").textContent || $("#pair h1").textContent;
}

async function lookAhead() {
  const id = $("#pair").dataset.id;
  const answer = id && (await fetch(`/?after=${encodeURIComponent(id)}`).catch(() => null));
  if (answer && answer.ok) ahead = { after: id, section: parsed(await answer.text()) };
}

const send = (form, button) => (flight = flight.then(() => form.isConnected && post(form, button)));

// The next pair is shown while the verdict is on its way; the next verdict waits until this one is in the ledger.
async function post(form, button) {
  const body = new URLSearchParams(new FormData(form, button)), before = $("#pair");
  const early = form.id === "verdict" && ahead.after === before.dataset.id && ahead.section;
  ahead = { after: "", section: null };
  if (early) change(early);
  try {
    const answer = await fetch(form.action, { method: "POST", body, keepalive: true }); // also when the page is closed
    if (!answer.ok && answer.status !== 422) throw new Error(await answer.text());
    const section = parsed(await answer.text());
    if (answer.status === 422 || section.dataset.id !== $("#pair").dataset.id) change(section);
  } catch (error) {
    if (early) $("#pair").replaceWith(before);
    const said = `Perhaps not recorded. ${error.message}. Is synguard review still running? Started again, it asks for what it lacks.`;
    $("#pair .problem").textContent = $("#said").textContent = said;
    draw();
  }
  lookAhead();
}

let asked = null; // the verdict that waits for its reason
function choose(button) {
  const reason = $("#reason");
  if (button.hasAttribute("data-needs-reason") && reason.value.trim().length < 3) {
    asked = button;
    for (const each of document.querySelectorAll("[name=verdict]")) each.classList.toggle("asked", each === button);
    $("#said").textContent = `${button.value}: say why, then Enter`;
    reason.focus();
    return;
  }
  asked = null;
  send(button.form, button);
}

const press = (on) => {
  $("#blink").setAttribute("aria-pressed", String(on));
  document.documentElement.classList.toggle("blinking", on);
};
const zoom = (by) => (view.zoom = Math.min(8, Math.max(1, view.zoom + by)));
const move = (x, y) => ((view.x = Math.min(100, Math.max(0, view.x + x))), (view.y = Math.min(100, Math.max(0, view.y + y))));
const keys = {
  b: () => press(true), s: () => (view.mode = "side"), w: () => (view.mode = "wipe"), d: () => (view.mode = "difference"),
  m: () => (view.match = !view.match), "+": () => zoom(1), "=": () => zoom(1), "-": () => zoom(-1),
  arrowleft: () => move(-10, 0), arrowright: () => move(10, 0), arrowup: () => move(0, -10), arrowdown: () => move(0, 10),
  u: () => { const button = $("#undo button"); if (!button.disabled) send(button.form, button); },
  "?": () => $("#help").showModal(),
};

addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=checkbox]):not([type=radio])");
  if (event.target.id === "reason") {
    if (event.key === "Escape") (asked = null), event.target.blur();
    if (event.key === "Enter" && asked) choose(asked); // the form itself gives Enter no meaning: see its first button
    return;
  }
  if (event.ctrlKey || event.altKey || event.metaKey || typing || $("#help").open || !$("#keys").checked) return;
  const key = event.key.toLowerCase(), button = /^[1-4]$/.test(key) && document.querySelectorAll("[name=verdict]")[key - 1];
  if (key.startsWith("arrow") && (view.zoom === 1 || event.target.matches("input"))) return;
  if (!button && !Object.hasOwn(keys, key)) return;
  event.preventDefault();
  if (event.repeat && !key.startsWith("arrow")) return;
  button ? choose(button) : keys[key]();
  draw();
});
addEventListener("keyup", (event) => event.key.toLowerCase() === "b" && press(false));
addEventListener("blur", () => press(false));

addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  event.preventDefault();
  if (event.target.id === "undo") return send(event.target, event.submitter);
  choose(event.submitter);
});

const blink = $("#blink");
for (const name of ["pointerdown", "keydown"]) blink.addEventListener(name, (e) => (name === "pointerdown" || e.key === " " || e.key === "Enter") && press(true));
for (const name of ["pointerup", "pointerleave", "keyup", "blur"]) blink.addEventListener(name, () => press(false));
$("#help-button").addEventListener("click", keys["?"]);
$("#tools").addEventListener("input", () => {
  Object.assign(view, { mode: $("[name=mode]:checked").value, zoom: Number($("#zoom").value), match: $("#match").checked });
  draw();
});
addEventListener("click", (event) => {
  const frame = event.target.closest(".frame");
  if (!frame) return;
  const box = frame.getBoundingClientRect();
  view.x = (100 * (event.clientX - box.left)) / box.width;
  view.y = (100 * (event.clientY - box.top)) / box.height;
  draw();
});
draw();
preload();
lookAhead();
