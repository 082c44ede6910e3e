import { existsSync } from 'node:fs';
import path from 'node:path';
import { unpackDebianPackages } from './debian-package.ts';
import type { Log } from './install.ts';

/** Version of Debian's package; a security revision of the same version will do. */
const version = '2.42.0';
const folder = `prometheus-${version}`;

/**
 * Prometheus' own linter of metrics and rules, from Debian's package; unpacked once into the cache, never installed.
 * @returns its path.
 * @throws Error with the end of apt's output.
 */
export async function promtool(log: Log): Promise<string> {
  const given = process.env['PROMTOOL'];
  if (given !== undefined && given !== '') {
    if (!existsSync(given)) throw new Error('PROMTOOL names no file');
    return given;
  }
  return path.join(
    await unpackDebianPackages(folder, [`prometheus=${version}*`], log),
    'usr',
    'bin',
    'promtool',
  );
}
