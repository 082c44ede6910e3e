import { existsSync } from 'node:fs';
import path from 'node:path';
import { runCommand, withProgress, type Log } from './install.ts';
import { acquireLock } from './locks.ts';
import { cacheDir } from './paths.ts';

const names = ['chromium', 'chromium-browser', 'google-chrome'];
const installDeadlineMs = 10 * 60_000;

/** A browser on PATH. */
function present(): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(path.delimiter), '/usr/bin'];
  return folders
    .flatMap((folder) => names.map((name) => path.join(folder, name)))
    .find((file) => existsSync(file));
}

/**
 * A Chromium for tests of pages: `CHROMIUM`, one on PATH, or Debian's package, which root installs with apt-get.
 * @returns its path.
 * @throws Error that says what to do.
 */
export async function chromium(log: Log): Promise<string> {
  const given = process.env['CHROMIUM'];
  if (given !== undefined && given !== '') {
    if (!existsSync(given)) throw new Error('CHROMIUM names no file');
    return given;
  }
  const found = present();
  if (found !== undefined) return found;
  if (process.getuid?.() !== 0) {
    throw new Error('no Chromium on PATH: install the package chromium, or set CHROMIUM to the path of one');
  }
  const lock = await acquireLock(path.join(cacheDir(), '.locks', 'chromium'), {
    purpose: 'install chromium',
    deadlineMs: installDeadlineMs,
    onWait: (holder) => log(`chromium: process ${holder.pid} is installing it, waiting`),
  });
  try {
    const installed = present() ?? (await installPackage(log));
    return installed;
  } finally {
    lock.release();
  }
}

async function installPackage(log: Log): Promise<string> {
  const apt = (...args: readonly string[]): Promise<string> =>
    runCommand('apt-get', args, {
      deadlineMs: installDeadlineMs,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  await withProgress(log, 'apt-get install chromium', async () => {
    const install = (): Promise<string> => apt('install', '-y', '--no-install-recommends', 'chromium');
    // Package lists that were never read, or name versions that were replaced since.
    await install().catch(() => apt('update').then(install));
  });
  const found = present();
  if (found === undefined) throw new Error('apt-get installed no Chromium');
  return found;
}
