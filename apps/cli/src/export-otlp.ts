import { readEntryBody, type Json } from '@caisson/contract';
import type { Line } from '@caisson/evidence';
import { callerOf, eventName, weightOf, type Weight } from './export-weight.ts';

/** What is said of every entry of a log. */
export interface Exporting {
  readonly origin: string;
  /** Version of Caisson. */
  readonly version: string;
}

/** SeverityNumber and its text (OTLP logs data model, Severity Fields). */
const SEVERITY: Readonly<Record<Weight, readonly [number: number, text: string]>> = { info: [9, 'INFO'], warning: [13, 'WARN'], error: [17, 'ERROR'], critical: [21, 'FATAL'] };

/** A time that fixed64 nanoseconds cannot hold is said to be unknown, which is 0. */
const LAST_TIME_MS = 18_446_744_073_709;

/**
 * One entry as an ExportLogsServiceRequest of OTLP/JSON (OpenTelemetry Protocol 1.x): one resource, one scope, one record. The
 * body is the entry as it stands in the log, whose bytes are the leaf.
 */
export function otlpRequest({ entry, text, hash }: Line, { origin, version }: Exporting): Json {
  const read = readEntryBody(entry);
  const [severityNumber, severityText] = SEVERITY[weightOf(read)];
  const time = entry.timeMs > LAST_TIME_MS ? '0' : String(BigInt(entry.timeMs) * 1_000_000n);
  const caller = callerOf(read);
  const record = {
    timeUnixNano: time, observedTimeUnixNano: time, severityNumber, severityText, eventName: `caisson.${eventName(entry.kind, read)}`,
    body: { stringValue: text },
    attributes: [
      ['caisson.index', { intValue: String(entry.index) }],
      ['caisson.leaf_hash', { stringValue: hash }],
      ['caisson.kind', { stringValue: entry.kind }],
      ['caisson.source', { stringValue: entry.source }],
      ['caisson.subject', { stringValue: entry.subject }],
      ...(caller === undefined ? [] : [['caisson.agent', { stringValue: caller }] as const]),
    ].map(named),
  };
  return {
    resourceLogs: [{
      resource: { attributes: [['service.name', { stringValue: 'caisson' }], ['service.version', { stringValue: version }], ['caisson.log', { stringValue: origin }]].map(named) },
      scopeLogs: [{ scope: { name: 'caisson.audit', version }, logRecords: [record] }],
    }],
  };
}

function named([key, value]: readonly (string | Json)[]): Json {
  return { key: key as string, value: value as Json };
}
