import { createRequire } from 'node:module';
import { bundleWorkflowCode, DefaultLogger, type WorkflowBundleWithSourceMap } from '@temporalio/worker';

const require = createRequire(import.meta.url);

/** Bundles every workflow. Takes one to two seconds; production builds it once and passes the file. */
export const buildWorkflowBundle = (): Promise<WorkflowBundleWithSourceMap> =>
  bundleWorkflowCode({
    workflowsPath: require.resolve('../workflows/index.ts'),
    workflowInterceptorModules: [require.resolve('../workflows/lib/trace.interceptor.ts')],
    logger: new DefaultLogger('WARN'),
  });
