// A few words for building pages, none of which takes markup from anybody.

/**
 * Make an element.
 * @param {string} name
 * @param {{[attribute: string]: string | boolean | null}} [attributes] null and false are left out
 * @param {...(Node | string | null)} children
 */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(attribute, "");
    else if (value !== null && value !== false) made.setAttribute(attribute, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** @param {string} id @returns {any} the element, which the page has */
export const byId = (id) => document.getElementById(id);

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** @param {number} value */
const two = (value) => String(value).padStart(2, "0");

/** @param {Date} moment @returns {string} the reader's zone then: UTC, UTC+1, UTC−3:30 */
function zone(moment) {
  const ahead = -Math.round(moment.getTimezoneOffset());
  const [hours, minutes] = [Math.floor(Math.abs(ahead) / 60), Math.abs(ahead) % 60];
  return ahead === 0 ? "UTC" : `UTC${ahead < 0 ? "−" : "+"}${hours}${minutes === 0 ? "" : `:${two(minutes)}`}`;
}

/**
 * How a moment is written in the reader's zone, as templates write it in UTC. Without Intl, whose first use costs a
 * telephone a quarter of a second.
 * @type {{[form: string]: (moment: Date) => string}}
 */
export const FORMS = {
  clock: (moment) => `${two(moment.getHours())}:${two(moment.getMinutes())}`,
  day: (moment) => `${moment.getDate()} ${MONTHS[moment.getMonth()]} ${moment.getFullYear()}`,
  minute: (moment) => `${FORMS.day(moment)}, ${FORMS.clock(moment)} ${zone(moment)}`,
};

/**
 * Show a time in the reader's zone, with the exact value in its title.
 * @param {number | bigint} seconds Unix @param {(moment: Date) => string} [form]
 */
export function time(seconds, form = FORMS.minute) {
  const moment = new Date(Number(seconds) * 1000);
  if (Number.isNaN(moment.getTime())) return el("span", {}, `Unix time ${seconds}`);
  const exact = `${moment.toISOString().slice(0, 19)}Z`;
  return el("time", { datetime: exact, title: `${exact}, Unix time ${seconds}` }, form(moment));
}

/** @param {number | bigint} value a count */
export const number = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, ",");

/** @param {string} text a digest, cut off by the style sheet only @param {string} what it is */
export const digest = (text, what) =>
  el(
    "span",
    { class: "digest" },
    el("code", {}, text),
    el("button", { type: "button", class: "copy", "data-copy": text, "aria-label": `Copy ${what}` }),
  );

/**
 * Let a page take files: picked, dropped anywhere on it, or still chosen when somebody comes back to it.
 * @param {HTMLElement} zone shown as the place to drop @param {HTMLInputElement} input
 * @param {(files: File[]) => void} take
 */
export function takesFiles(zone, input, take) {
  const picked = () => input.files?.length && take([...input.files]);
  input.addEventListener("change", picked);
  addEventListener("pageshow", ({ persisted }) => !persisted && picked());
  /** @param {DragEvent} event a file beside the zone would open, and leave the page; text, and other fields, go on */
  const isOurs = ({ dataTransfer, target }) =>
    dataTransfer?.types.includes("Files") && !(target instanceof HTMLInputElement && target !== input);
  for (const name of /** @type {const} */ (["dragenter", "dragover"])) {
    addEventListener(name, (event) => {
      if (!isOurs(event)) return;
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  addEventListener("dragleave", (event) => event.relatedTarget === null && zone.classList.remove("over"));
  addEventListener("drop", (event) => {
    zone.classList.remove("over");
    if (!isOurs(event)) return;
    event.preventDefault();
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length > 0) take(files);
  });
}

/**
 * Show a dropped file as if it had been picked there.
 * @param {HTMLInputElement} input @param {File} file
 */
export function showIn(input, file) {
  const chosen = new DataTransfer();
  chosen.items.add(file);
  input.files = chosen.files;
}

const MAX_FILE = 64 * 2 ** 20; // bytes; as docs/spec/bundle.md has it

/** @param {File} file @returns {Promise<Uint8Array>} */
export async function bytesOf(file) {
  if (file.size > MAX_FILE)
    throw new RangeError(`${file.name} has ${number(file.size)} bytes; at most 64 MiB are read`);
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new Error(`${file.name} cannot be read. Is it a folder, or has it changed since?`);
  }
}
