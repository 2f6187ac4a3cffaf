package transaction_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
)

var deployment = message.Sum([]byte("a deployment"))

const requestID = "0196f0a1-7c00-7000-8000-000000000001"

// descriptors is a store of stored descriptors that the tests may forge.
type descriptors struct{ wallets, accounts map[string][]byte }

func (d descriptors) WalletDescriptor(_ context.Context, id string) ([]byte, error) {
	return find(d.wallets, id)
}

func (d descriptors) AccountDescriptor(_ context.Context, id string) ([]byte, error) {
	return find(d.accounts, id)
}

func find(rows map[string][]byte, id string) ([]byte, error) {
	if b, ok := rows[id]; ok {
		return b, nil
	}
	return nil, transaction.ErrNoRecord
}

func roles() []string { return []string{"authorization", "fraud", "approval"} }

func interpreter(d transaction.Descriptors) transaction.Interpreter {
	return transaction.Interpreter{
		Deployment: deployment, Roles: roles(), Generation: 2,
		Chains: map[string]transaction.Chain{ethereum.Namespace: ethereum.New()}, Descriptors: d,
	}
}

// statement writes a statement's bytes; changes with nil remove a member.
func statement(t testing.TB, kind message.Kind, changes map[string]any) []byte {
	t.Helper()
	members := map[string]any{
		"id": requestID, "audience": deployment.String(), "kind": string(kind), "expires": "2026-03-01T12:00:00Z",
	}
	maps.Copy(members, changes)
	maps.DeleteFunc(members, func(_ string, v any) bool { return v == nil })
	b, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func walletCreate(t testing.TB, changes map[string]any) []byte {
	t.Helper()
	payload := map[string]any{"owner": "alice", "seed_type": "raw", "source": "software", "label": "treasury"}
	maps.Copy(payload, changes)
	return statement(t, message.KindWalletCreate, map[string]any{"payload": payload})
}

func accountCreate(t testing.TB, wallet string, changes map[string]any) []byte {
	t.Helper()
	payload := map[string]any{"chain": "eip155:1", "curve": "secp256k1", "path": "m/44'/60'/0'/0/0", "label": ""}
	maps.Copy(payload, changes)
	return statement(t, message.KindAccountCreate, map[string]any{"wallet": wallet, "payload": payload})
}

// fixture is a wallet with one account of generation 1.
type fixture struct {
	store           descriptors
	wallet, account string
	walletBytes     []byte
	accountBytes    []byte
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := message.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func stored(t testing.TB) fixture {
	t.Helper()
	create, createAccount := message.Sum([]byte("create wallet")), message.Sum([]byte("create account"))
	wallet := message.WalletDescriptor{
		Version: 1, Deployment: deployment, ID: create.String(), Owner: "alice", Roles: roles(), Generation: 1,
		SeedType: "raw", Source: "software", Create: create,
	}
	f := fixture{wallet: wallet.ID, account: createAccount.String(), walletBytes: encode(t, wallet)}
	f.accountBytes = encode(t, accountDescriptor(f))
	f.store = descriptors{map[string][]byte{f.wallet: f.walletBytes}, map[string][]byte{f.account: f.accountBytes}}
	return f
}

// publicKey is the compressed generator of secp256k1, the key of 1.
const publicKey = "Anm-Zn753LusVaBilc6HCwcCm_zbLc4o2VnygVsW-BeY"

func accountDescriptor(f fixture) message.AccountDescriptor {
	create, _ := message.ParseHash(f.account)
	var key message.Bytes
	_ = key.UnmarshalText([]byte(publicKey))
	return message.AccountDescriptor{
		Version: 1, Deployment: deployment, ID: f.account, Owner: "alice", Roles: roles(), Generation: 1,
		SeedType: "raw", Source: "software", Create: create, Wallet: f.wallet, WalletHash: message.Sum(f.walletBytes),
		Chain: "eip155:1", Curve: "secp256k1", Path: "m/44'/60'/0'/0/0",
		PublicKey: key, Address: "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf",
	}
}

func transfer(t testing.TB, f fixture, changes map[string]any) []byte {
	t.Helper()
	members := map[string]any{"wallet": f.wallet, "account": f.account, "payload": transferPayload()}
	maps.Copy(members, changes)
	return statement(t, message.KindEthereumTransaction, members)
}

func transferPayload() map[string]any {
	return map[string]any{
		"type": "eip1559", "nonce": "0", "gas_limit": "21000", "max_fee_per_gas": "10", "max_priority_fee_per_gas": "1",
		"to": "0x1111111111111111111111111111111111111111", "value": "5",
	}
}

func TestInterpretWalletCreate(t *testing.T) {
	raw := walletCreate(t, nil)
	m, err := interpreter(descriptors{}).Interpret(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	id := message.Sum(raw).String()
	if m.Wallet != id || m.WalletDescriptor.ID != id || m.WalletDescriptor.Owner != "alice" || m.Account != "" {
		t.Fatalf("meaning %+v", m)
	}
	if m.Descriptor != message.Sum(m.DescriptorBytes) || string(m.DescriptorBytes) != string(encode(t, m.WalletDescriptor)) {
		t.Fatal("the hash is not the descriptor's")
	}
	if want := (transaction.Release{Scope: message.ScopeSeed, ID: id, Generation: 2}); len(m.Releases) != 1 || m.Releases[0] != want {
		t.Fatalf("releases %+v", m.Releases)
	}
	if len(m.Digests) != 0 {
		t.Fatal("a creation has digests")
	}
}

func TestInterpretAccountCreate(t *testing.T) {
	f := stored(t)
	raw := accountCreate(t, f.wallet, nil)
	m, err := interpreter(f.store).Interpret(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	account := message.Sum(raw).String()
	want := []transaction.Release{
		{Scope: message.ScopeSeed, ID: f.wallet, Generation: 1}, {Scope: message.ScopeAccount, ID: account, Generation: 2},
	}
	if m.Account != account || len(m.Releases) != 2 || m.Releases[0] != want[0] || m.Releases[1] != want[1] {
		t.Fatalf("account %s, releases %+v", m.Account, m.Releases)
	}
	if m.Descriptor != message.Sum(f.walletBytes) {
		t.Fatal("the hash is not the stored wallet descriptor's")
	}
}

func TestInterpretTransaction(t *testing.T) {
	f := stored(t)
	m, err := interpreter(f.store).Interpret(t.Context(), transfer(t, f, nil))
	if err != nil {
		t.Fatal(err)
	}
	// A signature never opens the seed.
	if want := (transaction.Release{Scope: message.ScopeAccount, ID: f.account, Generation: 1}); len(m.Releases) != 1 || m.Releases[0] != want {
		t.Fatalf("releases %+v", m.Releases)
	}
	if m.Descriptor != message.Sum(f.accountBytes) || len(m.Digests) != 1 || len(m.Effects.Moves) != 1 {
		t.Fatalf("meaning %+v", m)
	}
	again, err := interpreter(f.store).Interpret(t.Context(), transfer(t, f, nil))
	if err != nil || string(again.Digests[0].Value) != string(m.Digests[0].Value) {
		t.Fatal("two services compute two digests")
	}
}

// TestAttackJSONTwoMeanings: statements that two parsers read differently.
func TestAttackJSONTwoMeanings(t *testing.T) {
	good := string(walletCreate(t, nil))
	edit := func(old, replacement string) string { return strings.Replace(good, old, replacement, 1) }
	for name, raw := range map[string]string{
		"fail/member twice":         edit(`{`, `{"kind":"account.create",`),
		"fail/payload member twice": edit(`"owner":"alice"`, `"owner":"bob","owner":"alice"`),
		"fail/member in other case": edit(`"kind"`, `"Kind"`),
		"fail/payload other case":   edit(`"owner"`, `"Owner"`),
		"fail/unknown member":       edit(`{`, `{"approved":true,`),
		"fail/unknown in payload":   edit(`"owner"`, `"roles":[],"owner"`),
		"fail/trailing bytes":       good + "{}",
		"fail/trailing NUL":         good + "\x00",
		"fail/byte order mark":      "\xef\xbb\xbf" + good,
		"fail/bad UTF-8":            edit("treasury", "\xff"),
		"fail/lone surrogate":       edit("treasury", `\ud800`),
		"fail/payload an array":     edit(`"payload":{`, `"payload":[{`),
		"fail/payload a string":     `{"id":"` + requestID + `","audience":"` + deployment.String() + `","kind":"wallet.create","expires":"2026-03-01T12:00:00Z","payload":"{}"}`,
		"fail/owner a number":       edit(`"alice"`, `1.0`),
		"fail/deeply nested":        edit(`"alice"`, strings.Repeat("[", 20000)+strings.Repeat("]", 20000)),
		"fail/empty":                "",
		"fail/too long":             edit("treasury", strings.Repeat("x", message.MaxStatement)),
	} {
		t.Run(name, func(t *testing.T) {
			if raw == good {
				t.Fatal("the attack changes nothing")
			}
			_, err := interpreter(descriptors{}).Interpret(t.Context(), []byte(raw))
			if !errors.Is(err, transaction.ErrPayload) {
				t.Fatalf("got %v, want ErrPayload", err)
			}
		})
	}
}

// TestAttackRequestTypeConfusion: kinds that skip a check do not exist.
func TestAttackRequestTypeConfusion(t *testing.T) {
	f := stored(t)
	payload := transferPayload()
	for name, raw := range map[string][]byte{
		"fail/unknown kind":          statement(t, "ethereum.sign", map[string]any{"wallet": f.wallet, "account": f.account, "payload": payload}),
		"fail/internal kind":         statement(t, "result", map[string]any{"payload": payload}),
		"fail/empty kind":            statement(t, "", map[string]any{"payload": payload}),
		"fail/kind in other case":    statement(t, "Wallet.Create", map[string]any{"payload": payload}),
		"fail/transaction unbound":   statement(t, message.KindEthereumTransaction, map[string]any{"payload": payload}),
		"fail/creation with account": statement(t, message.KindWalletCreate, map[string]any{"account": f.account, "payload": payload}),
		"fail/transfer's payload":    statement(t, message.KindWalletCreate, map[string]any{"payload": payload}),
		"fail/creation's payload":    transfer(t, f, map[string]any{"payload": map[string]any{"owner": "alice"}}),
		"fail/message as transfer":   transfer(t, f, map[string]any{"payload": map[string]any{"text": "hello"}}),
		"fail/digest given":          transfer(t, f, map[string]any{"payload": map[string]any{"digest": strings.Repeat("00", 32)}}),
		"fail/other deployment":      transfer(t, f, map[string]any{"audience": message.Sum([]byte("another")).String()}),
		"fail/no payload":            transfer(t, f, map[string]any{"payload": nil}),
		"fail/id not a UUIDv7":       transfer(t, f, map[string]any{"id": "0196f0a1-7c00-4000-8000-000000000001"}),
	} {
		t.Run(name, func(t *testing.T) {
			m, err := interpreter(f.store).Interpret(t.Context(), raw)
			if !errors.Is(err, transaction.ErrPayload) {
				t.Fatalf("got %v, want ErrPayload", err)
			}
			if len(m.Releases) != 0 || len(m.Digests) != 0 {
				t.Fatalf("a refused statement releases %+v, digests %+v", m.Releases, m.Digests)
			}
		})
	}
}

// TestAttackWalletCreateAbuse: what a creation's payload may not say.
func TestAttackWalletCreateAbuse(t *testing.T) {
	for name, changes := range map[string]map[string]any{
		"fail/no owner":           {"owner": ""},
		"fail/long owner":         {"owner": strings.Repeat("a", 129)},
		"fail/long label":         {"label": strings.Repeat("a", 129)},
		"fail/unknown seed type":  {"seed_type": "mnemonic"},
		"fail/unknown source":     {"source": "mine"},
		"fail/seed given":         {"seed": "00"},
		"fail/newline in label":   {"label": "a\nb"},
		"fail/text turned round":  {"label": "a\u202eb"},
		"fail/invisible in owner": {"owner": "al\u200bice"},
		"fail/NUL in owner":       {"owner": "alice\x00"},
	} {
		if _, err := interpreter(descriptors{}).Interpret(t.Context(), walletCreate(t, changes)); !errors.Is(err, transaction.ErrPayload) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAttackDerivationPathOfAccount: abuse that only a whole request can try.
func TestAttackDerivationPathOfAccount(t *testing.T) {
	f := stored(t)
	for name, changes := range map[string]map[string]any{
		"fail/first level not hardened": {"path": "m/0/0'"},
		"fail/wrong curve of the chain": {"curve": "ed25519", "path": "m/44'/60'"},
		"fail/unknown curve":            {"curve": "p256"},
		"fail/h for hardened":           {"path": "m/44h/60h/0h/0/0"},
		"fail/index 2^31":               {"path": "m/2147483648'"},
		"fail/no path":                  {"path": ""},
		"fail/chain zero":               {"chain": "eip155:0"},
		"fail/chain without reference":  {"chain": "eip155:"},
		"fail/chain in other form":      {"chain": "eip155:01"},
		"fail/unknown namespace":        {"chain": "bip122:000000000019d6689c085ae165831e93"},
		"fail/no chain":                 {"chain": ""},
		"fail/public key given":         {"public_key": publicKey},
	} {
		if _, err := interpreter(f.store).Interpret(t.Context(), accountCreate(t, f.wallet, changes)); !errors.Is(err, transaction.ErrPayload) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAttackDescriptorMoved: a stored descriptor that is another row's, another
// deployment's or another role set's is no basis for a decision.
func TestAttackDescriptorMoved(t *testing.T) {
	f := stored(t)
	// The good descriptor is remembered, and of no use to a changed one.
	in := interpreter(f.store)
	in.Accounts = transaction.NewAccounts(1)
	if _, err := in.Interpret(t.Context(), transfer(t, f, nil)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*message.AccountDescriptor){
		"fail/other id":         func(a *message.AccountDescriptor) { a.ID = f.wallet },
		"fail/other creation":   func(a *message.AccountDescriptor) { a.Create = message.Sum(nil) },
		"fail/other wallet":     func(a *message.AccountDescriptor) { a.Wallet = f.account },
		"fail/other deployment": func(a *message.AccountDescriptor) { a.Deployment = message.Sum(nil) },
		"fail/role missing":     func(a *message.AccountDescriptor) { a.Roles = a.Roles[1:] },
		"fail/roles reordered":  func(a *message.AccountDescriptor) { a.Roles = []string{"fraud", "authorization", "approval"} },
		"fail/no roles":         func(a *message.AccountDescriptor) { a.Roles = nil },
		"fail/other version":    func(a *message.AccountDescriptor) { a.Version = 2 },
	} {
		d := accountDescriptor(f)
		change(&d)
		f.store.accounts[f.account] = encode(t, d)
		_, err := in.Interpret(t.Context(), transfer(t, f, nil))
		if !errors.Is(err, transaction.ErrDescriptor) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, raw := range map[string][]byte{
		"fail/white space":    append(f.accountBytes, ' '),
		"fail/wallet's bytes": f.walletBytes,
		"fail/empty":          {},
	} {
		f.store.accounts[f.account] = raw
		if _, err := in.Interpret(t.Context(), transfer(t, f, nil)); !errors.Is(err, transaction.ErrDescriptor) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.store.wallets[f.wallet] = []byte(strings.Replace(string(f.walletBytes), "alice", "mallory", 1) + "\n")
	if _, err := interpreter(f.store).Interpret(t.Context(), accountCreate(t, f.wallet, nil)); !errors.Is(err, transaction.ErrDescriptor) {
		t.Errorf("fail/wallet row rewritten: %v", err)
	}
}

// TestMissingRecord is told apart from a bad request: it may arrive later.
func TestMissingRecord(t *testing.T) {
	f := stored(t)
	for name, raw := range map[string][]byte{
		"wallet":  accountCreate(t, f.account, nil),
		"account": transfer(t, f, map[string]any{"account": f.wallet}),
	} {
		if _, err := interpreter(f.store).Interpret(t.Context(), raw); !errors.Is(err, transaction.ErrNoRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// failing is a database that is away.
type failing struct{}

var errAway = errors.New("the database is away")

func (failing) WalletDescriptor(context.Context, string) ([]byte, error)  { return nil, errAway }
func (failing) AccountDescriptor(context.Context, string) ([]byte, error) { return nil, errAway }

// TestDatabaseErrorIsNoRejection: none of the final errors, so that the request
// is tried again.
func TestDatabaseErrorIsNoRejection(t *testing.T) {
	f := stored(t)
	for _, raw := range [][]byte{accountCreate(t, f.wallet, nil), transfer(t, f, nil)} {
		_, err := interpreter(failing{}).Interpret(t.Context(), raw)
		if !errors.Is(err, errAway) || errors.Is(err, transaction.ErrPayload) || errors.Is(err, transaction.ErrDescriptor) || errors.Is(err, transaction.ErrNoRecord) {
			t.Errorf("got %v", err)
		}
	}
}

// FuzzInterpret: no statement panics, and none that is refused releases
// anything.
func FuzzInterpret(f *testing.F) {
	fix := stored(f)
	f.Add(walletCreate(f, nil))
	f.Add(accountCreate(f, fix.wallet, nil))
	f.Add(transfer(f, fix, nil))
	in := interpreter(fix.store)
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := in.Interpret(context.Background(), raw)
		if err != nil {
			if len(m.Releases) != 0 || len(m.Digests) != 0 {
				t.Fatal("a refused statement means something")
			}
			return
		}
		if m.Freeze != nil || m.PolicyUpdate != nil || m.Statement.DryRun {
			if len(m.Releases) != 0 {
				t.Fatal("something is released for nothing")
			}
			return
		}
		if m.Descriptor != message.Sum(m.DescriptorBytes) || len(m.Releases) == 0 {
			t.Fatalf("meaning %+v", m)
		}
	})
}
