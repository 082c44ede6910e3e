import { entriesAt, isJsonObject, objectAt, type Json, type JsonObject } from './json.ts';

/** Keywords that say nothing about the TypeScript type; a schema with any other keyword is refused. */
const annotations = new Set(
  (
    'description example examples default title format pattern minLength maxLength minimum maximum ' +
    'exclusiveMinimum exclusiveMaximum minItems maxItems contentMediaType contentSchema'
  ).split(' '),
);
const typing = new Set(
  '$ref type properties required additionalProperties items enum const anyOf oneOf allOf'.split(' '),
);
const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'] as const;

const banner = `// Generated from openapi.yaml by \`npm run codegen\`; do not edit.
// The shape that \`openapi-fetch\` takes: createClient<paths>({ baseUrl }).
`;

const indent = (depth: number): string => '  '.repeat(depth);
const quoted = (name: string): string => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : `'${name}'`);
const literal = (value: Json): string =>
  typeof value === 'string'
    ? `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
    : JSON.stringify(value);
const join = (types: readonly string[], mark: '|' | '&'): string => {
  const unique = [...new Set(types)];
  return unique.length === 1 ? (unique[0] ?? 'never') : `(${unique.join(` ${mark} `)})`;
};

/** `#/components/schemas/X` as an indexed access of `components`. */
function referenceType(target: Json): string {
  const match = typeof target === 'string' ? /^#\/components\/(\w+)\/([\w-]+)$/.exec(target) : null;
  if (match === null) throw new Error(`the reference ${String(target)} is not understood`);
  return `components['${match[1]}']['${match[2]}']`;
}

function checkKeywords(schema: JsonObject): void {
  const unknown = Object.keys(schema).filter(
    (key) => !annotations.has(key) && !typing.has(key) && !key.startsWith('x-'),
  );
  if (unknown.length > 0) throw new Error(`schema keywords are not understood: ${unknown.join(', ')}`);
}

function arrayAt(parent: JsonObject, key: string): readonly Json[] {
  const value = parent[key];
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new Error(`no list at ${key}`);
  return value as readonly Json[];
}

/** JSDoc of a description; nothing where there is none. */
function comment(of: Json, depth: number): string {
  if (!isJsonObject(of) || typeof of['description'] !== 'string') return '';
  const lines = of['description'].trim().replaceAll('*/', '*\\/').split('\n');
  if (lines.length === 1) return `${indent(depth)}/** ${lines[0]} */\n`;
  const body = lines.map((line) => `${indent(depth)} *${line === '' ? '' : ` ${line}`}\n`).join('');
  return `${indent(depth)}/**\n${body}${indent(depth)} */\n`;
}

function objectType(schema: JsonObject, depth: number): string {
  const required = new Set(arrayAt(schema, 'required'));
  const members = entriesAt(schema, 'properties').map(([name, property]) => {
    const mark = required.has(name) ? '' : '?';
    return `${comment(property, depth + 1)}${indent(depth + 1)}${quoted(name)}${mark}: ${schemaType(property, depth + 1)};\n`;
  });
  const additional = schema['additionalProperties'];
  if (members.length > 0) {
    if (additional !== undefined && additional !== false) {
      throw new Error('properties together with additionalProperties are not understood');
    }
    return `{\n${members.join('')}${indent(depth)}}`;
  }
  if (additional === false) return 'Record<string, never>';
  return `{ [key: string]: ${isJsonObject(additional) ? schemaType(additional, depth) : 'unknown'} }`;
}

function namedType(name: Json, schema: JsonObject, depth: number): string {
  switch (name) {
    case 'string':
    case 'boolean':
    case 'null':
      return name;
    case 'integer':
    case 'number':
      return 'number';
    case 'array':
      return `${schemaType(schema['items'] ?? {}, depth)}[]`;
    case 'object':
      return objectType(schema, depth);
    default:
      throw new Error(`the type ${JSON.stringify(name)} is not understood`);
  }
}

/**
 * The TypeScript type of one schema.
 * @throws Error for any construct that the documents of this project do not use.
 */
export function schemaType(schema: Json, depth: number): string {
  if (!isJsonObject(schema)) throw new Error('a schema that is no object is not understood');
  checkKeywords(schema);
  const { $ref, type, anyOf, oneOf, allOf } = schema;
  if ($ref !== undefined) return referenceType($ref);
  if (schema['const'] !== undefined) return literal(schema['const']);
  if (schema['enum'] !== undefined) return join(arrayAt(schema, 'enum').map(literal), '|');
  for (const [branches, mark] of [
    [anyOf, '|'],
    [oneOf, '|'],
    [allOf, '&'],
  ] as const) {
    if (branches === undefined) continue;
    if (!Array.isArray(branches) || schema['properties'] !== undefined) {
      throw new Error('a combination beside properties is not understood');
    }
    return join(
      branches.map((branch: Json) => schemaType(branch, depth)),
      mark,
    );
  }
  if (Array.isArray(type))
    return join(
      type.map((name: Json) => namedType(name, schema, depth)),
      '|',
    );
  if (type !== undefined) return namedType(type, schema, depth);
  if (Object.keys(schema).some((key) => typing.has(key))) throw new Error('a schema without a type');
  return 'unknown';
}

