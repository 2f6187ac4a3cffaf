package document

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/countersign/countersign/internal/message"
)

// kinds are the kinds that a grant or a rule can name. A misspelled one must not
// pass for a rule. Freezes are not among them: no grant gives them, and no rule
// keeps anybody from them.
var kinds = []message.Kind{
	message.KindWalletCreate, message.KindAccountCreate,
	message.KindEthereumTransaction, message.KindEthereumMessage, message.KindEthereumTypedData,
	message.KindPolicyUpdate,
}

var (
	// idForm is the form of user and approver ids.
	idForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$`)
	// accountForm is CAIP-10, assetForm is CAIP-19.
	accountForm = regexp.MustCompile(`^[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}:[-.%a-zA-Z0-9]{1,128}$`)
	// ethereumForm is the one form in which effects name an account of eip155:
	// another would never match.
	ethereumForm = regexp.MustCompile(`^eip155:[1-9][0-9]{0,18}:0x[0-9a-f]{40}$`)
	// webhookForm is the form of webhook ids: they stand in consumers' names.
	webhookForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	// hostForm is a name in lower case or an address: no underscore, no
	// percent-encoding, no zone.
	hostForm  = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|[0-9a-f:.]{2,45})$`)
	assetForm = regexp.MustCompile(`^[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}/[-a-z0-9]{3,8}:[-.%a-zA-Z0-9]{1,128}(?:/[-.%a-zA-Z0-9]{1,78})?$`)
)

// Validate reports every fault of the document at once. It reads nothing but
// the document and the genesis document that it is for.
func (d *Document) Validate(genesis message.Genesis) error {
	v := &validator{doc: d, keys: map[string]string{}}
	v.header(genesis)
	v.services(genesis)
	v.users()
	v.approvers()
	v.people()
	v.groups()
	v.lists()
	v.assets()
	v.calls()
	v.grants()
	v.approval()
	v.rules()
	v.thaw()
	v.thawAll()
	v.webhooks()
	return errors.Join(v.faults...)
}

// validator collects faults. keys says for each thumbprint whose key it is.
type validator struct {
	doc    *Document
	faults []error
	keys   map[string]string
}

func (v *validator) fault(format string, args ...any) {
	v.faults = append(v.faults, fmt.Errorf(format, args...))
}

func (v *validator) header(genesis message.Genesis) {
	if v.doc.Version < 1 {
		v.fault("version %d is below 1", v.doc.Version)
	}
	raw, err := message.Encode(genesis)
	if err != nil {
		v.fault("genesis: %w", err)
		return
	}
	if want := message.Sum(raw).String(); v.doc.Deployment != want {
		v.fault("deployment is %q, want %q", v.doc.Deployment, want)
	}
	if v.doc.Expires.IsZero() {
		v.fault("expires is missing")
	}
	v.faults = append(v.faults, v.doc.Admins.faults(genesis.Mode)...)
}

func (v *validator) services(genesis message.Genesis) {
	want := append([]string{message.RoleSigning}, genesis.Roles...)
	for _, role := range want {
		if len(v.doc.Services[role]) == 0 {
			v.fault("services: %s has no identity key", role)
		}
	}
	for _, role := range slices.Sorted(maps.Keys(v.doc.Services)) {
		if !slices.Contains(want, role) {
			v.fault("services: %q is no service of this deployment", role)
		}
		for _, key := range v.doc.Services[role] {
			v.key("services: "+role, "service "+role, key, true)
		}
	}
	admins := genesis.Admins
	if v.doc.Admins != nil {
		admins = append(v.doc.Admins.admins(), admins...)
	}
	v.faults = append(v.faults, apart(admins, v.doc.Services)...)
}

// key checks one public key. No two holders may share one: a key says who
// somebody is. The one exception is a person who is both user and approver.
func (v *validator) key(where, holder string, key message.JWK, onlyEd25519 bool) {
	check := func() error { _, err := key.PublicKey(); return err }
	if onlyEd25519 {
		check = func() error { _, err := key.Ed25519(); return err }
	}
	if err := check(); err != nil {
		v.fault("%s: %w", where, err)
		return
	}
	thumbprint := key.Thumbprint()
	if other, taken := v.keys[thumbprint]; taken && other != holder {
		v.fault("%s: the key %s is also of %s", where, thumbprint, other)
	}
	v.keys[thumbprint] = holder
}

