export { parseDefinition, type ImageDefinition } from './definition.ts';
export { materialise } from './materialise.ts';
export { runTool, toolAt } from './run-tool.ts';
export { openImages, type ImageStore, type ImagesOptions, type ImportOptions, type PinnedImage } from './store.ts';
export type { ImageInfo, ImageMaximum, ImageSource } from './source.ts';
export { tarEntries } from './tar.ts';
export { applyLayer, emptyTree, measure, type LayerEntry } from './tree.ts';
