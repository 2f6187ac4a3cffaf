package document

import (
	"crypto"
	"crypto/ed25519"
	"sync"

	"github.com/countersign/countersign/internal/message"
)

// Active is a document that a quorum signed, with its exact bytes. It is not
// changed after VerifyBundle returned it and is safe for concurrent use.
type Active struct {
	*Document
	Ref    message.PolicyRef
	Bundle message.PolicyBundle
	next   Quorum // who signs the next version
	files  Lists  // attached, by digest

	once  sync.Once
	index index
}

// index answers the look-ups of every request without walking the lists.
type index struct {
	users        map[string]User
	userKeys     map[string]userKey
	certificates map[string]string
	tokens       map[[2]string]string
	approvers    map[string]Approver
	voterKeys    map[string]voterKey
	voters       map[string]bool
	grants       map[string][]Grant
	signing      []IdentityKey
	thawed       map[string]bool
	groups       map[string]map[string]bool // members
	memberships  map[string][]string        // groups
	assets       map[string]Asset
	byAsset      map[string]Asset
	books        map[string]book
}

// IdentityKey is a service's identity key that is ready for use. ID is its RFC
// 7638 thumbprint, the "kid" of what it signs.
type IdentityKey struct {
	ID     string
	Public ed25519.PublicKey
}

type userKey struct {
	user string
	key  crypto.PublicKey
}

type voterKey struct {
	approver string
	key      ed25519.PublicKey
}

func (a *Active) lookup() *index {
	a.once.Do(func() {
		a.index = index{
			users: map[string]User{}, userKeys: map[string]userKey{},
			certificates: map[string]string{}, tokens: map[[2]string]string{},
			approvers: map[string]Approver{}, voterKeys: map[string]voterKey{},
			voters: map[string]bool{}, grants: map[string][]Grant{}, thawed: map[string]bool{},
		}
		for _, request := range a.Thaw {
			a.index.thawed[request] = true
		}
		a.index.signing = identityKeys(a.Services[message.RoleSigning])
		a.index.addUsers(a.Users)
		a.index.addApprovers(a.Approvers, a.voters())
		a.index.addNames(a.Document)
		for _, g := range a.Grants {
			for _, id := range g.Users {
				a.index.grants[id] = append(a.index.grants[id], g)
			}
		}
	})
	return &a.index
}

func (x *index) addUsers(users []User) {
	for _, u := range users {
		x.users[u.ID] = u
		if u.Issuer != "" && u.Subject != "" {
			x.tokens[[2]string{u.Issuer, u.Subject}] = u.ID
		}
		for _, c := range u.Certificates {
			x.certificates[c] = u.ID
		}
		for _, k := range u.Keys {
			if key, err := k.PublicKey(); err == nil {
				x.userKeys[k.Thumbprint()] = userKey{u.ID, key}
			}
		}
	}
}

func (x *index) addApprovers(approvers []Approver, voters []string) {
	for _, p := range approvers {
		x.approvers[p.ID] = p
		for _, k := range p.Keys {
			if key, err := k.Ed25519(); err == nil {
				x.voterKeys[k.Thumbprint()] = voterKey{p.ID, key}
			}
		}
	}
	for _, id := range voters {
		x.voters[id] = true
	}
}

// User returns the user with an id.
func (a *Active) User(id string) (User, bool) {
	u, ok := a.lookup().users[id]
	return u, ok
}

// UserByKey returns the user who signs with the key of an RFC 7638
// thumbprint, and that key: ed25519.PublicKey or *ecdsa.PublicKey.
func (a *Active) UserByKey(thumbprint string) (User, crypto.PublicKey, bool) {
	k, ok := a.lookup().userKeys[thumbprint]
	if !ok {
		return User{}, nil, false
	}
	return a.lookup().users[k.user], k.key, true
}

// UserByToken returns the user whom an access token's iss and sub name.
func (a *Active) UserByToken(issuer, subject string) (User, bool) {
	id, ok := a.lookup().tokens[[2]string{issuer, subject}]
	return a.lookup().users[id], ok
}

// UserByCertificate returns the user whose TLS client certificate has a
// SHA-256 fingerprint in lower-case hex.
func (a *Active) UserByCertificate(fingerprint string) (User, bool) {
	id, ok := a.lookup().certificates[fingerprint]
	return a.lookup().users[id], ok
}

// Approver returns the approver with an id, whether or not any rule asks that
// approver.
func (a *Active) Approver(id string) (Approver, bool) {
	p, ok := a.lookup().approvers[id]
	return p, ok
}

// ApproverByKey returns the approver who holds the key of an RFC 7638
// thumbprint and may vote, and that key.
func (a *Active) ApproverByKey(thumbprint string) (Approver, ed25519.PublicKey, bool) {
	k, ok := a.lookup().voterKeys[thumbprint]
	if !ok || !a.lookup().voters[k.approver] {
		return Approver{}, nil, false
	}
	return a.lookup().approvers[k.approver], k.key, true
}

// IdentityKeys returns the identity keys of a role or of "signing", all of
// them Ed25519; none if the document has none.
func (a *Active) IdentityKeys(role string) []message.JWK {
	return a.Services[role]
}

// SigningKeys returns the signing service's identity keys.
func (a *Active) SigningKeys() []IdentityKey { return a.lookup().signing }

func identityKeys(jwks []message.JWK) (out []IdentityKey) {
	for _, jwk := range jwks {
		if key, err := jwk.Ed25519(); err == nil {
			out = append(out, IdentityKey{jwk.Thumbprint(), key})
		}
	}
	return out
}

// person names the human behind an approver: the user id where the document
// gives one. An approver whose id is a user's id is taken for the same human,
// because the other reading would let somebody approve alone.
func (p Approver) person() string {
	if p.User != "" {
		return p.User
	}
	return p.ID
}

// Person names the human behind an approver id; two approvers with one person
// count once, and a person with a user's id is that user. It is empty for an
// id that is not an approver's.
func (a *Active) Person(approver string) string {
	p, ok := a.Approver(approver)
	if !ok {
		return ""
	}
	return p.person()
}
