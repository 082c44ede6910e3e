/**
 * The import rules, for dependency-cruiser. Its TypeScript parser needs the compiler's JavaScript API, which
 * TypeScript 7 has not; swc reads the files instead. swc does not tell a type-only import from another: a row's type
 * belongs into the schema file, which others may import. boundaries.test.ts plants an offence for every rule below.
 */
/** Stems of contracts/lifecycles.ts; registry.test.ts holds the two together. */
const lifecycleStems = ['allocation', 'dlq-replay'];
const domain = '(allocations|nodes|storage|apps|artifacts|billing|payments|identity|terminal|ops)';
/** Where adapters are built and put together; everything else gets them through parameters. */
const apiRoots = '^api/(main|app|compose|server|deps)\\.ts$';
const npm = (...names) => names.map((name) => `^node_modules/${name}/`);

/** A folder that may import nothing but what is listed, and node: built-ins. */
const only = (name, comment, from, pathNot) => ({
  name,
  comment,
  severity: 'error',
  from,
  to: { pathNot, dependencyTypesNot: ['core'] },
});
const never = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to });

const contracts = [
  only(
    'contracts-import-contracts',
    'contracts is the language of the system: it imports nothing of ours, zod and node: built-ins',
    { path: '^contracts/', pathNot: '^contracts/codegen/' },
    ['^contracts/(?!codegen/|generated/)', ...npm('zod')],
  ),
  never(
    'zod-at-the-edges',
    'zod is for what is parsed (*.api.ts, *.events.ts, envelope.ts); workflows bundle the other files of contracts',
    {
      path: '^contracts/',
      pathNot: ['\\.(api|events)\\.ts$', '^contracts/envelope\\.ts$', '^contracts/codegen/'],
    },
    { path: npm('zod') },
  ),
  only(
    'codegen-reads-contracts',
    'the generator reads the contract and nothing else of ours',
    { path: '^contracts/codegen/' },
    ['^contracts/', '^node_modules/'],
  ),
];

const workflows = [
  only(
    'workflows-are-deterministic',
    'a workflow imports plain files of contracts, workflows and the Temporal SDK; zod, Node, stores and activities stay out',
    { path: '^workflows/' },
    [
      '^workflows/',
      `^contracts/${domain}/[a-z0-9-]+\\.(lifecycle|messages|guards|activities|waits|tasks)\\.ts$`,
      '^contracts/(ids|errors|queues|trace)\\.ts$',
      ...npm('@temporalio/workflow', '@temporalio/common'),
    ],
  ),
  never(
    'workflows-without-node',
    'node: built-ins do not exist where workflows run',
    { path: '^workflows/' },
    { dependencyTypes: ['core'] },
  ),
  never(
    'workflow-lib-knows-no-lifecycle',
    'workflows/lib serves every lifecycle',
    { path: '^workflows/lib/' },
    { path: '^(workflows|contracts)/[a-z-]+/', pathNot: '^workflows/lib/' },
  ),
];

const activities = [
  only(
    'activities-use-ports',
    'an activity imports contracts, stores and its own ports; adapters come in through its constructor',
    { path: `^activities/${domain}/` },
    [
      '^contracts/(?!codegen/|generated/)',
      '^activities/$1/',
      '^activities/failures\\.ts$',
      '^db/',
      ...npm('@temporalio/(activity|common)'),
    ],
  ),
  never(
    'adapters-know-no-product',
    'activities/platform wraps one outside system each; it knows contracts only',
    { path: '^activities/platform/' },
    { path: '^(db|api|workflows|workers|test)/|^activities/(?!platform/)' },
  ),
  never(
    'adapters-from-composition-roots',
    'activities/platform is imported where processes are put together, and by tests',
    {
      path: '^[a-z]+/',
      pathNot: [
        '^activities/platform/',
        apiRoots,
        '^workers/(main|worker|compose)\\.ts$',
        '^workers/(relay|local)/',
        '^workers/consumers/[a-z0-9-]+\\.ts$',
        '^test/',
      ],
    },
    { path: '^activities/platform/' },
  ),
];

