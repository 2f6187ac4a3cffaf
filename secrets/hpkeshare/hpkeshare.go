// Package hpkeshare seals one role's shares of wallet and account keys for one
// signing instance in one epoch, over a queue that anybody may read and write.
//
// A hello carries the epoch's HPKE public key; an announcement carries an
// encapsulation to it. Both sides export one secret from that, and derive from
// it one AES-256-GCM key for each share. HPKE's base mode (RFC 9180) says
// nothing about who made an encapsulation: the MACs of hello and announcement
// do, and the callers verify those before they come here. The package trusts
// nobody else, keeps no state beyond a channel's secret, and never writes one
// anywhere.
package hpkeshare

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/scratch"
	"github.com/countersign/countersign/secrets"
)

// Lengths in bytes of the KEM MLKEM768-X25519 and of a sealed share: 32 bytes
// and the 16-byte tag of AES-GCM.
const (
	PublicKeySize     = 1216
	EncapsulationSize = 1120
	SealedSize        = secrets.Size + 16
)

var (
	// ErrSealed says that a sealed share is not what this channel's other end
	// sealed in this context.
	ErrSealed = errors.New("sealed share does not open")
	// ErrWiped says that the channel's secret is gone.
	ErrWiped = errors.New("channel was wiped")
)

// Info is everything that both ends must agree on; it becomes the HPKE info.
// Role and Instance are the announcing policy service's. Hello is the SHA-256
// of the hello's compact JWS, PublicKey that of the encoded JWK of the
// announced key (the bytes of its RFC 7638 thumbprint: see KeyHash).
type Info struct {
	Deployment message.Hash
	Generation int
	Role       string
	Instance   string
	Hello      message.Hash
	PublicKey  message.Hash
}

// KeyHash returns what Info carries for an announced key.
func KeyHash(key message.JWK) (message.Hash, error) {
	b, err := message.Encode(key)
	if err != nil {
		return message.Hash{}, err
	}
	return message.Sum(b), nil
}

// encode returns the HPKE info:
//
//	Context(LabelHPKE, deployment, generation, role, instance, hello, public key)
func (i Info) encode() ([]byte, error) {
	if i.Deployment.IsZero() || i.Hello.IsZero() || i.PublicKey.IsZero() ||
		i.Generation < 1 || i.Role == "" || i.Instance == "" {
		return nil, errors.New("HPKE info: a field is missing")
	}
	return message.Context(message.LabelHPKE,
		i.Deployment[:], message.Uint64(uint64(i.Generation)),
		[]byte(i.Role), []byte(i.Instance), i.Hello[:], i.PublicKey[:]), nil
}

// ShareContext says which share is sealed and for which request. One context
// must never be used for two different shares: its key is used with a fixed
// nonce. Shares are derived from role, scope, id and generation, so that this
// holds by itself. Generation is that of the sealed record, which during a
// rotation may be older than the channel's.
type ShareContext struct {
	Request    string
	Envelope   message.Hash
	Role       string
	Scope      message.Scope
	ID         string
	Generation int
}

// encode returns the HKDF info of one share's key:
//
//	Context(LabelSealedShare, request, envelope, role, scope, id, generation)
func (c ShareContext) encode() ([]byte, error) {
	if c.Request == "" || c.Envelope.IsZero() || c.Role == "" || c.ID == "" || c.Generation < 1 {
		return nil, errors.New("share context: a field is missing")
	}
	if c.Scope != message.ScopeSeed && c.Scope != message.ScopeAccount {
		return nil, fmt.Errorf("share context: scope %q is not known", c.Scope)
	}
	return message.Context(message.LabelSealedShare,
		[]byte(c.Request), c.Envelope[:], []byte(c.Role), []byte(c.Scope),
		[]byte(c.ID), message.Uint64(uint64(c.Generation))), nil
}

// NewEpochKey makes an epoch's key pair and returns the public half as a hello
// carries it: PublicKeySize bytes. The private half lives in memory only.
func NewEpochKey() (hpke.PrivateKey, []byte, error) {
	priv, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		return nil, nil, fmt.Errorf("making epoch key: %w", err)
	}
	return priv, priv.PublicKey().Bytes(), nil
}

// Announce is the policy service's side: it encapsulates to the key of a
// verified hello and returns what the announcement carries. The caller wipes
// the channel when the epoch has ended.
func Announce(helloKey []byte, info Info) (encapsulation []byte, c *Channel, err error) {
	hpkeInfo, err := info.encode()
	if err != nil {
		return nil, nil, err
	}
	pub, err := hpke.MLKEM768X25519().NewPublicKey(helloKey)
	if err != nil {
		return nil, nil, fmt.Errorf("reading hello's HPKE key: %w", err)
	}
	enc, sender, err := hpke.NewSender(pub, hpke.HKDFSHA256(), hpke.AES256GCM(), hpkeInfo)
	if err != nil {
		return nil, nil, fmt.Errorf("encapsulating to hello's HPKE key: %w", err)
	}
	c, err = newChannel(sender, info)
	return enc, c, err
}

