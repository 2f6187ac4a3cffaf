package deploymenttest

import (
	"context"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
)

// publicKey is secp256k1's generator: the public key of the private key 1,
// which every account made by AddAccount has.
const publicKey = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"

// Records holds descriptors in memory: a transaction.Descriptors. It is safe
// for concurrent use.
type Records struct {
	d        *Deployment
	mu       sync.Mutex
	wallets  map[string][]byte
	accounts map[string][]byte
	made     int
}

// Records returns an empty set of descriptors of this deployment.
func (d *Deployment) Records() *Records {
	return &Records{d: d, wallets: map[string][]byte{}, accounts: map[string][]byte{}}
}

// AddWallet makes the descriptor of a new wallet and returns its id.
func (r *Records) AddWallet(owner string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	create := r.newID()
	r.wallets[create.String()] = r.encode(message.WalletDescriptor{
		Version: message.Version, Deployment: r.d.ID, ID: create.String(), Owner: owner,
		Roles: r.d.Genesis.Roles, Generation: 1, SeedType: transaction.SeedTypeRaw,
		Source: transaction.SourceSoftware, Create: create,
	})
	return create.String()
}

// AddAccount makes the descriptor of a new Ethereum mainnet account of a
// wallet and returns its id and CAIP-10 account.
func (r *Records) AddAccount(wallet, owner string) (id, account string) {
	r.d.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	key, err := hex.DecodeString(publicKey)
	must(r.d.t, err)
	address, err := ethereum.New().Address("eip155:1", "secp256k1", key)
	must(r.d.t, err)
	create := r.newID()
	r.accounts[create.String()] = r.encode(message.AccountDescriptor{
		Version: message.Version, Deployment: r.d.ID, ID: create.String(), Owner: owner,
		Roles: r.d.Genesis.Roles, Generation: 1, SeedType: transaction.SeedTypeRaw,
		Source: transaction.SourceSoftware, Create: create, Wallet: wallet,
		WalletHash: message.Sum(r.wallets[wallet]), Chain: "eip155:1", Curve: "secp256k1",
		Path: "m/44'/60'/0'/0/0", PublicKey: key, Address: address,
	})
	return create.String(), "eip155:1:" + address
}

func (r *Records) newID() message.Hash {
	r.made++
	return message.Sum(fmt.Appendf(nil, "record %d", r.made))
}

func (r *Records) encode(v any) []byte {
	r.d.t.Helper()
	b, err := message.Encode(v)
	must(r.d.t, err)
	return b
}

// WalletDescriptor returns a wallet's descriptor.
func (r *Records) WalletDescriptor(_ context.Context, id string) ([]byte, error) {
	return r.find(r.wallets, id)
}

// AccountDescriptor returns an account's descriptor.
func (r *Records) AccountDescriptor(_ context.Context, id string) ([]byte, error) {
	return r.find(r.accounts, id)
}

func (r *Records) find(in map[string][]byte, id string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := in[id]
	if !ok {
		return nil, transaction.ErrNoRecord
	}
	return b, nil
}

// Interpreter interprets the deployment's requests with the descriptors of r.
func (d *Deployment) Interpreter(r transaction.Descriptors) transaction.Interpreter {
	return transaction.Interpreter{
		Deployment: d.ID, Roles: d.Genesis.Roles, Generation: 1,
		Chains:      map[string]transaction.Chain{"eip155": ethereum.New()},
		Descriptors: r,
	}
}

// Interpret computes what an envelope's statement means.
func (d *Deployment) Interpret(r *Records, env message.Envelope) transaction.Meaning {
	d.t.Helper()
	m, err := d.Interpreter(r).Interpret(context.Background(), env.Statement)
	must(d.t, err)
	return m
}

// Transfer is the payload of an ethereum.transaction that calls an address.
// Its highest fee is 21000 (or with data 100000) gas at 10 gwei.
type Transfer struct {
	To    string // 0x address
	Value string // wei, decimal
	Data  string // 0x hex; empty: none
}

// Fee is the highest fee of a Transfer without data, in wei.
const Fee = "210000000000000"

// Payload returns the JSON object's members.
func (t Transfer) Payload() map[string]any {
	p := map[string]any{
		"type": "eip1559", "nonce": "0", "gas_limit": "21000", "max_fee_per_gas": "10000000000",
		"max_priority_fee_per_gas": "1000000000", "to": t.To, "value": t.Value,
	}
	if t.Data != "" {
		p["data"], p["gas_limit"] = t.Data, "100000"
	}
	return p
}

// Ask returns the envelope of a statement by alice, good for an hour, on a wallet and account.
func (d *Deployment) Ask(kind message.Kind, wallet, account string, payload any, now time.Time) message.Envelope {
	d.t.Helper()
	return d.Envelope(d.Statement(kind, wallet, account, payload, now.Add(time.Hour)), d.UserKey, now)
}
