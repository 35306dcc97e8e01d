#!/usr/bin/env python3
"""Checks an evidence log of Caisson, with no code of Caisson and nothing but Python 3.8 or newer.

    verify.py DIR [--key VKEY|FILE]... [--checkpoint FILE]...

DIR has the layout of C2SP tlog-tiles. --key: who may have signed (default: its own log.vkey). --checkpoint: a head of
this log that was kept elsewhere. Exit status: 0 good, 1 bad evidence, 2 wrong usage."""
import argparse, base64, hashlib, json, os, re, sys, unicodedata
class Bad(Exception): """What is wrong with the evidence, where nothing after it can be checked."""
def sha256(data): return hashlib.sha256(data).digest()
# Ed25519. A point is (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z (RFC 8032 §5.1.4).
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493; D = -121665 * pow(121666, P - 2, P) % P
def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    return (b - a) * (d - c) % P, (d + c) * (b + a) % P, (d - c) * (d + c) % P, (b - a) * (b + a) % P
def times(k, p):
    q = (0, 1, 1, 0)
    while k: q, p, k = add(q, p) if k & 1 else q, add(p, p), k >> 1
    return q
def point(data):
    sign, y = divmod(int.from_bytes(data, 'little'), 2**255) # RFC 8032 §5.1.3; None: it is no point
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if x * x % P != xx: x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or x * x % P != xx or (x == 0 and sign): return None
    x = x if x & 1 == sign else P - x; return x, y, 1, x * y % P
BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, 'little'))
def ed25519_verifies(key, message, signature):
    if len(key) != 32 or len(signature) != 64: return False # RFC 8032 §5.1.7, without the cofactor
    a, r, s = point(key), point(signature[:32]), int.from_bytes(signature[32:], 'little')
    if a is None or r is None or s >= L: return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), 'little') % L
    p, q = times(s, BASE), add(r, times(k, a))
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0
# Keys, signed notes and checkpoints (C2SP signed-note, tlog-checkpoint).
def unbase64(text): # the bytes of the one base64 text for them, or nothing
    data = base64.b64decode(text) if re.fullmatch('([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?', text) else b''
    return data if base64.b64encode(data).decode() == text else b''
def key_of(text):
    """(name, id, key) of NAME+ID+BASE64; None: it is none, or not of Ed25519."""
    name, _, rest = text.strip().partition('+'); data = unbase64(rest[9:])
    key_id = sha256(name.encode() + b'\n' + data)[:4]
    return (name, key_id, data[1:]) if len(data) == 33 and data[0] == 1 and rest[:9] == key_id.hex() + '+' else None
def open_checkpoint(data, keys, what, must=True):
    """(size, root, key) of a checkpoint that one of the keys has signed, or, where that need not be, nobody that is known."""
    text, _, lines = data.decode(errors='replace').rpartition('\n\n')
    text, signers = text + '\n', []
    if not lines.endswith('\n') or re.search('[\x00-\x09\x0b-\x1f\ufffd]', text + lines): raise Bad(f'{what}: is no signed note')
    for line in lines[:-1].split('\n'):
        found = re.fullmatch('— ([^\\s+]+) (\\S+)', line)
        signature = unbase64(found[2]) if found else b''
        if len(signature) < 5: raise Bad(f'{what}: has a line that is no signature')
        for key in [key for key in keys if key[:2] == (found[1], signature[:4])]:
            if not ed25519_verifies(key[2], text.encode(), signature[4:]): raise Bad(f'{what}: its signature is not of the key {key[0]}')
            signers.append(key)
    if not signers and must: raise Bad(f'{what}: has no signature of a key of the log')
    origin, size, root, *more = [*text[:-1].split('\n'), '', ''][:max(3, text.count('\n'))]
    if not re.fullmatch('0|[1-9][0-9]{0,15}', size) or len(unbase64(root)) != 32 or '' in more: raise Bad(f'{what}: is no checkpoint')
    if signers and origin != signers[0][0]: raise Bad(f'{what}: is of the log {origin!r}, and its key of {signers[0][0]!r}')
    return int(size), unbase64(root), signers and signers[0]