const db = [
  only(
    'db-is-drizzle-only',
    'a store imports contracts, db, drizzle and the driver',
    { path: '^db/', pathNot: '^db/drizzle\\.config\\.ts$' },
    [
      '^contracts/(?!codegen/|generated/)',
      '^db/',
      ...npm('drizzle-orm', 'pg', '@types/pg', '@opentelemetry/api'),
    ],
  ),
];

const api = [
  never(
    'api-starts-and-reads',
    'the API starts, signals and reads; workflows, activities and workers are other processes',
    { path: '^api/', pathNot: apiRoots },
    { path: '^(workflows|activities|workers|test)/' },
  ),
  never(
    'api-never-moves-a-lifecycle',
    'the state of a lifecycle is written by its workflow only; the API reads views',
    { path: '^api/' },
    { path: `^db/${domain}/(${lifecycleStems.join('|')})\\.store\\.ts$` },
  ),
  never(
    'api-roots-build-adapters',
    'the composition roots of the API import adapters, and nothing else of the other processes',
    { path: apiRoots },
    { path: '^(workflows|workers|test)/|^activities/(?!platform/)' },
  ),
];

const workers = [
  only(
    'consumers-are-thin',
    'a consumer or reconciler parses, calls one store or sends one command (decision 0005)',
    { path: `^workers/(reconcilers/|consumers/${domain}/)` },
    [
      '^workers/$1',
      '^workers/consumers/subscription\\.ts$',
      '^contracts/(?!codegen/|generated/)',
      '^db/',
      `^api/${domain}/[a-z0-9-]+\\.commands\\.ts$`,
      '^api/engine\\.ts$',
      ...npm('@temporalio/(client|common)', 'pino', 'zod'),
    ],
  ),
  only(
    'node-agent-stands-alone',
    'the agent runs on a customer-facing node: contracts, its client types and node: built-ins only',
    { path: '^workers/node-agent/' },
    ['^workers/node-agent/', '^contracts/(?!codegen/|generated/)', '^contracts/generated/client\\.ts$'],
  ),
  only(
    'stand-ins-import-nothing-of-ours',
    'the issuer and the Stripe stand-in play somebody else: they share the launcher helpers only',
    { path: '^workers/local/(stripe|issuer)/' },
    ['^workers/local/$1/', '^workers/local/[a-z0-9-]+\\.ts$', '^node_modules/'],
  ),
];

const everywhere = [
  never(
    'domains-meet-through-contracts',
    'no x/<a>/ -> y/<b>/ but through contracts, the schema file of a foreign key and db/ops; the composition root hands the store of another domain in as a port',
    { path: `^(activities|api|db|workflows|workers/consumers)/${domain}/`, pathNot: '^db/ops/' },
    {
      path: `^(activities|api|db|workflows|workers/consumers)/${domain}/`,
      pathNot: ['^[a-z/]+/$2/', '^db/ops/', '^db/[a-z]+/[a-z0-9-]+\\.schema\\.ts$'],
    },
  ),
  never('no-cycles', 'a cycle hides which file is the lower one', {}, { circular: true }),
  never('no-unresolved', 'an import that leads nowhere', {}, { couldNotResolve: true }),
  never(
    'no-test-code-in-the-product',
    'tests import the product, never the reverse',
    { pathNot: '^test/' },
    { path: '^test/' },
  ),
  never(
    'no-development-tools-at-run-time',
    'what a process imports is a dependency, not a development tool',
    { pathNot: ['^test/', '^workers/local/', '^contracts/codegen/', '^db/drizzle\\.config\\.ts$'] },
    { dependencyTypes: ['npm-dev'] },
  ),
];

module.exports = {
  forbidden: [...contracts, ...workflows, ...activities, ...db, ...api, ...workers, ...everywhere],
  options: {
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
