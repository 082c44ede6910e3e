import type { IncomingMessage } from 'node:http';
import { CodedError } from '../../contracts/errors.ts';
import type { Endpoint } from '../../contracts/http.api.ts';

const maxJsonDepth = 32;
const jsonType = /^application\/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?$/i;

/** Raised when the client went away while its body was read: there is nobody to answer. */
export class ClientGone extends Error {}

const carriesBody = (request: IncomingMessage): boolean =>
  request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;

/**
 * Reads and parses the JSON body of a request; undefined when there is none.
 * @throws CodedError invalid_request: 415 for another content type, 413 above the limit, 400 for a body where none
 * belongs and for what is no JSON of UTF-8.
 */
export async function readJsonBody(
  request: IncomingMessage,
  endpoint: Endpoint,
  limitBytes: number,
): Promise<unknown> {
  if (!carriesBody(request)) return undefined;
  if (endpoint.method === 'get')
    throw new CodedError('invalid_request', { message: 'A GET request has no body.' });
  checkType(request);
  const bytes = await readBytes(request, limitBytes);
  if (bytes.byteLength === 0) return undefined;
  if (endpoint.body === undefined)
    throw new CodedError('invalid_request', { message: 'This request has no body.' });
  return parseJson(bytes);
}

function checkType(request: IncomingMessage): void {
  const encoding = request.headers['content-encoding'];
  const fits =
    jsonType.test(request.headers['content-type'] ?? '') &&
    (encoding === undefined || encoding === 'identity');
  if (!fits)
    throw new CodedError('invalid_request', {
      transportStatus: 415,
      message: 'The body must be application/json.',
    });
}

async function readBytes(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const tooLarge = (): CodedError =>
    new CodedError('invalid_request', {
      transportStatus: 413,
      message: `The body is larger than ${limitBytes} bytes.`,
    });
  if (Number(request.headers['content-length'] ?? 0) > limitBytes) throw tooLarge();
  const chunks: Buffer[] = [];
  let size = 0;
  return await new Promise<Buffer>((resolve, reject) => {
    request.on('data', (chunk: Buffer) => {
      size += chunk.byteLength;
      if (size <= limitBytes) chunks.push(chunk);
      else reject(tooLarge());
    });
    request.on('end', () => resolve(Buffer.concat(chunks)));
    request.on('error', () => reject(new ClientGone()));
    request.on('close', () => reject(new ClientGone()));
  });
}

function parseJson(bytes: Buffer): unknown {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new CodedError('invalid_request', { message: 'The body is not JSON.' });
  }
  checkContent(value);
  return value;
}

/** True for text that the database takes: no NUL, no half of a surrogate pair. */
export const isStorable = (text: string): boolean => !text.includes('\0') && !/\p{Surrogate}/u.test(text);

/** Refuses nesting that no contract has, and text that the database cannot hold. */
function checkContent(root: unknown): void {
  const open: { value: unknown; depth: number }[] = [{ value: root, depth: 0 }];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const { value, depth } = at;
    if (typeof value === 'string' && !isStorable(value)) {
      throw new CodedError('validation_error', {
        details: {
          issues: [
            { path: 'body', code: 'invalid_text', message: 'Text holds a character that cannot be stored.' },
          ],
        },
      });
    }
    if (typeof value !== 'object' || value === null) continue;
    if (depth >= maxJsonDepth)
      throw new CodedError('invalid_request', { message: 'The body is nested too deeply.' });
    for (const [key, item] of Object.entries(value)) {
      open.push({ value: key, depth: depth + 1 }, { value: item, depth: depth + 1 });
    }
  }
}
