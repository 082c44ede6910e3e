/** The servers of the local stack. */
export type PartName = 'postgres' | 'temporal' | 'nats' | 'redis';
