/** The labels, each with its score as a bar. */

export class Bars {
  private readonly list: HTMLElement;
  private rows = new Map<string, HTMLElement>();

  constructor(list: HTMLElement) {
    this.list = list;
  }

  label(names: readonly string[]): void {
    this.rows = new Map(
      names.map((name) => {
        const row = document.createElement("li");
        for (const part of ["fill", "text", "score"]) {
          const span = document.createElement("span");
          span.className = part;
          row.append(span);
        }
        (row.children[1] as HTMLElement).textContent = name;
        return [name, row];
      }),
    );
    this.list.replaceChildren(...this.rows.values());
    this.show([]);
  }

  /** Scores by label; without any, none is on. */
  show(predictions: readonly { label: string; score: number }[]): void {
    const scores = new Map(predictions.map(({ label, score }) => [label, score]));
    const best = predictions[0]?.label;
    for (const [name, row] of this.rows) {
      const score = scores.get(name);
      row.style.setProperty("--score", String(Math.max(0, score ?? 0)));
      row.classList.toggle("top", name === best);
      (row.children[2] as HTMLElement).textContent = score === undefined ? "" : percent(score);
    }
  }
}

export function percent(score: number): string {
  return `${(100 * score).toFixed(score < 0.0995 ? 1 : 0)} %`;
}