/** `{ 'application/json': T }` of a body or an answer. */
function contentType(holder: JsonObject, depth: number): string {
  const media = entriesAt(holder, 'content').map(([name, value]) => {
    if (!isJsonObject(value) || value['schema'] === undefined) throw new Error(`${name} has no schema`);
    return `${indent(depth + 1)}${quoted(name)}: ${schemaType(value['schema'], depth + 1)};\n`;
  });
  return `{\n${media.join('')}${indent(depth)}}`;
}

function responseType(response: Json, depth: number): string {
  if (!isJsonObject(response)) throw new Error('an answer is no object');
  if (response['$ref'] !== undefined) return referenceType(response['$ref']);
  const headers = entriesAt(response, 'headers').map(([name, header]) => {
    if (!isJsonObject(header)) throw new Error(`the header ${name} is no object`);
    const type =
      header['$ref'] === undefined
        ? schemaType(header['schema'] ?? {}, depth)
        : referenceType(header['$ref']);
    return `${indent(depth + 2)}${quoted(name)}?: ${type};\n`;
  });
  const content =
    response['content'] === undefined ? 'content?: never' : `content: ${contentType(response, depth + 1)}`;
  return (
    `{\n${indent(depth + 1)}headers: {\n${headers.join('')}${indent(depth + 2)}[name: string]: unknown;\n` +
    `${indent(depth + 1)}};\n${indent(depth + 1)}${content};\n${indent(depth)}}`
  );
}

function resolveParameter(document: JsonObject, parameter: Json): JsonObject {
  if (!isJsonObject(parameter)) throw new Error('a parameter is no object');
  const target = parameter['$ref'];
  if (target === undefined) return parameter;
  const name = String(target).replace('#/components/parameters/', '');
  return objectAt(objectAt(objectAt(document, 'components'), 'parameters'), name);
}

function parametersType(document: JsonObject, operation: JsonObject, depth: number): string {
  const all = arrayAt(operation, 'parameters').map((parameter) => resolveParameter(document, parameter));
  const groups = (['query', 'header', 'path', 'cookie'] as const).map((place) => {
    const members = all.filter((parameter) => parameter['in'] === place);
    if (members.length === 0) return `${indent(depth + 1)}${place}?: never;\n`;
    const mandatory = members.some((parameter) => parameter['required'] === true);
    const lines = members.map((parameter) => {
      const mark = parameter['required'] === true ? '' : '?';
      const type = schemaType(parameter['schema'] ?? {}, depth + 2);
      return `${comment(parameter, depth + 2)}${indent(depth + 2)}${quoted(String(parameter['name']))}${mark}: ${type};\n`;
    });
    return `${indent(depth + 1)}${place}${mandatory ? '' : '?'}: {\n${lines.join('')}${indent(depth + 1)}};\n`;
  });
  return `{\n${groups.join('')}${indent(depth)}}`;
}

function operationType(document: JsonObject, operation: JsonObject): string {
  const body = operation['requestBody'];
  let bodyLine = `${indent(2)}requestBody?: never;\n`;
  if (isJsonObject(body)) {
    const mark = body['required'] === true ? '' : '?';
    bodyLine = `${indent(2)}requestBody${mark}: {\n${indent(3)}content: ${contentType(body, 3)};\n${indent(2)}};\n`;
  }
  const answers = entriesAt(operation, 'responses').map(([status, answer]) => {
    return `${comment(answer, 3)}${indent(3)}${status}: ${responseType(answer, 3)};\n`;
  });
  return (
    `{\n${indent(2)}parameters: ${parametersType(document, operation, 2)};\n${bodyLine}` +
    `${indent(2)}responses: {\n${answers.join('')}${indent(2)}};\n${indent(1)}}`
  );
}

const noParameters = `${indent(2)}parameters: { query?: never; header?: never; path?: never; cookie?: never };\n`;

/**
 * TypeScript source of `paths`, `operations` and `components` of an OpenAPI 3.1 document.
 * @throws Error for any construct that it does not understand: it never guesses a type.
 */
export function clientTypes(document: JsonObject): string {
  const operations: string[] = [];
  const paths = entriesAt(document, 'paths').map(([path, item]) => {
    if (!isJsonObject(item)) throw new Error(`the path ${path} is no object`);
    const lines = methods.map((method) => {
      const operation = item[method];
      if (!isJsonObject(operation)) return `${indent(2)}${method}?: never;\n`;
      const id = String(operation['operationId']);
      operations.push(
        `${comment(operation, 1)}${indent(1)}${quoted(id)}: ${operationType(document, operation)};\n`,
      );
      return `${indent(2)}${method}: operations['${id}'];\n`;
    });
    return `${indent(1)}'${path}': {\n${noParameters}${lines.join('')}${indent(1)}};\n`;
  });
  const components = objectAt(document, 'components');
  const group = (name: string, type: (value: Json) => string): string => {
    const lines = entriesAt(components, name).map(
      ([key, value]) => `${comment(value, 2)}${indent(2)}${quoted(key)}: ${type(value)};\n`,
    );
    return `${indent(1)}${name}: {\n${lines.join('')}${indent(1)}};\n`;
  };
  const inner = (value: Json): string => schemaType((isJsonObject(value) && value['schema']) || {}, 2);
  return [
    banner,
    `export interface paths {\n${paths.join('')}}\n`,
    `export interface operations {\n${operations.join('')}}\n`,
    'export interface components {\n' +
      group('schemas', (value) => schemaType(value, 2)) +
      group('responses', (value) => responseType(value, 2)) +
      group('parameters', inner) +
      group('headers', inner) +
      '}\n',
  ].join('\n');
}
