package ethereum

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
)

// sender is what an account descriptor says of the one who signs.
type sender struct {
	chainID    uint64
	address    common.Address
	text       string // the address in its EIP-55 form
	chain      string // the CAIP-2 id
	compressed []byte // 33 bytes
	publicKey  []byte // 65 bytes, what recovery gives
}

// identify reads an account descriptor and holds its address against its
// public key, so that effects name the account that would really sign.
func identify(account message.AccountDescriptor) (sender, error) {
	if err := (Chain{}).CheckAccount(account.Chain, account.Curve); err != nil {
		return sender{}, err
	}
	id, err := parseChainID(account.Chain)
	if err != nil {
		return sender{}, err
	}
	key, err := crypto.DecompressPubkey(account.PublicKey)
	if err != nil {
		return sender{}, fmt.Errorf("%w: public key: %w", ErrAccount, err)
	}
	address := crypto.PubkeyToAddress(*key)
	if address.Hex() != account.Address {
		return sender{}, fmt.Errorf("%w: address is not the public key's", ErrAccount)
	}
	return sender{
		chainID: id, address: address, text: account.Address, chain: account.Chain,
		compressed: bytes.Clone(account.PublicKey), publicKey: crypto.FromECDSAPub(key),
	}, nil
}

// is reports whether the sender was read from what this descriptor says.
func (s sender) is(account message.AccountDescriptor) bool {
	return account.Curve == transaction.CurveSecp256k1 && account.Chain == s.chain &&
		account.Address == s.text && bytes.Equal(account.PublicKey, s.compressed)
}

// maxSenders bounds what is remembered, about 400 bytes for each.
const maxSenders = 10_000

// senders remembers what identify found, by everything that it reads: it is
// much work on a curve for what never changes. Errors are not remembered. Nil
// remembers nothing.
type senders struct {
	mu    sync.RWMutex
	known map[senderKey]sender
}

type senderKey struct{ chain, curve, address, publicKey string }

func newSenders() *senders { return &senders{known: map[senderKey]sender{}} }

func (s *senders) identify(account message.AccountDescriptor) (sender, error) {
	if s == nil {
		return identify(account)
	}
	key := senderKey{account.Chain, account.Curve, account.Address, string(account.PublicKey)}
	s.mu.RLock()
	who, ok := s.known[key]
	s.mu.RUnlock()
	if ok {
		return who, nil
	}
	who, err := identify(account)
	if err != nil {
		return sender{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.known {
		if len(s.known) < maxSenders {
			break
		}
		delete(s.known, k) // any one: map order is as good as another
	}
	s.known[key] = who
	return who, nil
}
