import { readFileSync } from 'node:fs';
import { isJsonObject, objectAt, toJson, type Json, type JsonObject } from '../../contracts/codegen/json.ts';

/** A value as a JSON object. */
export const json = (value: unknown): JsonObject => {
  const plain = toJson(value);
  if (!isJsonObject(plain)) throw new Error('no object');
  return plain;
};

/**
 * The digest of the source document: `head`, `envelope`, `events` by subject, `sockets` by address, `components` by
 * name. A payload is the name of a component or a digest of its own.
 */
export const source: JsonObject = json(
  JSON.parse(readFileSync(new URL('seed-channels.json', import.meta.url), 'utf8')),
);

/** Every NATS subject of the source, in its order. */
export const sourceSubjects: readonly string[] = Object.keys(objectAt(source, 'events'));

/** The digest of a channel's payload. */
function payloadOf(event: JsonObject): JsonObject {
  const payload: Json | undefined = event['payload'];
  if (typeof payload === 'string') return objectAt(objectAt(source, 'components'), payload);
  return objectAt(event, 'payload');
}

/** The digest of a channel's message: envelope and payload as one closed object (D-0004). */
export function sourceMessage(subject: string): JsonObject {
  const event = objectAt(objectAt(source, 'events'), subject);
  const envelope = objectAt(source, 'envelope');
  const fields = objectAt(envelope, 'fields');
  const required = [
    ...(Array.isArray(envelope['required']) ? envelope['required'].map(String) : []),
    'payload',
  ];
  return {
    ...envelope,
    required: required.toSorted((a, b) => a.localeCompare(b)),
    fields: {
      ...fields,
      event_type: { ...objectAt(fields, 'event_type'), const: event['event_type'] ?? null },
      payload: payloadOf(event),
    },
  };
}

/** The digest of a channel as `channelDigest` makes it of a document. */
export function sourceChannel(subject: string): JsonObject {
  const { payload: _, event_type: _type, ...event } = objectAt(objectAt(source, 'events'), subject);
  return { ...event, message: sourceMessage(subject) };
}
