import type { Database } from './client.ts';
import { seedSkus, type NewSku } from './nodes/sku.store.ts';
import { seedPolicies } from './ops/policy.store.ts';

const sku = (
  code: string,
  title: string,
  gpuModel: string,
  gpuCount: number,
  cpuCores: number,
  memoryGib: number,
  pricePerHourMinor: number,
): NewSku => ({ code, title, gpuModel, gpuCount, cpuCores, memoryGib, pricePerHourMinor, currency: 'USD' });

/** The catalogue of a new installation; prices in US cents an hour. */
export const seedCatalogue: readonly NewSku[] = [
  sku('h100-8x', '8 x NVIDIA H100 80 GB SXM', 'NVIDIA H100 80GB', 8, 208, 2048, 2392),
  sku('h100-1x', '1 x NVIDIA H100 80 GB PCIe', 'NVIDIA H100 80GB', 1, 26, 225, 249),
  sku('a100-8x', '8 x NVIDIA A100 80 GB SXM', 'NVIDIA A100 80GB', 8, 124, 1800, 1432),
  sku('l40s-4x', '4 x NVIDIA L40S 48 GB', 'NVIDIA L40S', 4, 64, 512, 396),
  sku('rtx4090-1x', '1 x NVIDIA GeForce RTX 4090', 'NVIDIA GeForce RTX 4090', 1, 16, 64, 44),
];

/** Writes the catalogue and the policy defaults where they are missing; what an operator changed stays. */
export async function seed(db: Database): Promise<void> {
  await db.tx(async (tx) => {
    await seedSkus(tx, seedCatalogue);
    await seedPolicies(tx);
  });
}
