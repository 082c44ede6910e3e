import {
  entriesAt,
  isJsonObject,
  objectAt,
  toJson,
  type Json,
  type JsonDraft,
  type JsonObject,
} from '../../contracts/codegen/json.ts';

/**
 * JSON Schemas in one normal form, so that schemas of different dialects and generators can be compared:
 * references are followed, `nullable` and a null branch are the same, required members are sorted, text is left out.
 * A keyword that the form does not know is refused, so nothing can differ unseen.
 */
export type Digest = JsonObject;

const silent = new Set([
  'description',
  '$schema',
  'id',
  'example',
  'title',
  'nullable',
  'propertyNames',
  'definitions',
]);
const kept = new Set(
  'type format enum const pattern minimum maximum minLength maxLength minItems maxItems'.split(' '),
);
const structural = new Set(['properties', 'required', 'additionalProperties', 'items', 'anyOf', '$ref']);
/** Formats beside which a generated regular expression says nothing more. */
const patternFormats = new Set(['uuid', 'date-time']);

function follow(reference: string, root: JsonObject): JsonObject {
  return reference
    .replace(/^#\//, '')
    .split('/')
    .reduce((at, key) => objectAt(at, key), root);
}

/** `[schema, nullable]` without its null branch. */
function unwrapNull(schema: JsonObject): readonly [JsonObject, boolean] {
  const { anyOf, type } = schema;
  if (Array.isArray(anyOf)) {
    const others = anyOf.filter((branch: Json) => isJsonObject(branch) && branch['type'] !== 'null');
    const [only] = others;
    if (others.length !== 1 || !isJsonObject(only) || anyOf.length !== 2)
      throw new Error('a union is not comparable');
    return [only, true];
  }
  if (Array.isArray(type)) {
    const others = type.filter((name: Json) => name !== 'null');
    const [only] = others;
    if (others.length !== 1 || only === undefined || type.length !== 2)
      throw new Error('several types are not comparable');
    return [{ ...schema, type: only }, true];
  }
  return [schema, schema['nullable'] === true];
}

/**
 * The digest of a schema.
 * @throws Error for a keyword that the form does not know.
 */
export function digestOf(schema: JsonObject, root: JsonObject): Digest {
  if (typeof schema['$ref'] === 'string') return digestOf(follow(schema['$ref'], root), root);
  const [bare, nullable] = unwrapNull(schema);
  if (typeof bare['$ref'] === 'string')
    return { ...digestOf(bare, root), ...(nullable ? { nullable: true } : {}) };
  const unknown = Object.keys(bare).filter(
    (key) => !silent.has(key) && !kept.has(key) && !structural.has(key),
  );
  if (unknown.length > 0) throw new Error(`keywords are not comparable: ${unknown.join(', ')}`);

  const digest: JsonDraft = {};
  for (const key of kept) if (bare[key] !== undefined) digest[key] = toJson(bare[key]);
  if (typeof bare['format'] === 'string' && patternFormats.has(bare['format'])) delete digest['pattern'];
  if (nullable) digest['nullable'] = true;
  if (isJsonObject(bare['items'])) digest['items'] = digestOf(bare['items'], root);
  if (bare['type'] === 'object') {
    digest['closed'] = bare['additionalProperties'] === false;
    digest['required'] = Array.isArray(bare['required'])
      ? bare['required'].map(String).toSorted((a, b) => a.localeCompare(b))
      : [];
    const fields = isJsonObject(bare['properties']) ? bare['properties'] : {};
    digest['fields'] = Object.fromEntries(
      Object.keys(fields)
        .sort()
        .map((name) => [name, digestOf(objectAt(fields, name), root)]),
    );
  }
  return digest;
}

/** Where a reference of the document leads, or the value itself. */
const resolved = (value: Json | undefined, root: JsonObject): JsonObject => {
  if (!isJsonObject(value)) throw new Error('no object to resolve');
  return typeof value['$ref'] === 'string' ? follow(value['$ref'], root) : value;
};

/** The digest of one NATS channel of an AsyncAPI 2.6 document; `message` makes that of its payload. */
export function channelDigest(
  document: JsonObject,
  subject: string,
  message: (payload: JsonObject) => Digest,
): Digest {
  const item = objectAt(objectAt(document, 'channels'), subject);
  const direction = isJsonObject(item['publish']) ? 'publish' : 'subscribe';
  const operation = objectAt(item, direction);
  const { name, messageId, payload } = resolved(operation['message'], document);
  if (!isJsonObject(payload)) throw new Error(`${subject}: the message has no payload`);
  return {
    servers: toJson(item['servers']),
    nats: toJson(item['x-nats-config']),
    direction,
    operation_id: toJson(operation['operationId']),
    message_name: toJson(name),
    message_id: toJson(messageId),
    message: message(payload),
  };
}

function socketOperationDigest(operation: JsonObject, document: JsonObject): Digest {
  const message = objectAt(operation, 'message');
  const all = Array.isArray(message['oneOf']) ? message['oneOf'] : [message];
  return {
    operation_id: toJson(operation['operationId']),
    messages: all.map((one: Json) => {
      const { name, messageId, contentType, payload } = resolved(one, document);
      if (!isJsonObject(payload)) throw new Error('the message has no payload');
      return {
        name: toJson(name),
        message_id: toJson(messageId),
        content_type: contentType ?? null,
        payload: digestOf(payload, document),
      };
    }),
  };
}

/** The digest of one WebSocket channel of an AsyncAPI 2.6 document. */
export function socketDigest(document: JsonObject, address: string): Digest {
  const item = objectAt(objectAt(document, 'channels'), address);
  const ws = objectAt(objectAt(item, 'bindings'), 'ws');
  const digest: JsonDraft = {
    servers: toJson(item['servers']),
    method: toJson(ws['method']),
    headers: Object.fromEntries(
      entriesAt(objectAt(ws, 'headers'), 'properties').map(([name, one]) => [
        name,
        digestOf(resolved(one, document), document),
      ]),
    ),
    parameters: Object.fromEntries(
      entriesAt(item, 'parameters').map(([name, one]) => [
        name,
        digestOf(objectAt(resolved(one, document), 'schema'), document),
      ]),
    ),
  };
  for (const direction of ['publish', 'subscribe']) {
    if (isJsonObject(item[direction]))
      digest[direction] = socketOperationDigest(objectAt(item, direction), document);
  }
  return digest;
}
