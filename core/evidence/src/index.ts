export { encodeLine, GENESIS, MAX_LINE_BYTES, parseLine, type Line } from './chain.ts';
export { type Disk } from './disk.ts';
export { type FileLog } from './file-log.ts';
export { CLOSED_WINDOW } from './ledger.ts';
export { openFileLog, type FileLogOptions } from './open.ts';
export { readEntries, type ReadOptions } from './read.ts';
export { remoteLog, type RemoteLogOptions } from './remote-log.ts';
export { scribeVerbs } from './serve.ts';
export { verifyLog, type Verification } from './verify.ts';
