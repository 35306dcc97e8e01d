import type { Command } from 'commander';
import { CaissonError } from '@caisson/contract/errors';

/** Every command with the words that may follow it, read from the same definitions that parse the command line. */
function words(program: Command): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  const visit = (command: Command, path: string): void => {
    const options = command.options.map(({ long }) => long ?? '').filter((name) => name !== '');
    found.set(path, [...command.commands.map((sub) => sub.name()), ...options, '--help']);
    for (const sub of command.commands) visit(sub, `${path} ${sub.name()}`.trim());
  };
  visit(program, '');
  return found;
}

function bash(program: Command): string {
  const cases = [...words(program)].map(([path, list]) => `    '${path}') words='${list.join(' ')}' ;;`);
  return `_caisson() {
  local path='' word words i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    [[ $word == -- ]] && { COMPREPLY=(); return; }
    [[ $word == -* ]] && continue
    case "$path $word" in ${[...words(program).keys()].filter((path) => path !== '').map((path) => `' ${path}'|'${path}'`).join('|')}) path="\${path:+$path }$word" ;; esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
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
