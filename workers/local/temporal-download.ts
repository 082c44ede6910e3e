import { chmodSync, copyFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { installOnce, runCommand, withProgress, type Log } from './install.ts';
import { versionOf, type Obtainer } from './resolve.ts';

const VENDOR = 'https://temporal.download';
const REACHABLE_DEADLINE_MS = 3_000;
const DOWNLOAD_DEADLINE_MS = 180_000;

async function unreachable(): Promise<string | undefined> {
  try {
    await fetch(VENDOR, { method: 'HEAD', signal: AbortSignal.timeout(REACHABLE_DEADLINE_MS) });
    return undefined;
  } catch {
    return `${VENDOR} cannot be reached`;
  }
}

/** Runs in a process of its own: the SDK's download cannot be cancelled. It also starts the server once. */
async function downloadInto(downloadDir: string, version: string): Promise<void> {
  const { TestWorkflowEnvironment } = await import('@temporalio/testing');
  const environment = await TestWorkflowEnvironment.createLocal({
    server: { executable: { type: 'cached-download', version: `v${version}`, downloadDir }, ip: '127.0.0.1' },
  });
  await environment.teardown();
}

/**
 * The Temporal CLI by the TypeScript SDK's own download, where the network allows it.
 * @param folder the cache folder's name, with the version in it.
 */
export function temporalDownload(folder: string, version: string): Obtainer {
  return {
    source: 'download',
    how: `the SDK's download of the Temporal CLI ${version}`,
    unavailable: unreachable,
    run: async (log: Log) => {
      const installed = await installOnce(folder, log, async (target, scratch) => {
        const self = fileURLToPath(import.meta.url);
        const args = ['--import', import.meta.resolve('tsx'), self, scratch, version];
        await withProgress(log, `download from ${VENDOR}`, () =>
          runCommand(process.execPath, args, { deadlineMs: DOWNLOAD_DEADLINE_MS }),
        );
        const file = readdirSync(scratch).find((name) => name.startsWith('temporal'));
        if (!file) throw new Error('the download left no binary');
        const got = await versionOf(path.join(scratch, file));
        if (got !== version) throw new Error(`the download is version ${got ?? 'unknown'}`);
        copyFileSync(path.join(scratch, file), path.join(target, 'temporal'));
        chmodSync(path.join(target, 'temporal'), 0o755);
      });
      return path.join(installed, 'temporal');
    },
  };
}

const [, script, downloadDir, version] = process.argv;
if (script && import.meta.url === pathToFileURL(script).href && downloadDir && version) {
  await downloadInto(downloadDir, version);
}
