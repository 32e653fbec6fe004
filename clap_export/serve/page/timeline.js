/** When each label is heard: one line a label, stronger where its score is higher. */

import { scores } from "./scores.js";

const MOST = 8; // labels that are shown, those with the highest scores

/**
 * The time that each window speaks for: windows that overlap have half of the overlap each.
 *
 * @param {number[]} start @param {number[]} end in seconds
 */
export function shares(start, end) {
  const meet = start.slice(1).map((next, i) => Math.min(end[i], (end[i] + next) / 2));
  const from = start.map((own, i) => (i === 0 ? own : Math.max(own, meet[i - 1])));
  return from.map((own, i) => /** @type {[number, number]} */ ([own, i < meet.length ? meet[i] : end[i]]));
}

/** The window that speaks for a time. @param {[number, number][]} parts @param {number} seconds */
export function windowAt(parts, seconds) {
  const found = parts.findIndex(([, end]) => seconds < end);
  return found < 0 ? parts.length - 1 : found;
}

/**
 * @param {{rows: Float32Array[]}} recording @param {Float32Array[]} labels
 * @param {"softmax" | "cosine"} mode @param {number} scale
 * @returns {number[][]} of each window, a score a label
 */
export function table(recording, labels, mode, scale) {
  return recording.rows.map((row) => scores(row, labels, mode, scale));
}

/**
 * @param {HTMLElement} place @param {string[]} names @param {number[][]} found
 * @param {[number, number][]} parts @param {number} seconds of the recording
 */
export function draw(place, names, found, parts, seconds) {
  const peaks = names.map((_, label) => found.reduce((most, row) => Math.max(most, row[label]), -1));
  const shown = names.map((_, label) => label).sort((a, b) => peaks[b] - peaks[a]).slice(0, MOST);
  const [low, high] = [Math.min(0, ...peaks), Math.max(...peaks, 1e-6)];
  const lines = shown.map((label) => {
    const row = document.createElement("div");
    const canvas = document.createElement("canvas");
    const text = document.createElement("span");
    row.className = "row";
    text.textContent = names[label];
    row.append(canvas, text);
    return { row, canvas, label };
  });
  place.replaceChildren(...lines.map(({ row }) => row));
  for (const { canvas, label } of lines) {
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * Math.min(devicePixelRatio, 2)));
    canvas.height = 1;
    const context = canvas.getContext("2d");
    if (context === null) continue;
    context.fillStyle = getComputedStyle(canvas).color;
    parts.forEach(([start, end], window) => {
      // Squared: what is heard stands out from what is only not impossible.
      context.globalAlpha = Math.max(0, (found[window][label] - low) / (high - low)) ** 2;
      const [from, to] = [(start / seconds) * canvas.width, (end / seconds) * canvas.width];
      context.fillRect(from, 0, Math.max(1, to - from), 1);
    });
  }
}
