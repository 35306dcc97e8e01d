import type { Command } from 'commander';
import type { FilesFlags } from './files-commands.ts';
import { collect } from './options.ts';
import type { Json } from './sandbox-commands.ts';

/** What `files` can do. */
export const FILE_VERBS = ['ls', 'cat', 'write', 'append', 'stat', 'rm', 'mv', 'mkdir', 'chmod', 'find', 'grep', 'watch', 'patch', 'archive', 'unpack'] as const;

/** The commands about files, ports, images and tokens. Each loads its own code when it is called. */
export function addFiles(program: Command, finish: (status: number) => void): void {
  program
    .command('cp')
    .summary('copy a file or folder into a sandbox or out of it')
    .argument('<from>', 'ID:PATH, or a path here')
    .argument('<to>', 'the other of the two')
    .option('--json', 'print one object')
    .action(async (from: string, to: string, flags: Json) => finish(await (await import('./files-commands.ts')).cp(from, to, flags)));
  program
    .command('files')
    .summary('work on the files of a sandbox from outside')
    .usage('ID VERB [options] [ARGUMENT…]')
    .argument('<id>', 'id or name of the sandbox')
    .argument('<verb>', FILE_VERBS.join(', '))
    .argument('[words...]', 'paths, below /workspace or relative to it')
    .option('-r, --recursive', 'with what is below')
    .option('-p, --parents', 'make missing folders')
    .option('--replace', 'mv: in place of what is there')
    .option('--regex', 'grep: the text is a regular expression')
    .option('--limit <n>', 'find, grep: most matches')
    .option('--json', 'print one object; of watch one for each change')
    .action(async (id: string, verb: string, words: readonly string[], flags: FilesFlags) => finish(await (await import('./files-commands.ts')).files(id, verb, words, flags)));
  program
    .command('top')
    .summary('show what sandboxes use now')
    .argument('[id]', 'id or name (default: all)')
    .option('--once', 'not again each second')
    .option('--json', 'print one object')
    .action(async (id: string | undefined, flags: Json & { readonly once?: boolean }) => finish(await (await import('./live-commands.ts')).top(id, flags)));
  program
    .command('forward')
    .summary('reach a port of a sandbox from 127.0.0.1')
    .argument('<id>', 'id or name')
    .argument('<ports>', 'PORT or PORT:LOCAL')
    .option('--json', 'print one object')
    .action(async (id: string, ports: string, flags: Json) => finish(await (await import('./live-commands.ts')).forward(id, ports, flags)));
  addImages(program, finish);
  addTokens(program, finish);
}

function addImages(program: Command, finish: (status: number) => void): void {
  const image = program.command('image').summary('images that sandboxes are made from');
  image.command('ls').summary('list images').option('--json', 'print one object').action(async (flags: Json) => finish(await (await import('./operator-commands.ts')).imageLs(flags)));
  image
    .command('import')
    .summary('import an OCI image')
    .argument('<source>', 'PATH of an OCI layout, or of an archive of one or by docker save, with @DIGEST where it holds several; or REGISTRY/NAME@DIGEST')
    .option('--name <name>', 'what to call it')
    .option('--json', 'print one object')
    .action(async (source: string, flags: Json & { readonly name?: string }) => finish(await (await import('./operator-commands.ts')).imageMake({ source, ...flags }, flags)));
  image
    .command('build')
    .summary('build a Debian image from a definition')
    .argument('<definition>', 'JSON file, such as those in images/')
    .option('--name <name>', 'what to call it')
    .option('--json', 'print one object')
    .action(async (definition: string, flags: Json & { readonly name?: string }) => finish(await (await import('./operator-commands.ts')).imageMake({ definition, ...flags }, flags)));
  image.command('rm').summary('remove images').argument('<images...>', 'names or digests').option('--json', 'print one object').action(async (images: readonly string[], flags: Json) => finish(await (await import('./operator-commands.ts')).imageRm(images, flags)));
}

function addTokens(program: Command, finish: (status: number) => void): void {
  const token = program.command('token').summary('tokens for the API over TCP');
  token
    .command('create')
    .summary('make a token and print it; it is shown this once')
    .argument('<name>', 'what to call it')
    .option('--scope <scope>', 'what it may do, such as exec; may be repeated', collect)
    .option('--expires <duration>', 'how long it is good')
    .option('--json', 'print one object')
    .action(async (name: string, flags: Json & { readonly scope?: readonly string[]; readonly expires?: string }) => finish(await (await import('./operator-commands.ts')).tokenCreate(name, flags)));
  token.command('ls').summary('list tokens').option('--json', 'print one object').action(async (flags: Json) => finish(await (await import('./operator-commands.ts')).tokenLs(flags)));
  token.command('rm').summary('revoke tokens').argument('<ids...>', 'ids').option('--json', 'print one object').action(async (ids: readonly string[], flags: Json) => finish(await (await import('./operator-commands.ts')).tokenRm(ids, flags)));
}
