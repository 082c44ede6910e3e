/** What tests need of the system itself and no cache can hold: installed by apt where that is allowed. */
import { runCommand, withProgress, type Log } from './install.ts';

interface SystemPackage {
  /** Debian's name. */
  readonly name: string;
  readonly purpose: string;
  /** A command that works when it is there. */
  readonly probe: readonly [command: string, ...args: string[]];
}

/** Debian's Python comes without `venv`, its Java without Maven, which is not run to be found: it takes a second. */
const packages: readonly SystemPackage[] = [
  { name: 'python3-venv', purpose: 'the API fuzzer', probe: ['python3', '-c', 'import venv, ensurepip'] },
  { name: 'maven', purpose: 'Keycloak', probe: ['/bin/sh', '-c', 'command -v mvn'] },
];
const probeDeadlineMs = 30_000;
const aptDeadlineMs = 300_000;

const works = ([command, ...args]: SystemPackage['probe']): Promise<boolean> =>
  runCommand(command, args, { deadlineMs: probeDeadlineMs }).then(
    () => true,
    () => false,
  );

/**
 * Installs what is missing, as root and where there is apt; elsewhere says what to install.
 * @returns the packages that are still missing.
 */
export async function installSystemPackages(
  log: Log,
  isRoot = process.getuid?.() === 0,
): Promise<readonly string[]> {
  const found = await Promise.all(packages.map(({ probe }) => works(probe)));
  const missing = packages.filter((_, index) => found[index] !== true);
  if (missing.length === 0) return [];
  const names = missing.map(({ name }) => name);
  const purposes = missing.map(({ name, purpose }) => `${name} for ${purpose}`).join(', ');
  if (!isRoot) {
    log(`missing in the system: ${purposes}; as root: apt-get install ${names.join(' ')}`);
    return names;
  }
  try {
    await withProgress(log, `apt-get install ${names.join(' ')}`, async () => {
      const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
      await runCommand('apt-get', ['update'], { env, deadlineMs: aptDeadlineMs });
      const flags = ['install', '--yes', '--no-install-recommends'];
      await runCommand('apt-get', [...flags, ...names], { env, deadlineMs: aptDeadlineMs });
    });
  } catch (error) {
    log(`missing in the system: ${purposes}: ${error instanceof Error ? error.message : 'unknown'}`);
  }
  const mended = await Promise.all(missing.map(({ probe }) => works(probe)));
  return names.filter((_, index) => mended[index] !== true);
}
