import { AwsCredentials, type Lease } from '@caisson/contract';

/** The value of a secret for AWS as the vault gives it; null: there is none, or it is none. */
export function credentialsOf(value: string | null): AwsCredentials | null {
  try {
    return AwsCredentials.safeParse(JSON.parse(value ?? '')).data ?? null;
  } catch {
    return null;
  }
}

/** What of a value must not come back: of AWS the key, which goes nowhere, and the token. None of other secrets. */
export function awsKeysOf({ lease: { at }, value }: { readonly lease: Lease; readonly value: string | null }): readonly string[] {
  const credentials = at === 'sigv4' ? credentialsOf(value) : null;
  return credentials === null ? [] : [credentials.secretAccessKey, ...(credentials.sessionToken === null ? [] : [credentials.sessionToken])];
}
