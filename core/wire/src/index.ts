export { answer, Caller, type Verbs } from './call.ts';
export { Channel, connectChannel, startConnecting, type ChannelEvents, type Connecting } from './channel.ts';
export { encodeFrame, FRAME_KINDS, FrameReader, PAYLOAD_MAX, type Frame, type FrameKind } from './frame.ts';
export { checkOwnFolders } from './own-folders.ts';
export { AGAIN_MS, askPatiently, type Question } from './patience.ts';
export { bindUnix, listenUnix, type Listening } from './listen.ts';
