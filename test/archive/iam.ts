import type { PolicyDocument, Statement } from '@caisson/archive/policy';

/** A request as IAM sees it (IAM user guide, policy evaluation logic). */
export interface IamRequest {
  /** ARN of the role behind the session, or null: nobody signed it. */
  readonly principal: string | null;
  readonly action: string;
  readonly resource: string;
  /** Condition keys; one that is not in the request is not here. */
  readonly context?: Readonly<Record<string, string>>;
  /** For federated principals: the identity provider. */
  readonly provider?: string;
}

export type Verdict = 'denied' | 'allowed' | 'not allowed';

/** What a statement of an identity's own policy says; it has no principal. */
export type IdentityStatement = Omit<Statement, 'Principal' | 'Sid'>;

const listOf = (value: string | readonly string[]): readonly string[] => (typeof value === 'string' ? [value] : value);

function matches(pattern: string, text: string): boolean {
  const source = pattern.replace(/[.+^${}()|[\]\\]/g, String.raw`\$&`).replaceAll('*', '.*').replaceAll('?', '.');
  return new RegExp(`^${source}$`, 's').test(text);
}

type Test = (value: string | undefined, wanted: readonly string[]) => boolean;

/** A negated operator holds where the key is absent; every other one does not (IAM user guide, condition operators). */
const OPERATORS: Readonly<Record<string, Test>> = {
  StringEquals: (value, wanted) => value !== undefined && wanted.includes(value),
  ArnNotEquals: (value, wanted) => value === undefined || !wanted.some((one) => matches(one, value)),
  Bool: (value, wanted) => value !== undefined && wanted.some((one) => one.toLowerCase() === value.toLowerCase()),
  Null: (value, wanted) => wanted.includes(String(value === undefined)),
  NumericGreaterThan: (value, wanted) => value !== undefined && wanted.some((one) => Number(value) > Number(one)),
};

function conditionHolds({ Condition = {} }: Pick<Statement, 'Condition'>, { principal, context = {} }: IamRequest): boolean {
  const keys: Readonly<Record<string, string | undefined>> = { ...context, 'aws:PrincipalArn': principal ?? undefined };
  return Object.entries(Condition).every(([operator, tests]) => {
    const holds = OPERATORS[operator];
    if (holds === undefined) throw new Error(`${operator} is not known here`);
    return Object.entries(tests).every(([key, wanted]) => holds(keys[key], listOf(wanted)));
  });
}

function isOf({ Principal }: Statement, { principal, provider }: IamRequest): boolean {
  if (Principal === '*') return true;
  return Object.entries(Principal).some(([kind, ids]) => listOf(ids).includes(kind === 'Federated' ? (provider ?? '') : (principal ?? '')));
}

function covers(statement: IdentityStatement, request: IamRequest): boolean {
  const { Action, Resource, NotResource } = statement;
  const lower = request.action.toLowerCase();
  if (!listOf(Action).some((pattern) => matches(pattern.toLowerCase(), lower))) return false;
  if (Resource !== undefined && !listOf(Resource).some((pattern) => matches(pattern, request.resource))) return false;
  if (NotResource !== undefined && listOf(NotResource).some((pattern) => matches(pattern, request.resource))) return false;
  return conditionHolds(statement, request);
}

/** Within one account the policies of bucket and identity are a union, and a Deny in either comes before all. */
export function evaluate(request: IamRequest, policy: PolicyDocument, identity: readonly IdentityStatement[] = []): Verdict {
  const ofBucket = policy.Statement.filter((statement) => isOf(statement, request) && covers(statement, request));
  const ofIdentity = identity.filter((statement) => covers(statement, request));
  const all = [...ofBucket, ...ofIdentity];
  if (all.some(({ Effect }) => Effect === 'Deny')) return 'denied';
  return all.some(({ Effect }) => Effect === 'Allow') ? 'allowed' : 'not allowed';
}
