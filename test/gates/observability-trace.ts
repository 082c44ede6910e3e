import { fileURLToPath } from 'node:url';
import { conclude, readSources } from './source-files.ts';
import { untraced } from './trace-rules.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const files = await readSources(root, ['api', 'activities', 'workers', 'db']);
conclude(`${files.length} files`, untraced(files));
