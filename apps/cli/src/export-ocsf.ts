import { HostName, readEntryBody, type Entry, type EntryBody, type Json } from '@caisson/contract';
import type { Line } from '@caisson/evidence';
import type { Exporting } from './export-otlp.ts';
import { callerOf, eventName, weightOf, type Weight } from './export-weight.ts';

/** Version of the Open Cybersecurity Schema Framework (schema.ocsf.io) that the events are of. */
const OCSF_VERSION = '1.5.0';

const CLASS = { base: 0, processActivity: 1007, detectionFinding: 2004, networkActivity: 4001, httpActivity: 4002, applicationLifecycle: 6002, apiActivity: 6003 } as const;
const SEVERITY_ID: Readonly<Record<Weight, number>> = { info: 1, warning: 3, error: 4, critical: 5 };
const OTHER = 99;
const STATUS = { unknown: 0, success: 1, failure: 2 } as const;
const OUTBOUND = 2;
const VIRTUAL = 6;

type Fields = { readonly [name: string]: Json | undefined };
type BodyOf<Is extends EntryBody['is']> = Extract<EntryBody, { readonly is: Is }>['body'];

/** The class of an event, what it is of that class, and the fields that class has. */
interface Mapped {
  readonly classUid: number;
  readonly activityId: number;
  readonly fields: Fields;
}

/**
 * One entry as an OCSF event. `metadata.uid` and `metadata.sequence` are its index, `raw_data` is the entry as it stands in the
 * log, whose bytes are the leaf, and `unmapped.leaf_hash` is the hash of that.
 */
export function ocsfEvent({ entry, text, hash }: Line, { origin, version }: Exporting): Json {
  const read = readEntryBody(entry);
  const { classUid, activityId, fields } = mapped(entry, read);
  return {
    ...fields,
    class_uid: classUid, category_uid: Math.floor(classUid / 1000), activity_id: activityId, type_uid: classUid * 100 + activityId,
    severity_id: SEVERITY_ID[weightOf(read)], time: entry.timeMs,
    metadata: {
      version: OCSF_VERSION,
      product: { name: 'Caisson', vendor_name: 'Caisson', version },
      uid: String(entry.index), sequence: entry.index, log_name: origin, log_provider: entry.source, event_code: eventName(entry.kind, read), correlation_uid: entry.subject,
      ...('action_id' in fields && { profiles: ['security_control'] }),
    },
    raw_data: text,
    unmapped: { leaf_hash: hash },
  };
}

function mapped(entry: Entry, read: EntryBody | null): Mapped {
  switch (read?.is) {
    case 'call': return launched(entry, read.body, entry.subject);
    case 'exec': return launched(entry, read.body, read.body.sandbox);
    case 'sandbox': return ofApi(entry, { operation: 'sandbox.create', caller: read.body.caller, activityId: 1 }, decided(read.body.decision));
    case 'outcome': return ended(entry, read.body);
    case 'lifecycle': return ofApi(entry, { operation: read.body.event, caller: callerOf(read), activityId: LIFECYCLE[read.body.event] ?? OTHER }, {});
    case 'egress': return ofEgress(entry, read.body);
    case 'alert': return found(entry, read.body);
    case 'heartbeat': return { classUid: CLASS.applicationLifecycle, activityId: OTHER, fields: { activity_name: 'Heartbeat', app: { name: `caisson ${entry.source}`, vendor_name: 'Caisson' } } };
    case undefined: return { classUid: CLASS.base, activityId: OTHER, fields: { activity_name: entry.kind } };
  }
}

/** What the security control did: action 1 and 2, disposition 1 and 2 are allowed and denied, allowed and blocked. */
function decided(decision: BodyOf<'sandbox'>['decision'] | undefined): Fields {
  if (decision === undefined) return {};
  const { effect, rule, reason } = decision;
  const id = effect === 'deny' ? 2 : 1;
  return { action_id: id, disposition_id: id, status_id: effect === 'deny' ? STATUS.failure : STATUS.success, status_detail: reason, policy: { name: rule } };
}

/** The sandbox as the device on which it ran: it is virtual, and its id is all that tells it from others. */
function deviceOf(uid: string): Json {
  return { type_id: VIRTUAL, uid };
}

function actorOf({ source }: Entry, caller: string | undefined): Json {
  return { app_name: `caisson ${source}`, ...(caller !== undefined && { user: { name: caller } }) };
}

function launched(entry: Entry, { program, caller, decision }: BodyOf<'call'> | BodyOf<'exec'>, sandbox: string): Mapped {
  const fields = { process: { uid: entry.subject, name: program, sandbox }, device: deviceOf(sandbox), actor: actorOf(entry, caller), ...decided(decision) };
  return { classUid: CLASS.processActivity, activityId: 1, fields };
}

const STARTED = new Set(['exited', 'signaled', 'timed-out', 'out-of-memory', 'closed']);

