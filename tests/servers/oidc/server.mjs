// An OpenID provider for tests. PORT, REDIRECT_URI; GROUPS_FILE: {"user": ["group"]}, read at each login.
import {generateKeyPairSync} from 'node:crypto'
import {readFileSync} from 'node:fs'
import Provider from 'oidc-provider'

const {PORT, REDIRECT_URI, GROUPS_FILE} = process.env
const groupsOf = user => JSON.parse(readFileSync(GROUPS_FILE, 'utf8'))[user] ?? []
const key = (type, options, kid) => ({...generateKeyPairSync(type, options).privateKey.export({format: 'jwk'}), kid, use: 'sig'})
const keys = [
  key('rsa', {modulusLength: 2048}, 'rsa'),
  key('ec', {namedCurve: 'P-256'}, 'ec'),
  key('ed25519', {}, 'ed'),
]
const client = (client_id, id_token_signed_response_alg) => ({
  client_id,
  client_secret: 's'.repeat(32),
  redirect_uris: [REDIRECT_URI],
  grant_types: ['authorization_code'],
  response_types: ['code'],
  id_token_signed_response_alg,
})
const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  clients: ['RS256', 'PS256', 'ES256', 'EdDSA'].map(alg => client(`muster-${alg}`, alg)),
  enabledJWA: {idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA']},
  jwks: {keys},
  cookies: {keys: ['of a test']},
  pkce: {required: () => true},
  claims: {openid: ['sub'], profile: ['preferred_username'], email: ['email'], groups: ['groups']},
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({sub: id, preferred_username: `${id}@acme`, email: `${id}@acme.example`, groups: groupsOf(id)}),
  }),
  conformIdTokenClaims: false,
})
provider.listen(Number(PORT), '127.0.0.1', () => console.log('listening'))
