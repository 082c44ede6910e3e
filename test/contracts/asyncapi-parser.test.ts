import { readFile } from 'node:fs/promises';
import { Parser } from '@asyncapi/parser';
import { describe, expect, it } from 'vitest';

const documentUrl = new URL('../../contracts/generated/asyncapi.yaml', import.meta.url);
const errorSeverity = 0;

describe('the official AsyncAPI parser', () => {
  it('accepts the generated document and warns of nothing that the source does not have', async () => {
    const { document, diagnostics } = await new Parser().parse(await readFile(documentUrl, 'utf8'));
    expect(diagnostics.filter((one) => one.severity === errorSeverity)).toEqual([]);
    const counts = new Map<string, number>();
    for (const { code } of diagnostics) counts.set(String(code), (counts.get(String(code)) ?? 0) + 1);
    expect(Object.fromEntries(counts)).toEqual({
      'asyncapi-latest-version': 1,
      'asyncapi-unused-component': 6,
    });
    expect(document?.channels().all()).toHaveLength(45);
  });

  it('refuses a broken one', async () => {
    const text = await readFile(documentUrl, 'utf8');
    const { diagnostics } = await new Parser().parse(
      text.replace("$ref: '#/components/messages/ReleaseFailedEvent'", "$ref: '#/components/messages/None'"),
    );
    expect(diagnostics.some((one) => one.severity === errorSeverity)).toBe(true);
  });
});
