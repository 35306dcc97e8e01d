import { posix } from 'node:path';
import { importsOf, withoutComments, type Import, type Room, type SourceFile, type Tree } from './tree.ts';

/** What a room may touch. */
export interface Rights {
  readonly rooms: readonly string[];
  readonly packages: readonly string[];
  /** Modules of Node, without the node: prefix. */
  readonly builtins: readonly string[];
  /** Entries of `exports`. Default: the one door ".". None for a program that nobody imports. */
  readonly doors?: readonly string[];
}

export type Law = Readonly<Record<string, Rights>>;

const FILE_LINES_MAX = 400;
const FILE_LINES_MEDIAN_MAX = 120;
const EMPTY_NAME = /(^|[/.-])(utils?|helpers?|common|managers?|misc|shared|lib)([/.-]|$)/i;

type Check = (tree: Tree, law: Law) => readonly string[];

const CHECKS: readonly Check[] = [
  everyRoomHasRights, declaredIsAllowed, importsAreDeclared, importsStayInside, importsUseDoors, builtinsAreAllowed,
  doorsAreAsTheLawSays, roomsHaveAnOrder, filesHaveAnOrder, filesAreShort, namesSaySomething, packagesHaveReasons,
  noShellStrings, noModuleState,
];

/** Everything in the tree that breaks the law, one sentence each. */
export function findings(tree: Tree, law: Law): readonly string[] {
  return CHECKS.flatMap((check) => check(tree, law));
}

/** Rooms under the law: core, apps and SDKs. Tests and benches may open every door, and have none. */
const isGoverned = ({ folder }: Room): boolean => ['core/', 'apps/', 'sdk/'].some((above) => folder.startsWith(above));
const governed = (tree: Tree): readonly Room[] => tree.rooms.filter(isGoverned);
const filesOf = (tree: Tree, { folder }: Room): readonly SourceFile[] => tree.files.filter(({ path }) => path.startsWith(`${folder}/`));
const importsIn = (tree: Tree, room: Room): readonly Import[] => filesOf(tree, room).flatMap(importsOf);
const rightsOf = (law: Law, { name }: Room): Rights => law[name] ?? { rooms: [], packages: [], builtins: [] };
const isRelative = (specifier: string): boolean => specifier.startsWith('.') || specifier.startsWith('/');
const packageOf = (specifier: string): string => specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/');

function everyRoomHasRights(tree: Tree, law: Law): readonly string[] {
  const names = governed(tree).map(({ name }) => name);
  return [
    ...names.filter((name) => !(name in law)).map((name) => `${name} is a room that the law does not name`),
    ...Object.keys(law).filter((name) => !names.includes(name)).map((name) => `the law names ${name}, which does not exist`),
  ];
}

function declaredIsAllowed(tree: Tree, law: Law): readonly string[] {
  return governed(tree).flatMap((room) => {
    const { rooms, packages } = rightsOf(law, room);
    const over = room.dependencies.filter((dependency) => !rooms.includes(dependency) && !packages.includes(dependency));
    return over.map((dependency) => `${room.name} declares ${dependency}, which it may not import`);
  });
}

function importsAreDeclared(tree: Tree): readonly string[] {
  return governed(tree).flatMap((room) =>
    importsIn(tree, room)
      .filter(({ specifier }) => !isRelative(specifier) && !specifier.startsWith('node:'))
      .filter(({ specifier }) => !room.dependencies.includes(packageOf(specifier)))
      .map(({ file, specifier }) => `${file.path} imports ${specifier}, which ${room.name} does not declare`));
}

function importsStayInside(tree: Tree): readonly string[] {
  return tree.rooms.flatMap((room) =>
    importsIn(tree, room)
      .filter(({ specifier }) => isRelative(specifier))
      .map(({ file, specifier }) => ({ file, target: posix.join(posix.dirname(file.path), specifier) }))
      .filter(({ target }) => !target.startsWith(`${room.folder}/`) && (isGoverned(room) || !target.startsWith('tools/')))
      .map(({ file, target }) => `${file.path} reaches past a door to ${target}`));
}

function importsUseDoors(tree: Tree): readonly string[] {
  const doors = tree.rooms.flatMap(({ name, exports }) => Object.keys(exports).map((door) => posix.join(name, door)));
  const names = tree.rooms.map(({ name }) => name);
  return tree.rooms
    .flatMap((room) => importsIn(tree, room))
    .filter(({ specifier }) => names.includes(packageOf(specifier)) && !doors.includes(specifier))
    .map(({ file, specifier }) => `${file.path} imports ${specifier}, which is not a door`);
}