# The tree (RFC 6962 §2.1) and its files (C2SP tlog-tiles).
def node(left, right): return sha256(b'\x01' + left + right)
def perfect(hashes):
    while len(hashes) > 1: hashes = [node(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]
def root_of(levels):
    """Root of the tree of which levels[n] are the hashes in its last, unfinished tile of level n."""
    right = None
    for hashes in levels:
        while hashes:
            span = len(hashes) & -len(hashes)
            left, hashes = perfect(hashes[-span:]), hashes[:-span]
            right = left if right is None else node(left, right)
    return sha256(b'') if right is None else right
def path_of(level, index, width):
    groups = re.findall('...', str(index).zfill(-(-len(str(index)) // 3) * 3))
    return f'tile/{level}/' + ''.join(f'x{group}/' for group in groups[:-1]) + groups[-1] + (f'.p/{width}' if width < 256 else '')
def read(path):
    """A file that is no link, no further than a bundle can be long; None: there is none."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), 'rb') as file: return file.read(256 * 65537 + 1)
    except OSError: return None
def files_of(folder, level, index, width):
    """(width, path, bytes) of each file that holds a tile: its own, and a fuller one of entries after the head."""
    files = [(w, path, read(f'{folder}/{path}')) for w in sorted({width, 256}) for path in [path_of(level, index, w)]]
    if all(data is None for _, _, data in files): raise Bad(f'file {files[0][1]}: is missing')
    return [file for file in files if file[2] is not None]
def entries_of(bundle, width, path):
    """The entries of a bundle, one after the other; each has its length before it."""
    at = 0
    for count in range(width):
        end = at + 2 + int.from_bytes(bundle[at:at + 2], 'big')
        if at == len(bundle): raise Bad(f'file {path}: holds {count} entries for {width}')
        if at + 2 > len(bundle) or end > len(bundle): raise Bad(f'file {path}: entry {count} of it is cut off')
        yield bundle[at + 2:end]
        at = end
    if at < len(bundle): raise Bad(f'file {path}: {len(bundle) - at} bytes follow its last entry')
# What an entry has to be.
FIELDS = {'body', 'index', 'kind', 'source', 'subject', 'timeMs'}
def refuse(text): raise ValueError(f'holds {text[:40]}, which is no whole number below 2^53')
def integer(text): return int(text) if len(text) < 18 and abs(int(text)) < 2**53 else refuse(text)
def fields(pairs):
    names = [name.encode('utf-16-be', 'surrogatepass') for name, _ in pairs]
    if any(a >= b for a, b in zip(names, names[1:])): raise ValueError('has names that are not sorted, or one twice')
    return dict(pairs)
DECODER = json.JSONDecoder(object_pairs_hook=fields, parse_int=integer, parse_float=refuse, parse_constant=refuse)
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(',', ':'), check_circular=False)
def objection(data, index, seen):
    """Why these bytes cannot be entry number `index`, or None. `seen`: the subjects of intents and of outcomes so far."""
    try: text = data.decode(); entry = DECODER.decode(text); same = ENCODER.encode(entry) == text
    except (ValueError, RecursionError) as error: return f'is not canonical JSON: {error}'
    if not same or not unicodedata.is_normalized('NFC', text): return 'is not canonical JSON: it can be written in another way'
    if not isinstance(entry, dict) or not FIELDS <= entry.keys() <= FIELDS | {'origin', 'sealed'}: return 'has not the fields of an entry'
    kind, subject = entry['kind'], entry['subject']
    if not all(type(entry[name]) is (int if name in ('index', 'timeMs') else str) for name in FIELDS - {'body'}): return 'has a field of another type'
    if entry['index'] != index: return f'says that it is entry {entry["index"]}: entries were removed, added or moved'
    if kind not in seen: return None
    if subject in seen[kind]: return f'is a second {kind} of {subject!r}'
    if kind == 'outcome' and subject not in seen['intent']: return f'is an outcome of {subject!r}, which has no intent'
    seen[kind].add(subject)
# The walk over all entries and tiles.
class Walk:
    """found: (entry, or last of the entries, where something is wrong, what). differing: tiles that are not of the entries below them; keys: who may sign a head now."""
    def __init__(self, folder, size, keys):
        self.folder, self.size, self.keys, self.past, self.last, self.found, self.differing, self.seen = folder, size, keys, [], None, [], [], {'intent': set(), 'outcome': set()}
    def follow(self, data, place):
        """Why an entry that hands on to another key does not: it, and the one that signs until then, have signed a head of all entries before it that names it."""
        try:
            entry = json.loads(data); body = entry['body']
            if (entry['kind'], entry['subject']) != ('alert', 'key.rotated'): return
            (old, new), text = [key_of(body[name]) for name in ('from', 'to')], body['head'].rpartition('\n\n')[0].split('\n')
            signed = [open_checkpoint(body['head'].encode(), [key], 'head')[:2] for key in (old, new)]
            if signed != [place] * 2 or text[3:] != ['key ' + body['to']]: raise Bad('its head is not of all entries before it')
            if old[:2] == new[:2] or self.last not in (None, old): raise Bad('the key before it does not sign here any more, or never did')
            self.past, self.keys, self.last = [*self.past, old], [new] if old in self.keys or new in self.keys else self.keys, new
        except (Bad, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error: yield f'hands on to no other key: {error}'
    def entries(self):
        good = True
        for first in range(0, self.size, 256):
            *partial, (w, path, data) = files_of(self.folder, 'entries', first // 256, min(256, self.size - first))
            self.found += [(first, f'file {other}: is not the beginning of {path}') for _, other, start in partial if not data.startswith(start)]
            for at, entry in enumerate(entries_of(data, w, path), first):
                if at >= self.size: continue
                reason = objection(entry, at, self.seen) if good else None
                if reason: good = self.found.append((at, f'entry {at}: {reason}'))
                yield entry
    def compare(self, level, index, hashes):
        first = index * 256 ** (level + 1)
        for w, path, data in files_of(self.folder, level, index, len(hashes)):
            wrong = [i for i, value in enumerate(hashes) if data[32 * i:32 * i + 32] != value]
            if len(data) != 32 * w: self.found.append((first, f'file {path}: has {len(data)} bytes for {32 * w}'))
            elif wrong: self.differing.append((first + wrong[0] * 256**level, level, path))
    def roots(self, wanted):
        """Root at each of the wanted sizes, once every entry and tile has been looked at."""
        levels, done, roots = [[]], [0], {0: sha256(b'')}
        for size, entry in enumerate(self.entries(), 1):
            if b'key.rotated' in entry: self.found += [(size - 1, f'entry {size - 1}: {why}') for why in self.follow(entry, (size - 1, root_of(levels)))]
            levels[0].append(sha256(b'\0' + entry)); level = 0
            if size in wanted: roots[size] = root_of(levels)
            while len(levels[level]) == 256:
                self.compare(level, done[level], levels[level])
                if level + 1 == len(levels): levels.append([]); done.append(0)
                levels[level + 1].append(perfect(levels[level]))
                levels[level], done[level], level = [], done[level] + 1, level + 1
        for level, hashes in enumerate(levels):
            if hashes: self.compare(level, done[level], hashes)
        return roots
def check(folder, keys, kept):
    """Everything that is wrong, the first entry first, and what to say of a good log."""
    head, was = read(f'{folder}/checkpoint') or b'', {path: read(path) for path in kept}
    walk, roots, stop = Walk(folder, open_checkpoint(head, keys, 'file checkpoint', False)[0], keys), {}, []
    try: roots = walk.roots({walk.size, *(open_checkpoint(data, keys, f'file {path}', False)[0] for path, data in was.items())})
    except Bad as bad: stop = [str(bad)]
    try: size, root, key = open_checkpoint(head, [key for key in walk.keys if walk.last in (None, key)], 'file checkpoint')
    except Bad as bad: return [text for _, text in sorted(walk.found, key=lambda found: found[0])] + stop + [str(bad)], ''
    heads = [(path, *open_checkpoint(data, keys + walk.past + walk.keys, f'file {path}')[:2]) for path, data in was.items()]
    for first, level, path in walk.differing:
        of = f'entry {first}' if level == 0 else f'entries {first} to {first + 256**level - 1}'
        walk.found.append((first + 256**level - 1, f'file {path}: its hash of {of} is another' if roots.get(size) == root else f'{of}: not what {path} was made of'))
    wrong = [text for _, text in sorted(walk.found, key=lambda found: found[0])] + stop
    if not stop and roots[size] != root: wrong.append('file checkpoint: its root is not that of the entries')
    for path, old, old_root in heads:
        if old > size: wrong.append(f'file checkpoint: has {size} entries, and {path} has {old}: entries were cut off')
        elif not stop and roots[old] != old_root: wrong.append(f'entries 0 to {old - 1}: are not those of {path}')
    return wrong, f'{size} entries, root {root.hex()}, signed by {key[0]}+{key[1].hex()}, ' \
        f'{len(walk.seen["intent"]) - len(walk.seen["outcome"])} intents without an outcome'
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', metavar='DIR')
    for name in ('--key', '--checkpoint'): parser.add_argument(name, action='append', default=[])
    args = parser.parse_args()
    texts = [line for given in args.key or [f'{args.folder}/log.vkey'] for line in (given if key_of(given) else (read(given) or b'').decode('utf-8', 'replace')).splitlines()]
    keys, missing = [key_of(text) for text in texts], [path for path in args.checkpoint if read(path) is None]
    if not keys or None in keys or missing or not os.path.isdir(args.folder): parser.error(f'cannot read {(missing or ["the folder or the key"])[0]}')
    try: wrong, good = check(args.folder, keys, args.checkpoint)
    except Bad as bad: wrong, good = [str(bad)], ''
    print('\n'.join(['bad: ' + text for text in wrong] or ['good: ' + good] + ['note: the key is the one beside the log; --key compares it with one from elsewhere'] * (not args.key)))
    return 1 if wrong else 0
if __name__ == '__main__': sys.exit(main())
