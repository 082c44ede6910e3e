import { z } from 'zod';
import { channels, sockets } from '../channels.ts';
import {
  dlqSubject,
  messageSchema,
  type AnyChannel,
  type SocketChannel,
  type SocketMessage,
  type SocketOperation,
} from '../envelope.ts';
import {
  gpuScrubParams,
  nodeCleanupTaskResult,
  storageCleanupParams,
  validateCleanParams,
} from '../nodes/node-task.api.ts';
import { nodeCleanupTaskTypes } from '../nodes/node-task.tasks.ts';
import { terminalOpenTaskParams, terminalStreamFrame } from '../terminal/terminal-session.events.ts';
import { schemaParts } from './asyncapi-schemas.ts';
import { type JsonDraft, type JsonObject } from './json.ts';

/** What a document is made of; each part has a default, so that a generator of few channels stays short. */
export interface AsyncApiParts {
  readonly channels?: readonly AnyChannel[];
  readonly sockets?: readonly SocketChannel[];
  /** Schemas with an id that no channel refers to. */
  readonly components?: readonly z.ZodType[];
}

/** Types that travel elsewhere (node tasks, the terminal's inner stream) and are part of the contract all the same. */
const nodeCleanupTaskType = z.enum(nodeCleanupTaskTypes).meta({
  id: 'NodeCleanupTaskType',
  description: 'The tasks that make a node ready for its next tenant.',
});
const otherComponents: readonly z.ZodType[] = [
  nodeCleanupTaskType,
  gpuScrubParams,
  storageCleanupParams,
  validateCleanParams,
  nodeCleanupTaskResult.extend({ task_type: nodeCleanupTaskType }).meta({ id: 'NodeCleanupTaskResult' }),
  terminalOpenTaskParams,
  terminalStreamFrame,
];

const tags = [{ name: 'gpuaas' }];

/** Named members of the document under construction; a name is given once, or to the same thing again. */
class Components {
  readonly schemas: JsonDraft = {};
  readonly messages: JsonDraft = {};

  /** The schema in the document's form; its named parts become components. */
  schema(of: z.ZodType): JsonObject {
    const { schema, schemas } = schemaParts(of);
    for (const [name, one] of Object.entries(schemas)) this.#put(this.schemas, 'schema', name, one);
    return schema;
  }

  /** A reference to the message, which becomes a component. */
  message(name: string, message: JsonObject): JsonObject {
    if (this.messages[name] !== undefined) throw new Error(`message ${name} is declared twice`);
    this.messages[name] = message;
    return { $ref: `#/components/messages/${name}` };
  }

  #put(into: JsonDraft, kind: string, name: string, value: JsonDraft[string]): void {
    const present = into[name];
    if (present !== undefined && JSON.stringify(present) !== JSON.stringify(value)) {
      throw new Error(`${kind} ${name} is declared twice, differently`);
    }
    into[name] = value;
  }
}

/** The messages that consumers of a channel read: the current one, and the previous version during its window. */
function eventMessages(of: AnyChannel, into: Components): JsonObject {
  const one = (payload: z.ZodObject, name: string, messageId: string): JsonObject => {
    if (payload.meta()?.id === undefined) throw new Error(`${of.subject}: the payload has no id`);
    const schema = into.schema(messageSchema({ subject: of.subject, payload }));
    return into.message(name, { name, messageId, payload: schema });
  };
  const current = one(of.payload, of.messageName, of.subject);
  if (of.previous === undefined) return current;
  const suffix = `V${of.previous.version.split('.')[0] ?? ''}`;
  const id = `${of.subject}.${suffix.toLowerCase()}`;
  return { oneOf: [current, one(of.previous.payload, of.messageName + suffix, id)] };
}

function eventChannel(of: AnyChannel, into: Components): JsonObject {
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
      'x-event-version': of.version,
      description: of.description ?? `The domain event \`${of.subject}\`, version ${of.version}.`,
      tags,
      message: eventMessages(of, into),
    },
  };
}

function socketMessage(of: SocketMessage, into: Components): JsonObject {
  const type = of.contentType === undefined ? {} : { contentType: of.contentType };
  return into.message(of.name, {
    name: of.name,
    messageId: of.messageId,
    ...type,
    payload: into.schema(of.payload),
  });
}

function socketOperation(of: SocketOperation, into: Components): JsonObject {
  const [first, ...more] = of.messages.map((message) => socketMessage(message, into));
  if (first === undefined) throw new Error(`${of.operationId}: no message`);
  const message = more.length === 0 ? first : { oneOf: [first, ...more] };
  return { operationId: of.operationId, description: of.description, tags, message };
}

function socketChannel(of: SocketChannel, into: Components): JsonObject {
  const parameters = Object.entries(of.parameters ?? {}).map(([name, { description, schema }]) => [
    name,
    { description, schema: into.schema(schema) },
  ]);
  const headers = Object.entries(of.headers).map(([name, description]) => [
    name,
    { type: 'string', description },
  ]);
  return {
    servers: ['ws-public'],
    description: of.description,
    ...(parameters.length === 0 ? {} : { parameters: Object.fromEntries(parameters) }),
    bindings: {
      ws: { method: 'GET', headers: { type: 'object', properties: Object.fromEntries(headers) } },
    },
    ...(of.publish === undefined ? {} : { publish: socketOperation(of.publish, into) }),
    ...(of.subscribe === undefined ? {} : { subscribe: socketOperation(of.subscribe, into) }),
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
 * The AsyncAPI 2.6 document of the given parts, as plain JSON; the same input gives the same document.
 * @throws Error for a repeated channel or message, a payload without an id, or a schema draft 7 cannot say.
 */
export function asyncApiDocument(
  parts: AsyncApiParts = { channels, sockets, components: otherComponents },
): JsonObject {
  const items: JsonDraft = {};
  const into = new Components();
  const put = (address: string, item: () => JsonObject): void => {
    if (items[address] !== undefined) throw new Error(`channel ${address} is declared twice`);
    items[address] = item();
  };
  for (const of of parts.sockets ?? []) put(of.address, () => socketChannel(of, into));
  for (const of of parts.channels ?? []) put(of.subject, () => eventChannel(of, into));
  for (const of of parts.components ?? []) into.schema(of);
  return { ...head, channels: items, components: { schemas: into.schemas, messages: into.messages } };
}
