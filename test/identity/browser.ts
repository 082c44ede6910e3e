/** The little of a browser that the authorization code flow needs: cookies by path, redirects not followed. */

interface Cookie {
  readonly value: string;
  readonly path: string;
}

export class Browser {
  readonly #cookies = new Map<string, Cookie>();

  /** Requests a page; with `form` by POST. Redirects are returned, not followed. */
  async open(url: URL, form?: Record<string, string>): Promise<{ status: number; text: string; next: URL }> {
    const sent = [...this.#cookies].filter(([, cookie]) => url.pathname.startsWith(cookie.path));
    const response = await fetch(url, {
      redirect: 'manual',
      headers: {
        cookie: sent.map(([name, cookie]) => `${name}=${cookie.value}`).join('; '),
        accept: 'text/html',
      },
      ...(form === undefined ? {} : { method: 'POST', body: new URLSearchParams(form) }),
    });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      const path = /;\s*path=([^;]*)/i.exec(line)?.[1] ?? '/';
      if (name !== undefined && value !== undefined) this.#cookies.set(name, { value, path });
    }
    const next = new URL(response.headers.get('location') ?? url, url);
    return { status: response.status, text: await response.text(), next };
  }
}
