package message_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/document/activation"
	"github.com/countersign/countersign/policy/fraud"
	"github.com/countersign/countersign/policy/history"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
	"github.com/countersign/countersign/trust/attestation"
)

// row is one recorded row of a role's record chain.
type row struct {
	Seq  int64         `json:"seq"`
	Body message.Bytes `json:"body"`
	MAC  message.Hash  `json:"mac"`
}

// oldBodies are an entry of every kind of record, as the policy runtime and the
// fraud service wrote them when it knew limits of 24 hours and nothing else.
func oldBodies(t *testing.T) [][]byte {
	t.Helper()
	fact := `{"version":1,"envelope":"` + h("envelope").String() + `","wallet":"` + h("wallet").String() +
		`","time":"2026-11-21T12:00:00Z","amounts":[{"asset":"eip155:1/slip44:60","amount":"5"}]}`
	ref := string(encode(t, policyRef))
	return [][]byte{
		entry(`{"kind":"init","init":{"role":"fraud","generation":1,"identity":` + string(encode(t, jwk(t, 32))) + `,"time":"2026-11-21T12:00:00Z"}}`),
		entry(`{"kind":"policy","policy":` + ref + `},{"kind":"decider","body":` + string(encode(t, message.Bytes(fact))) + `}`),
		entry(`{"kind":"rejection","rejection":{"request":"` + requestID + `","envelope":"` + h("envelope").String() +
			`","statement":"` + h("statement").String() + `","reasons":[{"code":"limit_exceeded","detail":"2 of 1"}],"policy":` + ref +
			`,"expires":"2126-11-21T12:00:00Z","time":"2026-11-21T12:00:00Z"}}`),
	}
}

// sampleBodies are those, and what came since: what a role approved, in full, and
// a freeze.
func sampleBodies(t *testing.T) [][]byte {
	t.Helper()
	content := h("content")
	fact := `{"version":2,"envelope":"` + h("another envelope").String() + `","kind":"ethereum.transaction","user":"alice","wallet":"` +
		h("wallet").String() + `","account":"` + h("account").String() + `","time":"2026-11-21T12:00:00Z","expires":"2026-11-21T12:10:00Z",` +
		`"amounts":[{"asset":"eip155:1/slip44:60","amount":"5"}],` +
		`"movements":[{"account":"eip155:1:0x00000000000000000000000000000000000000aa","asset":"eip155:1/slip44:60","amount":"4"}],` +
		`"chain":"eip155:1","nonce":"7","fee":"1","content":` + string(encode(t, message.Bytes(content[:16]))) + `}`
	return append(oldBodies(t),
		entry(`{"kind":"decider","body":`+string(encode(t, message.Bytes(fact)))+`}`),
		entry(`{"kind":"freeze","freeze":{"request":"`+requestID+`","wallet":"`+h("wallet").String()+
			`","by":"approver:bob","reason":"lost phone","time":"2026-11-21T12:00:00Z"}}`))
}

func entry(records string) []byte { return []byte(`{"version":1,"records":[` + records + `]}`) }

// recordedKeyring is the fraud service's, from two secrets that everybody knows.
func recordedKeyring(t *testing.T, g message.Genesis, id message.Hash) *secrets.Keyring {
	t.Helper()
	branches := func(half secrets.Half) secrets.BranchFile {
		secret := h("recorded " + string(half))
		file, err := secrets.ParseSecretFile([]byte(`{"version":1,"half":"` + string(half) + `","generation":1,"secret":` +
			string(encode(t, message.Bytes(secret[:]))) + "}\n"))
		must(t, err)
		out, err := file.Split(message.RoleFraud, g.Roles)
		must(t, err)
		return out
	}
	k, err := secrets.NewKeyring(id, message.RoleFraud, g.Roles,
		secrets.Pair{Build: branches(secrets.HalfBuild), Deploy: branches(secrets.HalfDeploy)})
	must(t, err)
	return k
}

