/** What is no host, and why. The sentence never repeats the text: it comes from a sandbox and goes into evidence. */
export interface Refused {
  readonly refused: string;
}

/** RFC 1035 §2.3.4, in presentation form and without the dot of the root. */
const NAME_CHARS_MAX = 253;
const LABEL_CHARS_MAX = 63;

/** First refusal wins. All that is left behind them are ASCII letters, digits, `.`, `-` and `_`. */
const FORBIDDEN: readonly (readonly [RegExp, string])[] = [
  [/\0/, 'a host holds no NUL'],
  [/[\u0000-\u001f\u007f]/, 'a host holds no control character'],
  [/[^\u0000-\u007f]/, 'a host is ASCII: a name in another script is written as xn--… (RFC 5891 §4.4)'],
  [/ /, 'a host holds no space'],
  [/%/, 'a host holds no %, neither as an escape nor for a zone'],
  [/@/, 'a host holds no @: names of users are not part of it'],
  [/[[\]:]/, 'a host holds neither colon nor bracket: an IPv6 address is not a name'],
  [/[/\\?#]/, 'a host holds no part of a URL'],
  [/[^A-Za-z0-9._-]/, 'a host is letters, digits, hyphens, underscores and dots'],
];

/**
 * The one reading of a host that every layer has: DNS, the server name of TLS, the host of HTTP, CONNECT, SOCKS and rules.
 * ASCII letters become small and the dot of the root is taken away; all else that is not a name as it stands is refused
 * instead of repaired, since the next program would repair it in another way. No spelling of an address is a name.
 * What comes back is a `HostName` of the contract and comes back unchanged when it is given again.
 */
export function canonicalHost(text: string): { readonly host: string } | Refused {
  if (text === '') return { refused: 'a host is not empty' };
  if (text.length > NAME_CHARS_MAX + 1) return { refused: `a host has at most ${NAME_CHARS_MAX} characters` };
  for (const [forbidden, refused] of FORBIDDEN) if (forbidden.test(text)) return { refused };
  const host = (text.endsWith('.') ? text.slice(0, -1) : text).toLowerCase();
  if (host.length > NAME_CHARS_MAX) return { refused: `a host has at most ${NAME_CHARS_MAX} characters` };
  const labels = host.split('.');
  for (const label of labels) {
    const refused = labelRefusal(label);
    if (refused !== null) return { refused };
  }
  // Whatever reads 127.1, 0x7f000001 or 017700000001 as an address takes a last label that is a number (WHATWG URL §3.5, "ends in a number").
  if (/^(?:[0-9]+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? '')) return { refused: 'a host is a name: its last label is a number, so it would be read as an address' };
  return { host };
}

function labelRefusal(label: string): string | null {
  if (label === '') return 'a host has no empty label';
  if (label.length > LABEL_CHARS_MAX) return `a label of a host has at most ${LABEL_CHARS_MAX} characters (RFC 1035 §2.3.4)`;
  return label.startsWith('-') || label.endsWith('-') ? 'a label of a host neither begins nor ends with a hyphen (RFC 1123 §2.1)' : null;
}

/**
 * Host and port of `host:port`, as in CONNECT and the host of a request (RFC 9110 §7.2). Without `defaultPort` a text without
 * port is refused. A port is decimal, 1 to 65535, and has no leading zero.
 */
export function splitHostPort(text: string, defaultPort?: number): { readonly host: string; readonly port: number } | Refused {
  const at = text.lastIndexOf(':');
  if (at === -1 && defaultPort === undefined) return { refused: 'names no port' };
  const parsed = canonicalHost(at === -1 ? text : text.slice(0, at));
  if ('refused' in parsed) return parsed;
  if (at === -1) return { host: parsed.host, port: defaultPort ?? 0 };
  const port = text.slice(at + 1);
  if (!/^[1-9][0-9]{0,4}$/.test(port) || Number(port) > 65_535) return { refused: 'a port is a number from 1 to 65535 in decimal digits' };
  return { host: parsed.host, port: Number(port) };
}
