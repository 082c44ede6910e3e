import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { endpoints } from '../../contracts/endpoints.api.ts';
import { missingProofs, type AuditProofs } from './audit-rules.ts';
import { conclude, readSources } from './source-files.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const golden = new URL('../golden/audited-mutations.json', import.meta.url);
const proofs = JSON.parse(readFileSync(golden, 'utf8')) as AuditProofs;
conclude(
  `${endpoints.length} endpoints`,
  missingProofs(endpoints, proofs, await readSources(root, ['test'])),
);
