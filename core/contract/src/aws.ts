import { z } from 'zod';

/** What of AWS may be signed for, as the credential scope of a signature names it. */
export interface AwsScope {
  /** Such as `eu-west-1`. Default: any. */
  readonly regions?: readonly string[];
  /** Such as `s3`. Default: any. */
  readonly services?: readonly string[];
}

/** What requests to AWS are signed by. */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary credentials; null: they have none. */
  readonly sessionToken: string | null;
  /** Wall time in milliseconds since 1970 UTC from which on AWS takes them no more; null: it is not said. */
  readonly expiresMs: number | null;
}

/** Ends of the names of the two variables: what a client of AWS signs by comes in a pair. */
const [ID, KEY] = ['ACCESS_KEY_ID', 'SECRET_ACCESS_KEY'] as const;
export const AWS_ENV = `AWS_${ID}`;

/**
 * The secret key of which a client in a sandbox has the access key id: that twice, 40 characters as AWS has them. It opens
 * nothing, and that it is a part of requests nowhere can be told by looking for the id.
 */
export const awsKeyFor = (accessKeyId: string): string => accessKeyId + accessKeyId;

/** What commands find of a pair. @param env name of the variable of the access key id, which ends in `ACCESS_KEY_ID` */
export function awsVariables(env: string, accessKeyId: string): Readonly<Record<string, string>> {
  return { [env]: accessKeyId, [`${env.slice(0, -ID.length)}${KEY}`]: awsKeyFor(accessKeyId) };
}

export const AwsEnv: z.ZodType<string> = z.string().endsWith(ID);

const part = z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/, 'must be 1 to 64 letters, digits, dot, dash and underscore');

export const AwsScope: z.ZodType<AwsScope> = z.strictObject({
  regions: z.array(part).min(1).max(64).exactOptional(),
  services: z.array(part).min(1).max(64).exactOptional(),
});

/** Nothing in it can end a field of a request or a part of one. A key that is shorter would be found in answers that do not hold it. */
export const AwsCredentials: z.ZodType<AwsCredentials> = z.strictObject({
  accessKeyId: z.string().regex(/^[A-Za-z0-9_.-]{3,128}$/),
  secretAccessKey: z.string().regex(/^[\u0021-\u007e]{8,256}$/),
  sessionToken: z.string().regex(/^[\u0021-\u007e]{16,8192}$/).nullable(),
  expiresMs: z.number().nullable(),
});