func (v *validator) users() {
	ids, tokens, certificates := map[string]bool{}, map[[2]string]bool{}, map[string]bool{}
	for _, u := range v.doc.Users {
		where := fmt.Sprintf("user %q", u.ID)
		v.id(where, u.ID, ids)
		token := [2]string{u.Issuer, u.Subject}
		switch {
		case (u.Issuer == "") != (u.Subject == ""):
			v.fault("%s: issuer and subject go together", where)
		case u.Issuer != "" && tokens[token]:
			v.fault("%s: issuer and subject are also of another user", where)
		}
		tokens[token] = true
		for _, c := range u.Certificates {
			if _, err := message.ParseHash(c); err != nil {
				v.fault("%s: certificate %q is not 64 lower-case hex digits", where, c)
			} else if certificates[c] {
				v.fault("%s: certificate %q stands twice, here or at another user", where, c)
			}
			certificates[c] = true
		}
		for _, key := range u.Keys {
			v.key(where, personHolder(u.ID), key, false)
		}
	}
}

func personHolder(person string) string { return "person " + person }

func (v *validator) approvers() {
	ids := map[string]bool{}
	for _, a := range v.doc.Approvers {
		where := fmt.Sprintf("approver %q", a.ID)
		v.id(where, a.ID, ids)
		if a.User != "" && !v.hasUser(a.User) {
			v.fault("%s: there is no user %q", where, a.User)
		}
		if len(a.Keys) == 0 {
			v.fault("%s: has no key", where)
		}
		for _, key := range a.Keys {
			v.key(where, personHolder(a.person()), key, true)
			v.ownKey(a, key)
		}
	}
}

// ownKey refuses one key under two approver ids, which would make the voter's
// name ambiguous even where both are one person.
func (v *validator) ownKey(a Approver, key message.JWK) {
	for _, other := range v.doc.Approvers {
		if other.ID == a.ID {
			continue
		}
		for _, k := range other.Keys {
			if k.Thumbprint() == key.Thumbprint() {
				v.fault("approver %q: the key %s is also of approver %q", a.ID, key.Thumbprint(), other.ID)
			}
		}
	}
}

func (v *validator) hasUser(id string) bool {
	return slices.ContainsFunc(v.doc.Users, func(u User) bool { return u.ID == id })
}

func (v *validator) grants() {
	for i, g := range v.doc.Grants {
		where := fmt.Sprintf("grant %d", i+1)
		if len(g.Users) == 0 || len(g.Kinds) == 0 || len(g.Wallets) == 0 {
			v.fault("%s: users, kinds and wallets must each name something", where)
		}
		for _, id := range g.Users {
			if !v.hasUser(id) {
				v.fault("%s: there is no user %q", where, id)
			}
		}
		for _, w := range g.Wallets {
			if _, err := message.ParseHash(w); err != nil && w != WalletsOwn && w != WalletsAny {
				v.fault("%s: wallet %q is neither %q nor %q nor an id", where, w, WalletsOwn, WalletsAny)
			}
		}
		v.kinds(where, g.Kinds)
	}
}

func (v *validator) kinds(where string, list []message.Kind) {
	for _, k := range list {
		if !slices.Contains(kinds, k) {
			v.fault("%s: kind %q is not known", where, k)
		}
	}
}

func (v *validator) approval() {
	a := v.doc.Approval
	ids, persons := map[string]bool{}, map[string]bool{}
	for _, id := range a.Approvers {
		i := slices.IndexFunc(v.doc.Approvers, func(x Approver) bool { return x.ID == id })
		if v.named("approval", "approver", id, i >= 0, ids) {
			persons[v.doc.Approvers[i].person()] = true
		}
	}
	if len(a.Approvers) == 0 && a.Quorum == 0 {
		return
	}
	if a.Quorum < 1 || a.Quorum > len(persons) {
		v.fault("approval: quorum %d is not between 1 and the %d persons who may vote", a.Quorum, len(persons))
	}
}
