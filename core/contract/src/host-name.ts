import { z } from 'zod';

const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
/** Letters, digits, hyphen and underscore (RFC 1123 §2.1); a last label that is not all digits, so that no address is a name. */
export const HOST = new RegExp(`^(?=.{1,253}$)(?:${LABEL}\\.)*(?!\\d+$)(?!0x[0-9a-f]*$)${LABEL}$`);

export const HostName: z.ZodType<string> = z.string().regex(HOST, 'must be a host name in small letters, without a dot at its end; a name that is not ASCII is written as xn--…');
