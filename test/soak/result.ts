/** What a soak found. */
export interface SoakResult {
  /** Everything, for the JSON file. */
  readonly report: object;
  /** What is printed. */
  readonly summary: object;
  readonly stateDir: string;
  /** Why it failed; undefined when every promise was kept. */
  readonly broken: string | undefined;
}
