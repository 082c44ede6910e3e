import { z } from 'zod';
import { allocationChannels } from '../allocations/allocation.events.ts';
import { dlqSubject, messageSchema, type Channel } from '../envelope.ts';
import {
  isJsonObject,
  objectAt,
  rewrite,
  toJson,
  type Json,
  type JsonDraft,
  type JsonObject,
} from './json.ts';
import { tidySchema } from './schemas.ts';

export type AnyChannel = Channel<string, z.ZodObject>;

const definitionPrefix = '#/definitions/';

const isNull = (schema: Json): boolean => isJsonObject(schema) && schema['type'] === 'null';

/**
 * `anyOf: [X, null]` (or `type: [X, null]`) as X with `nullable: true`, the form of the source contract.
 * @throws Error for any other use of a null type, which this form cannot say.
 */
function sayNullable(node: JsonObject): JsonObject {
  const { anyOf, type, ...rest } = node;
  if (Array.isArray(type)) {
    const others = type.filter((name: Json) => name !== 'null');
    const [only] = others;
    if (others.length !== 1 || only === undefined || rest['enum'] !== undefined) {
      throw new Error('a type of several members cannot be said with nullable');
    }
    return { type: only, ...rest, nullable: true };
  }
  if (!Array.isArray(anyOf) || !anyOf.some(isNull)) return node;
  const others = anyOf.filter((branch: Json) => !isNull(branch));
  const [only] = others;
  if (others.length !== 1 || !isJsonObject(only) || '$ref' in only) {
    throw new Error('a nullable union or reference cannot be said with nullable');
  }
  return { ...only, ...rest, nullable: true };
}

const relocate = (node: JsonObject): JsonObject => {
  const target = node['$ref'];
  if (typeof target !== 'string' || !target.startsWith(definitionPrefix)) return node;
  return { ...node, $ref: `#/components/schemas/${target.slice(definitionPrefix.length)}` };
};

interface MessageParts {
  readonly payload: JsonObject;
  readonly schemas: JsonObject;
}

/** The closed merged message of a channel (D-0004), its payload schema apart under its own id. */
function messageParts(of: AnyChannel): MessageParts {
  const generated = toJson(z.toJSONSchema(messageSchema(of), { target: 'draft-7', io: 'output' }));
  const tidy = rewrite(generated, (node) => relocate(sayNullable(tidySchema(node))));
  if (!isJsonObject(tidy)) throw new Error(`${of.subject}: no object`);
  const { $schema: _, definitions, ...payload } = tidy;
  if (!isJsonObject(definitions)) throw new Error(`${of.subject}: the payload has no id`);
  const schemas: JsonDraft = {};
  for (const name of Object.keys(definitions)) {
    const { id: _id, ...schema } = objectAt(definitions, name);
    schemas[name] = schema;
  }
  return { payload, schemas };
}

function channelItem(of: AnyChannel): JsonObject {
  const text = of.description === undefined ? {} : { description: of.description };
  return {
    servers: ['nats-internal'],
    ...text,
    'x-nats-config': {
      ack_policy: 'explicit',
      ack_wait: `${of.nats.ackWaitSeconds}s`,
      max_deliver: of.nats.maxDeliver,
      dlq_subject: dlqSubject(of.subject),
    },
    [of.direction]: {
      operationId: of.operationId,
      description: of.description ?? `The domain event \`${of.subject}\`, version ${of.version}.`,
      tags: [{ name: 'gpuaas' }],
      message: { $ref: `#/components/messages/${of.messageName}` },
    },
  };
}

const head = {
  asyncapi: '2.6.0',
  id: 'urn:gpuaas:asyncapi:realtime-events',
  info: {
    title: 'GPUaaS Realtime and Event Contracts',
    version: '0.3.0-draft',
    description: 'Async contracts for websocket sessions and internal domain events.\n',
    contact: {
      name: 'GPUaaS Platform Team',
      url: 'https://example.com/gpuaas',
      email: 'platform@gpuaas.local',
    },
    license: { name: 'Proprietary' },
  },
  tags: [{ name: 'gpuaas', description: 'GPUaaS realtime websocket and internal domain event contracts.' }],
  defaultContentType: 'application/json',
  servers: {
    'ws-public': {
      url: 'localhost:8090',
      protocol: 'ws',
      description: 'Public websocket endpoint (development)',
    },
    'nats-internal': {
      url: 'nats://nats:4222',
      protocol: 'nats',
      description: 'Internal event bus (draft)',
    },
  },
} satisfies JsonObject;

/**
 * The AsyncAPI 2.6 document of the given channels, as plain JSON; the same input gives the same document.
 * @throws Error for a repeated subject or message, a payload without an id, or a schema draft 7 cannot say.
 */
export function asyncApiDocument(all: readonly AnyChannel[] = allocationChannels): JsonObject {
  const channels: JsonDraft = {};
  const messages: JsonDraft = {};
  const schemas: JsonDraft = {};
  for (const of of all) {
    if (channels[of.subject] !== undefined) throw new Error(`channel ${of.subject} is declared twice`);
    if (messages[of.messageName] !== undefined)
      throw new Error(`message ${of.messageName} is declared twice`);
    const parts = messageParts(of);
    channels[of.subject] = channelItem(of);
    messages[of.messageName] = { name: of.messageName, messageId: of.subject, payload: parts.payload };
    Object.assign(schemas, parts.schemas);
  }
  return { ...head, channels, components: { schemas, messages } };
}
