/**
 * Real changes of the real workflow, made in a copy of the checkout: the order of two steps of a release, once as it must
 * not be made and once as it is made.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { checkoutRoot } from '../../workers/local/stack-config.ts';

const driver = 'workflows/allocations/allocation.driver.ts';
const copied = [
  ...['contracts', 'workflows', 'activities', 'api', 'workers', 'db', 'test'],
  ...['package.json', 'package-lock.json', 'tsconfig.json', 'temporal-dev.yaml'],
];

interface Edit {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

const cleanStep = `    const cleaned = await whileTaking(
      this.#inbox.intents,
      () => cleanNode(this.#context('release')),`;
const releasedStep = `    if (cleaned.value.kind === 'done') await this.#transition('released', { provenClean: true });`;

const edit = (from: string, to: string): Edit => ({ file: driver, from, to });

/** The row is `released` before the node is cleaned, instead of after it. */
export const releasedFirst: readonly Edit[] = [
  edit(cleanStep, `    await this.#transition('released', { provenClean: true });\n${cleanStep}`),
  edit(releasedStep, `    if (cleaned.value.kind === 'done') return;`),
];

/** The same new order, for releases that begin with it; those under way keep theirs. */
export const releasedFirstPatched: readonly Edit[] = [
  edit(`  continueAsNew,\n`, `  continueAsNew,\n  patched,\n`),
  edit(
    cleanStep,
    `    const first = patched('released-before-the-cleanup');
    if (first) await this.#transition('released', { provenClean: true });\n${cleanStep}`,
  ),
  edit(
    releasedStep,
    `    if (cleaned.value.kind === 'done' && first) return;
    if (cleaned.value.kind === 'done') await this.#transition('released', { provenClean: true });`,
  ),
];

export interface ChangedCheckout {
  readonly root: string;
  remove(): void;
}

/** A copy of this checkout with the edits in it. @throws when an edit does not fit in exactly one place. */
export function changedCheckout(edits: readonly Edit[]): ChangedCheckout {
  const root = mkdtempSync(path.join(tmpdir(), 'gpuaas-changed-'));
  for (const name of copied)
    cpSync(path.join(checkoutRoot, name), path.join(root, name), { recursive: true });
  symlinkSync(path.join(checkoutRoot, 'node_modules'), path.join(root, 'node_modules'));
  for (const { file, from, to } of edits) {
    const at = path.join(root, file);
    const parts = readFileSync(at, 'utf8').split(from);
    if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} places, not one, of: ${from}`);
    writeFileSync(at, parts.join(to));
  }
  return { root, remove: () => rmSync(root, { recursive: true, force: true }) };
}
