/**
 * What the embedded issuer remembers: grants, refresh tokens, sessions, codes. Kept in memory and written to a
 * journal of JSON lines, so a refresh token is still good after a restart, as it is with Keycloak.
 */
import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Adapter, AdapterPayload } from 'oidc-provider';

interface Entry {
  readonly model: string;
  readonly id: string;
  /** null marks a deletion. */
  readonly payload: AdapterPayload | null;
  /** Milliseconds since the epoch; null never expires. */
  readonly expires_at_ms: number | null;
}

const JOURNAL_FILE = 'issuer-store.jsonl';
/** The journal is rewritten with what is still alive once it holds this many lines. */
const COMPACT_AFTER_LINES = 20_000;

function parseLine(line: string): Entry | undefined {
  try {
    // Only this module writes the journal; a torn last line is the one thing a crash can leave.
    return JSON.parse(line) as Entry;
  } catch {
    return undefined;
  }
}

export class IssuerStore {
  readonly #file: string;
  readonly #entries = new Map<string, Entry>();
  #lines = 0;

  /** Opens the journal in `stateDir` (which must exist) and drops what has expired. */
  constructor(stateDir: string) {
    this.#file = join(stateDir, JOURNAL_FILE);
    let text = '';
    try {
      text = readFileSync(this.#file, 'utf8');
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
    for (const line of text.split('\n')) {
      const entry = line === '' ? undefined : parseLine(line);
      if (entry !== undefined) this.#apply(entry);
    }
    this.#compact();
  }

  /** The live payload under this model and id. */
  find(model: string, id: string): AdapterPayload | undefined {
    const entry = this.#entries.get(`${model}:${id}`);
    return entry === undefined || isExpired(entry) ? undefined : (entry.payload ?? undefined);
  }

  /** The first live payload of a model that a predicate accepts. */
  search(model: string, accepts: (payload: AdapterPayload) => boolean): AdapterPayload | undefined {
    for (const entry of this.#entries.values()) {
      if (entry.model === model && entry.payload !== null && !isExpired(entry) && accepts(entry.payload)) {
        return entry.payload;
      }
    }
    return undefined;
  }

  /** Writes one payload; without `ttlSeconds` it never expires. */
  put(model: string, id: string, payload: AdapterPayload, ttlSeconds?: number): void {
    const expiresAtMs = ttlSeconds === undefined ? null : Date.now() + ttlSeconds * 1_000;
    this.#record({ model, id, payload, expires_at_ms: expiresAtMs });
  }

  /** Replaces the payload of an entry and leaves its expiry; nothing happens when it is gone. */
  amend(model: string, id: string, change: Partial<AdapterPayload>): void {
    const entry = this.#entries.get(`${model}:${id}`);
    if (entry?.payload) this.#record({ ...entry, payload: { ...entry.payload, ...change } });
  }

  delete(model: string, id: string): void {
    if (this.#entries.has(`${model}:${id}`)) this.#record({ model, id, payload: null, expires_at_ms: null });
  }

  /** Deletes every token that came of a grant. */
  deleteByGrant(grantId: string): void {
    for (const entry of this.#entries.values()) {
      if (entry.payload?.grantId === grantId) this.delete(entry.model, entry.id);
    }
  }

  #record(entry: Entry): void {
    this.#apply(entry);
    appendFileSync(this.#file, `${JSON.stringify(entry)}\n`, { mode: 0o600 });
    this.#lines += 1;
    if (this.#lines > COMPACT_AFTER_LINES) this.#compact();
  }

  #apply(entry: Entry): void {
    const key = `${entry.model}:${entry.id}`;
    if (entry.payload === null) this.#entries.delete(key);
    else this.#entries.set(key, entry);
  }

  #compact(): void {
    for (const [key, entry] of this.#entries) if (isExpired(entry)) this.#entries.delete(key);
    const draft = `${this.#file}.draft`;
    const lines = [...this.#entries.values()].map((entry) => `${JSON.stringify(entry)}\n`);
    writeFileSync(draft, lines.join(''), { mode: 0o600 });
    renameSync(draft, this.#file);
    this.#lines = 0;
  }
}

function isExpired(entry: Entry): boolean {
  return entry.expires_at_ms !== null && entry.expires_at_ms <= Date.now();
}

/** The storage port of oidc-provider over one store: a factory of one adapter for each model. */
export function adapterOver(store: IssuerStore): (model: string) => Adapter {
  return (model) => ({
    upsert: async (id, payload, ttlSeconds) => store.put(model, id, payload, ttlSeconds),
    find: async (id) => store.find(model, id),
    findByUid: async (uid) => store.search(model, (payload) => payload.uid === uid),
    findByUserCode: async (userCode) => store.search(model, (payload) => payload.userCode === userCode),
    consume: async (id) => store.amend(model, id, { consumed: Math.floor(Date.now() / 1_000) }),
    destroy: async (id) => store.delete(model, id),
    revokeByGrantId: async (grantId) => store.deleteByGrant(grantId),
  });
}
