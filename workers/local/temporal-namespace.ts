import { Connection, isGrpcServiceError } from '@temporalio/client';
import { msNumberToTs } from '@temporalio/common/lib/time.js';
import proto from '@temporalio/proto';
import { acceptsConnections } from './ports.ts';
import { waitUntil } from './process.ts';
import { retentionSeconds, type SearchAttributeType, type StackConfig } from './stack-config.ts';

const CONNECT_TIMEOUT_MS = 2_000;
const CALL_TIMEOUT_MS = 5_000;
/** A namespace that was just registered is seen by every service after their caches' next refresh. */
const VISIBLE_DEADLINE_MS = 30_000;
/** gRPC status NOT_FOUND. */
const GRPC_NOT_FOUND = 5;

const { IndexedValueType } = proto.temporal.api.enums.v1;
type IndexedType = proto.temporal.api.enums.v1.IndexedValueType;

const INDEXED_TYPES: Readonly<Record<SearchAttributeType, IndexedType>> = {
  Keyword: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
  KeywordList: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
  Text: IndexedValueType.INDEXED_VALUE_TYPE_TEXT,
  Int: IndexedValueType.INDEXED_VALUE_TYPE_INT,
  Double: IndexedValueType.INDEXED_VALUE_TYPE_DOUBLE,
  Bool: IndexedValueType.INDEXED_VALUE_TYPE_BOOL,
  Datetime: IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
};

async function withConnection<T>(address: string, work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address, connectTimeout: CONNECT_TIMEOUT_MS });
  try {
    return await connection.withDeadline(Date.now() + CALL_TIMEOUT_MS, () => work(connection));
  } finally {
    await connection.close();
  }
}

/** A refused gRPC connection is only tried again after a second, so the port is tried first. */
async function assertAccepting(address: string): Promise<void> {
  const { hostname, port } = new URL(`tcp://${address}`);
  if (!(await acceptsConnections(hostname, Number(port)))) throw new Error('nothing listens yet');
}

/** Passes when the server's frontend says it serves. */
export async function probeTemporal(address: string): Promise<void> {
  await assertAccepting(address);
  await withConnection(address, async (connection) => {
    const service = 'temporal.api.workflowservice.v1.WorkflowService';
    const health = await connection.healthService.check({ service });
    if (health.status !== 1) throw new Error('the frontend is not serving yet');
  });
}

/** Passes when the namespace exists: the check of somebody's own server. */
export async function probeNamespace(address: string, namespace: string): Promise<void> {
  await withConnection(address, (connection) => connection.workflowService.describeNamespace({ namespace }));
}

async function ensureNamespace(connection: Connection, namespace: string, seconds: number): Promise<void> {
  const retention = msNumberToTs(seconds * 1000);
  try {
    const found = await connection.workflowService.describeNamespace({ namespace });
    if (Number(found.config?.workflowExecutionRetentionTtl?.seconds ?? 0) === seconds) return;
    await connection.workflowService.updateNamespace({
      namespace,
      config: { workflowExecutionRetentionTtl: retention },
    });
  } catch (error) {
    if (!isGrpcServiceError(error) || Number(error.code) !== GRPC_NOT_FOUND) throw error;
    await connection.workflowService.registerNamespace({
      namespace,
      workflowExecutionRetentionPeriod: retention,
    });
  }
}

async function missingAttributes(
  connection: Connection,
  config: StackConfig,
): Promise<Record<string, IndexedType>> {
  const { namespace, search_attributes: wanted } = config.temporal;
  const known = await connection.operatorService.listSearchAttributes({ namespace });
  const missing = Object.entries(wanted).filter(([name]) => !(name in (known.customAttributes ?? {})));
  return Object.fromEntries(missing.map(([name, type]) => [name, INDEXED_TYPES[type]]));
}

/**
 * Makes the namespace, its retention and its search attributes what temporal-dev.yaml says. Repeatable; a wiped
 * Temporal database comes back usable.
 * @throws Error when they are not visible within 30 s.
 */
export async function ensureTemporal(address: string, config: StackConfig): Promise<void> {
  const { namespace } = config.temporal;
  const attempt = (): Promise<boolean> =>
    withConnection(address, async (connection) => {
      await ensureNamespace(connection, namespace, retentionSeconds(config));
      const searchAttributes = await missingAttributes(connection, config);
      if (Object.keys(searchAttributes).length === 0) return true;
      await connection.operatorService.addSearchAttributes({ namespace, searchAttributes });
      return false; // true once the server lists them
    });
  let last = '';
  await waitUntil(
    async () => {
      try {
        return await attempt();
      } catch (error) {
        last = error instanceof Error ? error.message : String(error);
        return false;
      }
    },
    { deadlineMs: VISIBLE_DEADLINE_MS, onTimeout: () => `namespace ${namespace} is not usable: ${last}` },
  );
}
