/** Values of a log line: ids, codes, counts. Never keys, names or secrets. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Logger {
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

/**
 * A logger of one JSON object per line.
 * @param base fields of every line.
 * @param write where lines go, stderr unless told; gets no line end.
 */
export function createLogger(
  base: LogFields,
  write: (line: string) => void = (line) => void process.stderr.write(`${line}\n`),
): Logger {
  const at =
    (level: string) =>
    (event: string, fields: LogFields = {}): void =>
      write(JSON.stringify({ level, time: new Date().toISOString(), event, ...base, ...fields }));
  return { info: at('info'), warn: at('warn'), error: at('error') };
}
