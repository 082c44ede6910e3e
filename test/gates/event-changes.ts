/**
 * Compares two versions of the AsyncAPI document by the rules of event versions: a field that is added is a new minor
 * version; anything that an older reader or an older message would fail on is a new major version with a line in the
 * change log. Without a version of its own (a socket, a node task, limits of delivery) a line is enough.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { annotations } from './breaking-changes.ts';

type Json = null | boolean | number | string | readonly Json[] | JsonObject;
interface JsonObject {
  readonly [key: string]: Json;
}

/** What changed on a channel, or in a schema that stands beside the channels. */
export interface EventChange {
  /** Or the name of the schema. */
  readonly subject: string;
  /** `delivery`: messages are as before, but how long and how often they are delivered is not. */
  readonly kind: 'breaking' | 'additive' | 'delivery';
  readonly text: string;
}

/** A change that breaks a rule, and the rule. */
export interface Refusal extends EventChange {
  readonly rule: string;
}

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const objectAt = (node: Json | undefined, key: string): JsonObject => {
  const value = isObject(node) ? node[key] : undefined;
  return isObject(value) ? value : {};
};

function resolve(document: JsonObject, node: Json | undefined): JsonObject {
  let at = isObject(node) ? node : {};
  for (let depth = 0; typeof at['$ref'] === 'string'; depth += 1) {
    if (depth > 20) throw new Error(`${at['$ref']} refers to itself`);
    let target: Json | undefined = document;
    for (const part of at['$ref'].replace(/^#\//, '').split('/')) {
      target = isObject(target) ? target[part.replaceAll('~1', '/').replaceAll('~0', '~')] : undefined;
    }
    if (!isObject(target)) throw new Error(`${at['$ref']} refers to nothing`);
    at = target;
  }
  return at;
}

/** Keywords that say nothing about which messages are valid. */
const prose = new Set(['description', 'title', 'examples', '$id', 'x-parser-schema-id']);
/** Keywords that are compared by their members. */
const structure = new Set(['properties', 'required', 'items', 'allOf', 'oneOf', 'anyOf']);

type Say = (kind: EventChange['kind'], text: string) => void;
interface Pair {
  readonly base: JsonObject;
  readonly now: JsonObject;
}

function compareSchemas(
  documents: Pair,
  left: Json | undefined,
  right: Json | undefined,
  path: string,
  say: Say,
): void {
  const base = resolve(documents.base, left);
  const now = resolve(documents.now, right);
  for (const keyword of new Set([...Object.keys(base), ...Object.keys(now)])) {
    if (prose.has(keyword) || structure.has(keyword)) continue;
    if (JSON.stringify(base[keyword]) !== JSON.stringify(now[keyword]))
      say('breaking', `${path}: ${keyword} changed`);
  }
  compareProperties(documents, base, now, path, say);
  if (base['items'] !== undefined || now['items'] !== undefined) {
    compareSchemas(documents, base['items'], now['items'], `${path}[]`, say);
  }
  for (const keyword of ['allOf', 'oneOf', 'anyOf']) {
    const [before, after] = [base[keyword], now[keyword]];
    const [olds, news] = [Array.isArray(before) ? before : [], Array.isArray(after) ? after : []];
    if (olds.length !== news.length) say('breaking', `${path}: ${keyword} changed`);
    else
      olds.forEach((old: Json, index) =>
        compareSchemas(documents, old, news[index], `${path}/${keyword}${index}`, say),
      );
  }
}

const names = (value: Json | undefined): readonly Json[] => (Array.isArray(value) ? value : []);

function compareProperties(documents: Pair, base: JsonObject, now: JsonObject, path: string, say: Say): void {
  const [olds, news] = [objectAt(base, 'properties'), objectAt(now, 'properties')];
  const [needed, needs] = [names(base['required']), names(now['required'])];
  for (const name of Object.keys(olds)) {
    if (news[name] === undefined) say('breaking', `${path}.${name} is gone`);
    else compareSchemas(documents, olds[name], news[name], `${path}.${name}`, say);
    if (news[name] !== undefined && needed.includes(name) !== needs.includes(name)) {
      say('breaking', `${path}.${name}: required changed`);
    }
  }
  for (const name of Object.keys(news)) {
    if (olds[name] !== undefined) continue;
    if (needs.includes(name)) say('breaking', `${path}.${name} is new and required`);
    else say('additive', `${path}.${name} is new`);
  }
}

const directions = ['publish', 'subscribe'] as const;
const isEvent = (channel: JsonObject): boolean => channel['x-nats-config'] !== undefined;

/**
 * Messages of an operation by name. Of an event only the current one, which stands first: a previous version is shown
 * beside it for as long as it is read, and then goes.
 */
function messagesOf(
  document: JsonObject,
  operation: JsonObject,
  current: boolean,
): ReadonlyMap<string, JsonObject> {
  const message = operation['message'];
  const choices = isObject(message) && Array.isArray(message['oneOf']) ? message['oneOf'] : [message];
  const resolved = choices.map((choice: Json | undefined) => resolve(document, choice));
  return new Map((current ? resolved.slice(0, 1) : resolved).map((one) => [String(one['name']), one]));
}

function compareOperations(
  documents: Pair,
  before: JsonObject,
  after: JsonObject,
  event: boolean,
  say: Say,
): void {
  if (before['operationId'] !== after['operationId']) say('breaking', 'operationId changed');
  const [olds, news] = [messagesOf(documents.base, before, event), messagesOf(documents.now, after, event)];
  for (const [name, old] of olds) {
    const now = news.get(name);
    if (now === undefined) say('breaking', `the message ${name} is gone`);
    else compareSchemas(documents, old['payload'], now['payload'], event ? 'message' : name, say);
  }
  for (const name of news.keys()) if (!olds.has(name)) say('breaking', `the message ${name} is new`);
}

/** Every change between two documents that a producer or a consumer can notice. */
export function eventChanges(base: JsonObject, now: JsonObject): readonly EventChange[] {
  const found: EventChange[] = [];
  const [olds, news] = [objectAt(base, 'channels'), objectAt(now, 'channels')];
  for (const subject of Object.keys(olds)) {
    const say: Say = (kind, text) => found.push({ subject, kind, text });
    if (news[subject] === undefined) {
      say('breaking', 'the channel is gone');
      continue;
    }
    const [before, after] = [objectAt(olds, subject), objectAt(news, subject)];
    for (const direction of directions) {
      const [had, has] = [before[direction] !== undefined, after[direction] !== undefined];
      if (had !== has) say('breaking', `${direction} ${had ? 'is gone' : 'is new'}`);
      if (!had || !has) continue;
      const [left, right] = [objectAt(before, direction), objectAt(after, direction)];
      compareOperations({ base, now }, left, right, isEvent(before), say);
    }
    const [had, has] = [objectAt(before, 'x-nats-config'), objectAt(after, 'x-nats-config')];
    if (had['dlq_subject'] !== has['dlq_subject']) say('breaking', 'dlq_subject changed');
    for (const limit of ['ack_wait', 'max_deliver'])
      if (had[limit] !== has[limit]) say('delivery', `${limit} changed`);
  }
  compareUnsent(base, now, found);
  return found;
}

const schemaPrefix = '#/components/schemas/';

/** Names of the schemas that a part of the document comes to. */
function reached(document: JsonObject, node: Json | undefined, names: Set<string>): void {
  if (typeof node !== 'object' || node === null) return;
  const ref = isObject(node) ? node['$ref'] : undefined;
  if (typeof ref === 'string') {
    const name = ref.startsWith(schemaPrefix) ? ref.slice(schemaPrefix.length) : undefined;
    if (name !== undefined && names.has(name)) return;
    if (name !== undefined) names.add(name);
    reached(document, resolve(document, { $ref: ref }), names);
  }
  for (const child of Object.values(node)) reached(document, child, names);
}

/** Schemas that no channel sends: what a node is given to do, and answers. */
function compareUnsent(base: JsonObject, now: JsonObject, found: EventChange[]): void {
  const sent = new Set<string>();
  reached(base, base['channels'], sent);
  const [olds, news] = [base, now].map((one) => objectAt(objectAt(one, 'components'), 'schemas'));
  for (const [name, old] of Object.entries(olds ?? {})) {
    if (sent.has(name)) continue;
    const say: Say = (kind, text) => found.push({ subject: name, kind, text });
    if (news?.[name] === undefined) say('breaking', 'the schema is gone');
    else compareSchemas({ base, now }, old, news[name], 'schema', say);
  }
}

function versionOf(
  document: JsonObject,
  subject: string,
): readonly [major: number, minor: number] | undefined {
  const channel = objectAt(objectAt(document, 'channels'), subject);
  for (const direction of directions) {
    const version = objectAt(channel, direction)['x-event-version'];
    const match = typeof version === 'string' ? /^(\d+)\.(\d+)$/.exec(version) : null;
    if (match !== null) return [Number(match[1]), Number(match[2])];
  }
  return undefined;
}

/** The changes that lack a new version or a line in the change log. */
export function refusedChanges(
  base: JsonObject,
  now: JsonObject,
  changelogs: { readonly base: string; readonly now: string },
): readonly Refusal[] {
  const known = annotations(changelogs.base);
  const written = annotations(changelogs.now);
  return eventChanges(base, now).flatMap((change) => {
    const place = `EVENT ${change.subject}`;
    const explained = (written.get(place) ?? []).some((line) => !known.get(place)?.includes(line));
    // A socket and a schema have no version of their own: their clients read the change log.
    const socket = !isEvent(objectAt(objectAt(base, 'channels'), change.subject));
    if (socket && change.kind === 'additive') return [];
    if (socket || change.text === 'the channel is gone')
      return explained ? [] : [{ ...change, rule: 'a line in the change log' }];
    if (change.kind === 'delivery') return explained ? [] : [{ ...change, rule: 'a line in the change log' }];
    const [before, after] = [versionOf(base, change.subject), versionOf(now, change.subject)];
    // A document of before the versions were written down says nothing of them.
    const [oldMajor, oldMinor] = before ?? after ?? [1, 0];
    const [major, minor] = after ?? [0, 0];
    if (change.kind === 'additive') {
      const newer = major > oldMajor || (major === oldMajor && minor > oldMinor);
      return newer ? [] : [{ ...change, rule: 'a new minor version' }];
    }
    if (major <= oldMajor) return [{ ...change, rule: 'a new major version' }];
    return explained ? [] : [{ ...change, rule: 'a line in the change log' }];
  });
}

async function main(files: readonly string[]): Promise<number> {
  const [base = '', now = '', baseLog = '', nowLog = ''] = await Promise.all(
    files.map((file) => readFile(file, 'utf8')),
  );
  const [old, current] = [parse(base) as JsonObject, parse(now) as JsonObject];
  const refused = refusedChanges(old, current, { base: baseLog, now: nowLog });
  for (const { subject, kind, text } of eventChanges(old, current))
    console.log(`${kind}: ${subject}: ${text}`);
  for (const { subject, text, rule } of refused)
    console.error(`refused: EVENT ${subject}: ${text}: it needs ${rule}`);
  if (refused.length === 0) return 0;
  console.error('A line in contracts/CHANGELOG.md reads: breaking: EVENT <subject>: why');
  return 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = process.argv.slice(2);
  if (files.length !== 4)
    throw new Error('usage: event-changes.ts <base> <now> <base change log> <change log>');
  process.exitCode = await main(files);
}