/** An outcome names its subject alone: who called and where it ran is in its intent. */
function ended(entry: Entry, { ending, exit }: BodyOf<'outcome'>): Mapped {
  const { kind, detail } = ending;
  const isEnd = STARTED.has(kind);
  const statusId = kind === 'unknown' ? STATUS.unknown : kind === 'exited' || kind === 'closed' ? STATUS.success : STATUS.failure;
  const fields = {
    process: { uid: entry.subject }, device: deviceOf(entry.subject), actor: actorOf(entry, undefined), status_id: statusId, status_code: kind,
    ...(detail !== undefined && { status_detail: detail }), ...(typeof exit === 'number' && { exit_code: exit }), ...(!isEnd && { activity_name: kind }),
  };
  return { classUid: CLASS.processActivity, activityId: isEnd ? 2 : OTHER, fields };
}

/** Create, read, update and delete of API Activity. */
const LIFECYCLE: Readonly<Record<string, number | undefined>> = {
  fork: 1, snapshot: 1, 'make-token': 1, 'import-image': 1, prepare: 1, dial: 2, pause: 3, resume: 3, renew: 3, network: 3, restore: 3, 'secret-rotated': 3, approval: 3,
  'remove-workspace': 4, 'remove-snapshot': 4, 'revoke-token': 4, 'remove-image': 4, 'secret-revoked': 4,
};

function ofApi(entry: Entry, { operation, caller, activityId }: { readonly operation: string; readonly caller: string | undefined; readonly activityId: number }, more: Fields): Mapped {
  const fields = {
    api: { operation, service: { name: 'caisson' } }, actor: actorOf(entry, caller), src_endpoint: { svc_name: `caisson ${entry.source}` }, resources: [{ uid: entry.subject }],
    ...(activityId === OTHER && { activity_name: operation }), ...more,
  };
  return { classUid: CLASS.apiActivity, activityId, fields };
}

function found({ index, subject }: Entry, { alert, reason }: BodyOf<'alert'>): Mapped {
  const fields = { device: deviceOf(subject), finding_info: { title: alert, uid: String(index), ...(reason !== undefined && { desc: reason }) } };
  return { classUid: CLASS.detectionFinding, activityId: 1, fields };
}

/** The methods that the schema knows; another is the name of the activity. */
const HTTP: Readonly<Record<string, number | undefined>> = { CONNECT: 1, DELETE: 2, GET: 3, HEAD: 4, OPTIONS: 5, POST: 6, PUT: 7, TRACE: 8 };
/** Open, close, fail, refuse and traffic of Network Activity. */
const NETWORK = { connect: 1, closed: 2, 'not-connected': 4, refused: 5, 'refused-again': 5, dismissed: 6, held: OTHER } as const;
const DENIED = { action_id: 2, disposition_id: 2, status_id: STATUS.failure } as const;
const ALLOWED = { action_id: 1, disposition_id: 1, status_id: STATUS.success } as const;

function ofEgress(entry: Entry, body: BodyOf<'egress'>): Mapped {
  const from = { src_endpoint: { uid: entry.subject } };
  if (body.event === 'request') {
    const { method, path, host, port } = body;
    const activityId = (Object.hasOwn(HTTP, method) ? HTTP[method] : undefined) ?? OTHER;
    const fields = { ...from, dst_endpoint: endpoint(host, port), connection_info: connection(body), http_request: { ...(activityId !== OTHER && { http_method: method }), url: { path, hostname: host, ...portField(port) } }, ...ALLOWED };
    return { classUid: CLASS.httpActivity, activityId, fields: activityId === OTHER ? { ...fields, activity_name: method } : fields };
  }
  return { classUid: CLASS.networkActivity, activityId: NETWORK[body.event], fields: { ...from, ...ofNetwork(body) } };
}

function ofNetwork(body: Exclude<BodyOf<'egress'>, { readonly event: 'request' }>): Fields {
  switch (body.event) {
    case 'connect': return { dst_endpoint: endpoint(body.host, body.port), connection_info: connection(body), ...ALLOWED };
    case 'not-connected': return { dst_endpoint: endpoint(body.host, body.port), connection_info: connection(body), status_id: STATUS.failure, status_detail: body.detail };
    case 'closed': return { connection_info: connection(body), traffic: traffic(body), ...(body.cut !== null && { status_detail: body.cut }) };
    case 'dismissed': return { traffic: traffic(body) };
    case 'refused': {
      const [, host = body.to, port = '0'] = /^(.+):(\d{1,5})$/.exec(body.to) ?? [];
      return { dst_endpoint: endpoint(host, Number(port)), ...DENIED, status_code: body.what, status_detail: body.reason, ...(body.rule !== null && { policy: { name: body.rule } }) };
    }
    case 'refused-again': return { ...DENIED, count: Math.max(1, Math.min(Number.MAX_SAFE_INTEGER, body.again.reduce((sum, { more }) => sum + more, body.others))) };
    case 'held': return { activity_name: 'held', dst_endpoint: endpoint(body.host, body.port) };
  }
}

function connection({ connection: id }: { readonly connection: number }): Json {
  return { uid: String(id), direction_id: OUTBOUND };
}

function traffic({ bytesOut, bytesIn }: { readonly bytesOut: number; readonly bytesIn: number }): Json {
  return { bytes_out: bytesOut, bytes_in: bytesIn };
}

function portField(port: number): { readonly port?: number } {
  return port > 0 && port <= 65_535 ? { port } : {};
}

/** What a sandbox asked for is a host name only where it is one. */
function endpoint(host: string, port: number): Json {
  return { ...(HostName.safeParse(host).success ? { hostname: host } : { name: host }), ...portField(port) };
}
