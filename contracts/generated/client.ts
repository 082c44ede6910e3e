// Generated from openapi.yaml by `npm run codegen`; do not edit.
// The shape that `openapi-fetch` takes: createClient<paths>({ baseUrl }).

export interface paths {
  '/healthz': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['getHealthz'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/readyz': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['getReadyz'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/auth/personal/bootstrap': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get?: never;
    put?: never;
    post: operations['bootstrapPersonal'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/auth/personal': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['getPersonal'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/auth/token/refresh': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get?: never;
    put?: never;
    post: operations['refreshToken'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/projects': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['listProjects'];
    put?: never;
    post: operations['createProject'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/projects/{project_id}': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['getProject'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch: operations['updateProject'];
    trace?: never;
  };
  '/api/v1/projects/{project_id}/members': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['listProjectMembers'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/projects/{project_id}/members/{user_id}': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get?: never;
    put: operations['addProjectMember'];
    post?: never;
    delete: operations['removeProjectMember'];
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/ssh-keys': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['listSshKeys'];
    put?: never;
    post: operations['createSshKey'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/ssh-keys/{ssh_key_id}': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get?: never;
    put?: never;
    post?: never;
    delete: operations['deleteSshKey'];
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/catalog/skus': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['listSkus'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/operations/{operation_id}': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['getOperation'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/notifications': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['listNotifications'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/notifications/{notification_id}/read': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get?: never;
    put?: never;
    post: operations['readNotification'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/notifications/read-all': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get?: never;
    put?: never;
    post: operations['readAllNotifications'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/allocations': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['listAllocations'];
    put?: never;
    post: operations['createAllocation'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/allocations/{allocation_id}': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['getAllocation'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/allocations/{allocation_id}/release': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get?: never;
    put?: never;
    post: operations['releaseAllocation'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/allocations/{allocation_id}/timeline': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['getAllocationTimeline'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/allocations/{allocation_id}/explain': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['explainAllocation'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/allocations': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['adminListAllocations'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/allocations/{allocation_id}/force-release': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get?: never;
    put?: never;
    post: operations['adminForceReleaseAllocation'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/nodes': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['adminListNodes'];
    put?: never;
    post: operations['adminRegisterNode'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/nodes/{node_id}': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['adminGetNode'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/policies': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['adminListPolicies'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/policies/{policy_key}': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get?: never;
    put: operations['adminSetPolicy'];
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/audit-logs': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['adminListAuditLogs'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/dead-letters': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['adminListDeadLetters'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/dead-letters/{dead_letter_id}': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['adminGetDeadLetter'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/dead-letters/{dead_letter_id}/replay': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get?: never;
    put?: never;
    post: operations['adminReplayDeadLetter'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/dead-letters/{dead_letter_id}/discard': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get?: never;
    put?: never;
    post: operations['adminDiscardDeadLetter'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/dlq-replays': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['adminListDlqReplays'];
    put?: never;
    post: operations['adminCreateDlqReplay'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/dlq-replays/{dlq_replay_id}': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['adminGetDlqReplay'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/dlq-replays/{dlq_replay_id}/cancel': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get?: never;
    put?: never;
    post: operations['adminCancelDlqReplay'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/events': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['adminListEvents'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/internal/v1/nodes/{node_id}/tasks/wait': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: operations['waitForTasks'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/internal/v1/nodes/{node_id}/tasks/{task_id}/result': {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get?: never;
    put?: never;
    post: operations['postTaskResult'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
}

export interface operations {
  /**
   * The process lives.
   *
   * Caller: Anybody.
   */
  getHealthz: {
    parameters: {
      query?: never;
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** Alive. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Health'];
        };
      };
      400: components['responses']['BadRequest'];
      405: components['responses']['MethodNotAllowed'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Every part this process needs, by name.
   *
   * Caller: Anybody.
   */
  getReadyz: {
    parameters: {
      query?: never;
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** Ready. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Readiness'];
        };
      };
      400: components['responses']['BadRequest'];
      405: components['responses']['MethodNotAllowed'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Idempotent. Every other endpoint does the same on the first sight of a user.
   *
   * Caller: A signed-in user.
   */
  bootstrapPersonal: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** Your identity. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Personal'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['Forbidden'];
      405: components['responses']['MethodNotAllowed'];
      /** `idempotency_key_reused`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'idempotency_key_reused';
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Who you are here.
   *
   * Caller: A signed-in user.
   */
  getPersonal: {
    parameters: {
      query?: never;
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** Your identity. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Personal'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['Forbidden'];
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Renew a session at the issuer.
   *
   * Caller: Anybody.
   */
  refreshToken: {
    parameters: {
      query?: never;
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['TokenRefresh'];
      };
    };
    responses: {
      /** Tokens. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['TokenSet'];
        };
      };
      400: components['responses']['BadRequest'];
      /** `token_invalid`. */
      401: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'token_invalid';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      /** `upstream_error`. */
      502: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'upstream_error';
          });
        };
      };
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * The projects you are a member of, by name.
   *
   * Caller: A signed-in user.
   */
  listProjects: {
    parameters: {
      query?: {
        /** Most items of one page. */
        limit?: number;
        /** `next_cursor` of the page before. */
        cursor?: string;
      };
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** A page. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ProjectPage'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['Forbidden'];
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Create a project; you become its owner.
   *
   * Caller: A signed-in user.
   */
  createProject: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['ProjectCreate'];
      };
    };
    responses: {
      /** Created. */
      201: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Project'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['Forbidden'];
      405: components['responses']['MethodNotAllowed'];
      /** `idempotency_key_reused` or `project_already_exists`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('idempotency_key_reused' | 'project_already_exists');
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * One project.
   *
   * Caller: A signed-in user.
   */
  getProject: {
    parameters: {
      query?: never;
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        project_id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** The project. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Project'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      /** `token_scope_invalid` or `insufficient_permissions` or `ownership_required`. */
      403: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('token_scope_invalid' | 'insufficient_permissions' | 'ownership_required');
          });
        };
      };
      /** `project_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'project_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Change the display name (owner).
   *
   * Caller: A signed-in user.
   */
  updateProject: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        project_id: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['ProjectUpdate'];
      };
    };
    responses: {
      /** The project as it is now. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Project'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      /** `token_scope_invalid` or `insufficient_permissions` or `ownership_required`. */
      403: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('token_scope_invalid' | 'insufficient_permissions' | 'ownership_required');
          });
        };
      };
      /** `project_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'project_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      /** `idempotency_key_reused`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'idempotency_key_reused';
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * The members of a project.
   *
   * Caller: A signed-in user.
   */
  listProjectMembers: {
    parameters: {
      query?: {
        /** Most items of one page. */
        limit?: number;
        /** `next_cursor` of the page before. */
        cursor?: string;
      };
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        project_id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** A page. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ProjectMemberPage'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      /** `token_scope_invalid` or `insufficient_permissions` or `ownership_required`. */
      403: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('token_scope_invalid' | 'insufficient_permissions' | 'ownership_required');
          });
        };
      };
      /** `project_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'project_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Add a user of the same organisation (owner); a repeat changes nothing.
   *
   * Caller: A signed-in user.
   */
  addProjectMember: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        project_id: string;
        user_id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** The member. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ProjectMember'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      /** `token_scope_invalid` or `insufficient_permissions` or `ownership_required`. */
      403: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('token_scope_invalid' | 'insufficient_permissions' | 'ownership_required');
          });
        };
      };
      /** `user_not_found` or `project_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('user_not_found' | 'project_not_found');
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      /** `idempotency_key_reused`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'idempotency_key_reused';
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Remove a member (owner); the owner cannot be removed.
   *
   * Caller: A signed-in user.
   */
  removeProjectMember: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        project_id: string;
        user_id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** Removed. */
      204: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content?: never;
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      /** `token_scope_invalid` or `insufficient_permissions` or `ownership_required`. */
      403: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('token_scope_invalid' | 'insufficient_permissions' | 'ownership_required');
          });
        };
      };
      /** `user_not_found` or `project_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('user_not_found' | 'project_not_found');
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      /** `idempotency_key_reused`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'idempotency_key_reused';
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Your keys, newest first.
   *
   * Caller: A signed-in user.
   */
  listSshKeys: {
    parameters: {
      query?: {
        /** Most items of one page. */
        limit?: number;
        /** `next_cursor` of the page before. */
        cursor?: string;
      };
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** A page. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['SshKeyPage'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['Forbidden'];
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Takes one OpenSSH public key line (ed25519, ecdsa, RSA of 2048 bits or more, and the sk- kinds). Anything else, a private key above all, is a `validation_error`; so is a key beyond `ssh_keys.max_per_user`.
   *
   * Caller: A signed-in user.
   */
  createSshKey: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['SshKeyCreate'];
      };
    };
    responses: {
      /** Registered. */
      201: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['SshKey'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['Forbidden'];
      405: components['responses']['MethodNotAllowed'];
      /** `idempotency_key_reused` or `ssh_key_already_exists`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('idempotency_key_reused' | 'ssh_key_already_exists');
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Delete a key; running allocations keep it.
   *
   * Caller: A signed-in user.
   */
  deleteSshKey: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        ssh_key_id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** Deleted. */
      204: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content?: never;
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      /** `token_scope_invalid` or `insufficient_permissions` or `ownership_required`. */
      403: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('token_scope_invalid' | 'insufficient_permissions' | 'ownership_required');
          });
        };
      };
      /** `ssh_key_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'ssh_key_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      /** `idempotency_key_reused`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'idempotency_key_reused';
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * What can be allocated, with price and free capacity, by code.
   *
   * Caller: A signed-in user.
   */
  listSkus: {
    parameters: {
      query?: {
        /** Most items of one page. */
        limit?: number;
        /** `next_cursor` of the page before. */
        cursor?: string;
      };
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** A page. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['SkuPage'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['Forbidden'];
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * What became of a mutation.
   *
   * Caller: A signed-in user.
   */
  getOperation: {
    parameters: {
      query?: never;
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        operation_id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** The operation. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Operation'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      /** `token_scope_invalid` or `insufficient_permissions` or `ownership_required`. */
      403: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('token_scope_invalid' | 'insufficient_permissions' | 'ownership_required');
          });
        };
      };
      /** `operation_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'operation_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Your notifications, newest first; for admins also what operators are told.
   *
   * Caller: A signed-in user.
   */
  listNotifications: {
    parameters: {
      query?: {
        /** Only those unread, or only those read. */
        unread?: ('true' | 'false');
        /** Most items of one page. */
        limit?: number;
        /** `next_cursor` of the page before. */
        cursor?: string;
      };
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** A page. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['NotificationPage'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['Forbidden'];
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Mark one as read; a repeat changes nothing.
   *
   * Caller: A signed-in user.
   */
  readNotification: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        notification_id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** The notification. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Notification'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['Forbidden'];
      /** `notification_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'notification_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      /** `idempotency_key_reused`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'idempotency_key_reused';
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Mark all as read up to one of them, which is included.
   *
   * Caller: A signed-in user.
   */
  readAllNotifications: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['NotificationsRead'];
      };
    };
    responses: {
      /** How many were unread until now. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['NotificationsMarked'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['Forbidden'];
      /** `notification_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'notification_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      /** `idempotency_key_reused`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'idempotency_key_reused';
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * List the allocations of your projects, newest first.
   *
   * Caller: A signed-in user.
   */
  listAllocations: {
    parameters: {
      query?: {
        state?: ('requested' | 'provisioning' | 'active' | 'releasing' | 'released' | 'failed' | 'release_failed');
        sku?: string;
        project_id?: string;
        /** Most items of one page. */
        limit?: number;
        /** `next_cursor` of the page before. */
        cursor?: string;
      };
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** A page. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['AllocationPage'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['Forbidden'];
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Places the request at once: 201 with the allocation in state `requested`. 202 when the engine answers late: the work goes on and the same key finds the result. A refusal is final under its key.
   *
   * Caller: A signed-in user.
   */
  createAllocation: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['AllocationCreate'];
      };
    };
    responses: {
      /** Placed. */
      201: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Allocation'];
        };
      };
      /** Accepted; the work goes on. Follow the operation. */
      202: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Operation'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      /** `insufficient_balance`. */
      402: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'insufficient_balance';
          });
        };
      };
      /** `token_scope_invalid` or `insufficient_permissions` or `ownership_required`. */
      403: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('token_scope_invalid' | 'insufficient_permissions' | 'ownership_required');
          });
        };
      };
      /** `sku_not_found` or `project_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('sku_not_found' | 'project_not_found');
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      /** `allocation_concurrency_limit` or `sku_unavailable` or `idempotency_key_reused`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('allocation_concurrency_limit' | 'sku_unavailable' | 'idempotency_key_reused');
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * One allocation, with how to connect.
   *
   * Caller: A signed-in user.
   */
  getAllocation: {
    parameters: {
      query?: never;
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        allocation_id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** The allocation. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Allocation'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      /** `token_scope_invalid` or `insufficient_permissions` or `ownership_required`. */
      403: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('token_scope_invalid' | 'insufficient_permissions' | 'ownership_required');
          });
        };
      };
      /** `allocation_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'allocation_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * In `requested` and `provisioning` it cancels. The body may be empty.
   *
   * Caller: A signed-in user.
   */
  releaseAllocation: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        allocation_id: string;
      };
      cookie?: never;
    };
    requestBody?: {
      content: {
        'application/json': components['schemas']['AllocationRelease'];
      };
    };
    responses: {
      /** Accepted; the work goes on. Follow the operation. */
      202: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Operation'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      /** `token_scope_invalid` or `insufficient_permissions` or `ownership_required`. */
      403: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('token_scope_invalid' | 'insufficient_permissions' | 'ownership_required');
          });
        };
      };
      /** `allocation_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'allocation_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      /** `allocation_not_active` or `allocation_already_releasing` or `idempotency_key_reused`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('allocation_not_active' | 'allocation_already_releasing' | 'idempotency_key_reused');
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Every state change, oldest first.
   *
   * Caller: A signed-in user.
   */
  getAllocationTimeline: {
    parameters: {
      query?: {
        /** Most items of one page. */
        limit?: number;
        /** `next_cursor` of the page before. */
        cursor?: string;
      };
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        allocation_id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** A page. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['TimelinePage'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      /** `token_scope_invalid` or `insufficient_permissions` or `ownership_required`. */
      403: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('token_scope_invalid' | 'insufficient_permissions' | 'ownership_required');
          });
        };
      };
      /** `allocation_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'allocation_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * What it waits for, since when, until when, and who can unblock it.
   *
   * Caller: A signed-in user.
   */
  explainAllocation: {
    parameters: {
      query?: never;
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        allocation_id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** The explanation. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['AllocationExplanation'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      /** `token_scope_invalid` or `insufficient_permissions` or `ownership_required`. */
      403: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('token_scope_invalid' | 'insufficient_permissions' | 'ownership_required');
          });
        };
      };
      /** `allocation_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'allocation_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * List the allocations of every organisation, newest first.
   *
   * Caller: An admin.
   */
  adminListAllocations: {
    parameters: {
      query?: {
        state?: ('requested' | 'provisioning' | 'active' | 'releasing' | 'released' | 'failed' | 'release_failed');
        sku?: string;
        project_id?: string;
        org_id?: string;
        user_id?: string;
        node_id?: string;
        /** Most items of one page. */
        limit?: number;
        /** `next_cursor` of the page before. */
        cursor?: string;
      };
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** A page. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['AdminAllocationPage'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Never skips the cleanup. Also takes up a release that failed or that is stuck.
   *
   * Caller: An admin.
   */
  adminForceReleaseAllocation: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        allocation_id: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['AllocationForceRelease'];
      };
    };
    responses: {
      /** Accepted; the work goes on. Follow the operation. */
      202: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Operation'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      /** `allocation_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'allocation_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      /** `allocation_not_active` or `idempotency_key_reused`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('allocation_not_active' | 'idempotency_key_reused');
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * List nodes by name.
   *
   * Caller: An admin.
   */
  adminListNodes: {
    parameters: {
      query?: {
        state?: ('enrolling' | 'available' | 'draining' | 'quarantined' | 'offline' | 'retired');
        sku?: string;
        occupancy?: ('free' | 'allocated');
        /** Most items of one page. */
        limit?: number;
        /** `next_cursor` of the page before. */
        cursor?: string;
      };
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** A page. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['NodePage'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Register a node and get the secret of its agent.
   *
   * Caller: An admin.
   */
  adminRegisterNode: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['NodeRegister'];
      };
    };
    responses: {
      /** Registered; `enrolling` until the agent calls. */
      201: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['RegisteredNode'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      /** `sku_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'sku_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      /** `node_already_exists` or `idempotency_key_reused`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('node_already_exists' | 'idempotency_key_reused');
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * One node.
   *
   * Caller: An admin.
   */
  adminGetNode: {
    parameters: {
      query?: never;
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        node_id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** The node. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Node'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      /** `node_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'node_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Every policy key with its value and default.
   *
   * Caller: An admin.
   */
  adminListPolicies: {
    parameters: {
      query?: {
        /** Most items of one page. */
        limit?: number;
        /** `next_cursor` of the page before. */
        cursor?: string;
      };
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** A page. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['PolicyPage'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * A value of another type or outside its bounds is a `validation_error`; so is `full-reimage`, which needs a MAAS adapter.
   *
   * Caller: An admin.
   */
  adminSetPolicy: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        policy_key: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['PolicySet'];
      };
    };
    responses: {
      /** The policy as it is now. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Policy'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      /** `policy_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'policy_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      /** `idempotency_key_reused`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'idempotency_key_reused';
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Audit rows, newest first.
   *
   * Caller: An admin.
   */
  adminListAuditLogs: {
    parameters: {
      query?: {
        actor_user_id?: string;
        action?: string;
        target_type?: string;
        target_id?: string;
        result?: ('succeeded' | 'refused');
        correlation_id?: string;
        from?: string;
        to?: string;
        /** Most items of one page. */
        limit?: number;
        /** `next_cursor` of the page before. */
        cursor?: string;
      };
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** A page. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['AuditLogPage'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Messages that a consumer gave up on, newest first.
   *
   * Caller: An admin.
   */
  adminListDeadLetters: {
    parameters: {
      query?: {
        state?: ('open' | 'replayed' | 'discarded');
        subject?: string;
        consumer?: string;
        reason?: ('not_json' | 'unknown_type' | 'unsupported_version' | 'schema_violation' | 'rejected' | 'exhausted' | 'crashed');
        /** Most items of one page. */
        limit?: number;
        /** `next_cursor` of the page before. */
        cursor?: string;
      };
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** A page. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['DeadLetterPage'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * One dead letter with its history and its message.
   *
   * Caller: An admin.
   */
  adminGetDeadLetter: {
    parameters: {
      query?: never;
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        dead_letter_id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** The dead letter. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['DeadLetterDetail'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      /** `dead_letter_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'dead_letter_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Starts a replay of this letter alone. A letter that was replayed and shows no effect may be replayed again.
   *
   * Caller: An admin.
   */
  adminReplayDeadLetter: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        dead_letter_id: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['DeadLetterOrder'];
      };
    };
    responses: {
      /** The replay. */
      201: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['DlqReplay'];
        };
      };
      /** Not begun yet; the operation tells. */
      202: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Operation'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      /** `dead_letter_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'dead_letter_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      /** `idempotency_key_reused` or `dead_letter_not_open` or `dead_letter_not_replayable`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('idempotency_key_reused' | 'dead_letter_not_open' | 'dead_letter_not_replayable');
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * One that is open, or was replayed and has shown no effect. It stays readable and is never replayed. Should the message arrive once more, it is open again. A replay that was sent before and is still on its way is not called back: it may have its effect afterwards.
   *
   * Caller: An admin.
   */
  adminDiscardDeadLetter: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        dead_letter_id: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['DeadLetterOrder'];
      };
    };
    responses: {
      /** The dead letter as it is now. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['DeadLetter'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      /** `dead_letter_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'dead_letter_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      /** `idempotency_key_reused` or `dead_letter_not_open`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('idempotency_key_reused' | 'dead_letter_not_open');
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Replays of dead letters, newest first.
   *
   * Caller: An admin.
   */
  adminListDlqReplays: {
    parameters: {
      query?: {
        state?: ('running' | 'completed' | 'cancelled');
        /** Most items of one page. */
        limit?: number;
        /** `next_cursor` of the page before. */
        cursor?: string;
      };
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** A page. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['DlqReplayPage'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Each goes to the one consumer that gave it up. Letters that arrive later are not touched. With `dry_run` nothing is sent and the answer tells how many the filter meets.
   *
   * Caller: An admin.
   */
  adminCreateDlqReplay: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['DlqReplayCreate'];
      };
    };
    responses: {
      /** The replay; a dry run has ended. */
      201: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['DlqReplay'];
        };
      };
      /** Not begun yet; the operation tells. */
      202: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Operation'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      405: components['responses']['MethodNotAllowed'];
      /** `idempotency_key_reused`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'idempotency_key_reused';
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * One replay with its progress.
   *
   * Caller: An admin.
   */
  adminGetDlqReplay: {
    parameters: {
      query?: never;
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        dlq_replay_id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** The replay. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['DlqReplay'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      /** `dlq_replay_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'dlq_replay_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * What was sent stays sent; it stops after the present page of letters at the latest.
   *
   * Caller: An admin.
   */
  adminCancelDlqReplay: {
    parameters: {
      query?: never;
      header: {
        /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
        'X-Idempotency-Key': string;
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        dlq_replay_id: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['DlqReplayCancel'];
      };
    };
    responses: {
      /** The replay, cancelled. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['DlqReplay'];
        };
      };
      /** Not decided yet; the operation tells. */
      202: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Operation'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      /** `dlq_replay_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'dlq_replay_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      /** `idempotency_key_reused` or `dlq_replay_not_running`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: ('idempotency_key_reused' | 'dlq_replay_not_running');
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Events as they arrived, newest first.
   *
   * Caller: An admin.
   */
  adminListEvents: {
    parameters: {
      query?: {
        subject?: string;
        correlation_id?: string;
        /** Received then or later. */
        from?: string;
        /** Received earlier. */
        to?: string;
        /** Most items of one page. */
        limit?: number;
        /** `next_cursor` of the page before. */
        cursor?: string;
      };
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** A page. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
          'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
          'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['LoggedEventPage'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['Unauthorized'];
      403: components['responses']['AdminRequired'];
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Answers at once when there is something, else when the hold ends, with empty lists. `running` names the tasks that the agent is working on: the call is their heartbeat. A task of the node that is neither finished nor named is offered again.
   *
   * Caller: The agent of the node in the path.
   */
  waitForTasks: {
    parameters: {
      query?: {
        running?: string;
        hold_seconds?: number;
      };
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        node_id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** What to do now. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['NodeTaskBatch'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['NodeUnauthorized'];
      403: components['responses']['NodeForbidden'];
      /** `node_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'node_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
  /**
   * Idempotent: the first report wins, a repeat answers 200 with `duplicate`. A stale fence is refused with 409. An error code by which the plane itself speaks of tasks is kept as `reported_<code>`.
   *
   * Caller: The agent of the node in the path.
   */
  postTaskResult: {
    parameters: {
      query?: never;
      header?: {
        /** Ties this request to others; made by the server when absent or unfit. */
        'X-Correlation-Id'?: string;
      };
      path: {
        node_id: string;
        task_id: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['NodeTaskReport'];
      };
    };
    responses: {
      /** Stored. */
      200: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['NodeTaskReceipt'];
        };
      };
      400: components['responses']['BadRequest'];
      401: components['responses']['NodeUnauthorized'];
      403: components['responses']['NodeForbidden'];
      /** `node_task_not_found`. */
      404: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'node_task_not_found';
          });
        };
      };
      405: components['responses']['MethodNotAllowed'];
      /** `node_task_fenced`. */
      409: {
        headers: {
          'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': (components['schemas']['Error'] & {
            code: 'node_task_fenced';
          });
        };
      };
      413: components['responses']['PayloadTooLarge'];
      415: components['responses']['UnsupportedMediaType'];
      429: components['responses']['TooManyRequests'];
      500: components['responses']['InternalError'];
      503: components['responses']['ServiceUnavailable'];
    };
  };
}

export interface components {
  schemas: {
    AdminAllocationPage: {
      items: components['schemas']['Allocation'][];
      next_cursor: (string | null);
    };
    Allocation: {
      id: string;
      org_id: string;
      project_id: string;
      user_id: string;
      /** SKU code from the catalogue. */
      sku: string;
      scheduler_type: ('bare_metal' | 'slurm' | 'k8s' | 'ray');
      state: ('requested' | 'provisioning' | 'active' | 'releasing' | 'released' | 'failed' | 'release_failed');
      node_id: (string | null);
      /** How to connect by SSH; null unless active. */
      connection: ({
        host: string;
        port: number;
        username: string;
      } | null);
      /** What the lifecycle waits for; null when nothing. */
      waiting_on: (string | null);
      failure_reason: (string | null);
      /** RFC 3339 instant in UTC. */
      created_at: string;
      /** RFC 3339 instant in UTC. */
      state_since: string;
      active_at: (string | null);
      released_at: (string | null);
    };
    AllocationCreate: {
      project_id: string;
      /** SKU code from the catalogue. */
      sku: string;
      scheduler_type?: ('bare_metal' | 'slurm' | 'k8s' | 'ray');
    };
    AllocationExplanation: {
      allocation_id: string;
      state: ('requested' | 'provisioning' | 'active' | 'releasing' | 'released' | 'failed' | 'release_failed');
      /** RFC 3339 instant in UTC. */
      since: string;
      waiting_on: (string | null);
      deadline: (string | null);
      /** Who can move it on: `node` the agent, `platform` the control plane itself. */
      who_can_unblock: ('nobody' | 'user' | 'admin' | 'node' | 'platform');
      /** The newest task; null when no node was asked yet. */
      node_task: ({
        id: string;
        kind: string;
        state: string;
        offered_at: (string | null);
        last_seen_at: (string | null);
        /** Which attempt of its phase the task belongs to; null when that phase is over. */
        attempt: (number | null);
        /** Attempts that its phase has; null when that phase is over. */
        max_attempts: (number | null);
        /** When the task that failed is tried again; null when none is due. */
        next_attempt_at: (string | null);
        /** Why the node failed; null unless it did. */
        failure_code: (string | null);
      } | null);
      /** The node that it holds; admins see it after the end too. */
      node: ({
        id: string;
        /** When its agent last called; null when it never did. */
        last_contact_at: (string | null);
        /** Seconds since then; null as long as the node counts as there, or when it never called. */
        silent_for_seconds: (number | null);
      } | null);
      /** Null when the run is closed and forgotten, or the engine cannot be reached. */
      workflow: ({
        id: string;
        run_id: string;
        status: string;
        ui_url: (string | null);
        /** Since when a step waits for a worker; null when none has waited for long. */
        step_due_since: (string | null);
        /** When a worker last asked for steps, while one waits; null when none waits, or no poll is known. */
        last_worker_poll_at: (string | null);
        pending_activities: {
          type: string;
          attempt: number;
          state: string;
          last_error: (string | null);
          next_retry_at: (string | null);
        }[];
      } | null);
    };
    AllocationForceRelease: {
      /** Why; shown in the timeline and in events. Not for personal data. */
      reason: string;
    };
    AllocationPage: {
      items: components['schemas']['Allocation'][];
      next_cursor: (string | null);
    };
    AllocationRelease: {
      /** Why; shown in the timeline and in events. Not for personal data. */
      reason?: string;
    };
    AuditLog: {
      id: string;
      /** RFC 3339 instant in UTC. */
      at: string;
      actor_user_id: (string | null);
      actor_role: ('user' | 'admin' | 'node' | 'system');
      action: string;
      target_type: string;
      target_id: (string | null);
      result: ('succeeded' | 'refused');
      correlation_id: string;
      details: { [key: string]: unknown };
    };
    AuditLogPage: {
      items: components['schemas']['AuditLog'][];
      next_cursor: (string | null);
    };
    DeadLetter: {
      id: string;
      state: ('open' | 'replayed' | 'discarded');
      /** It was replayed and its consumer has the effect. */
      resolved: boolean;
      consumer: string;
      consumer_group: string;
      subject: string;
      event_id: (string | null);
      correlation_id: (string | null);
      /** Of its newest arrival, as the fields below. */
      reason: ('not_json' | 'unknown_type' | 'unsupported_version' | 'schema_violation' | 'rejected' | 'exhausted' | 'crashed');
      error_code: (string | null);
      detail: (string | null);
      deliveries: number;
      /** RFC 3339 instant in UTC. */
      first_at: string;
      /** RFC 3339 instant in UTC. */
      last_at: string;
      /** How often it came to the DLQ. */
      arrivals: number;
      /** How often it was sent again. */
      replays: number;
      discard_reason: (string | null);
      /** RFC 3339 instant in UTC. */
      updated_at: string;
    };
    DeadLetterDetail: {
      id: string;
      state: ('open' | 'replayed' | 'discarded');
      /** It was replayed and its consumer has the effect. */
      resolved: boolean;
      consumer: string;
      consumer_group: string;
      subject: string;
      event_id: (string | null);
      correlation_id: (string | null);
      /** Of its newest arrival, as the fields below. */
      reason: ('not_json' | 'unknown_type' | 'unsupported_version' | 'schema_violation' | 'rejected' | 'exhausted' | 'crashed');
      error_code: (string | null);
      detail: (string | null);
      deliveries: number;
      /** RFC 3339 instant in UTC. */
      first_at: string;
      /** RFC 3339 instant in UTC. */
      last_at: string;
      /** How often it came to the DLQ. */
      arrivals: number;
      /** How often it was sent again. */
      replays: number;
      discard_reason: (string | null);
      /** RFC 3339 instant in UTC. */
      updated_at: string;
      message_key: string;
      /** Where the consumer read it; `stream_seq` is its place there. */
      stream: string;
      stream_seq: number;
      dlq_seq: number;
      /** As the message in the DLQ carries them. */
      headers: { [key: string]: string };
      /** Its arrivals, oldest first. */
      history: {
        dlq_seq: number;
        /** RFC 3339 instant in UTC. */
        arrived_at: string;
        reason: ('not_json' | 'unknown_type' | 'unsupported_version' | 'schema_violation' | 'rejected' | 'exhausted' | 'crashed');
        error_code: (string | null);
        detail: (string | null);
        deliveries: number;
      }[];
      /** The message without secrets; null when it is no JSON object. */
      body: ({ [key: string]: unknown } | null);
      body_bytes: number;
      /** Length of a message that was too long to be kept with its headers: `body_bytes` of it are left, and it cannot be replayed. Null when all of it is there. */
      whole_body_bytes: (number | null);
    };
    DeadLetterOrder: {
      /** Why; kept in the audit log. Not for personal data. */
      reason: string;
    };
    DeadLetterPage: {
      items: components['schemas']['DeadLetter'][];
      next_cursor: (string | null);
    };
    DlqReplay: {
      id: string;
      state: ('running' | 'completed' | 'cancelled');
      filter: {
        dead_letter_id?: string;
        /** `open` when left out; `replayed`: sent before, without an effect until now. */
        state?: ('open' | 'replayed');
        subject?: string;
        /** Name of the durable consumer. */
        consumer?: string;
        reason?: ('not_json' | 'unknown_type' | 'unsupported_version' | 'schema_violation' | 'rejected' | 'exhausted' | 'crashed');
        /** Only letters whose newest arrival was earlier. */
        arrived_before?: string;
      };
      dry_run: boolean;
      /** Letters that the filter met when it began. */
      matched: number;
      replayed: number;
      /** Letters that somebody else had dealt with when their turn came. */
      skipped: number;
      /** What it waits for; null when it has ended. */
      waiting_on: (string | null);
      reason: string;
      requested_by: string;
      correlation_id: string;
      /** RFC 3339 instant in UTC. */
      created_at: string;
      finished_at: (string | null);
    };
    DlqReplayCancel: {
      /** Why; kept in the audit log. Not for personal data. */
      reason: string;
    };
    DlqReplayCreate: {
      filter?: {
        /** `open` when left out; `replayed`: sent before, without an effect until now. */
        state?: ('open' | 'replayed');
        subject?: string;
        /** Name of the durable consumer. */
        consumer?: string;
        reason?: ('not_json' | 'unknown_type' | 'unsupported_version' | 'schema_violation' | 'rejected' | 'exhausted' | 'crashed');
        /** Only letters whose newest arrival was earlier. */
        arrived_before?: string;
      };
      dry_run?: boolean;
      /** Why; kept in the audit log. Not for personal data. */
      reason: string;
    };
    DlqReplayPage: {
      items: components['schemas']['DlqReplay'][];
      next_cursor: (string | null);
    };
    /** Every error answer. `code` is a catalogue code. */
    Error: {
      code: ('token_missing' | 'token_invalid' | 'token_expired' | 'token_scope_invalid' | 'insufficient_permissions' | 'admin_required' | 'ownership_required' | 'validation_error' | 'invalid_request' | 'allocation_not_found' | 'allocation_not_active' | 'allocation_already_releasing' | 'allocation_concurrency_limit' | 'insufficient_balance' | 'sku_unavailable' | 'node_not_found' | 'node_offline' | 'node_in_use' | 'node_already_exists' | 'user_not_found' | 'user_already_exists' | 'stripe_signature_invalid' | 'refund_window_exceeded' | 'storage_object_not_found' | 'storage_path_traversal' | 'storage_already_exists' | 'storage_quota_exceeded' | 'sku_not_found' | 'rate_limit_exceeded' | 'internal_error' | 'upstream_error' | 'service_unavailable' | 'idempotency_key_reused' | 'project_not_found' | 'project_already_exists' | 'ssh_key_not_found' | 'ssh_key_already_exists' | 'operation_not_found' | 'policy_not_found' | 'notification_not_found' | 'dead_letter_not_found' | 'dead_letter_not_open' | 'dead_letter_not_replayable' | 'dlq_replay_not_found' | 'dlq_replay_not_running' | 'node_task_not_found' | 'node_task_fenced');
      message: string;
      correlation_id: string;
      details?: { [key: string]: unknown };
    };
    Health: {
      status: 'ok';
    };
    LoggedEvent: {
      event_id: string;
      event_type: string;
      version: string;
      correlation_id: string;
      /** RFC 3339 instant in UTC. */
      occurred_at: string;
      /** RFC 3339 instant in UTC. */
      received_at: string;
      stream: string;
      stream_seq: number;
      /** Without secrets. */
      payload: { [key: string]: unknown };
    };
    LoggedEventPage: {
      items: components['schemas']['LoggedEvent'][];
      next_cursor: (string | null);
    };
    Money: {
      /** Amount in minor units (cents). */
      amount_minor: number;
      currency: string;
    };
    Node: {
      id: string;
      /** Unique name. */
      name: string;
      /** SKU code from the catalogue. */
      sku: string;
      state: ('enrolling' | 'available' | 'draining' | 'quarantined' | 'offline' | 'retired');
      occupancy: ('free' | 'allocated');
      slot_count: number;
      slots_quarantined: number;
      ssh_host: string;
      ssh_port: number;
      last_contact_at: (string | null);
      /** RFC 3339 instant in UTC. */
      created_at: string;
    };
    NodeAllocationCleanupTaskParams: {
      allocation_id: string;
      username: string;
      uid: number;
      reason: string;
    };
    NodeAllocationCleanupTaskResult: {
      task_type: 'node.allocation_cleanup';
      allocation_id: string;
      /** How long ago, on a monotonic clock, the last process ended. */
      stopped_age_seconds: number;
      processes_ended: number;
      user_removed: boolean;
    };
    NodeAllocationPrepareTaskParams: {
      allocation_id: string;
      user_id: string;
      username: string;
      uid: number;
      gid: number;
      /** OpenSSH public keys, one line each. */
      authorized_keys: string[];
      gpu_slots: number[];
      reason: string;
    };
    NodeAllocationPrepareTaskResult: {
      task_type: 'node.allocation_prepare';
      allocation_id: string;
      username: string;
      uid: number;
      gid: number;
      authorized_key_count: number;
    };
    NodeCleanupTaskResult: {
      task_type: ('node.gpu_scrub' | 'node.storage_cleanup' | 'node.validate_clean');
      allocation_id?: string;
      clean?: boolean;
      scrubbed?: boolean;
      cleaned?: boolean;
      findings?: { [key: string]: unknown }[];
      proof?: { [key: string]: unknown };
    };
    NodeGPUScrubTaskParams: {
      allocation_id?: string;
      mode: ('reset' | 'verify_only');
      gpu_pci_addresses?: string[];
      container_runtime?: ('docker' | 'containerd' | 'none');
      reason: string;
    };
    NodePage: {
      items: components['schemas']['Node'][];
      next_cursor: (string | null);
    };
    NodeRegister: {
      name: string;
      /** SKU code from the catalogue. */
      sku: string;
      /** Where tenants connect. */
      ssh_host: string;
      ssh_port?: number;
    };
    NodeStorageCleanupTaskParams: {
      allocation_id?: string;
      paths: string[];
      delete_empty_dirs?: boolean;
      wipe_block_devices?: string[];
      reason: string;
    };
    NodeTask: ({
      task_id: string;
      node_id: string;
      allocation_id: (string | null);
      /** Grows per node; a lower one than seen for the allocation is stale. */
      fence: number;
      issued_at: string;
      expires_at: string;
      correlation_id: string;
      traceparent: (string | null);
      kind: 'node.allocation_prepare';
      params: components['schemas']['NodeAllocationPrepareTaskParams'];
    } | {
      task_id: string;
      node_id: string;
      allocation_id: (string | null);
      /** Grows per node; a lower one than seen for the allocation is stale. */
      fence: number;
      issued_at: string;
      expires_at: string;
      correlation_id: string;
      traceparent: (string | null);
      kind: 'node.allocation_cleanup';
      params: components['schemas']['NodeAllocationCleanupTaskParams'];
    } | {
      task_id: string;
      node_id: string;
      allocation_id: (string | null);
      /** Grows per node; a lower one than seen for the allocation is stale. */
      fence: number;
      issued_at: string;
      expires_at: string;
      correlation_id: string;
      traceparent: (string | null);
      kind: 'node.gpu_scrub';
      params: components['schemas']['NodeGPUScrubTaskParams'];
    } | {
      task_id: string;
      node_id: string;
      allocation_id: (string | null);
      /** Grows per node; a lower one than seen for the allocation is stale. */
      fence: number;
      issued_at: string;
      expires_at: string;
      correlation_id: string;
      traceparent: (string | null);
      kind: 'node.storage_cleanup';
      params: components['schemas']['NodeStorageCleanupTaskParams'];
    } | {
      task_id: string;
      node_id: string;
      allocation_id: (string | null);
      /** Grows per node; a lower one than seen for the allocation is stale. */
      fence: number;
      issued_at: string;
      expires_at: string;
      correlation_id: string;
      traceparent: (string | null);
      kind: 'node.validate_clean';
      params: components['schemas']['NodeValidateCleanTaskParams'];
    });
    NodeTaskBatch: {
      tasks: components['schemas']['SignedNodeTask'][];
      /** Running tasks to stop: superseded, cancelled or unknown. */
      cancel: string[];
      server_time: string;
    };
    NodeTaskReceipt: {
      duplicate: boolean;
    };
    NodeTaskReport: ({
      fence: number;
      outcome: 'succeeded';
      result: { [key: string]: unknown };
    } | {
      fence: number;
      outcome: 'failed';
      error: {
        code: string;
        message: string;
        retryable: boolean;
      };
    } | {
      fence: number;
      outcome: 'cancelled';
    });
    NodeValidateCleanTaskParams: {
      allocation_id?: string;
      checks: ('gpu_processes' | 'runtime_containers' | 'mounts' | 'paths' | 'block_devices')[];
      paths?: string[];
      block_devices?: string[];
      gpu_pci_addresses?: string[];
      reason: string;
    };
    Notification: {
      id: string;
      occurred_at: string;
      severity: ('info' | 'warning' | 'error');
      type: ('low_balance_warning' | 'balance_depleted' | 'info');
      title: string;
      message: string;
      action_url: (string | null);
      audience: ('user' | 'operators');
      /** When the caller read it. */
      read_at: (string | null);
    };
    NotificationPage: {
      items: components['schemas']['Notification'][];
      next_cursor: (string | null);
    };
    NotificationsMarked: {
      marked: number;
    };
    NotificationsRead: {
      through_id: string;
    };
    Operation: {
      id: string;
      kind: ('allocation.create' | 'allocation.release' | 'allocation.force_release' | 'dlq_replay.create' | 'dlq_replay.cancel');
      /** `open` is undecided; `accepted` and `refused` are final. */
      state: ('open' | 'accepted' | 'refused');
      /** The entity that it creates or commands. */
      entity_id: string;
      entity_url: string;
      /** Why it was refused. */
      error: (components['schemas']['Error'] | null);
      /** RFC 3339 instant in UTC. */
      created_at: string;
      decided_at: (string | null);
    };
    Personal: {
      user_id: string;
      org_id: string;
      roles: ('user' | 'admin')[];
      default_project: components['schemas']['Project'];
      posix: {
        username: string;
        uid: number;
        gid: number;
      };
    };
    Policy: {
      key: ('billing.low_balance_threshold_minor' | 'billing.window_seconds' | 'billing.minimum_deposit_minor' | 'billing.maximum_deposit_minor' | 'allocation.max_concurrent_per_user' | 'allocation.refund_window_days' | 'rate_limit.api_requests_per_minute' | 'rate_limit.terminal_token_requests_per_minute' | 'rate_limit.financial_requests_per_minute' | 'rate_limit.admin_overview_requests_per_minute' | 'terminal.session_max_ttl_seconds' | 'notification.low_balance_enabled' | 'notification.balance_depleted_enabled' | 'auth.service_account_token_ttl_seconds' | 'allocation.isolation_model' | 'maas.enabled' | 'allocation.task_timeout_seconds' | 'allocation.task_attempts' | 'allocation.task_retry_milliseconds' | 'notification.max_connections_per_user' | 'notification.retention_days' | 'event.log_retention_days' | 'event.memory_days' | 'dead_letter.alert_window_seconds' | 'dead_letter.retention_days' | 'ssh_keys.max_per_user' | 'node.offline_after_seconds');
      type: ('int' | 'bool' | 'string');
      value: (number | boolean | string);
      default: (number | boolean | string);
      meaning: string;
      /** Null while the default stands. */
      updated_at: (string | null);
    };
    PolicyPage: {
      items: components['schemas']['Policy'][];
      next_cursor: (string | null);
    };
    PolicySet: {
      value: (number | boolean | string);
    };
    Project: {
      id: string;
      org_id: string;
      /** Unique within the organisation. */
      name: string;
      display_name: string;
      owner_user_id: string;
      /** RFC 3339 instant in UTC. */
      created_at: string;
      /** RFC 3339 instant in UTC. */
      updated_at: string;
    };
    ProjectCreate: {
      /** Unique within the organisation; `default-` and an id is reserved. */
      name: string;
      display_name?: string;
    };
    ProjectMember: {
      user_id: string;
      role: ('owner' | 'member');
      /** RFC 3339 instant in UTC. */
      added_at: string;
    };
    ProjectMemberPage: {
      items: components['schemas']['ProjectMember'][];
      next_cursor: (string | null);
    };
    ProjectPage: {
      items: components['schemas']['Project'][];
      next_cursor: (string | null);
    };
    ProjectUpdate: {
      display_name: string;
    };
    Readiness: {
      status: 'ready';
      parts: { [key: string]: {
        ok: boolean;
        latency_ms: number;
        /** False when the service works on without it. */
        required: boolean;
        error: (string | null);
      } };
    };
    RegisteredNode: {
      id: string;
      /** Unique name. */
      name: string;
      /** SKU code from the catalogue. */
      sku: string;
      state: ('enrolling' | 'available' | 'draining' | 'quarantined' | 'offline' | 'retired');
      occupancy: ('free' | 'allocated');
      slot_count: number;
      slots_quarantined: number;
      ssh_host: string;
      ssh_port: number;
      last_contact_at: (string | null);
      /** RFC 3339 instant in UTC. */
      created_at: string;
      /** The agent's secret, shown in this answer and its repeats only. */
      agent_secret: string;
    };
    SignedNodeTask: {
      /** JSON of a NodeTask; verify the signature over these bytes, then parse. */
      payload: string;
      /** Ed25519 over the UTF-8 bytes of `payload`, base64url. */
      signature: string;
    };
    Sku: {
      /** SKU code from the catalogue. */
      code: string;
      title: string;
      gpu_model: string;
      gpu_count: number;
      cpu_cores: number;
      memory_gib: number;
      price_per_hour: components['schemas']['Money'];
      /** Nodes that could be placed right now. */
      available: number;
    };
    SkuPage: {
      items: components['schemas']['Sku'][];
      next_cursor: (string | null);
    };
    SshKey: {
      id: string;
      name: string;
      type: string;
      /** SHA256 fingerprint as OpenSSH prints it. */
      fingerprint: string;
      /** Type and key, without the comment. */
      public_key: string;
      /** RFC 3339 instant in UTC. */
      created_at: string;
    };
    SshKeyCreate: {
      name: string;
      public_key: string;
    };
    SshKeyPage: {
      items: components['schemas']['SshKey'][];
      next_cursor: (string | null);
    };
    TimelineEntry: {
      seq: number;
      event: ('requested' | 'provisioning_started' | 'activated' | 'provision_failed' | 'release_requested' | 'force_release_requested' | 'released' | 'release_failed');
      from_state: (('requested' | 'provisioning' | 'active' | 'releasing' | 'released' | 'failed' | 'release_failed') | null);
      to_state: ('requested' | 'provisioning' | 'active' | 'releasing' | 'released' | 'failed' | 'release_failed');
      /** RFC 3339 instant in UTC. */
      at: string;
      /** Milliseconds since the entry before; 0 for the first. */
      elapsed_ms: number;
      actor_type: ('user' | 'admin' | 'system');
      reason: (string | null);
      correlation_id: string;
    };
    TimelinePage: {
      items: components['schemas']['TimelineEntry'][];
      next_cursor: (string | null);
    };
    TokenRefresh: {
      refresh_token: string;
    };
    TokenSet: {
      access_token: string;
      token_type: 'Bearer';
      expires_in: number;
      refresh_token: (string | null);
    };
  };
  responses: {
    /** `validation_error` or `invalid_request`. */
    BadRequest: {
      headers: {
        'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
        [name: string]: unknown;
      };
      content: {
        'application/json': (components['schemas']['Error'] & {
          code: ('validation_error' | 'invalid_request');
        });
      };
    };
    /** `token_missing` or `token_invalid` or `token_expired`. */
    Unauthorized: {
      headers: {
        'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
        [name: string]: unknown;
      };
      content: {
        'application/json': (components['schemas']['Error'] & {
          code: ('token_missing' | 'token_invalid' | 'token_expired');
        });
      };
    };
    /** `token_missing` or `token_invalid`. */
    NodeUnauthorized: {
      headers: {
        'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
        [name: string]: unknown;
      };
      content: {
        'application/json': (components['schemas']['Error'] & {
          code: ('token_missing' | 'token_invalid');
        });
      };
    };
    /** `insufficient_permissions`. */
    NodeForbidden: {
      headers: {
        'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
        [name: string]: unknown;
      };
      content: {
        'application/json': (components['schemas']['Error'] & {
          code: 'insufficient_permissions';
        });
      };
    };
    /** `token_scope_invalid` or `insufficient_permissions`. */
    Forbidden: {
      headers: {
        'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
        [name: string]: unknown;
      };
      content: {
        'application/json': (components['schemas']['Error'] & {
          code: ('token_scope_invalid' | 'insufficient_permissions');
        });
      };
    };
    /** `token_scope_invalid` or `insufficient_permissions` or `admin_required`. */
    AdminRequired: {
      headers: {
        'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
        [name: string]: unknown;
      };
      content: {
        'application/json': (components['schemas']['Error'] & {
          code: ('token_scope_invalid' | 'insufficient_permissions' | 'admin_required');
        });
      };
    };
    /** `invalid_request`. */
    MethodNotAllowed: {
      headers: {
        'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
        Allow?: components['headers']['Allow'];
        [name: string]: unknown;
      };
      content: {
        'application/json': (components['schemas']['Error'] & {
          code: 'invalid_request';
        });
      };
    };
    /** `invalid_request`. */
    PayloadTooLarge: {
      headers: {
        'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
        [name: string]: unknown;
      };
      content: {
        'application/json': (components['schemas']['Error'] & {
          code: 'invalid_request';
        });
      };
    };
    /** `invalid_request`. */
    UnsupportedMediaType: {
      headers: {
        'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
        [name: string]: unknown;
      };
      content: {
        'application/json': (components['schemas']['Error'] & {
          code: 'invalid_request';
        });
      };
    };
    /** `rate_limit_exceeded`. */
    TooManyRequests: {
      headers: {
        'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
        'RateLimit-Limit'?: components['headers']['RateLimit-Limit'];
        'RateLimit-Remaining'?: components['headers']['RateLimit-Remaining'];
        'RateLimit-Reset'?: components['headers']['RateLimit-Reset'];
        'Retry-After'?: components['headers']['Retry-After'];
        [name: string]: unknown;
      };
      content: {
        'application/json': (components['schemas']['Error'] & {
          code: 'rate_limit_exceeded';
        });
      };
    };
    /** `internal_error`. */
    InternalError: {
      headers: {
        'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
        [name: string]: unknown;
      };
      content: {
        'application/json': (components['schemas']['Error'] & {
          code: 'internal_error';
        });
      };
    };
    /** `service_unavailable`. */
    ServiceUnavailable: {
      headers: {
        'X-Correlation-Id'?: components['headers']['X-Correlation-Id'];
        'Retry-After'?: components['headers']['Retry-After'];
        [name: string]: unknown;
      };
      content: {
        'application/json': (components['schemas']['Error'] & {
          code: 'service_unavailable';
        });
      };
    };
  };
  parameters: {
    /** Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller. */
    IdempotencyKey: string;
    /** Ties this request to others; made by the server when absent or unfit. */
    CorrelationId: string;
  };
  headers: {
    /** Correlation id of the request, as logs, events and operations carry it. */
    'X-Correlation-Id': string;
    /** Requests of the budget of one minute. */
    'RateLimit-Limit': number;
    /** Requests left in this window. */
    'RateLimit-Remaining': number;
    /** Seconds until the window starts anew. */
    'RateLimit-Reset': number;
    /** Seconds after which to repeat the request. */
    'Retry-After': number;
    /** The methods of the path, comma-separated. */
    Allow: string;
  };
}
