import { setTimeout as delay } from 'node:timers/promises';

const firstProbeMs = 100;
const maxProbeMs = 2000;

/**
 * Whether something that handlers need is there. During an outage one probe asks for all who wait; deliveries are held,
 * not failed, so that an outage of any length costs no event a delivery.
 */
export class Outage {
  private readonly name: string;
  private readonly probe: () => Promise<void>;
  private readonly onChange: (name: string, away: boolean) => void;
  private over: Promise<boolean> | undefined;
  private closed = false;

  /** @param probe rejects while it is away. */
  constructor(name: string, probe: () => Promise<void>, onChange: (name: string, away: boolean) => void) {
    this.name = name;
    this.probe = probe;
    this.onChange = onChange;
  }

  isAway(): boolean {
    return this.over !== undefined;
  }

  /**
   * Somebody met a failure. Resolves when it is over, and when this is closed.
   * @returns false for a false alarm: the first probe already found it there.
   */
  met(): Promise<boolean> {
    this.over ??= this.watch();
    return this.over;
  }

  /** Resolves when it is there as far as anybody knows. */
  async passed(): Promise<void> {
    await this.over;
  }

  /** Lets everybody go who waits. */
  close(): void {
    this.closed = true;
  }

  private async watch(): Promise<boolean> {
    let failures = 0;
    this.onChange(this.name, true);
    for (let pauseMs = firstProbeMs; !this.closed; pauseMs = Math.min(pauseMs * 2, maxProbeMs)) {
      await delay(pauseMs);
      try {
        await this.probe();
        break;
      } catch {
        failures += 1;
      }
    }
    this.over = undefined;
    this.onChange(this.name, false);
    return failures > 0;
  }
}
