// A certified OIDC provider on loopback: `node provider.mjs ISSUER REDIRECT_URI CLIENT SECRET ALGORITHM`. Any login and password will do.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import Provider from "oidc-provider";

const [issuer, redirect, client_id, client_secret, algorithm] = process.argv.slice(2);
const kinds = { RS256: ["rsa", { modulusLength: 2048 }], ES256: ["ec", { namedCurve: "P-256" }], EdDSA: ["ed25519", {}] };
const keys = Object.entries(kinds).map(([alg, kind]) => ({
  ...generateKeyPairSync(...kind).privateKey.export({ format: "jwk" }), alg, kid: alg, use: "sig",
}));

const provider = new Provider(issuer, {
  clients: [{ client_id, client_secret, redirect_uris: [redirect], id_token_signed_response_alg: algorithm }],
  jwks: { keys },
  enabledJWA: { idTokenSigningAlgValues: Object.keys(kinds) },
  cookies: { keys: [randomBytes(16).toString("hex")] },
  claims: { openid: ["sub"], email: ["email", "email_verified"] },
  conformIdTokenClaims: false, // the e-mail address stands in the ID token
  findAccount: (_, sub) => ({
    accountId: sub,
    claims: () => ({ sub, email: `${sub}@example.com`, email_verified: true }),
  }),
});
provider.listen(new URL(issuer).port, "127.0.0.1");
