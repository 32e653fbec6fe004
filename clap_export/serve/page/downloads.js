/** The timeline as files for other programs. */

/** Numbers as they are, so that a reader has them all. @param {string[]} names @param {number[][]} found @param {{start: number[], end: number[]}} windows */
export function csv(names, found, windows) {
  const lines = [["start", "end", "label", "score"].join(",")];
  windows.start.forEach((start, window) =>
    names.forEach((name, label) => lines.push([start, windows.end[window], cell(name), found[window][label]].join(","))),
  );
  return `${lines.join("\r\n")}\r\n`;
}

/** A spreadsheet would take some beginnings for a formula. @param {string} text */
function cell(text) {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** A label track: windows that follow each other and have the same best label are one region. @param {string[]} names @param {number[][]} found @param {[number, number][]} parts */
export function audacity(names, found, parts) {
  /** @type {[number, number, number][]} */
  const regions = [];
  parts.forEach(([start, end], window) => {
    const best = found[window].indexOf(Math.max(...found[window]));
    const last = regions.at(-1);
    if (last !== undefined && last[2] === best && last[1] === start) last[1] = end;
    else regions.push([start, end, best]);
  });
  return regions.map(([start, end, label]) => `${start.toFixed(6)}\t${end.toFixed(6)}\t${names[label].replaceAll("\t", " ")}\n`).join("");
}

/** @param {string} name @param {string} text @param {string} type */
export function save(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
