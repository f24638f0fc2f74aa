// The pane: log in, search, add people to the message. It holds no token: the session is a cookie that scripts cannot
// read, and nothing is kept in the page's storage. Text from the address book becomes text, never HTML.

import { speaker } from "./words.js";

const API = document.querySelector("meta[name=alimail-api]").content;
const PAUSE = 250; // ms after the last key before a search is sent

const find = (id) => document.getElementById(id);
const loginForm = find("login");
const searchForm = find("search");
const query = find("query");
const people = find("people");

let say = speaker(navigator.language);
/** @type {Office.Mailbox | null} */
let mailbox = null; // Outlook's; null outside of it
let pending = new AbortController();
let timer = 0;

/** Ask the server; a header of our own keeps other sites from asking in the user's name. */
function ask(path, options = {}) {
  return fetch(`${API}${path}`, {
    credentials: "include",
    cache: "no-store",
    ...options,
    headers: { "X-Alimail": "pane", "Content-Type": "application/json" },
  });
}

function tell(text, bad = false) {
  const note = find("note");
  note.classList.toggle("bad", bad);
  note.textContent = text;
}

/** Show what one may do: log in, or search where `address` says who did. */
function show(address) {
  loginForm.hidden = Boolean(address);
  searchForm.hidden = people.hidden = find("leave").hidden = !address;
  find("who").textContent = address ? say("who", address) : "";
  if (address) tell(mailbox ? "" : say("outside"));
  else people.replaceChildren();
  (address ? query : find("address").value ? find("password") : find("address")).focus();
}

async function logIn(event) {
  event.preventDefault();
  const button = loginForm.querySelector("button");
  button.disabled = true;
  tell(say("loggingIn"));
  try {
    const login = { address: find("address").value.trim(), password: find("password").value };
    const answer = await ask("/login", { method: "POST", body: JSON.stringify(login) });
    find("password").value = "";
    if (answer.ok) {
      show((await answer.json()).address);
    } else {
      tell(say({ 401: "refused", 429: "often" }[answer.status] ?? "away"), true);
      find("password").focus();
    }
  } catch {
    tell(say("away"), true);
  } finally {
    button.disabled = false;
  }
}

async function logOut() {
  pending.abort();
  try {
    const answer = await ask("/logout", { method: "POST" });
    if (!answer.ok) throw new Error(String(answer.status));
    query.value = "";
    show("");
    tell("");
  } catch {
    tell(say("away"), true);
  }
}

/** Search for what stands in the field; only the newest search is ever shown. */
async function search() {
  clearTimeout(timer);
  pending.abort();
  const wanted = query.value.trim();
  if (!wanted) {
    people.replaceChildren();
    tell("");
    return;
  }
  pending = new AbortController();
  const { signal } = pending;
  tell(say("searching"));
  try {
    const answer = await ask(`/people?q=${encodeURIComponent(wanted)}`, { signal });
    if (answer.status === 401) {
      show("");
      tell(say("again"), true);
      return;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    const found = await answer.json();
    if (!signal.aborted) list(found);
  } catch (error) {
    if (signal.aborted) return;
    tell(say(error.message === "429" ? "often" : "away"), true);
  }
}

function list(found) {
  people.replaceChildren(...found.people.map(row));
  const count = String(found.people.length);
  tell(found.people.length ? say(found.more ? "more" : "found", count) : say("nobody"));
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function row(person) {
  const line = element("li", "");
  line.append(element("div", "name", person.name || person.address));
  if (person.name) line.append(element("div", "", person.address));
  const more = [person.department, person.title, person.phone].filter(Boolean).join(" · ");
  if (more) line.append(element("div", "more", more));
  const buttons = actions(person);
  if (buttons.length) {
    const place = element("div", "to");
    place.append(...buttons);
    line.append(place);
  }
  return line;
}

/** The buttons for a person: three where a message is written, one where it is read, none outside of Outlook. */
function actions(person) {
  const item = mailbox?.item;
  const name = person.name || person.address;
  if (item?.to?.addAsync) {
    return ["to", "cc", "bcc"].map((field) =>
      button(say(field), say("addTo", name, say(field)), (pressed) => add(person, field, pressed)),
    );
  }
  if (!mailbox || !Office.context.requirements.isSetSupported("Mailbox", "1.6")) return [];
  const write = () => mailbox.displayNewMessageForm({ toRecipients: [person.address] });
  return [button(say("write"), say("writeTo", name), write)];
}

function button(text, label, press) {
  const made = element("button", "", text);
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.addEventListener("click", () => press(made));
  return made;
}

function recipient(person) {
  return { displayName: person.name || person.address, emailAddress: person.address };
}

function add(person, field, pressed) {
  const name = person.name || person.address;
  mailbox.item[field].addAsync([recipient(person)], (result) => {
    if (result.status === Office.AsyncResultStatus.Succeeded) {
      pressed.classList.add("done");
      tell(say("added", name, say(field)));
    } else {
      tell(say("notAdded", name, result.error.message), true);
    }
  });
}

/** Arrow keys go from row to row and stay in the column of buttons; Escape leads back to the field. */
function walk(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.key === "Escape" && people.contains(document.activeElement)) query.focus();
  if (!step) return;
  const rows = [...people.children].filter((each) => each.querySelector("button"));
  const here = rows.findIndex((each) => each.contains(document.activeElement));
  if (here < 0 && (step < 0 || document.activeElement !== query)) return;
  event.preventDefault();
  const column = here < 0 ? 0 : [...rows[here].querySelectorAll("button")].indexOf(document.activeElement);
  const next = rows[here + step];
  if (next) next.querySelectorAll("button")[column].focus();
  else if (step < 0) query.focus();
}

/** Outlook has a theme of its own, which need not be the system's. */
function followTheme(theme) {
  const match = /^#([0-9a-f]{6})$/i.exec(theme?.bodyBackgroundColor ?? "");
  if (!match) return;
  const [red, green, blue] = [0, 2, 4].map((at) => parseInt(match[1].slice(at, at + 2), 16));
  const light = 0.299 * red + 0.587 * green + 0.114 * blue > 128;
  document.documentElement.dataset.theme = light ? "light" : "dark";
}

function speak(language) {
  say = speaker(language);
  document.documentElement.lang = language.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
  document.title = say("title");
  for (const each of document.querySelectorAll("[data-word]")) each.textContent = say(each.dataset.word);
}

async function start() {
  const office = globalThis.Office;
  const info = office ? await office.onReady() : { host: null };
  if (info.host) {
    mailbox = office.context.mailbox;
    followTheme(office.context.officeTheme);
    find("address").value = mailbox.userProfile?.emailAddress ?? "";
  }
  speak((info.host && office.context.displayLanguage) || navigator.language);
  loginForm.addEventListener("submit", logIn);
  searchForm.addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  query.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE);
  });
  document.addEventListener("keydown", walk);
  find("log-out").addEventListener("click", logOut);
  try {
    const answer = await ask("/session");
    if (!answer.ok) throw new Error(String(answer.status));
    show((await answer.json()).address);
  } catch {
    show("");
    tell(say("away"), true);
  }
}

start();
