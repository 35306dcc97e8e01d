export { askWitness, type AskedHead, type WitnessAnswer, type WitnessPlace } from './ask.ts';
export { initWitness, readWitness, type WitnessSetup } from './config.ts';
export { parseFeed, type FeedPlan } from './feed-config.ts';
export { Feeder, WITNESSED_FILE, type FeederOptions } from './feed.ts';
export { judge, newestOf, type Verdict, type WitnessedLog } from './judge.ts';
export { formatRequest, parseRequest, type AddCheckpoint } from './message.ts';
export { witnessed, type Quorum } from './policy.ts';
export { openRecords, type Newest, type Records } from './records.ts';
export { startWitness, type RunningWitness } from './serve.ts';
