/** What a node can do, whether it is real or simulated. Task kinds are written against this and nothing else. */
import type { FileHandle } from 'node:fs/promises';

export interface PosixUser {
  readonly username: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

export interface PosixGroup {
  readonly name: string;
  readonly gid: number;
}

/** Local users and groups. Changes are serialised by the implementation. */
export interface Identities {
  users(): Promise<readonly PosixUser[]>;
  groups(): Promise<readonly PosixGroup[]>;
  addGroup(group: PosixGroup): Promise<void>;
  /** Adds the entry only; the home is the caller's. */
  addUser(user: PosixUser): Promise<void>;
  /** Keeps the user from logging in. A user that is not there is no error. */
  lockUser(username: string): Promise<void>;
  /** Removes the entry only. A user that is not there is no error. */
  removeUser(username: string): Promise<void>;
  removeGroup(name: string): Promise<void>;
}

export interface Processes {
  /** Ids of the live processes of a user; zombies have ended. */
  ofUser(uid: number): Promise<readonly number[]>;
  /** A process that is gone is no error. */
  signal(pid: number, signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  /** How long a process may take to end after SIGTERM. */
  readonly termGraceMs: number;
}

export interface Gpu {
  readonly slot: number;
  /** `dddd:bb:dd.f`, lower case. */
  readonly pciAddress: string;
}

export interface GpuState {
  readonly processes: number;
  /** Bytes of device memory that a tenant may have left. */
  readonly residueBytes: number;
}

export interface Gpus {
  /** @throws TaskFailure `gpu_tool_missing` when there are GPUs and no tool to reach them. */
  list(): Promise<readonly Gpu[]>;
  /** In the order of the devices. */
  inspect(gpus: readonly Gpu[]): Promise<readonly GpuState[]>;
  /** Clears the devices' memory, all at once: linked ones cannot be reset alone. @throws TaskFailure `gpu_busy` when in use. */
  reset(gpus: readonly Gpu[]): Promise<void>;
  /** Hands the devices to an allocation. */
  assign(gpus: readonly Gpu[], allocationId: string): Promise<void>;
}

export interface Containers {
  /** Ids of the containers of an allocation, or of all tenants. */
  list(allocationId: string | null): Promise<readonly string[]>;
  /** Stops and removes. */
  remove(id: string): Promise<void>;
}

export interface Mounts {
  /** Mount points, as paths of the node. */
  list(): Promise<readonly string[]>;
  /** @throws TaskFailure `mount_busy` when it cannot be done now. */
  unmount(mountPoint: string): Promise<void>;
}

export interface BlockDevices {
  /** Devices that may be wiped; what a check without a list looks at. */
  wipeable(): Promise<readonly string[]>;
  /** Makes the whole device zero. @throws TaskFailure `device_refused` or `device_missing`. */
  wipe(device: string, signal: AbortSignal): Promise<void>;
  /** Reads the device: true when nothing but zeros was found. @throws TaskFailure `device_refused` or `device_missing`. */
  isZero(
    device: string,
    signal: AbortSignal,
  ): Promise<{ readonly zero: boolean; readonly bytesRead: number }>;
}

export interface NodeRuntime {
  readonly mode: 'simulated' | 'real';
  /** Where a path of the node is found on this machine. */
  hostPath(nodePath: string): string;
  /** Gives an open file or folder to a tenant: a path could lead elsewhere by the time it is used. */
  giveTo(handle: FileHandle, uid: number, gid: number): Promise<void>;
  readonly identities: Identities;
  readonly processes: Processes;
  readonly gpus: Gpus;
  readonly containers: Containers;
  readonly mounts: Mounts;
  readonly blockDevices: BlockDevices;
}
