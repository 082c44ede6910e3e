import pino, { type DestinationStream, type Logger } from 'pino';
import { describeError, sanitise, sanitiseText } from './sanitise.ts';
import { traceFields } from './tracing.ts';

export type { Logger } from 'pino';

/**
 * A JSON logger of one process. Every field and every text goes through the sanitiser first; errors are described
 * without their data.
 * @param destination where lines go; standard output by default.
 */
export function createLogger(
  options: { readonly process: string; readonly level: string },
  destination?: DestinationStream,
): Logger {
  const settings: pino.LoggerOptions = {
    level: options.level,
    base: { process: options.process },
    timestamp: pino.stdTimeFunctions.isoTime,
    messageKey: 'message',
    mixin: traceFields,
    formatters: {
      level: (label) => ({ level: label }),
      bindings: (bindings) => sanitise(bindings) as Record<string, unknown>,
      log: (fields) => sanitise(fields) as Record<string, unknown>,
    },
    serializers: { err: describeOnce, error: describeOnce },
    hooks: {
      logMethod(args, method) {
        const clean = args.map((arg: unknown) => (typeof arg === 'string' ? sanitiseText(arg) : arg));
        method.apply(this, clean as Parameters<typeof method>);
      },
    },
  };
  return destination === undefined ? pino(settings) : pino(settings, destination);
}

const describeOnce = (error: unknown): unknown => (error instanceof Error ? describeError(error) : error);
