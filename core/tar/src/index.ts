export { tarEntries, type TarEntry } from './read.ts';
export { TAR_END, tarHeader, tarPadding, type TarMember } from './write.ts';
