import type { Method } from '../../contracts/http.api.ts';
import type { Route } from '../route.ts';

interface Pattern {
  readonly segments: readonly string[];
  readonly methods: Map<string, Route>;
}

/** A known path with its routes by method, and the raw path parameters. */
export interface Match {
  readonly route: Route | undefined;
  /** Upper-case methods, sorted. */
  readonly allowed: readonly string[];
  readonly params: Readonly<Record<string, string>>;
}

/** Finds routes by exact path; literal segments win over parameters. */
export class RouteTable {
  readonly #patterns: Pattern[] = [];

  /** @throws Error when two routes share method and path. */
  constructor(routes: readonly Route[]) {
    const byPath = new Map<string, Map<string, Route>>();
    for (const one of routes) {
      const methods = byPath.get(one.endpoint.path) ?? new Map<string, Route>();
      const method = upper(one.endpoint.method);
      if (methods.has(method)) throw new Error(`two routes serve ${method} ${one.endpoint.path}`);
      byPath.set(one.endpoint.path, methods.set(method, one));
    }
    for (const [path, methods] of byPath) this.#patterns.push({ segments: path.split('/'), methods });
    const parameters = (pattern: Pattern): number => pattern.segments.filter(isParameter).length;
    this.#patterns.sort((left, right) => parameters(left) - parameters(right));
  }

  /** @param path the raw path of the request, without the query. */
  find(path: string, method: string): Match | undefined {
    const given = path.split('/');
    for (const { segments, methods } of this.#patterns) {
      const params = bind(segments, given);
      if (params === undefined) continue;
      return { route: methods.get(method), allowed: [...methods.keys()].sort(), params };
    }
    return undefined;
  }
}

const upper = (method: Method): string => method.toUpperCase();
const isParameter = (segment: string): boolean => segment.startsWith('{');

function bind(segments: readonly string[], given: readonly string[]): Record<string, string> | undefined {
  if (segments.length !== given.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, segment] of segments.entries()) {
    const value = given[index] ?? '';
    if (isParameter(segment) && value !== '') params[segment.slice(1, -1)] = decode(value);
    else if (segment !== value) return undefined;
  }
  return params;
}

function decode(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
