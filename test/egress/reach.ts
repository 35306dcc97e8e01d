import { readFileSync } from 'node:fs';

/** Tries to reach something in every way a program can: its path, and its text. */
export const REACH = `${import.meta.dirname}/attack-reach.py`;
export const REACH_PROGRAM = readFileSync(REACH, 'utf8');
/** What a proxy is asked for, and names; more than one sandbox is told apart on record, so it has one of its own. */
export const BY_PROXY = '^(connect|get|socks)';
export const DIRECT = '^(?!connect|get|socks)';
/** Of the tries those that are of no use where nothing is in the way: the fake Internet cannot be told from a wall there. */
export const CONTROL = '^(tcp|ping raw|doh|dot|metadata http://([0-9][0-9a-fx.]*[0-9a-f]$|\\[(f[cd]|2|64))|udp (9|1)|udp \\[|dns (by udp )?at [89])';

/** What the record must say of a try that left the sandbox. */
export function onRecord(name: string): string | null {
  const place = /^(tcp|udp) (.*)$/.exec(name);
  const standIn = /^stand-in (.*)$/.exec(name);
  const dns = /^dns (by udp )?at (\d.*)$/.exec(name);
  const metadata = /^metadata http:\/\/(\[(?!::ffff|fe80).*\])$/.exec(name);
  const asked = /^(connect|get|socks) '(.*)'$/.exec(name);
  if (standIn !== null) return `connection ${standIn[1]}`;
  if (place !== null) return place[2]?.startsWith('0.') === true ? null : `packet ${place[2]}/${place[1]}`;
  if (dns !== null) return dns[2]?.startsWith('127') === true ? null : `packet ${dns[2]}:53/${dns[1] === undefined ? 'tcp' : 'udp'}`;
  if (metadata !== null) return name.includes('::a9fe') ? null : `${metadata[1]}:80/tcp`.replace('169.254.169.254', 'a9fe:a9fe');
  if (asked !== null) return (asked[2] ?? '').replaceAll('\\t', '\\x09').replace(/^[^@]*@/, '@').replace(/\?.*/, '?').replace('EXAMPLE', 'example').replace(/\.$/, '').slice(0, 100);
  return name.startsWith('doh') || name.startsWith('dot') ? `packet ${name.slice(4)}/tcp` : null;
}

/** It never left: the kernel of the sandbox itself said no. */
export const INSIDE = /\tno (EPERM|EADDRNOTAVAIL|EINVAL|EACCES \[Errno 13\] Permission denied|ENOENT|EROFS|ENOTTY|gaierror|ECONNREFUSED)/;
