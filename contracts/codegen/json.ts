/** Plain JSON, as a generated document is made of. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

/** A mutable JSON object under construction. */
export type JsonDraft = Record<string, Json>;

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The value as plain JSON: `undefined` members are dropped. */
export const toJson = (value: unknown): Json => JSON.parse(JSON.stringify(value)) as Json;

/**
 * Reads a member that must be an object.
 * @throws Error when it is missing or something else.
 */
export function objectAt(parent: JsonObject, key: string): JsonObject {
  const value = parent[key];
  if (!isJsonObject(value)) throw new Error(`no object at ${key}`);
  return value;
}

/** Members of an optional object member; empty when it is absent. */
export const entriesAt = (parent: JsonObject, key: string): [string, Json][] => {
  const value = parent[key];
  return isJsonObject(value) ? Object.entries(value) : [];
};

/** Rebuilds a document bottom-up; `change` gets each object after its members were rebuilt. */
export function rewrite(value: Json, change: (node: JsonObject) => JsonObject): Json {
  if (Array.isArray(value)) return value.map((item: Json) => rewrite(item, change));
  if (!isJsonObject(value)) return value;
  const rebuilt: JsonDraft = {};
  for (const [key, member] of Object.entries(value)) rebuilt[key] = rewrite(member, change);
  return change(rebuilt);
}
