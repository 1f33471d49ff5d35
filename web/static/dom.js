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

/** How a moment is written: to the minute, in the reader's zone. */
export const EXACT = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
  timeZoneName: "short",
});

/** @param {number | bigint} seconds Unix; shown in the reader's zone, the exact value in its title */
export function time(seconds) {
  const moment = new Date(Number(seconds) * 1000);
  if (Number.isNaN(moment.getTime())) return el("span", {}, `Unix time ${seconds}`);
  const exact = `${moment.toISOString().slice(0, 19)}Z`;
  return el("time", { datetime: exact, title: `${exact}, Unix time ${seconds}` }, EXACT.format(moment));
}

/** @param {number | bigint} value */
export const number = (value) => value.toLocaleString("en-GB");

/** @param {string} text a digest, cut off by the style sheet only @param {string} what it is */
export const digest = (text, what) =>
  el(
    "span",
    { class: "digest" },
    el("code", {}, text),
    el("button", { type: "button", class: "copy", "data-copy": text, "aria-label": `Copy ${what}` }),
  );

/**
 * Let a zone take a dropped or picked file.
 * @param {HTMLElement} zone @param {HTMLInputElement} input @param {(file: File) => void} take
 */
export function takesFile(zone, input, take) {
  input.addEventListener("change", () => input.files?.[0] && take(input.files[0]));
  for (const name of ["dragenter", "dragover"]) {
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const file = event.dataTransfer?.files[0];
    if (file) take(file);
  });
}

const MAX_FILE = 64 * 2 ** 20; // bytes; as docs/spec/bundle.md has it

/** @param {File} file @returns {Promise<Uint8Array>} */
export async function bytesOf(file) {
  if (file.size > MAX_FILE)
    throw new RangeError(`${file.name} has ${number(file.size)} bytes; at most 64 MiB are read`);
  return new Uint8Array(await file.arrayBuffer());
}
