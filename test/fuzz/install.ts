/** Gets schemathesis into the project's cache: a Python environment with pinned packages. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { installOnce, runCommand, withProgress, type Log } from '../../workers/local/install.ts';

const version = '4.32.5';
const requirements = fileURLToPath(new URL('requirements.txt', import.meta.url));
const installDeadlineMs = 300_000;

/** Why schemathesis cannot be installed here; undefined when it can. */
export async function schemathesisUnavailable(): Promise<string | undefined> {
  try {
    await runCommand('python3', ['-c', 'import venv, ensurepip'], { deadlineMs: 10_000 });
    return undefined;
  } catch {
    return 'python3 with venv is not installed';
  }
}

/** The Python that has schemathesis, installed on first use. @throws Error with the end of pip's output. */
export async function schemathesisPython(log: Log): Promise<string> {
  const digest = createHash('sha256').update(readFileSync(requirements)).digest('hex').slice(0, 8);
  const folder = await installOnce(`schemathesis-${version}-${digest}`, log, async (target) => {
    await withProgress(log, `installing schemathesis ${version}`, async () => {
      await runCommand('python3', ['-m', 'venv', target], { deadlineMs: installDeadlineMs });
      const pip = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--disable-pip-version-check'];
      await runCommand(path.join(target, 'bin/python'), [...pip, '-r', requirements], {
        deadlineMs: installDeadlineMs,
      });
    });
  });
  return path.join(folder, 'bin/python');
}
