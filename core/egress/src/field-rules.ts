import { matchesText } from './text-pattern.ts';

/** Header fields as they go on, by their names in small letters. */
export type Fields = Readonly<Record<string, readonly string[] | undefined>>;

/** Whether each field that a rule names is there exactly once, with the value that it asks for. */
export function allowsFields(rule: Readonly<Record<string, string>>, fields: Fields): boolean {
  return Object.entries(rule).every(([name, pattern]) => {
    const [value, ...more] = valuesOf(fields, name);
    return value !== undefined && more.length === 0 && matchesText(pattern, value);
  });
}

/**
 * Whether each field that a rule names is there so that some server could read the value in it: also as one of several, as an
 * item of a list (RFC 9110 §5.6.1), in other letters, or with characters that readers drop.
 */
export function deniesFields(rule: Readonly<Record<string, string>>, fields: Fields): boolean {
  return Object.entries(rule).every(([name, pattern]) => {
    const values = valuesOf(fields, name);
    if (values.length !== 1) return values.length > 1;
    const [value = ''] = values;
    if (/[^\u0020-\u007e]/.test(value)) return true;
    const small = value.toLowerCase();
    return [small, ...small.split(',').map((item) => item.trim())].some((text) => matchesText(pattern.toLowerCase().replaceAll('%2a', '%2A'), text));
  });
}

/** All values of a field, also by a name that some servers take for its own: to CGI (RFC 3875 §4.1.18) _ and - are one. */
function valuesOf(fields: Fields, name: string): readonly string[] {
  const plain = (text: string): string => text.toLowerCase().replaceAll('_', '-');
  return Object.entries(fields).flatMap(([other, values]) => (plain(other) === plain(name) ? (values ?? []) : []));
}
