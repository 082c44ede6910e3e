import { randomUUID } from 'node:crypto';
import createClient, { type Client } from 'openapi-fetch';
import type { paths } from '../../contracts/generated/client.ts';
import { REALM } from './issuer/realm.ts';

export type ApiClient = Client<paths>;

/** A client of the public API, typed by the generated document. */
export const apiClient = (apiUrl: string, token: string): ApiClient =>
  createClient<paths>({ baseUrl: apiUrl, headers: { authorization: `Bearer ${token}` } });

/** A fresh idempotency key, as the header parameter that every mutation takes. */
export const newKey = () => ({ 'X-Idempotency-Key': randomUUID() });

/** An answer that is no success. */
export class ApiError extends Error {
  readonly status: number;
  readonly body: unknown;

  constructor(what: string, status: number, body: unknown) {
    super(`${what} answered ${status}: ${JSON.stringify(body)}`);
    this.status = status;
    this.body = body;
  }
}

/** The data of a successful answer. */
export function dataOf<T>(
  what: string,
  answer: { data?: T; error?: unknown; response: Response },
): NonNullable<T> {
  if (answer.data == null) throw new ApiError(what, answer.response.status, answer.error);
  return answer.data;
}

/** An access token of a dev user, by the issuer's password grant. */
export async function devToken(issuerUrl: string, username: string, password: string): Promise<string> {
  const answer = await fetch(`${issuerUrl}/protocol/openid-connect/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'password',
      client_id: REALM.client.id,
      client_secret: REALM.client.secret,
      username,
      password,
    }),
  });
  const body = (await answer.json()) as { access_token?: string; error?: string };
  if (body.access_token === undefined)
    throw new Error(`the issuer refused ${username}: ${body.error ?? answer.status}`);
  return body.access_token;
}
