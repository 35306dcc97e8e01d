import { CaissonError } from '@caisson/contract/errors';
import type { Command, Option } from 'commander';
import { FILE_VERBS } from './files-program.ts';

/** What may stand in one place: words that are known, or kinds of ids that are asked for when the key is pressed. */
interface Values {
  readonly words?: readonly string[];
  readonly kinds?: readonly string[];
}

/** By the command and the name of its argument, or by the name alone. */
const ARGUMENTS: Readonly<Record<string, Values>> = {
  'changes id': { kinds: ['brought'] }, 'accept id': { kinds: ['brought'] }, 'discard id': { kinds: ['brought'] },
  'token rm ids': { kinds: ['tokens'] }, 'fork from': { kinds: ['sandboxes', 'snapshots'] }, 'attach command': { kinds: ['execs'] },
  approval: { kinds: ['approvals'] }, id: { kinds: ['sandboxes'] }, ids: { kinds: ['sandboxes'] }, exec: { kinds: ['execs'] }, snapshot: { kinds: ['snapshots'] }, secret: { kinds: ['secrets'] },
  images: { kinds: ['images'] }, workspace: { kinds: ['workspaces'] }, workspaces: { kinds: ['workspaces'] },
  verb: { words: FILE_VERBS }, shell: { words: ['bash', 'zsh'] },
};

/** By the command and the option, or by the option alone. */
const OPTIONS: Readonly<Record<string, Values>> = {
  'snapshots --rm': { kinds: ['snapshots'] }, 'create --from': { kinds: ['snapshots'] }, '--image': { kinds: ['images'] },
  'egress replay --sandbox': { kinds: ['sandboxes'] }, 'create --workspace': { kinds: ['workspaces'] }, 'fork --workspace': { kinds: ['workspaces'] }, '--level': { words: ['container', 'gvisor', 'microvm'] },
  'audit report --format': { words: ['text', 'md', 'json'] }, 'audit export --format': { words: ['ocsf', 'otlp', 'jsonl'] }, '--view': { words: ['rynxs', 'events'] },
};

interface Known {
  readonly path: string;
  readonly command: Command;
}

/** Every command, read from the same definitions that parse the command line. */
function commandsOf(command: Command, path = ''): readonly Known[] {
  return [{ path, command }, ...command.commands.flatMap((sub) => commandsOf(sub, `${path} ${sub.name()}`.trim()))];
}

const takesValue = ({ required, optional }: Option): boolean => required || optional;

const assigned = ({ words = [], kinds = [] }: Values): string => `words='${words.join(' ')}'; kinds='${kinds.join(',')}'`;

/** What may follow a command: its own commands and options. */
function following({ path, command }: Known): string {
  const words = [...command.commands.map((sub) => sub.name()), ...command.options.map(({ long }) => long ?? ''), '--help'];
  return `    '${path}') words='${words.filter((word) => word !== '').join(' ')}' ;;`;
}

function ofArguments({ path, command }: Known): readonly string[] {
  return command.registeredArguments.flatMap((argument, at) => {
    const values = ARGUMENTS[`${path} ${argument.name()}`] ?? ARGUMENTS[argument.name()];
    return values === undefined ? [] : [`    '${path}:'${argument.variadic && at > 0 ? at : argument.variadic ? '*' : at}) more='${(values.words ?? []).join(' ')}'; kinds='${(values.kinds ?? []).join(',')}' ;;`];
  });
}

function ofOptions({ path, command }: Known): readonly string[] {
  return command.options.filter(takesValue).flatMap(({ long, short }) => [long, short].flatMap((name) => {
    if (name === undefined || name === null) return [];
    return [`    '${path} ${name}') ${assigned(OPTIONS[`${path} ${long ?? ''}`] ?? OPTIONS[long ?? ''] ?? {})}; valued=1 ;;`];
  }));
}

function bash(program: Command): string {
  const all = commandsOf(program);
  const paths = all.filter(({ path }) => path !== '').map(({ path }) => `${path.includes(' ') ? '' : `' ${path}'|`}'${path}'`).join('|');
  const valued = all.flatMap(({ path, command }) => command.options.filter(takesValue).flatMap(({ long, short }) => [long, short].filter((name) => name !== undefined && name !== null).map((name) => `'${path} ${name}'`))).join('|');
  return `_caisson() {
  local path='' word words='' more='' kinds='' first='' valued='' i count=0
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    [[ $word == -- ]] && { COMPREPLY=(); return; }
    if [[ $word == -* ]]; then
      case "$path $word" in ${valued}) ((i++)) ;; esac
      continue
    fi
    case "$path $word" in ${paths}) path="\${path:+$path }$word" ;; *) ((count++)); [[ $count == 1 ]] && first=$word ;; esac
  done
  case "$path \${COMP_WORDS[COMP_CWORD - 1]}" in
${all.flatMap(ofOptions).join('\n')}
  esac
  if [[ -z $valued ]]; then
    case "$path" in
${all.map(following).join('\n')}
    esac
    [[ $2 == -* ]] || case "$path:$count" in
${all.flatMap(ofArguments).join('\n')}
    esac
  fi
  [[ -n $kinds ]] && more="$more $("\${COMP_WORDS[0]}" __ids "$kinds" "$first" 2>/dev/null)"
  COMPREPLY=($(compgen -W "$words $more" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _caisson caisson ./caisson
`;
}

/** Prints a completion script. @throws CaissonError USAGE for a shell it does not know */
export function completion(shell: string, program: Command): number {
  if (shell !== 'bash' && shell !== 'zsh') throw new CaissonError('USAGE', { detail: `no completion for ${shell}; bash and zsh are known` });
  const preamble = shell === 'zsh' ? 'autoload -U +X bashcompinit && bashcompinit\n' : '';
  process.stdout.write(preamble + bash(program));
  return 0;
}
