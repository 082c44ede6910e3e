import { eq } from 'drizzle-orm';
import { CodedError } from '../../contracts/errors.ts';
import { violatedConstraint, type Tx } from '../client.ts';
import { now } from '../clock.ts';
import { nodes, skus } from '../schema.ts';

export interface NewNode {
  readonly id: string;
  readonly name: string;
  readonly sku: string;
  readonly sshHost: string;
  readonly sshPort: number;
  /** sha256 of the agent's secret. */
  readonly agentSecretHash: Buffer;
}

/**
 * Registers a node in state `enrolling`, with one slot per GPU of its SKU (at least one).
 * @throws CodedError sku_not_found or node_already_exists.
 */
export async function insertNode(tx: Tx, node: NewNode): Promise<void> {
  const [sku] = await tx.select({ gpuCount: skus.gpuCount }).from(skus).where(eq(skus.code, node.sku));
  if (sku === undefined) throw new CodedError('sku_not_found');
  try {
    await tx
      .insert(nodes)
      .values({ ...node, state: 'enrolling', slotCount: Math.max(1, sku.gpuCount), createdAt: now });
  } catch (error) {
    if (violatedConstraint(error) === 'nodes_name_unique') throw new CodedError('node_already_exists');
    throw error;
  }
}
