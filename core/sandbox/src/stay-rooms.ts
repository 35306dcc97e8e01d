import type { Duplex } from 'node:stream';
import type { IsolationSpec, LiveUsage, TerminalSize, Usage } from '@caisson/contract';
import type { KeptInfo, KeptEnd, OutputStream, ProcessSpec } from '@caisson/runtime';
import type { Leavings } from './leavings.ts';
import type { Rooms } from './rooms.ts';

/** The launcher's keeper, as the conductor needs it. Everything rejects when the launcher goes away. */
export interface KeeperRoom {
  /** Has the launcher get ready for a launch that is likely to come within milliseconds. */
  expect(): void;
  /** @param checkpoint snapshot whose memory it starts from; null: it starts anew */
  launch(spec: IsolationSpec, memo: string, checkpoint: string | null): Promise<KeptInfo>;
  /** Saves the memory of all processes under the id of a snapshot. @throws CaissonError CHECKPOINT_… */
  checkpoint(machine: string, snapshot: string): Promise<void>;
  /** Ids of all snapshots that have memory, once what is being saved is saved. */
  settledCheckpoints(): Promise<readonly string[]>;
  removeCheckpoint(snapshot: string): Promise<void>;
  rename(machine: string, exec: string, as: string, memo: string): Promise<void>;
  list(): Promise<readonly KeptInfo[]>;
  note(machine: string, memo: string): Promise<void>;
  pause(machine: string): Promise<void>;
  resume(machine: string): Promise<void>;
  usage(machine: string): Promise<LiveUsage>;
  /** Has the file of a secret take the value that the vault has now. @throws CaissonError LEASE_NOT_FOUND, SECRET_UNAVAILABLE, SANDBOX_NOT_FOUND */
  renewSecret(machine: string, lease: string): Promise<void>;
  /** Resolves when the file of a secret is gone. @throws CaissonError SANDBOX_NOT_FOUND */
  dropSecret(machine: string, lease: string): Promise<void>;
  close(machine: string, why?: string | null): Promise<Usage>;
  ended(machine: string): Promise<Usage>;
  /** Resolves to the end of the exec where that comes within `holdMs`, and to null at once or after that time. */
  start(machine: string, exec: string, memo: string, process: ProcessSpec, holdMs: number): Promise<KeptEnd | null>;
  wait(machine: string, exec: string): Promise<KeptEnd>;
  stdin(machine: string, exec: string, offset: number | null, bytes: Buffer): Promise<number>;
  endStdin(machine: string, exec: string): Promise<void>;
  signal(machine: string, exec: string, signal: number): Promise<void>;
  kill(machine: string, exec: string): Promise<void>;
  resize(machine: string, exec: string, size: TerminalSize): Promise<void>;
  follow(machine: string, exec: string, from: number, signal: AbortSignal): AsyncIterable<{ readonly stream: OutputStream; readonly bytes: Buffer }>;
  recording(machine: string, exec: string, signal: AbortSignal): AsyncIterable<Buffer>;
  dial(machine: string, port: number): Promise<Duplex>;
  files(machine: string): Promise<Duplex>;
}

/** Workspaces, which lie with the launcher. Ids are the caller's; the same call again changes nothing. */
export interface WorkspaceRoom {
  /** `passing`: it goes with its sandbox, and need not survive a crash. */
  create(options: { readonly id: string; readonly name?: string; readonly sizeBytes: number; readonly inodes: number; readonly passing?: true }): Promise<{ readonly id: string }>;
  /** @param from a snapshot or a workspace */
  fork(from: string, options: { readonly id: string; readonly name?: string; readonly passing?: true }): Promise<{ readonly id: string }>;
  byName(name: string): Promise<{ readonly id: string; readonly sizeBytes: number; readonly inodes: number } | null>;
  /** Of a snapshot or a workspace; null when there is none. */
  sizeOf(id: string): Promise<{ readonly sizeBytes: number; readonly inodes: number } | null>;
  /** Ids of those that have no name, and so go with their sandbox. */
  nameless(): Promise<readonly string[]>;
  snapshot(id: string, options: { readonly layer: string; readonly label?: string }): Promise<{ readonly id: string; readonly label: string | null; readonly createdMs: number; readonly sizeBytes: number }>;
  /** @throws CaissonError when this workspace cannot be restored to this snapshot, before anything is done for it */
  check(layer: string, id: string): Promise<void>;
  restore(id: string, layer: string): Promise<void>;
  remove(id: string): Promise<void>;
  removeLayer(id: string): Promise<void>;
}

/** What an image reference means on this host. */
export interface ImageRoom {
  /** @throws CaissonError IMAGE_NOT_FOUND */
  resolve(ref: string): Promise<{ readonly image: IsolationSpec['image']; readonly env: readonly string[] }>;
}

/** Everything that sandboxes that stay need of the other rooms. */
export interface StayRooms extends Rooms {
  readonly keeper: KeeperRoom;
  readonly workspaces: WorkspaceRoom;
  readonly images: ImageRoom;
  /** Removes workspaces that go with their sandbox, at the latest when the launcher is back. */
  readonly leavings: Leavings;
}
