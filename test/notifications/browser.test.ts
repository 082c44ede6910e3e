/** A page in a real browser shows what happens to a real allocation; every process of the product is its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { chromium as driver, type BrowserContext, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  notificationCloses,
  notificationPath,
  notificationProtocol,
} from '../../contracts/ops/notification.ts';
import { devToken } from '../../workers/local/api-client.ts';
import { chromium } from '../../workers/local/chromium.ts';
import { REALM } from '../../workers/local/issuer/realm.ts';
import { until } from '../harness/lab.ts';
import { startOutside, type Outside } from '../chaos/outside.ts';

const sku = 'browser';
const setUpMs = 300_000;
const waitMs = 60_000;
/** A new browser on a machine without the outside world. */
const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Lists what the socket says; `connect` is called with a token, as a front end would. */
const html = `<!doctype html><meta charset="utf-8"><title>notifications</title>
<p id="state">idle</p><ul id="list"></ul>
<script>
  var last;
  function connect(base, protocol, token) {
    const socket = new WebSocket(base + (last ? '?after=' + last : ''), token ? [protocol, token] : [protocol]);
    socket.onopen = () => { state.textContent = 'open ' + socket.protocol; };
    socket.onclose = (event) => { state.textContent = 'closed ' + event.code + ' ' + event.reason; };
    socket.onmessage = (event) => {
      const one = JSON.parse(event.data);
      last = one.id;
      const item = document.createElement('li');
      item.textContent = one.title + ': ' + one.message;
      item.dataset.keys = Object.keys(one).sort().join(',');
      item.dataset.url = one.action_url;
      list.append(item);
    };
    window.socket = socket;
  }
</script>`;

let outside: Outside;
let server: Server;
let browser: BrowserContext;
let page: Page;
let profile: string;
let token: string;

beforeAll(async () => {
  const executablePath = await chromium((line) => process.stderr.write(`${line}\n`));
  outside = await startOutside([sku]);
  const user = REALM.users.find((one) => one.username === 'dev-user');
  token = await devToken(outside.platform.issuerUrl, 'dev-user', user?.password ?? '');
  server = createServer((_request, response) => response.setHeader('content-type', 'text/html').end(html));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  profile = mkdtempSync(path.join(tmpdir(), 'gpuaas-chromium-'));
  browser = await driver.launchPersistentContext(profile, { executablePath, headless: true, args: flags });
  page = browser.pages()[0] ?? (await browser.newPage());
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
}, setUpMs);

afterAll(async () => {
  await browser?.close();
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
  await outside?.stop();
  if (profile !== undefined) rmSync(profile, { recursive: true, force: true });
}, setUpMs);

async function active(): Promise<string> {
  const id = await outside.create(sku);
  await outside.watch.until(id, ['active'], waitMs);
  return id;
}

async function released(id: string): Promise<void> {
  await outside.release(id);
  await outside.watch.until(id, ['released'], waitMs);
}

/** Waits until so many are stored. @returns their ids, oldest first. */
async function notificationsOf(count: number): Promise<string[]> {
  let ids: string[] = [];
  await until(`${count} notifications`, async () => {
    const answer = await fetch(`${outside.platform.apiUrl}/api/v1/notifications`, {
      headers: { authorization: `Bearer ${token}` },
    });
    ids = ((await answer.json()) as { items: { id: string }[] }).items.map((one) => one.id).toReversed();
    return ids.length >= count;
  });
  return ids;
}

const state = (): Promise<string | null> => page.textContent('#state');
const shown = (): Promise<string[]> => page.locator('#list li').allTextContents();
const connect = (withToken: string): Promise<void> =>
  page.evaluate(
    ({ base, protocol, given }) => {
      const { connect: open } = globalThis as unknown as {
        connect: (base: string, protocol: string, token: string) => void;
      };
      open(base, protocol, given);
    },
    {
      base: `${outside.platform.apiUrl.replace('http', 'ws')}${notificationPath}`,
      protocol: notificationProtocol,
      given: withToken,
    },
  );

it(
  'a page sees a real allocation become active and released, and misses nothing while it was away',
  async () => {
    await connect('');
    await expect
      .poll(state, { timeout: waitMs })
      .toBe(`closed ${notificationCloses.unauthenticated} token_missing`);

    const early = await active();
    const [stored] = await notificationsOf(1);
    await released(early);
    await notificationsOf(2);
    await page.evaluate((id) => Object.assign(globalThis, { last: id }), stored);
    await connect(token);
    await expect.poll(state, { timeout: waitMs }).toBe(`open ${notificationProtocol}`);
    const lines = [expect.stringMatching(`^Your allocation was released: Allocation ${early} `)];
    await expect.poll(shown, { timeout: waitMs }).toEqual(lines);

    const live = await active();
    lines.push(expect.stringMatching(`^Your allocation is ready: Allocation ${live} `));
    await expect.poll(shown, { timeout: waitMs }).toEqual(lines);
    await released(live);
    lines.push(expect.stringMatching(`^Your allocation was released: Allocation ${live} `));
    await expect.poll(shown, { timeout: waitMs }).toEqual(lines);

    await page.evaluate(() => (globalThis as unknown as { socket: { close: () => void } }).socket.close());
    await expect.poll(state, { timeout: waitMs }).toMatch(/^closed/);
    // Subjects have consumers of their own: only what waits for the other has an order.
    const away = await active();
    await notificationsOf(5);
    await released(away);
    await notificationsOf(6);
    await connect(token);
    lines.push(expect.stringMatching(`^Your allocation is ready: Allocation ${away} `));
    lines.push(expect.stringMatching(`^Your allocation was released: Allocation ${away} `));
    await expect.poll(shown, { timeout: waitMs }).toEqual(lines);
    const keys = await page
      .locator('#list li')
      .evaluateAll((all) => [
        ...new Set(all.map((one) => (one as unknown as { dataset: { keys: string } }).dataset.keys)),
      ]);
    expect(keys).toEqual(['action_url,id,message,occurred_at,severity,title,type']);
  },
  5 * waitMs,
);
