export { parseSettings } from './settings.ts';
export { readStatusFile, writeStatusFile } from './status-file.ts';
