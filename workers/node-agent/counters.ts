/** What an agent has seen since it started. */
export interface Counters {
  executed: number;
  replayed: number;
  fenced: number;
  expired: number;
  rubbish: number;
  superseded: number;
  cancelled: number;
  reportsStored: number;
  reportsDropped: number;
  pollErrors: number;
  postErrors: number;
}

export const newCounters = (): Counters => ({
  executed: 0,
  replayed: 0,
  fenced: 0,
  expired: 0,
  rubbish: 0,
  superseded: 0,
  cancelled: 0,
  reportsStored: 0,
  reportsDropped: 0,
  pollErrors: 0,
  postErrors: 0,
});
