/** The HTTP API without its process, the writer of mirrors without its own, and what the gate tells later: what the tests open. */
export { openApi, type Api, type ApiOptions } from './api/open-api.ts';
export { type ApiRooms, type Files, type FilesRoom, type ImagesRoom, type WorkspacesRoom } from './api/rooms.ts';
export { tcpPlace } from './control-api.ts';
export { openTokens, type Tokens } from './api/token-store.ts';
export { ROUTES } from './api/routes.ts';
export { openApiDocument } from './api/document.ts';
export { take, type Bucket } from './api/bucket.ts';
export { spanOf } from './api/bytes.ts';
export { together } from './api/together.ts';
export { allPages, page } from './pages.ts';
export { remoteWorkspaces } from './workspace-verbs.ts';
export { Mirrors, type MirrorsOptions } from './mirrors.ts';
export { Later } from './later.ts';
