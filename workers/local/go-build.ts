import { copyFileSync } from 'node:fs';
import path from 'node:path';
import { installOnce, runCommand, withProgress, type Log } from './install.ts';

const BUILD_DEADLINE_MS = 25 * 60_000;

/** One Go command at one version. */
export interface GoTool {
  /** The package to install, without a version: `github.com/nats-io/nats-server/v2`. */
  readonly pkg: string;
  readonly version: string;
  /** The binary's name as Go builds it. */
  readonly binary: string;
  /** The Go variable that its release build sets to the version; without it the binary calls itself a development build. */
  readonly versionVariable?: string;
  /** Folder in the cache, with the version in it. */
  readonly folder: string;
}

/** Why Go cannot build here, or undefined when it can. */
export async function goUnavailable(): Promise<string | undefined> {
  try {
    await runCommand('go', ['version'], { deadlineMs: 10_000 });
    return undefined;
  } catch {
    return 'no Go toolchain on PATH';
  }
}

function linkerFlags(tool: GoTool): string {
  return tool.versionVariable === undefined ? '-s -w' : `-s -w -X ${tool.versionVariable}=${tool.version}`;
}

/**
 * Builds the tool from the Go module proxy and keeps the binary alone. The module and build caches (gigabytes)
 * live in the scratch folder and are deleted with it. GOTOOLCHAIN=local: a module that wants a newer Go fails at once
 * instead of fetching a toolchain. CGO is off: the binary needs no library of this machine.
 * @returns the binary's path in the cache.
 * @throws Error with the end of Go's output.
 */
export async function buildGoTool(tool: GoTool, log: Log): Promise<string> {
  const folder = await installOnce(tool.folder, log, async (target, scratch) => {
    const module = `${tool.pkg}@v${tool.version}`;
    await withProgress(log, `go install ${module} (once; takes minutes)`, () =>
      runCommand('go', ['install', '-trimpath', '-buildvcs=false', `-ldflags=${linkerFlags(tool)}`, module], {
        cwd: scratch,
        deadlineMs: BUILD_DEADLINE_MS,
        env: {
          ...process.env,
          GOFLAGS: '-modcacherw',
          GOTOOLCHAIN: 'local',
          CGO_ENABLED: '0',
          GOPATH: path.join(scratch, 'path'),
          GOMODCACHE: path.join(scratch, 'mod'),
          GOCACHE: path.join(scratch, 'cache'),
          GOBIN: path.join(scratch, 'bin'),
        },
      }),
    );
    copyFileSync(path.join(scratch, 'bin', tool.binary), path.join(target, tool.binary));
  });
  return path.join(folder, tool.binary);
}
