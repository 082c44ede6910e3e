import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { installSystemPackages } from '../../workers/local/system-packages.ts';

/** A system that has what is put into its one folder of programs. */
let bin: string;
const lines: string[] = [];
const log = (line: string): void => void lines.push(line);

const program = (name: string, text: string): void =>
  writeFileSync(path.join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
const calls = (): string[] => readFileSync(path.join(bin, 'apt.log'), 'utf8').trim().split('\n');

beforeEach(() => {
  bin = mkdtempSync(path.join(tmpdir(), 'gpuaas-system-'));
  lines.length = 0;
  vi.stubEnv('PATH', bin);
  program('python3', 'exit 0');
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(bin, { recursive: true, force: true });
});

describe('what tests need of the system', () => {
  it('is left alone when it is there', async () => {
    program('mvn', 'exit 0');
    program('apt-get', 'exit 1');
    expect(await installSystemPackages(log, true)).toEqual([]);
    expect(lines).toEqual([]);
  });

  it('is installed as root, and only what is missing', async () => {
    const made = `printf '#!/bin/sh\\nexit 0\\n' > ${bin}/mvn; /bin/chmod 755 ${bin}/mvn`;
    program('apt-get', `echo "$*" >> ${bin}/apt.log; [ "$1" = update ] || { ${made}; }`);
    expect(await installSystemPackages(log, true)).toEqual([]);
    expect(calls()).toEqual(['update', 'install --yes --no-install-recommends maven']);
  });

  it('is named with its command when nobody may install it', async () => {
    program('python3', 'exit 1');
    expect(await installSystemPackages(log, false)).toEqual(['python3-venv', 'maven']);
    expect(lines.join('\n')).toContain('as root: apt-get install python3-venv maven');
  });

  it('is still missing when apt fails, and the reason is told', async () => {
    program('apt-get', 'echo "no such package" >&2; exit 100');
    expect(await installSystemPackages(log, true)).toEqual(['maven']);
    expect(lines.join('\n')).toContain('no such package');
  });
});
