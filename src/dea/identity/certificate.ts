import { createPrivateKey, generateKeyPair, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import { AppError } from '#kernel/errors.ts';
import { bits, field, integer, octets, oid, partsOf, sequence, setOf, tagged, text, time, TRUE } from './der.ts';

const newKey = promisify(generateKeyPair);

export interface Authority {
  certificate: X509Certificate;
  key: KeyObject;
}

/** The authority that is to sign is none. */
export class AuthorityUnfit extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('authority_unfit', message, options);
  }
}

export interface Identity {
  instance: string;
  app: string;
  space: string;
  organization: string;
  /** IPv4, of its container */
  address: string;
}

const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));
const COMMON_NAME = '2.5.4.3';
const ORGANIZATIONAL_UNIT = '2.5.4.11';
/** Clocks of others may be behind. */
const LEEWAY_MS = 5 * 60_000;

/** Errors: AuthorityUnfit. */
export function readAuthority(certificate_pem: string, key_pem: string): Authority {
  try {
    const certificate = new X509Certificate(certificate_pem);
    const key = createPrivateKey(key_pem);
    if (!certificate.ca || !certificate.checkPrivateKey(key) || key.asymmetricKeyType !== 'ec')
      throw new Error('it must be an authority of elliptic curves with its own key');
    return { certificate, key };
  } catch (error) {
    throw new AuthorityUnfit('the authority of instance identities cannot be used', { cause: error });
  }
}

/**
 * A new key and a certificate of it that says who an instance is, for clients and servers. Source: Cloud Foundry's documents, "Using
 * instance identity credentials": organization, space and app as units, guid and address as alternative names. The key is of the
 * curve P-256, where Diego has RSA: it is made in a thousandth of the time.
 */
export async function issue(
  authority: Authority,
  identity: Identity,
  validity: { from_ms: number; until_ms: number },
): Promise<{ certificate: string; key: string }> {
  const { publicKey, privateKey } = await newKey('ec', { namedCurve: 'P-256' });
  const body = sequence(
    field(0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([0x40]), randomBytes(15)])),
    ECDSA_WITH_SHA256,
    subjectOf(authority.certificate),
    sequence(time(new Date(validity.from_ms - LEEWAY_MS)), time(new Date(validity.until_ms))),
    subject(identity),
    publicKey.export({ type: 'spki', format: 'der' }),
    field(3, extensions(identity, keyIdentifierOf(authority.certificate))),
  );
  const signature = sign('sha256', body, { key: authority.key, dsaEncoding: 'der' });
  const der = sequence(body, ECDSA_WITH_SHA256, bits(signature));
  return {
    certificate: new X509Certificate(der).toString(),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
  };
}

/** Its name as it is written there, byte for byte. */
function subjectOf(certificate: X509Certificate): Buffer {
  const [body] = partsOf(certificate.raw);
  const name = body && partsOf(body)[5];
  if (!name) throw new AuthorityUnfit('the authority has no name');
  return name;
}

function subject({ organization, space, app, instance }: Identity): Buffer {
  const part = (kind: string, value: string): Buffer => setOf(sequence(oid(kind), text(value)));
  return sequence(
    part(ORGANIZATIONAL_UNIT, `organization:${organization}`),
    part(ORGANIZATIONAL_UNIT, `space:${space}`),
    part(ORGANIZATIONAL_UNIT, `app:${app}`),
    part(COMMON_NAME, instance),
  );
}

/** What the authority calls its key; strict readers look for it. */
function keyIdentifierOf(certificate: X509Certificate): Buffer | undefined {
  const [body] = partsOf(certificate.raw);
  const [listed] = partsOf(body ? (partsOf(body).at(-1) ?? body) : certificate.raw);
  for (const extension of listed ? partsOf(listed) : []) {
    const parts = partsOf(extension);
    // An octet string in an octet string.
    if (parts[0]?.equals(oid('2.5.29.14'))) return parts.at(-1)?.subarray(4);
  }
  return undefined;
}

function extensions({ instance, address }: Identity, authority_key: Buffer | undefined): Buffer {
  const names = sequence(tagged(2, Buffer.from(instance)), tagged(7, Buffer.from(address.split('.').map(Number))));
  const uses = sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2')); // server, client
  const digitalSignatureAndKeyAgreement = bits(Buffer.from([0b1000_1000]), 3);
  return sequence(
    sequence(oid('2.5.29.19'), TRUE, octets(sequence())),
    sequence(oid('2.5.29.15'), TRUE, octets(digitalSignatureAndKeyAgreement)),
    sequence(oid('2.5.29.37'), octets(uses)),
    sequence(oid('2.5.29.17'), octets(names)),
    ...(authority_key ? [sequence(oid('2.5.29.35'), octets(sequence(tagged(0, authority_key))))] : []),
  );
}
