import { customType, timestamp } from 'drizzle-orm/pg-core';

/** `timestamptz(3)`, read as a Date; every instant of the product has millisecond precision. */
export const instant = (name: string) => timestamp(name, { withTimezone: true, mode: 'date', precision: 3 });

export const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' });
