/** A map of limited size that forgets what was used longest ago, and entries older than `maxAgeMs`. */
export class RecentMap<V> {
  readonly #entries = new Map<string, { readonly value: V; readonly at: number }>();
  readonly #size: number;
  readonly #maxAgeMs: number;

  constructor(options: { readonly size: number; readonly maxAgeMs?: number }) {
    this.#size = options.size;
    this.#maxAgeMs = options.maxAgeMs ?? Infinity;
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (performance.now() - entry.at > this.#maxAgeMs) return undefined;
    this.#entries.set(key, entry);
    return entry.value;
  }

  set(key: string, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, { value, at: performance.now() });
    const oldest = this.#entries.keys().next();
    if (this.#entries.size > this.#size && !oldest.done) this.#entries.delete(oldest.value);
  }
}
