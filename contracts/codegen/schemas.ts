import { isJsonObject, type JsonDraft, type JsonObject } from './json.ts';

const formatsThatSayThePattern = new Set(['uuid', 'date-time']);

/**
 * Drops what a generated schema says twice: the regular expression behind `format: uuid` and `format: date-time`,
 * `propertyNames` of any string, and `additionalProperties: {}`, which is `true`.
 */
export function tidySchema(node: JsonObject): JsonObject {
  const tidy: JsonDraft = { ...node };
  const format = tidy['format'];
  if (typeof format === 'string' && formatsThatSayThePattern.has(format)) delete tidy['pattern'];
  const names = tidy['propertyNames'];
  if (tidy['type'] === 'object' && isJsonObject(names) && Object.keys(names).every((key) => key === 'type')) {
    delete tidy['propertyNames'];
  }
  const additional = tidy['additionalProperties'];
  if (isJsonObject(additional) && Object.keys(additional).length === 0) tidy['additionalProperties'] = true;
  return tidy;
}
