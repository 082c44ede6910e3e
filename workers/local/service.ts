import path from 'node:path';
import { checkoutRoot } from './stack-config.ts';
import { ManagedProcess } from './process.ts';

/** One process of the product, started from its source. */
export interface ServiceSpec {
  readonly name: string;
  /** Entry file, relative to the checkout. */
  readonly entry: string;
  readonly env: Readonly<Record<string, string>>;
  readonly logDir: string;
  /** Resolves when it serves; rejects while it does not. */
  readonly probe: () => Promise<void>;
  readonly nodeArgs?: readonly string[];
  /** Called when it ends although nobody stopped it. */
  readonly onUnexpectedExit?: (message: string) => void;
}

const readyDeadlineMs = 60_000;
const stopGraceMs = 15_000;

/** A process of the product that can be stopped, killed and started again. */
export class Service {
  readonly name: string;
  readonly #spec: ServiceSpec;
  #process: ManagedProcess | undefined;
  /** The process that is meant to end. */
  #ending: ManagedProcess | undefined;

  constructor(spec: ServiceSpec) {
    this.name = spec.name;
    this.#spec = spec;
  }

  pid(): number | undefined {
    return this.#process?.isRunning() === true ? this.#process.pid : undefined;
  }

  logFile(): string {
    return path.join(this.#spec.logDir, `${this.name}.log`);
  }

  async start(): Promise<void> {
    await this.launch();
    await this.ready();
  }

  /** Starts the process without waiting until it serves. */
  async launch(): Promise<void> {
    const { name, entry, env, nodeArgs = [] } = this.#spec;
    const started = await ManagedProcess.start({
      name,
      command: process.execPath,
      args: [...nodeArgs, '--import', 'tsx', path.join(checkoutRoot, entry)],
      env,
      cwd: checkoutRoot,
      logFile: this.logFile(),
      deathSignal: 'KILL',
    });
    this.#process = started;
    void started.exited.then(({ code, signal }) => {
      if (this.#ending === started) return;
      const how = signal === null ? `with status ${code}` : `by ${signal}`;
      this.#spec.onUnexpectedExit?.(`${name} has ended ${how}; its log is ${this.logFile()}`);
    });
  }

  async ready(): Promise<void> {
    await this.#process?.ready(this.#spec.probe, readyDeadlineMs);
  }

  async stop(): Promise<void> {
    this.#ending = this.#process;
    await this.#process?.stop('SIGTERM', stopGraceMs);
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    this.#ending = this.#process;
    await this.#process?.kill();
  }

  /** SIGSTOP and SIGCONT: a process that hangs and comes back. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    const pid = this.pid();
    if (pid !== undefined) process.kill(pid, signal);
  }
}
