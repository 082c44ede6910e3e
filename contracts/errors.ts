/**
 * The error catalogue: every code that an HTTP answer or an ApplicationFailure may carry. What the header of a dead letter
 * may say besides is `DeadLetterCode` in ops/dead-letter.ts.
 *
 * One table maps a code to its HTTP status, to whether a caller may repeat the same request unchanged and
 * to the sentence that a stranger may read. Codes of the source catalogue stand first; the ones added here
 * are recorded in decision D-0002. Nothing outside this file invents a code.
 */
export interface ErrorEntry {
  /** HTTP status of the answer that carries the code. */
  readonly status: 400 | 401 | 402 | 403 | 404 | 405 | 409 | 413 | 415 | 429 | 500 | 502 | 503;
  /** True when repeating the identical request later may succeed. */
  readonly retryable: boolean;
  /** Default public sentence; never contains data. */
  readonly message: string;
}

const entry = (status: ErrorEntry['status'], message: string, retryable = false): ErrorEntry => ({
  status,
  message,
  retryable,
});

export const errorCatalogue = {
  token_missing: entry(401, 'A bearer token is required.'),
  token_invalid: entry(401, 'The bearer token is not valid.'),
  token_expired: entry(401, 'The bearer token has expired.'),
  token_scope_invalid: entry(403, 'The token does not cover this resource.'),
  insufficient_permissions: entry(403, 'You may not do this.'),
  admin_required: entry(403, 'This needs the admin role.'),
  ownership_required: entry(403, 'Only the owner may do this.'),
  validation_error: entry(400, 'The request does not match the contract.'),
  invalid_request: entry(400, 'The request cannot be understood.'),
  allocation_not_found: entry(404, 'No such allocation.'),
  allocation_not_active: entry(409, 'The allocation is not in a state that allows this.'),
  allocation_already_releasing: entry(409, 'The allocation is being released already.'),
  allocation_concurrency_limit: entry(409, 'The limit of concurrent allocations is reached.'),
  insufficient_balance: entry(402, 'The balance does not cover this.'),
  sku_unavailable: entry(409, 'No capacity of this SKU is free.', true),
  node_not_found: entry(404, 'No such node.'),
  node_offline: entry(409, 'The node is offline.', true),
  node_in_use: entry(409, 'The node is in use.', true),
  node_already_exists: entry(409, 'A node of this name exists already.'),
  user_not_found: entry(404, 'No such user.'),
  user_already_exists: entry(409, 'The user exists already.'),
  stripe_signature_invalid: entry(400, 'The signature of the webhook is not valid.'),
  refund_window_exceeded: entry(409, 'The refund window is over.'),
  storage_object_not_found: entry(404, 'No such storage object.'),
  storage_path_traversal: entry(400, 'The path leaves its folder.'),
  storage_already_exists: entry(409, 'The storage object exists already.'),
  storage_quota_exceeded: entry(409, 'The storage quota is exceeded.'),
  sku_not_found: entry(404, 'No such SKU.'),
  rate_limit_exceeded: entry(429, 'Too many requests.', true),
  internal_error: entry(500, 'An internal error occurred.', true),
  upstream_error: entry(502, 'A system this one depends on answered with an error.', true),
  service_unavailable: entry(503, 'The service is not available right now.', true),
  // Added to the catalogue (D-0002).
  idempotency_key_reused: entry(409, 'The idempotency key was used with another request.'),
  project_not_found: entry(404, 'No such project.'),
  project_already_exists: entry(409, 'A project of this name exists already.'),
  ssh_key_not_found: entry(404, 'No such SSH key.'),
  ssh_key_already_exists: entry(409, 'This SSH key exists already.'),
  operation_not_found: entry(404, 'No such operation.'),
  policy_not_found: entry(404, 'No such policy key.'),
  notification_not_found: entry(404, 'No such notification.'),
  dead_letter_not_found: entry(404, 'No such dead letter.'),
  dead_letter_not_open: entry(409, 'The dead letter was dealt with already.'),
  dead_letter_not_replayable: entry(
    409,
    'No consumer gave this dead letter up, or its body was cut; it can only be discarded.',
  ),
  dlq_replay_not_found: entry(404, 'No such replay of dead letters.'),
  dlq_replay_not_running: entry(409, 'The replay has ended.'),
  node_task_not_found: entry(404, 'No such node task.'),
  node_task_fenced: entry(409, 'The task was superseded; its result is refused.'),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorCatalogue;

export const errorCodes = Object.keys(errorCatalogue) as readonly ErrorCode[];

export const isErrorCode = (value: unknown): value is ErrorCode =>
  typeof value === 'string' && Object.hasOwn(errorCatalogue, value);

/** What a caller may see of an error besides its code. Values are plain data, already free of secrets. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

export interface CodedErrorOptions {
  readonly message?: string;
  readonly details?: ErrorDetails;
  readonly cause?: unknown;
  /** Unknown path, method, size or content type: `invalid_request` under its transport status. */
  readonly transportStatus?: 404 | 405 | 413 | 415;
}

/**
 * The one error class of the product. `message` and `details` are public; `cause` is for the log only.
 */
export class CodedError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails | undefined;

  /** HTTP status; the catalogue's own, but for transport refusals (404, 405, 413, 415 `invalid_request`). */
  readonly status: ErrorEntry['status'];

  constructor(code: ErrorCode, options: CodedErrorOptions = {}) {
    super(
      options.message ?? errorCatalogue[code].message,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = 'CodedError';
    this.code = code;
    this.details = options.details;
    this.status = options.transportStatus ?? errorCatalogue[code].status;
  }

  get retryable(): boolean {
    return errorCatalogue[this.code].retryable;
  }
}
