import { fileURLToPath } from 'node:url';
import { endpoints } from '../../contracts/endpoints.api.ts';
import { missingAudits } from './audit-rules.ts';
import { conclude, readSources } from './source-files.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const product = await readSources(root, ['api', 'activities', 'workers']);
conclude(`${endpoints.length} endpoints`, missingAudits(endpoints, product));
