import { readFileSync } from 'node:fs';
import { isUuid } from '../../contracts/ids.ts';

/** The settings of an agent process. */
export interface AgentConfig {
  readonly nodeId: string;
  readonly secretFile: string;
  readonly apiUrl: string;
  readonly caFile: string;
  readonly verifyKeyFile: string;
  readonly mode: 'simulated' | 'real';
  /** Root folder of the simulated node; `/` in real mode. */
  readonly root: string;
  /** Journal and records. */
  readonly stateDirectory: string;
  /** Undefined when the node itself is to be asked. */
  readonly gpuCount: number | undefined;
  readonly holdSeconds: number;
  /** Devices that a task may wipe. */
  readonly wipeableDevices: readonly string[];
  /** Where spans of tasks go, over OTLP; undefined when nothing is traced. */
  readonly traceUrl?: URL | undefined;
}

export type Environment = Readonly<Record<string, string | undefined>>;

const STATE_FOLDER = 'var/lib/gpuaas-node-agent';
/** What AGENT_ALLOW_REAL has to say. */
const CONSENT = 'yes-change-this-host';

/** @throws Error that names the variable and never its value. */
export function required(env: Environment, name: string): string {
  const value = env[name];
  if (value === undefined || value === '') throw new Error(`environment: ${name} is not set`);
  return value;
}

/** @throws Error when the variable is set and no whole number within the bounds. */
export function wholeNumber(env: Environment, name: string, min: number, max: number): number | undefined {
  const text = env[name];
  if (text === undefined || text === '') return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new Error(`environment: ${name} must be a whole number from ${min} to ${max}`);
  }
  return value;
}

/** The names that OpenTelemetry gives them. @throws Error when the address is none. */
function readTraceUrl(env: Environment): URL | undefined {
  if (env['OTEL_SDK_DISABLED'] === 'true') return undefined;
  const base = env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  const text =
    env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] || (base ? `${base.replace(/\/+$/, '')}/v1/traces` : undefined);
  if (text === undefined) return undefined;
  if (!/^https?:/.test(text) || !URL.canParse(text))
    throw new Error('environment: OTEL_EXPORTER_OTLP_ENDPOINT must be an http address');
  return new URL(text);
}

/**
 * Reads the settings of the agent process. Every name is read here and nowhere else.
 * @throws Error that names the wrong variable and none of the values.
 */
export function readAgentConfig(env: Environment): AgentConfig {
  const nodeId = required(env, 'AGENT_NODE_ID');
  if (!isUuid(nodeId)) throw new Error('environment: AGENT_NODE_ID must be a lower-case uuid');
  const mode = env['AGENT_MODE'] || 'simulated';
  if (mode !== 'simulated' && mode !== 'real')
    throw new Error('environment: AGENT_MODE must be simulated or real');
  if (mode === 'real' && env['AGENT_ALLOW_REAL'] !== CONSENT) {
    throw new Error(
      `environment: real mode changes users and files of this host; AGENT_ALLOW_REAL must say ${CONSENT}`,
    );
  }
  const root = mode === 'real' ? '/' : required(env, 'AGENT_ROOT');
  const devices = (env['AGENT_WIPEABLE_DEVICES'] ?? '').split(',').filter((device) => device !== '');
  return {
    nodeId,
    secretFile: required(env, 'AGENT_SECRET_FILE'),
    apiUrl: required(env, 'AGENT_API_URL').replace(/\/+$/, ''),
    caFile: required(env, 'AGENT_CA_FILE'),
    verifyKeyFile: required(env, 'AGENT_VERIFY_KEY_FILE'),
    mode,
    root,
    stateDirectory: env['AGENT_STATE_DIR'] || `${root.replace(/\/+$/, '')}/${STATE_FOLDER}`,
    gpuCount: wholeNumber(env, 'AGENT_GPU_COUNT', 0, 64),
    holdSeconds: wholeNumber(env, 'AGENT_HOLD_SECONDS', 0, 30) ?? 25,
    wipeableDevices: devices,
    traceUrl: readTraceUrl(env),
  };
}

/** The secret in a file, without the line end. */
export function readSecretFile(file: string): string {
  const secret = readFileSync(file, 'utf8').trim();
  if (secret === '') throw new Error('the file of the secret is empty');
  return secret;
}
