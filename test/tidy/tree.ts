import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The top folder of the checkout. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** The folders that hold our code. */
export const codeFolders = ['contracts', 'workflows', 'activities', 'api', 'workers', 'db', 'test'] as const;

/** Paths below a folder, relative to the checkout, sorted; generated files and node_modules are left out. */
export function filesBelow(folder: string, ending: RegExp): readonly string[] {
  const entries = readdirSync(path.join(root, folder), { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile() && ending.test(entry.name))
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))
    .filter((file) => !/(^|\/)node_modules\/|^contracts\/generated\//.test(file))
    .sort();
}

/** Every TypeScript file of ours. */
export const sourceFiles = (): readonly string[] =>
  codeFolders.flatMap((folder) => filesBelow(folder, /\.ts$/));

export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a package's script with this Node; a failing exit code is an answer, not an error. */
export function runTool(
  script: string,
  args: readonly string[],
  options: { cwd: string; env?: NodeJS.ProcessEnv },
): Promise<Run> {
  const limits = { maxBuffer: 64 * 1024 * 1024, encoding: 'utf8' } as const;
  return new Promise((resolve) => {
    const env = { ...process.env, ...options.env };
    execFile(
      process.execPath,
      [path.join(root, script), ...args],
      { ...limits, cwd: options.cwd, env },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ code, stdout, stderr });
      },
    );
  });
}

/** A scratch checkout with the given files, for planting offences; `work` gets its folder. */
export async function inScratchTree<T>(
  files: Readonly<Record<string, string>>,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(path.join(tmpdir(), 'gpuaas-tidy-'));
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
      writeFileSync(path.join(folder, name), text);
    }
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
