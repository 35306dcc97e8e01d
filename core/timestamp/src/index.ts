export { httpTimeStamper, type Authority, type Stamped, type TimeStamper } from './ask.ts';
export { readTrust, type Trust } from './certificate.ts';
export { checkTimeStamp, type Expected, type NoTimeStamp, type TimeStamp } from './check.ts';
export { keepStamp, keptSizes, readStamp, STAMP_FILES, type KeptStamp } from './kept.ts';
export { formatQuestion, newNonce } from './request.ts';
export { Stamper, type StamperOptions } from './stamper.ts';
