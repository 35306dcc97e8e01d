import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** The one package of each registry, and what it says when it is used. */
export const PACKAGE = 'caisson-works';
export const SAYS = 'delivered by name';
/** Large enough that it does not fit into one record of TLS or one packfile chunk, and cannot be compressed away. */
const BLOB_BYTES = 3_000_000;

/** A wheel as PEP 427 wants it, from the names and texts of its files. */
const WHEEL = `
import base64, hashlib, sys, zipfile
path, name, says = sys.argv[1:]
info = name + '-1.0.dist-info'
files = {name + '.py': 'SAYS = ' + repr(says) + '\\n', info + '/METADATA': 'Metadata-Version: 2.1\\nName: ' + name + '\\nVersion: 1.0\\n',
         info + '/WHEEL': 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'}
digest = lambda text: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()
record = ''.join(f'{path},sha256={digest(text)},{len(text)}\\n' for path, text in files.items())
with zipfile.ZipFile(path, 'w') as wheel:
    for path, text in {**files, info + '/RECORD': record + info + '/RECORD,,\\n'}.items():
        wheel.writestr(path, text)
`;

/**
 * What the servers of the test serve: a folder for each server name, with a file for each path, `index` for one that ends in
 * a slash; and repositories in `git`. @returns the digest of the large file in the repository
 */
export function makeSites(dir: string): { readonly blobSha256: string } {
  const put = (path: string, content: string | Buffer): void => {
    mkdirSync(dirname(`${dir}/${path}`), { recursive: true });
    writeFileSync(`${dir}/${path}`, content);
  };
  put('web.example.test/hello', SAYS);

  const module = PACKAGE.replace('-', '_');
  const wheel = `${module}-1.0-py3-none-any.whl`;
  put('pypi.example.test/simple/index', `<a href="/simple/${PACKAGE}/">${PACKAGE}</a>\n`);
  put(`pypi.example.test/simple/${PACKAGE}/index`, `<a href="/files/${wheel}">${wheel}</a>\n`);
  mkdirSync(`${dir}/pypi.example.test/files`);
  execFileSync('python3', ['-c', WHEEL, `${dir}/pypi.example.test/files/${wheel}`, module, SAYS]);

  const manifest = { name: PACKAGE, version: '1.0.0', main: 'index.js' };
  put('npm/package/package.json', JSON.stringify(manifest));
  put('npm/package/index.js', `module.exports = ${JSON.stringify(SAYS)};\n`);
  mkdirSync(`${dir}/npm.example.test/files`, { recursive: true });
  const tarball = `files/${PACKAGE}-1.0.0.tgz`;
  execFileSync('tar', ['-C', `${dir}/npm`, '-czf', `${dir}/npm.example.test/${tarball}`, 'package']);
  const integrity = `sha512-${createHash('sha512').update(readFileSync(`${dir}/npm.example.test/${tarball}`)).digest('base64')}`;
  const dist = { tarball: `https://npm.example.test/${tarball}`, integrity };
  put(`npm.example.test/${PACKAGE}`, JSON.stringify({ name: PACKAGE, 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': { ...manifest, dist } } }));

  const work = `${dir}/work`;
  const blob = execFileSync('openssl', ['rand', `${BLOB_BYTES}`], { maxBuffer: 2 * BLOB_BYTES });
  put('work/README', `${SAYS}\n`);
  put('work/blob', blob);
  const git = (...argv: string[]): unknown => execFileSync('git', ['-c', 'user.name=test', '-c', 'user.email=test@example.test', ...argv], { stdio: 'pipe' });
  git('init', '--quiet', '--initial-branch=main', work);
  git('-C', work, 'add', '.');
  git('-C', work, 'commit', '--quiet', '-m', 'first');
  git('clone', '--quiet', '--bare', work, `${dir}/git/works.git`);
  return { blobSha256: createHash('sha256').update(blob).digest('hex') };
}
