"use strict";
// The page works without this file; with it, an answer takes three keys, and a lost connection says so.
const $ = (query) => document.querySelector(query);
const view = { zoom: 1, x: 50, y: 50 };
let flight = Promise.resolve(); // what is on its way to the ledger, one after the other

function draw() {
  const frame = $(".study .frame");
  $("#help-button").hidden = false;
  if (!frame) return;
  $(".study .tools").hidden = false;
  $("#zoom").value = view.zoom;
  for (const [name, value] of Object.entries({ "--zoom": view.zoom, "--x": `${view.x}%`, "--y": `${view.y}%` })) {
    frame.style.setProperty(name, value);
  }
}

const say = (words) => ($("#said").textContent = words);

function change(section) {
  $("#image").replaceWith(document.adoptNode(section));
  Object.assign(view, { zoom: 1, x: 50, y: 50 });
  draw();
  $("#image h1").focus({ preventScroll: true });
  say($("#image .problem").textContent || $("#image h1").textContent);
}

const send = (form) => (flight = flight.then(() => form.isConnected && post(form)));

async function post(form) {
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (!answer.ok && answer.status !== 422) throw new Error(await answer.text());
    const section = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#image");
    // What was wrong is shown beside the answer as it was given, as long as it is about this image.
    if (answer.status === 422 && section.dataset.id === $("#image").dataset.id) {
      say(($("#image .problem").textContent = section.querySelector(".problem").textContent));
    } else change(section);
  } catch (error) {
    const said = `Perhaps not recorded. ${error.message}. Is synguard review still running? Started again, it asks for what it lacks.`;
    say(($("#image .problem").textContent = said));
  }
}

const choose = (name, value) => {
  const choice = $(`#answer [name=${name}][value="${value}"]`);
  if (choice) (choice.checked = true), choice.focus();
};
const zoom = (by) => ((view.zoom = Math.min(8, Math.max(1, view.zoom + by))), draw());
const keys = {
  r: () => choose("answer", "real"), s: () => choose("answer", "synthetic"),
  c: () => $(".seen select")?.focus(),
  u: () => { const button = $("#undo button"); if (!button.disabled) send(button.form); },
  "+": () => zoom(1), "=": () => zoom(1), "-": () => zoom(-1),
  "?": () => $("#help").showModal(),
};
for (const grade of "12345") keys[grade] = () => choose("confidence", grade);

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || $("#help").open) return;
  const key = event.key.toLowerCase(), form = $("#answer");
  if (key === "escape" && event.target.matches("select")) return $("#image h1").focus();
  if (key === "enter" && form && !event.target.matches("button, a")) {
    event.preventDefault();
    if (!event.repeat) form.requestSubmit(); // which asks for what is missing
    return;
  }
  // Letters and digits choose in a list; nobody who typed there means anything else.
  if (event.target.matches("select") || !$("#keys").checked || !Object.hasOwn(keys, key)) return;
  event.preventDefault();
  if (!event.repeat) keys[key]();
});

addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  event.preventDefault();
  send(event.target);
});
addEventListener("input", (event) => {
  if (event.target.id === "zoom") (view.zoom = Number(event.target.value)), draw();
});
addEventListener("click", (event) => {
  if (event.target.closest("#help-button")) return keys["?"]();
  const frame = event.target.closest(".frame");
  if (!frame) return;
  const box = frame.getBoundingClientRect();
  view.x = (100 * (event.clientX - box.left)) / box.width;
  view.y = (100 * (event.clientY - box.top)) / box.height;
  draw();
});
draw();
