/**
 * Folder of every root with two files: all authorities that the sandbox trusts, and the one that it alone trusts. Both are
 * empty where it has none of its own.
 */
export const TRUST_FOLDER = '/etc/caisson';
export const TRUST_BUNDLE = 'ca-bundle.crt';
export const TRUST_CERTIFICATE = 'ca.crt';

const bundle = `${TRUST_FOLDER}/${TRUST_BUNDLE}`;
const certificate = `${TRUST_FOLDER}/${TRUST_CERTIFICATE}`;

/** Environment of programs that do not read the system's list, or not that alone. */
export const TRUST_ENV: Readonly<Record<string, string>> = {
  // Taken in the place of the program's own list: they need all of it.
  SSL_CERT_FILE: bundle,
  CURL_CA_BUNDLE: bundle,
  REQUESTS_CA_BUNDLE: bundle,
  PIP_CERT: bundle,
  GIT_SSL_CAINFO: bundle,
  AWS_CA_BUNDLE: bundle,
  // Added to the program's own list.
  NODE_EXTRA_CA_CERTS: certificate,
  DENO_CERT: certificate,
};
