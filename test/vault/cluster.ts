import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Ground } from '@caisson/vault';
import { CANARY, GROUND, type Files } from './given.ts';

export const TOKEN = 'eyJhbGciOi.of-the-service-account';
export const base64 = (text: string | Buffer): string => Buffer.from(text).toString('base64');

/** What GET of a Secret answers (Kubernetes API reference, core/v1). */
export const secret = (data: Readonly<Record<string, unknown>> | null): unknown => ({ kind: 'Secret', apiVersion: 'v1', metadata: { name: 'app', namespace: 'agents', uid: '0', resourceVersion: '1' }, type: 'Opaque', ...(data !== null && { data }) });
/** What it answers instead: a Status. */
export const status = (code: number, reason: string): unknown => ({ kind: 'Status', apiVersion: 'v1', status: 'Failure', message: `${reason} ${CANARY}`, reason, code });

export interface Cluster extends AsyncDisposable {
  readonly port: number;
  readonly asked: readonly IncomingMessage[];
  /** What a pod of it has. */
  readonly ground: Ground;
}

/** A server by TLS that answers as an API server, and the folder of a service account that trusts it. */
export async function cluster(dir: Files, respond: (request: IncomingMessage, response: ServerResponse) => void, names = 'IP:127.0.0.1'): Promise<Cluster> {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${dir.dir}/key`, '-out', `${dir.dir}/ca.crt`, '-days', '2', '-subj', '/CN=kube-apiserver', '-addext', `subjectAltName=${names}`], { stdio: 'ignore' });
  dir.file('token', `${TOKEN}\n`, 0o644);
  dir.file('namespace', 'agents', 0o644);
  const asked: IncomingMessage[] = [];
  const server = createServer({ key: readFileSync(`${dir.dir}/key`), cert: readFileSync(`${dir.dir}/ca.crt`) }, (request, response) => {
    asked.push(request);
    respond(request, response);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  return {
    port, asked,
    ground: { env: { ...GROUND.env, KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: `${port}` }, serviceAccount: dir.dir, timeoutMs: 2_000 },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
}