// Receive is the signing service's side. An encapsulation that was made for
// other info gives, without an error, a channel on which nothing opens.
func Receive(priv hpke.PrivateKey, encapsulation []byte, info Info) (*Channel, error) {
	hpkeInfo, err := info.encode()
	if err != nil {
		return nil, err
	}
	if len(encapsulation) != EncapsulationSize {
		return nil, fmt.Errorf("encapsulation has %d bytes, want %d", len(encapsulation), EncapsulationSize)
	}
	r, err := hpke.NewRecipient(encapsulation, priv, hpke.HKDFSHA256(), hpke.AES256GCM(), hpkeInfo)
	if err != nil {
		return nil, fmt.Errorf("decapsulating: %w", err)
	}
	return newChannel(r, info)
}

// Channel seals or opens shares. It is safe for concurrent use.
type Channel struct {
	info Info
	mu   sync.RWMutex
	// base is what HKDF extracts from the channel secret: the part of each
	// share's key that is the same for all. Nil after Wipe.
	base *secrets.Secret
}

// exporter is the side of HPKE that this package uses: *hpke.Sender and
// *hpke.Recipient.
type exporter interface {
	Export(exporterContext string, length int) ([]byte, error)
}

func newChannel(e exporter, info Info) (*Channel, error) {
	b, err := e.Export(message.LabelExport, secrets.Size)
	if err != nil {
		return nil, fmt.Errorf("exporting channel secret: %w", err)
	}
	scratch.Hold(b)
	defer clear(b)
	base, err := hkdf.Extract(sha256.New, b, info.Deployment[:])
	if err != nil {
		return nil, fmt.Errorf("extracting from channel secret: %w", err)
	}
	scratch.Hold(base)
	defer clear(base)
	return &Channel{info: info, base: secrets.NewSecret(base)}, nil
}

// Seal returns the sealed share, SealedSize bytes. The same share in the same
// context gives the same bytes, so that a redelivered request gives the same
// approval.
func (c *Channel) Seal(ctx ShareContext, share *secrets.Secret) ([]byte, error) {
	if share.Len() != secrets.Size {
		return nil, fmt.Errorf("sealing share: %w", secrets.ErrSize)
	}
	aead, err := c.aead(ctx)
	if err != nil {
		return nil, fmt.Errorf("sealing share: %w", err)
	}
	// A zero nonce is right here and only here: the key is derived for this
	// one context, in which there is one plaintext.
	return aead.Seal(nil, make([]byte, aead.NonceSize()), share.Bytes(), nil), nil
}

// Open returns the share, which the caller wipes; ErrSealed if it was not
// sealed on this channel in this very context.
func (c *Channel) Open(ctx ShareContext, sealed []byte) (*secrets.Secret, error) {
	if len(sealed) != SealedSize {
		return nil, fmt.Errorf("opening share of %s: %d bytes, want %d: %w", ctx.Role, len(sealed), SealedSize, ErrSealed)
	}
	aead, err := c.aead(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening share of %s: %w", ctx.Role, err)
	}
	b, err := aead.Open(nil, make([]byte, aead.NonceSize()), sealed, nil)
	if err != nil {
		return nil, fmt.Errorf("opening share of %s: %w", ctx.Role, ErrSealed)
	}
	scratch.Hold(b)
	defer clear(b)
	return secrets.NewSecret(b), nil
}

// aead returns AES-256-GCM under the key of one context:
//
//	HKDF-SHA256(channel secret, salt = deployment id, info = context), 32 bytes
//
// A role may seal its own shares only: a context that names another role than
// the channel's is refused on both sides.
func (c *Channel) aead(ctx ShareContext) (cipher.AEAD, error) {
	info, err := ctx.encode()
	if err != nil {
		return nil, err
	}
	if ctx.Role != c.info.Role {
		return nil, fmt.Errorf("share of role %q on the channel of %q: %w", ctx.Role, c.info.Role, ErrSealed)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.base == nil {
		return nil, ErrWiped
	}
	key, err := hkdf.Expand(sha256.New, c.base.Bytes(), string(info), secrets.Size)
	if err != nil {
		return nil, err
	}
	scratch.Hold(key)
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Wipe overwrites the channel's secret; nothing seals or opens afterwards. It
// is safe to call twice and on nil.
func (c *Channel) Wipe() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base.Wipe()
	c.base = nil
}
