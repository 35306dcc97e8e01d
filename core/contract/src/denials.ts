/**
 * Folder of every root in which a sandbox with a network reads what was refused to it, as a file. Empty where it has none.
 */
export const DENIALS_FOLDER = '/run/caisson';
export const DENIALS_FILE = 'denials.json';
