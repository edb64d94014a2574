import { createHash, createPublicKey, generateKeyPairSync } from 'node:crypto';

/** The key that the SSH proxy is known by, in the one form for elliptic curves that ssh2 reads. */
export function makeHostKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'sec1', format: 'pem' });
}

/** SHA-256 in base64 without padding, as OpenSSH and the cf CLI write it, of the key's form in RFC 5656, section 3.1. */
export function hostKeyFingerprint(private_key: string): string {
  const { x = '', y = '' } = createPublicKey(private_key).export({ format: 'jwk' });
  const point = Buffer.concat([Buffer.of(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
  const fields = [Buffer.from('ecdsa-sha2-nistp256'), Buffer.from('nistp256'), point];
  const hash = createHash('sha256');
  for (const field of fields) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(field.length);
    hash.update(length).update(field);
  }
  return hash.digest('base64').replace(/=+$/, '');
}
