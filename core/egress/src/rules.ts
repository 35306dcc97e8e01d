/** What rules say, without the gate that holds to it: for programs that only ask. */
export { layersToTest, PolicyTest, unmet, type Expected, type Unmet } from './expect.ts';
export { layersOf, type Layer } from './layers.ts';
export { proposeRules, type Proposal, type Use } from './learn.ts';
export { isOfRules, pastOf, usesOf, type Past } from './past.ts';
export { decideAgain, type Again } from './replay.ts';