function builtinsAreAllowed(tree: Tree, law: Law): readonly string[] {
  return governed(tree).flatMap((room) =>
    importsIn(tree, room)
      .filter(({ specifier }) => specifier.startsWith('node:') && !rightsOf(law, room).builtins.includes(specifier.slice(5)))
      .map(({ file, specifier }) => `${file.path} imports ${specifier}, which ${room.name} may not use`));
}

function doorsAreAsTheLawSays(tree: Tree, law: Law): readonly string[] {
  return governed(tree).flatMap((room) => {
    const wanted = rightsOf(law, room).doors ?? ['.'];
    const has = Object.keys(room.exports);
    const same = has.length === wanted.length && wanted.every((door) => has.includes(door));
    const opensOnItsIndex = wanted.length === 0 || room.exports['.'] === './src/index.ts';
    return same && opensOnItsIndex ? [] : [`${room.name} has the doors ${has.join(' ')}, the law says ${wanted.join(' ')}`];
  });
}

function roomsHaveAnOrder(_tree: Tree, law: Law): readonly string[] {
  const edges = new Map(Object.entries(law).map(([name, { rooms }]) => [name, rooms]));
  return cycles(edges).map((cycle) => `the law lets rooms import each other in a ring: ${cycle}`);
}

function filesHaveAnOrder(tree: Tree): readonly string[] {
  const target = ({ file, specifier }: Import): string => posix.join(posix.dirname(file.path), specifier);
  const edges = tree.files.map((file) => [file.path, importsOf(file).filter(({ specifier }) => isRelative(specifier)).map(target)] as const);
  return cycles(new Map(edges)).map((cycle) => `files import each other in a ring: ${cycle}`);
}

/** Rings in a directed graph, each once, written as a → b → a. */
function cycles(edges: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (node: string, path: readonly string[]): void => {
    if (path.includes(node)) found.push([...path.slice(path.indexOf(node)), node].join(' → '));
    else if (!done.has(node)) for (const next of edges.get(node) ?? []) visit(next, [...path, node]);
    done.add(node);
  };
  for (const node of edges.keys()) visit(node, []);
  return found;
}

function filesAreShort(tree: Tree): readonly string[] {
  const lines = ({ text }: SourceFile): number => text.trimEnd().split('\n').length;
  const sizes = tree.files.map(lines).sort((a, b) => a - b);
  const median = sizes[Math.floor(sizes.length / 2)] ?? 0;
  return [
    ...tree.files.filter((file) => lines(file) > FILE_LINES_MAX).map((file) => `${file.path} has ${lines(file)} lines, the most is ${FILE_LINES_MAX}`),
    ...(median > FILE_LINES_MEDIAN_MAX ? [`the median file has ${median} lines, the most is ${FILE_LINES_MEDIAN_MAX}`] : []),
  ];
}

function namesSaySomething(tree: Tree): readonly string[] {
  return tree.files.filter(({ path }) => EMPTY_NAME.test(path)).map(({ path }) => `${path}: the name does not say what it is for`);
}

function packagesHaveReasons(tree: Tree): readonly string[] {
  const names = tree.rooms.map(({ name }) => name);
  const outside = governed(tree).flatMap(({ dependencies }) => dependencies.filter((dependency) => !names.includes(dependency)));
  return [...new Set(outside)].filter((name) => !tree.reasons.includes(`\`${name}\``)).map((name) => `${name} has no reason in docs/dependencies.md`);
}

function noShellStrings(tree: Tree): readonly string[] {
  const shell = /\bshell:\s*true\b|import\s*\{[^}]*\bexec(?:Sync)?\b[^}]*\}\s*from\s*'node:child_process'|\bchild_process\.exec(?:Sync)?\(/;
  const files = governed(tree).flatMap((room) => filesOf(tree, room));
  return files.filter(({ text }) => shell.test(withoutComments(text))).map(({ path }) => `${path} gives a string to a shell: use an argv array`);
}

function noModuleState(tree: Tree): readonly string[] {
  const state = /^(?:export )?(?:(?:let|var) |const \w+(?:: [^=]+)? = (?:new (?:Weak)?(?:Map|Set)(?:<.*>)?\(\)|\[\]|\{\});)/m;
  const inRooms = governed(tree).flatMap((room) => filesOf(tree, room));
  return inRooms.filter(({ text }) => state.test(withoutComments(text))).map(({ path }) => `${path} keeps state in the module: pass it in`);
}
