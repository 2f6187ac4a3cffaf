package httpsig

import (
	"crypto"
	"fmt"
	"slices"
	"time"

	"github.com/dunglas/httpsfv"
)

// The signature parameters that we know (RFC 9421 section 2.3).
const (
	paramCreated = "created"
	paramKeyID   = "keyid"
	paramTag     = "tag"
	paramAlg     = "alg"
)

// label names our one signature in the two dictionaries. A verifier accepts
// any label, as long as there is one signature only.
const label = "sig"

// The longest value of a signature field and of a key id, in bytes.
const (
	maxField = 2048
	maxKeyID = 256
)

// decodeFields reads the values of Signature-Input and Signature: dictionaries
// of one member with the same label. Both must be as RFC 9651 serialises
// them, so that duplicate members and parameters, which a parser drops
// silently, are refused.
func decodeFields(input, signature string) (httpsfv.InnerList, []byte, error) {
	name, member, err := single("signature-input", input)
	if err != nil {
		return httpsfv.InnerList{}, nil, err
	}
	params, ok := member.(httpsfv.InnerList)
	if !ok {
		return httpsfv.InnerList{}, nil, fmt.Errorf("%w: signature-input is not an inner list", ErrMalformed)
	}
	again, member, err := single("signature", signature)
	if err != nil {
		return httpsfv.InnerList{}, nil, err
	}
	if again != name {
		return httpsfv.InnerList{}, nil, fmt.Errorf("%w: signature and signature-input differ in label", ErrMalformed)
	}
	item, ok := member.(httpsfv.Item)
	if !ok || len(item.Params.Names()) > 0 {
		return httpsfv.InnerList{}, nil, fmt.Errorf("%w: signature is not a bare item", ErrMalformed)
	}
	raw, ok := item.Value.([]byte)
	if !ok {
		return httpsfv.InnerList{}, nil, fmt.Errorf("%w: signature is not a byte sequence", ErrMalformed)
	}
	return params, raw, nil
}

// single parses a dictionary of exactly one member, from its one encoding.
func single(field, value string) (string, httpsfv.Member, error) {
	if value == "" || len(value) > maxField {
		return "", nil, fmt.Errorf("%w: %s has %d bytes, want 1 to %d", ErrMalformed, field, len(value), maxField)
	}
	dictionary, err := httpsfv.UnmarshalDictionary([]string{value})
	if err != nil {
		return "", nil, fmt.Errorf("%w: %s: %w", ErrMalformed, field, err)
	}
	again, err := httpsfv.Marshal(dictionary)
	if err != nil || again != value {
		return "", nil, fmt.Errorf("%w: %s is not in its canonical encoding", ErrMalformed, field)
	}
	names := dictionary.Names()
	if len(names) != 1 {
		return "", nil, fmt.Errorf("%w: %s has %d members, want one", ErrMalformed, field, len(names))
	}
	member, _ := dictionary.Get(names[0])
	return names[0], member, nil
}

func encodeFields(params httpsfv.InnerList, signature []byte) (input, field string, err error) {
	inputs, signatures := httpsfv.NewDictionary(), httpsfv.NewDictionary()
	inputs.Add(label, params)
	signatures.Add(label, httpsfv.NewItem(signature))
	if input, err = httpsfv.Marshal(inputs); err != nil {
		return "", "", fmt.Errorf("encoding signature-input: %w", err)
	}
	if field, err = httpsfv.Marshal(signatures); err != nil {
		return "", "", fmt.Errorf("encoding signature: %w", err)
	}
	return input, field, nil
}

// newParams covers the profile's required components, in its order.
func newParams(p Profile, keyID string, created time.Time) httpsfv.InnerList {
	list := httpsfv.InnerList{Params: httpsfv.NewParams()}
	for _, name := range p.Required {
		list.Items = append(list.Items, httpsfv.NewItem(name))
	}
	list.Params.Add(paramCreated, created.Unix())
	list.Params.Add(paramKeyID, keyID)
	list.Params.Add(paramTag, p.Tag)
	return list
}

// check holds the covered components and the parameters against the profile
// and returns what the signature claims.
func (p Profile) check(params httpsfv.InnerList) (Verified, error) {
	if err := p.checkComponents(params.Items); err != nil {
		return Verified{}, err
	}
	for _, name := range params.Params.Names() {
		if !slices.Contains([]string{paramCreated, paramKeyID, paramTag, paramAlg}, name) {
			return Verified{}, fmt.Errorf("%w: parameter %q is not known", ErrCoverage, name)
		}
	}
	if tag := stringParam(params, paramTag); tag != p.Tag {
		return Verified{}, fmt.Errorf("%w: tag is %q, want %q", ErrCoverage, tag, p.Tag)
	}
	keyID := stringParam(params, paramKeyID)
	if keyID == "" || len(keyID) > maxKeyID {
		return Verified{}, fmt.Errorf("%w: keyid is missing or too long", ErrCoverage)
	}
	value, _ := params.Params.Get(paramCreated)
	created, ok := value.(int64)
	if !ok || created <= 0 {
		return Verified{}, fmt.Errorf("%w: created is not a time", ErrCoverage)
	}
	return Verified{KeyID: keyID, Created: time.Unix(created, 0).UTC()}, nil
}

func (p Profile) checkComponents(items []httpsfv.Item) error {
	covered := map[string]bool{}
	for _, item := range items {
		name, _ := item.Value.(string)
		if !slices.Contains(p.Required, name) && !slices.Contains(p.Optional, name) {
			return fmt.Errorf("%w: component %q is not of this profile", ErrCoverage, name)
		}
		if len(item.Params.Names()) > 0 {
			return fmt.Errorf("%w: component %q has parameters", ErrCoverage, name)
		}
		if covered[name] {
			return fmt.Errorf("%w: component %q stands twice", ErrCoverage, name)
		}
		covered[name] = true
	}
	for _, name := range p.Required {
		if !covered[name] {
			return fmt.Errorf("%w: component %q is missing", ErrCoverage, name)
		}
	}
	return nil
}

func (p Profile) checkTime(created, now time.Time) error {
	if created.After(now.Add(p.Skew)) {
		return fmt.Errorf("%w: created in the future", ErrTime)
	}
	if p.MaxAge > 0 && now.Sub(created) > p.MaxAge {
		return fmt.Errorf("%w: older than %s", ErrTime, p.MaxAge)
	}
	return nil
}

// checkAlgorithm refuses an "alg" parameter that is not the key's own. The
// parameter never chooses anything (RFC 9421 section 7.3.6).
func checkAlgorithm(params httpsfv.InnerList, key crypto.PublicKey) error {
	value, ok := params.Params.Get(paramAlg)
	if !ok {
		return nil
	}
	want, err := Algorithm(key)
	if err != nil {
		return err
	}
	if value != want {
		return fmt.Errorf("%w: alg is not the key's, %s", ErrCoverage, want)
	}
	return nil
}

func stringParam(params httpsfv.InnerList, name string) string {
	value, _ := params.Params.Get(name)
	s, _ := value.(string)
	return s
}
