import { readFileSync } from 'node:fs';
import { credsAuthenticator, type Authenticator, type ConnectionOptions } from 'nats';

/** Where NATS is, and as whom to go there. */
export type NatsAccess = Pick<ConnectionOptions, 'servers' | 'user' | 'pass' | 'token' | 'tls'> & {
  authenticator?: Authenticator;
};

type Login = { readonly user: string; readonly pass: string } | { readonly token: string };

const secure = new Set(['tls', 'natss']);

/** The text before the last `@`: `user:password`, or a token alone. Percent-encoded, as everywhere in an address. */
function readLogin(text: string): Login {
  const at = text.indexOf(':');
  try {
    if (at < 0) return { token: decodeURIComponent(text) };
    return { user: decodeURIComponent(text.slice(0, at)), pass: decodeURIComponent(text.slice(at + 1)) };
  } catch {
    throw new Error('NATS address: user and password are not percent-encoded');
  }
}

/**
 * Reads `[scheme://][user:password@|token@]host[:port]`, or several of these separated by commas. The client would take
 * no credentials from an address, and digits of a password for the port: they are taken out of it. With the scheme `tls`
 * nothing is said to a server that does not encrypt.
 * @param credsFile a file with a user's JWT and seed; read again for every connection, so it may be exchanged.
 * @throws Error that names no value: addresses that disagree, or a file that cannot be read.
 */
export function readNatsAccess(url: string, credsFile?: string): NatsAccess {
  const servers: string[] = [];
  const logins = new Map<string, Login>();
  let tls = false;
  for (const part of url.split(',').map((one) => one.trim())) {
    const scheme = /^([a-z]+):\/\//i.exec(part);
    const rest = part.slice(scheme?.[0].length ?? 0);
    const at = rest.lastIndexOf('@');
    servers.push(rest.slice(at + 1).replace(/[/?#].*$/, ''));
    if (at >= 0) logins.set(rest.slice(0, at), readLogin(rest.slice(0, at)));
    if (secure.has(scheme?.[1]?.toLowerCase() ?? '')) tls = true;
  }
  const given = [...logins.values()];
  if (given.length > 1) throw new Error('NATS address: its servers have different credentials');
  if (credsFile !== undefined && given.length > 0) {
    throw new Error('NATS address: it has credentials, and a file with others is named');
  }
  return {
    servers,
    ...given[0],
    ...(tls ? { tls: {} } : {}),
    ...(credsFile === undefined ? {} : { authenticator: fromFile(credsFile) }),
  };
}

/** The last good content serves while the file is being exchanged. */
function fromFile(file: string): Authenticator {
  let content = readFileSync(file);
  return (nonce) => {
    try {
      content = readFileSync(file);
    } catch {
      // It was there when the process started.
    }
    return credsAuthenticator(content)(nonce);
  };
}
