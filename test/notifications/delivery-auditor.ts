/** What was stored for a recipient, by whoever stored it, in order. */
export type StoredIds = Readonly<Record<string, readonly string[]>>;

export interface DeliveryFinding {
  readonly kind: 'nothing-to-audit' | 'lost' | 'stranger' | 'twice' | 'out-of-order';
  readonly id: string;
}

/**
 * Compares what was stored with what a client got over all its connections: each once, and in order for each recipient.
 * @returns every finding; an audit of nothing is one.
 */
export function auditDelivery(stored: StoredIds, received: readonly string[]): DeliveryFinding[] {
  const places = new Map<string, { readonly recipient: string; readonly index: number }>();
  for (const [recipient, ids] of Object.entries(stored)) {
    for (const [index, id] of ids.entries()) places.set(id, { recipient, index });
  }
  if (places.size === 0) return [{ kind: 'nothing-to-audit', id: '' }];
  const findings: DeliveryFinding[] = [];
  const seen = new Set<string>();
  const last = new Map<string, number>();
  for (const id of received) {
    const place = places.get(id);
    if (place === undefined) findings.push({ kind: 'stranger', id });
    else if (seen.has(id)) findings.push({ kind: 'twice', id });
    else {
      if (place.index < (last.get(place.recipient) ?? -1)) findings.push({ kind: 'out-of-order', id });
      else last.set(place.recipient, place.index);
      seen.add(id);
    }
  }
  for (const id of places.keys()) if (!seen.has(id)) findings.push({ kind: 'lost', id });
  return findings;
}
