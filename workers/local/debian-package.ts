import { chmodSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { installOnce, runCommand, withProgress, type Log } from './install.ts';

const APT_DEADLINE_MS = 120_000;

/** Why Debian packages cannot be unpacked here, or undefined when they can. */
export async function debianUnavailable(): Promise<string | undefined> {
  try {
    await runCommand('apt-get', ['--version'], { deadlineMs: 10_000 });
    await runCommand('dpkg', ['--version'], { deadlineMs: 10_000 });
    return undefined;
  } catch {
    return 'no apt-get and dpkg on PATH';
  }
}

async function download(packages: readonly string[], cwd: string, log: Log): Promise<void> {
  const fetch = (): Promise<string> =>
    runCommand('apt-get', ['download', '-o', 'APT::Sandbox::User=root', ...packages], {
      cwd,
      deadlineMs: APT_DEADLINE_MS,
    });
  try {
    await fetch();
  } catch {
    // Either the package lists were never read, or they name versions that were replaced since.
    await withProgress(log, 'apt-get update (the package lists are missing or old)', () =>
      runCommand('apt-get', ['update'], { deadlineMs: APT_DEADLINE_MS }),
    );
    await fetch();
  }
}

/**
 * Downloads packages and unpacks them into one folder of the cache. Nothing is installed into the system and
 * no maintainer script runs, so no service starts.
 * @returns the folder, with usr/ below it.
 * @throws Error with the end of apt's or dpkg's output.
 */
export function unpackDebianPackages(folder: string, packages: readonly string[], log: Log): Promise<string> {
  return installOnce(folder, log, async (target, scratch) => {
    await withProgress(log, `apt-get download ${packages.join(' ')}`, () => download(packages, scratch, log));
    for (const file of readdirSync(scratch).filter((name) => name.endsWith('.deb'))) {
      await runCommand('dpkg', ['-x', path.join(scratch, file), target], { deadlineMs: APT_DEADLINE_MS });
    }
    chmodSync(target, 0o755); // a package's root folder brings a mode of its own
  });
}