// A chain that a release ago was written is read on, by the MACs of its
// entries and by what is in them; today's code gives the same MACs.
func TestRecordedRecordEntries(t *testing.T) {
	for name, sample := range map[string]func(*testing.T) [][]byte{recordEntries: sampleBodies, oldRecordEntries: oldBodies} {
		t.Run(name, func(t *testing.T) { recordedEntries(t, name, sample(t)) })
	}
}

func recordedEntries(t *testing.T, name string, samples [][]byte) {
	t.Helper()
	genesis, id := recordedGenesis(t)
	keyring := recordedKeyring(t, genesis, id)
	b := recording(t, name, func() []byte {
		return encode(t, writeChain(t, databasetest.New(t), keyring, samples))
	})
	var rows []row
	must(t, message.Decode(b, &rows))
	db := databasetest.New(t)
	for _, r := range rows {
		_, err := db.Owner.ExecContext(t.Context(), "INSERT INTO countersign.record (role, seq, body, mac) VALUES ('fraud', $1, $2, $3)",
			r.Seq, []byte(r.Body), r.MAC[:])
		must(t, err)
	}
	service := fraudService(t, db, genesis, keyring)
	_ = service.Ready(t.Context()) // reads on; it is not ready, for there is no policy
	if entries, broken := service.Records(); entries != int64(len(rows)) || broken {
		t.Errorf("the service understands %d of %d entries, broken: %v", entries, len(rows), broken)
	}
	var bodies [][]byte
	for _, r := range rows {
		bodies = append(bodies, r.Body)
	}
	if today := writeChain(t, databasetest.New(t), keyring, bodies); !bytes.Equal(encode(t, today), b) {
		t.Errorf("today's code writes\n%s, a release ago it was\n%s", encode(t, today), b)
	}
	for i, body := range samples {
		if !bytes.Equal(body, bodies[i]) {
			t.Errorf("entry %d is\n%s, want\n%s", i+1, bodies[i], body)
		}
	}
}

// writeChain writes bodies to a role's chain and returns the rows.
func writeChain(t *testing.T, db *databasetest.DB, keyring *secrets.Keyring, bodies [][]byte) (out []row) {
	t.Helper()
	ctx := t.Context()
	chain, err := history.New(message.RoleFraud, keyring, db.As(message.RoleFraud), slog.New(slog.DiscardHandler))
	must(t, err)
	must(t, chain.Init(ctx, bodies[0]))
	must(t, chain.Append(ctx, bodies[1:]...))
	reader, err := history.New(message.RoleFraud, keyring, db.As(message.RoleFraud), slog.New(slog.DiscardHandler))
	must(t, err)
	must(t, reader.CatchUp(ctx, func(e history.Entry) error {
		out = append(out, row{Seq: e.Seq, Body: e.Body, MAC: e.MAC})
		return nil
	}))
	return out
}

// fraudService is the runtime that reads the fraud service's records.
func fraudService(t *testing.T, db *databasetest.DB, g message.Genesis, keyring *secrets.Keyring) *policy.Service {
	t.Helper()
	attester, err := attestation.New(nil)
	must(t, err)
	s, err := policy.New(policy.Config{
		Role: message.RoleFraud, Genesis: g, Deployment: keyring.Deployment(), Keyring: keyring,
		DB: db.As(message.RoleFraud), Queue: queue.New(db.As(message.RoleFraud), db.Config(message.RoleFraud), nil),
		Interpreter: transaction.Interpreter{
			Deployment: keyring.Deployment(), Roles: g.Roles, Generation: 1,
			Chains: map[string]transaction.Chain{"eip155": ethereum.New()}, Descriptors: unstored{},
		},
		Policy: inactive{}, Decider: fraud.New(nil), Attester: attester, Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	return s
}

// inactive are policies before version 1.
type inactive struct{}

func (inactive) Active() *document.Active                            { return nil }
func (inactive) Refresh(context.Context) (bool, error)               { return false, nil }
func (inactive) RequireAtLeast(message.PolicyRef)                    {}
func (inactive) Examine(context.Context, message.PolicyBundle) error { return activation.ErrInactive }

// unstored are descriptors of an empty database.
type unstored struct{ transaction.Descriptors }
