import type { FileHandle } from 'node:fs/promises';

const CHUNK_BYTES = 1024 * 1024;
/** Devices up to this size are read whole; of larger ones the ends and evenly spread pieces. */
const WHOLE_BYTES = 1024 * CHUNK_BYTES;
const SAMPLES = 256;

/** Offsets of the pieces to read. */
function* offsetsOf(size: number): Generator<number> {
  const step = size <= WHOLE_BYTES ? CHUNK_BYTES : Math.floor((size - CHUNK_BYTES) / SAMPLES);
  for (let at = 0; at < size; at += step) yield at;
  if (size > WHOLE_BYTES) yield size - CHUNK_BYTES;
}

/** Looks for a byte that is not zero. */
export async function readZeros(
  handle: FileHandle,
  size: number,
  signal: AbortSignal,
): Promise<{ zero: boolean; bytesRead: number }> {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  const zeros = Buffer.alloc(CHUNK_BYTES);
  let bytesRead = 0;
  for (const at of offsetsOf(size)) {
    signal.throwIfAborted();
    const read = await handle.read(chunk, 0, CHUNK_BYTES, at);
    bytesRead += read.bytesRead;
    if (chunk.compare(zeros, 0, read.bytesRead, 0, read.bytesRead) !== 0) return { zero: false, bytesRead };
  }
  return { zero: true, bytesRead };
}

/** Writes zeros over everything. */
export async function writeZeros(handle: FileHandle, size: number, signal: AbortSignal): Promise<void> {
  const zeros = Buffer.alloc(CHUNK_BYTES);
  for (let at = 0; at < size; at += CHUNK_BYTES) {
    signal.throwIfAborted();
    await handle.write(zeros, 0, Math.min(CHUNK_BYTES, size - at), at);
  }
  await handle.datasync();
}
