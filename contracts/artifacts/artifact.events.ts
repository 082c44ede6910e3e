import { z } from 'zod';
import { channel, usualDelivery, wireId } from '../envelope.ts';

const payload = z
  .strictObject({
    artifact_id: wireId,
    artifact_kind: z.enum(['oci', 'blob']),
    source_type: z.enum([
      'oci_registry',
      's3',
      'gcs',
      'azure_blob',
      'https',
      'huggingface',
      'artifact_store',
    ]),
    app_slug: z.string().regex(/^[a-z0-9][a-z0-9-]{1,62}$/),
    app_version: z.string(),
    artifact_name: z.string(),
    repository: z.string(),
    source_uri: z.string().nullable().optional(),
    digest: z.string().regex(/^sha256:[a-f0-9]{64}$/),
    lifecycle_state: z.enum(['published', 'promoted', 'deprecated', 'retired']),
    trust_state: z.enum(['unverified', 'verified', 'failed_verification', 'revoked']),
    promoted_channel: z.string().nullable().optional(),
    target_environment: z.string().nullable().optional(),
    org_id: wireId.nullable().optional(),
    project_id: wireId,
    actor_user_id: wireId.nullable().optional(),
    actor_service_account_id: wireId.nullable().optional(),
  })
  .meta({ id: 'AppArtifactLifecyclePayload' });

const shared = { direction: 'publish', version: '1.0', nats: usualDelivery, payload } as const;

/** Lifecycle and trust of an artifact; every message tells both. Trust has subjects of the platform. */
export const artifactRegistered = channel({
  ...shared,
  subject: 'appplatform.artifact.registered',
  messageName: 'AppArtifactRegisteredEvent',
  operationId: 'publishAppArtifactRegistered',
  description: 'A digest was registered for an app of a project.',
});

export const artifactPromoted = channel({
  ...shared,
  subject: 'appplatform.artifact.promoted',
  messageName: 'AppArtifactPromotedEvent',
  operationId: 'publishAppArtifactPromoted',
  description: 'It was promoted to a named channel.',
});

export const artifactVerified = channel({
  ...shared,
  subject: 'platform.artifact.verified',
  messageName: 'AppArtifactVerifiedEvent',
  operationId: 'publishAppArtifactVerified',
  description: 'It is trusted now.',
});

export const artifactRevoked = channel({
  ...shared,
  subject: 'platform.artifact.revoked',
  messageName: 'AppArtifactRevokedEvent',
  operationId: 'publishAppArtifactRevoked',
  description: 'It is trusted no more.',
});

export const artifactDeprecated = channel({
  ...shared,
  subject: 'appplatform.artifact.deprecated',
  messageName: 'AppArtifactDeprecatedEvent',
  operationId: 'publishAppArtifactDeprecated',
  description: 'It should no longer be used for something new.',
});

export const artifactRetired = channel({
  ...shared,
  subject: 'appplatform.artifact.retired',
  messageName: 'AppArtifactRetiredEvent',
  operationId: 'publishAppArtifactRetired',
  description: 'It can no longer be used.',
});

export const artifactChannels = [
  artifactRegistered,
  artifactPromoted,
  artifactVerified,
  artifactRevoked,
  artifactDeprecated,
  artifactRetired,
] as const;
