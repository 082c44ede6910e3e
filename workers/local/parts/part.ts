import type { PartName } from '../part-name.ts';
import type { ServiceUser } from '../paths.ts';
import { ManagedProcess, type SpawnSpec } from '../process.ts';
import type { Resolution } from '../resolve.ts';

/** One server of a stack. start() after stop() or kill() brings it back on the same port with the same data. */
export interface Part {
  readonly name: PartName;
  /** The port clients connect to. */
  readonly port: number;
  /** The process id; undefined when it does not run, or is somebody's own server. */
  pid(): number | undefined;
  /** Resolves when the part answers a real request. Running already: no-op. */
  start(): Promise<void>;
  /** Ends it in order. */
  stop(): Promise<void>;
  /** SIGKILL to the part and all its children; resolves when they are gone. */
  kill(): Promise<void>;
}

/** What every part is built from. */
export interface PartContext {
  readonly stateDir: string;
  /** Account for a server that refuses root. */
  readonly user: ServiceUser | undefined;
  /** True when the data need not outlive a power cut. */
  readonly ephemeral: boolean;
  readonly testSettings: boolean;
  /** Added to Temporal's dynamic configuration. */
  readonly dynamicConfig: Readonly<Record<string, number>>;
  /** Called when the server ends without having been told to. */
  readonly onUnexpectedExit: (message: string) => void;
}

/** What a part knows about itself; LocalPart does the rest. */
export interface PartDriver {
  readonly name: PartName;
  readonly port: number;
  /** Brings the data directory into a state the server can start from. */
  prepare(): Promise<void>;
  spec(): SpawnSpec;
  /** Passes when the server answers a real request; throws until then. */
  probe(): Promise<void>;
  /** Makes what must exist inside the running server. Repeatable. */
  afterReady(): Promise<void>;
  readonly readyDeadlineMs: number;
  readonly stopSignal: NodeJS.Signals;
  readonly stopGraceMs: number;
}

/** A part that this process starts and ends. */
export class LocalPart implements Part {
  readonly name: PartName;
  readonly port: number;
  private readonly driver: PartDriver;
  private readonly onUnexpectedExit: (message: string) => void;
  private running: ManagedProcess | undefined;
  private ending = false;

  constructor(driver: PartDriver, onUnexpectedExit: (message: string) => void) {
    this.name = driver.name;
    this.port = driver.port;
    this.driver = driver;
    this.onUnexpectedExit = onUnexpectedExit;
  }

  pid(): number | undefined {
    return this.running?.isRunning() ? this.running.pid : undefined;
  }

  async start(): Promise<void> {
    if (this.pid() !== undefined) return;
    this.ending = false;
    await this.driver.prepare();
    const managed = await ManagedProcess.start(this.driver.spec());
    this.running = managed;
    try {
      await managed.ready(() => this.driver.probe(), this.driver.readyDeadlineMs);
      await this.driver.afterReady();
    } catch (error) {
      this.ending = true;
      await managed.kill();
      throw error;
    }
    void managed.exited.then(({ code, signal }) => {
      if (this.ending || this.running !== managed) return;
      this.onUnexpectedExit(
        `${this.name} (process ${managed.pid}) ended unexpectedly with ${signal ?? code}`,
      );
    });
  }

  async stop(): Promise<void> {
    this.ending = true;
    await this.running?.stop(this.driver.stopSignal, this.driver.stopGraceMs);
  }

  async kill(): Promise<void> {
    this.ending = true;
    await this.running?.kill();
  }
}

/** Somebody's own server: it is probed and used, never started, ended or set up. */
export class ExternalPart implements Part {
  readonly name: PartName;
  readonly port: number;
  private readonly probe: () => Promise<void>;

  constructor(name: PartName, port: number, probe: () => Promise<void>) {
    this.name = name;
    this.port = port;
    this.probe = probe;
  }

  pid(): undefined {
    return undefined;
  }

  async start(): Promise<void> {
    try {
      await this.probe();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`${this.name}: the server given in the environment does not answer: ${reason}`);
    }
  }

  async stop(): Promise<void> {}

  async kill(): Promise<void> {
    throw new Error(`${this.name} is somebody's own server: it is not ours to kill`);
  }
}

/** A part with what clients need to reach it. */
export interface BuiltPart {
  readonly part: Part;
  readonly env: Readonly<Record<string, string>>;
}

/** A resolution that found something. */
export type Resolved = Exclude<Resolution, { kind: 'missing' }>;

/** The port of an address, or the protocol's own. */
export function portOf(address: string, fallback: number): number {
  const url = new URL(address.includes('://') ? address : `tcp://${address}`);
  return url.port === '' ? fallback : Number(url.port);
}
