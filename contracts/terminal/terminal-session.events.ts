import { z } from 'zod';
import { binaryFrame, type SocketChannel, wireId } from '../envelope.ts';
import { posixId, posixUsername } from '../nodes/node-task.api.ts';

const textOrNull = z.string().nullable().optional();
const ptySize = z.int().min(1).max(512);
/** What the node-agent says about a terminal that did not open. */
const startFailure = { error_code: textOrNull, error_message: textOrNull, runtime_username: textOrNull };

/** What the gateway says about a session. */
export const terminalControlPayload = z
  .strictObject({
    type: z.enum(['session_ready', 'session_error', 'session_closed']),
    code: z.enum([
      'normal_close',
      'allocation_released',
      'session_timeout',
      'node_stream_dropped',
      'open_failed',
      'auth_failed',
      'admin_terminate',
    ]),
    session_id: wireId,
    message: z.string(),
    ...startFailure,
    retryable: z.boolean(),
  })
  .meta({ id: 'TerminalControlPayload' });

export const terminalResize = z.strictObject({
  type: z.literal('resize'),
  cols: z.int().min(1),
  rows: z.int().min(1),
});

export const terminalHeartbeat = z
  .strictObject({ type: z.literal('ping') })
  .meta({ description: 'Keeps the socket alive; the gateway takes it and passes nothing on.' });

/** Parameters of the node task `terminal.open`. */
export const terminalOpenTaskParams = z
  .strictObject({
    session_id: wireId,
    user_id: wireId,
    allocation_id: wireId,
    username: posixUsername,
    uid: posixId,
    gid: posixId,
    supplemental_gids: z.array(posixId).optional(),
    session_ttl_seconds: z.int().min(300).max(86400),
    cols: ptySize,
    rows: ptySize,
  })
  .meta({
    id: 'TerminalOpenTaskParams',
    description:
      'Opens a PTY for one OS user; a session is opened once. Bytes travel on a stream of their own.',
  });

/** One line of the stream between gateway and node-agent. */
export const terminalStreamFrame = z
  .strictObject({
    session_id: wireId,
    type: z.enum(['data', 'resize', 'close']),
    direction: z.enum(['upstream', 'downstream']),
    payload: z.base64().meta({ format: 'byte', description: 'Base64, with `data`.' }).nullable().optional(),
    close_reason: z
      .enum([
        'normal_close',
        'allocation_released',
        'session_timeout',
        'node_stream_dropped',
        'open_failed',
        'admin_terminate',
      ])
      .meta({ description: 'With `close`.' })
      .nullable()
      .optional(),
    ...startFailure,
    cols: ptySize.meta({ description: 'With `resize`.' }).nullable().optional(),
    rows: ptySize.meta({ description: 'With `resize`.' }).nullable().optional(),
  })
  .meta({
    id: 'TerminalStreamFrame',
    description: 'Upstream goes to the node-agent, downstream comes from it.',
  });

/** The terminal of an allocation. */
export const terminalSocket: SocketChannel = {
  address: 'ws/terminal',
  description:
    'A terminal of one allocation. A terminal token, used once, opens it; a token in the URL is refused. Binary frames ' +
    'carry the bytes of the terminal, JSON frames its control. Closes with 4401 when the token is not valid, 4403 when ' +
    'it does not cover the allocation, 1011 on an internal error.',
  parameters: { allocation_id: { description: 'The allocation.', schema: wireId } },
  headers: {
    Authorization: 'Bearer and the terminal token; for clients that are no browsers.',
    'Sec-WebSocket-Protocol': 'Carries the terminal token of a browser, which cannot set other headers.',
  },
  publish: {
    operationId: 'clientTerminalInput',
    description: 'Input, size and heartbeat of the client.',
    messages: [
      {
        name: 'TerminalResize',
        messageId: 'terminal.resize',
        contentType: 'application/json',
        payload: terminalResize,
      },
      {
        name: 'TerminalHeartbeat',
        messageId: 'terminal.heartbeat',
        contentType: 'application/json',
        payload: terminalHeartbeat,
      },
      {
        name: 'TerminalInputBinary',
        messageId: 'terminal.input.binary',
        contentType: 'application/octet-stream',
        payload: binaryFrame,
      },
    ],
  },
  subscribe: {
    operationId: 'serverTerminalOutput',
    description: 'Output of the terminal, and what happens to its session.',
    messages: [
      {
        name: 'TerminalControl',
        messageId: 'terminal.control',
        contentType: 'application/json',
        payload: terminalControlPayload,
      },
      {
        name: 'TerminalOutputText',
        messageId: 'terminal.output.text',
        contentType: 'text/plain',
        payload: z.string(),
      },
      {
        name: 'TerminalOutputBinary',
        messageId: 'terminal.output.binary',
        contentType: 'application/octet-stream',
        payload: binaryFrame,
      },
    ],
  },
};
