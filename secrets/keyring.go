package secrets

import (
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign/internal/message"
)

// Keyring holds the branches that one service was handed, of one generation
// or, during a rotation, of two. It is safe for concurrent use after it was
// made.
type Keyring struct {
	deployment message.Hash
	service    string
	keys       map[int]map[Purpose]*Secret
	newest     int
}

// Pair is the two halves of one generation.
type Pair struct{ Build, Deploy BranchFile }

// NewKeyring makes a service's keys from its branch files. It refuses halves
// of different generations or services, a half that stands on the wrong side,
// and a set of purposes that is not exactly the service's own: too many is a
// leak, too few would fail later. Only the webhook branch may be missing, in
// either half: then there is no such key. It takes the branches over and wipes them,
// also when it fails: the keys made from them are all that a service needs.
func NewKeyring(deployment message.Hash, service string, roles []string, pairs ...Pair) (*Keyring, error) {
	defer wipe(pairs)
	want, err := Purposes(service, roles)
	if err != nil {
		return nil, err
	}
	if len(pairs) == 0 || len(pairs) > 2 {
		return nil, fmt.Errorf("keyring of %s: %d pairs of branch files, want 1 or 2", service, len(pairs))
	}
	k := &Keyring{deployment: deployment, service: service, keys: map[int]map[Purpose]*Secret{}}
	for _, p := range pairs {
		if err := k.add(p, want); err != nil {
			return nil, fmt.Errorf("keyring of %s: %w", service, err)
		}
	}
	return k, nil
}

func wipe(pairs []Pair) {
	for _, p := range pairs {
		p.Build.wipe()
		p.Deploy.wipe()
	}
}

func (k *Keyring) add(p Pair, want []Purpose) error {
	if err := p.Build.check(HalfBuild, k.service, want); err != nil {
		return err
	}
	if err := p.Deploy.check(HalfDeploy, k.service, want); err != nil {
		return err
	}
	generation := p.Build.Generation
	if generation != p.Deploy.Generation {
		return fmt.Errorf("build half is of generation %d, deploy half of %d", generation, p.Deploy.Generation)
	}
	if _, ok := k.keys[generation]; ok {
		return fmt.Errorf("generation %d stands twice", generation)
	}
	keys := map[Purpose]*Secret{}
	for _, purpose := range want {
		if p.Build.Branches[purpose] == nil || p.Deploy.Branches[purpose] == nil {
			continue // check lets no others pass
		}
		if p.Build.Branches[purpose].Equal(p.Deploy.Branches[purpose]) {
			return errors.New("both halves come from one secret: the build-time and the deploy-time secret must differ")
		}
		key, err := Key(p.Build.Branches[purpose], p.Deploy.Branches[purpose], k.deployment, purpose)
		if err != nil {
			return err
		}
		keys[purpose] = key
	}
	k.keys[generation] = keys
	k.newest = max(k.newest, generation)
	return nil
}

// Deployment returns the deployment id that salts the keys.
func (k *Keyring) Deployment() message.Hash { return k.deployment }

// Service returns the name of the service whose keyring this is.
func (k *Keyring) Service() string { return k.service }

// Generation returns the newest generation, which is used for all that is
// made new.
func (k *Keyring) Generation() int { return k.newest }

// Generations returns all generations held, newest first.
func (k *Keyring) Generations() []int {
	var out []int
	for g := range k.keys {
		out = append(out, g)
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out
}

// Key returns the key for a purpose in a generation. The caller must not wipe
// it.
func (k *Keyring) Key(purpose Purpose, generation int) (*Secret, error) {
	key, ok := k.keys[generation][purpose]
	if !ok {
		return nil, fmt.Errorf("%s holds no key %s of generation %d", k.service, purpose, generation)
	}
	return key, nil
}

// Holds says whether there is a key for a purpose in any generation.
func (k *Keyring) Holds(purpose Purpose) bool {
	return slices.ContainsFunc(k.Generations(), func(g int) bool { return k.keys[g][purpose] != nil })
}

// KeyID is the "kid" of a MAC made with the key for purpose in a generation:
// for example "announce/fraud/1".
func KeyID(purpose Purpose, generation int) string {
	return fmt.Sprintf("%s/%d", purpose, generation)
}
