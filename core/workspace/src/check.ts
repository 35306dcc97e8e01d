import { CaissonError } from '@caisson/contract';
import { isLayerId, isWorkspaceId } from './records.ts';

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

function refuseUnless(holds: boolean, detail: string): void {
  if (!holds) throw new CaissonError('WORKSPACE_INVALID', { detail });
}

export function checkWorkspaceId(id: string): void {
  refuseUnless(isWorkspaceId(id), `${id.slice(0, 64)} is not the id of a workspace`);
}

export function checkLayerId(id: string): void {
  refuseUnless(isLayerId(id), `${id.slice(0, 64)} is not the id of a snapshot`);
}

export function checkName(name: string | null): void {
  refuseUnless(name === null || NAME.test(name), `the name ${name?.slice(0, 80)} is not made of small letters, digits, '.', '_' and '-'`);
}

export function checkLabel(label: string | undefined): void {
  refuseUnless(label === undefined || label.length <= 256, 'a label is longer than 256 characters');
}
