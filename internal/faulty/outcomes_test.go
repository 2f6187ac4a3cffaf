package faulty_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/proposer/api"
)

// outcome is a kind of request with the end that it is to have.
type outcome struct {
	name string
	want message.Status
	// why is the code of one of the result's reasons, and by the role that it is
	// from; empty: any.
	why, by string
	// begin makes what the request needs, before anything breaks.
	begin func(w *world) attempt
}

// attempt is one request of an outcome.
type attempt struct {
	run func(ctx context.Context) (api.Request, error)
	// check looks at what came out when nothing breaks any more; nil: nothing
	// more is to be seen.
	check func(ctx context.Context, r api.Request) error
}

// Where transfers may go, and where they may not.
const (
	recipient = "0x00000000000000000000000000000000000000a1"
	denied    = "0x000000000000000000000000000000000000dead"
)

// outcomes begin with those of the short run.
var outcomes = []outcome{
	{name: "transfer signed", want: message.StatusSigned, begin: sending(transferTo(recipient, "1"))},
	{name: "message signed", want: message.StatusSigned, begin: sending(sign(message.KindEthereumMessage, map[string]string{"text": "faulty"}))},
	{name: "typed data signed", want: message.StatusSigned, begin: sending(permit)},
	{name: "transfer approved by a person", want: message.StatusSigned, begin: sending(transferTo(recipient, large))},
	{name: "wallet created", want: message.StatusDone, begin: sending(func(w *world) ask {
		return ask{kind: message.KindWalletCreate, payload: walletPayload(w.User)}
	})},
	{name: "account created", want: message.StatusDone, begin: sending(func(w *world) ask {
		path := fmt.Sprintf("m/44'/60'/0'/0/%d", w.nonce.Add(1))
		return ask{kind: message.KindAccountCreate, wallet: w.wallet, payload: accountPayload(path)}
	})},
	{name: "policy updated", want: message.StatusDone, begin: sending(func(w *world) ask {
		return ask{kind: message.KindPolicyUpdate, payload: w.bundle(w.newDocument())}
	})},
	{name: "dry run", want: message.StatusDone, begin: dryRun},
	{name: "rejected for want of a grant", want: message.StatusRejected, why: "not_granted", begin: sending(func(*world) ask {
		return ask{kind: message.KindWalletCreate, payload: walletPayload("somebody")}
	})},
	{name: "transfer rejected by fraud", want: message.StatusRejected, why: "rule_denies", by: message.RoleFraud, begin: sending(transferTo(denied, "1"))},
	{name: "transfer rejected by a person", want: message.StatusRejected, why: "rejected_by_approver", by: message.RoleApproval, begin: sending(waitingTransfer((*world).refuse))},
	{name: "transfer cancelled while it waits for people", want: message.StatusCancelled, why: "cancelled", begin: sending(waitingTransfer((*world).cancel))},
	{name: "transfer expired while it waits for people", want: message.StatusExpired, why: "expired", begin: expiring},
	{name: "wallet frozen", want: message.StatusDone, begin: freezeWallet},
	{name: "user frozen", want: message.StatusDone, begin: freezeUser},
}

// sending is an outcome whose attempts do nothing beside sending something.
func sending(what func(w *world) ask) func(*world) attempt {
	return func(w *world) attempt {
		a := what(w)
		return attempt{run: func(ctx context.Context) (api.Request, error) { return w.send(ctx, a) }}
	}
}

// sign asks for a signature by the world's account.
func sign(kind message.Kind, payload any) func(*world) ask {
	return func(w *world) ask {
		return ask{kind: kind, wallet: w.wallet, account: w.account, payload: payload}
	}
}

// transferTo is a transfer of which people approve where they are asked.
func transferTo(to, value string) func(*world) ask { return waiting(to, value, (*world).approve) }

// waitingTransfer is a transfer that waits for people, and what is done then.
func waitingTransfer(then func(*world, context.Context, string) error) func(*world) ask {
	return waiting(recipient, large, then)
}

func waiting(to, value string, then func(*world, context.Context, string) error) func(*world) ask {
	return func(w *world) ask {
		w.asked.add(value)
		a := sign(message.KindEthereumTransaction, transferPayload(w.nonce.Add(1), to, value))(w)
		a.waiting = func(ctx context.Context, id string) error { return then(w, ctx, id) }
		return a
	}
}

func transfer(to, value string) func(context.Context, *world) (api.Request, error) {
	return func(ctx context.Context, w *world) (api.Request, error) { return w.send(ctx, transferTo(to, value)(w)) }
}

// typedData is a permit for a little of the token of the development policy
// (EIP-2612).
var typedData = map[string]any{
	"types": map[string]any{
		"EIP712Domain": []map[string]string{
			{"name": "name", "type": "string"}, {"name": "version", "type": "string"},
			{"name": "chainId", "type": "uint256"}, {"name": "verifyingContract", "type": "address"},
		},
		"Permit": []map[string]string{
			{"name": "owner", "type": "address"}, {"name": "spender", "type": "address"}, {"name": "value", "type": "uint256"},
			{"name": "nonce", "type": "uint256"}, {"name": "deadline", "type": "uint256"},
		},
	},
	"primaryType": "Permit",
	"domain": map[string]any{
		"name": "USD Coin", "version": "2", "chainId": 1, "verifyingContract": "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48",
	},
}

// permit asks for a signature of typedData.
func permit(w *world) ask {
	data := maps.Clone(typedData)
	data["message"] = map[string]string{
		"owner": w.address, "spender": recipient, "value": "1", "nonce": fmt.Sprint(w.nonce.Add(1)), "deadline": "4000000000",
	}
	return sign(message.KindEthereumTypedData, map[string]any{"typed_data": data})(w)
}

// dryRun asks what would be decided about a transfer: each role would approve.
func dryRun(w *world) attempt {
	a := transferTo(recipient, "1")(w)
	a.dryRun = true
	return attempt{
		run: func(ctx context.Context) (api.Request, error) { return w.send(ctx, a) },
		check: func(_ context.Context, r api.Request) error {
			var out message.DryRun
			if err := json.Unmarshal(r.Result.Output, &out); err != nil {
				return err
			}
			would := 0
			for _, d := range out.Decisions {
				if d.Decision == message.WouldApprove {
					would++
				}
			}
			if roles := len(message.PolicyRoles()); would != roles || len(out.Decisions) != roles {
				return fmt.Errorf("the roles say %+v", out.Decisions)
			}
			return nil
		},
	}
}

// shortLife is how long a statement lives that is to expire.
const shortLife = 2 * time.Second

// expiring is a transfer that nobody votes on. Where the proposer is out of reach
// for the whole of a statement's life there is no request, and another is asked
// for.
func expiring(w *world) attempt {
	what := waitingTransfer(func(*world, context.Context, string) error { return nil })
	return attempt{run: func(ctx context.Context) (api.Request, error) {
		for {
			a := what(w)
			a.lifetime = shortLife
			r, err := w.send(ctx, a)
			if !errors.Is(err, errNotTaken) {
				return r, err
			}
		}
	}}
}

// freezeWallet freezes a wallet of its own: a later transfer of that wallet is
// rejected, one of another wallet is signed.
func freezeWallet(w *world) attempt {
	wallet := w.create(message.KindWalletCreate, "", walletPayload(w.User))["wallet"]
	account := w.create(message.KindAccountCreate, wallet, accountPayload("m/44'/60'/0'/0/0"))["account"]
	a := ask{kind: message.KindWalletFreeze, wallet: wallet, payload: message.WalletFreeze{Reason: "faulty"}, by: w.approver()}
	return attempt{
		run: func(ctx context.Context) (api.Request, error) { return w.send(ctx, a) },
		check: func(ctx context.Context, _ api.Request) error {
			frozen := transferTo(recipient, "1")(w)
			frozen.wallet, frozen.account = wallet, account
			if err := w.expect(ctx, frozen, outcome{want: message.StatusRejected, why: "frozen"}); err != nil {
				return err
			}
			return w.expect(ctx, transferTo(recipient, "1")(w), outcome{want: message.StatusSigned})
		},
	}
}

// freezeUser freezes the user: a later transfer of theirs is rejected. Then a
// policy document takes that back.
func freezeUser(w *world) attempt {
	a := ask{kind: message.KindUserFreeze, payload: message.UserFreeze{User: w.User, Reason: "faulty"}, by: w.approver()}
	return attempt{
		run: func(ctx context.Context) (api.Request, error) { return w.send(ctx, a) },
		check: func(ctx context.Context, r api.Request) error {
			if err := w.expect(ctx, transferTo(recipient, "1")(w), outcome{want: message.StatusRejected, why: "frozen"}); err != nil {
				return err
			}
			w.thawed = append(w.thawed, r.ID)
			w.push(ctx, w.newDocument())
			for { // until every service has heard of the document
				err := w.expect(ctx, transferTo(recipient, "1")(w), outcome{want: message.StatusSigned})
				if err == nil || ctx.Err() != nil {
					return err
				}
			}
		},
	}
}

// approver returns a client that signs as an approver does, and shows nothing
// else.
func (w *world) approver() *client.Client {
	w.Helper()
	pem, err := os.ReadFile(w.CA)
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		w.Fatalf("reading the CA: %v", err)
	}
	c, err := client.New(client.Config{BaseURL: w.Proposer, Roots: roots, Key: w.key(w.ApproverKey), Deployment: w.Deployment})
	if err != nil {
		w.Fatal(err)
	}
	return c
}

func (w *world) key(path string) ed25519.PrivateKey {
	w.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		w.Fatalf("%s is not PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		w.Fatal(err)
	}
	return key.(ed25519.PrivateKey)
}

// newDocument is the deployment's own policy document under the next version.
func (w *world) newDocument() []byte {
	w.Helper()
	raw, err := os.ReadFile(filepath.Join(w.Dir, "policy.yaml"))
	if err != nil {
		w.Fatal(err)
	}
	text := strings.Replace(string(raw), "version: 1\n", fmt.Sprintf("version: %d\n", w.version.Add(1)), 1)
	if len(w.thawed) > 0 {
		text += "\nthaw: [" + strings.Join(w.thawed, ", ") + "]\n"
	}
	return []byte(text)
}

// bundle signs a document with a quorum of the admins.
func (w *world) bundle(raw []byte) message.PolicyBundle {
	w.Helper()
	out := message.PolicyBundle{Document: raw}
	for _, admin := range []string{"ada", "ben"} {
		signature, err := document.Sign(raw, w.Deployment, w.key(filepath.Join(w.Dir, "keys", "admin-"+admin+".pem")))
		if err != nil {
			w.Fatal(err)
		}
		out.Signatures = append(out.Signatures, signature)
	}
	return out
}

// run runs a request to its end while nothing breaks.
func (w *world) run(o outcome) {
	w.Helper()
	a := o.begin(w)
	r, _ := w.end(o, a)
	w.check(o, a, r)
}

// end waits for a request's end and returns how long that took.
func (w *world) end(o outcome, a attempt) (api.Request, time.Duration) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), endWithin)
	defer cancel()
	began := time.Now()
	r, err := a.run(ctx)
	if err == nil {
		err = o.fits(r)
	}
	if err != nil {
		w.Errorf("%s: %v", o.name, err)
	}
	return r, time.Since(began)
}

// check looks at what came out of a request that has ended well.
func (w *world) check(o outcome, a attempt, r api.Request) {
	w.Helper()
	if a.check == nil || w.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(w.Context(), endWithin)
	defer cancel()
	if err := a.check(ctx, r); err != nil {
		w.Errorf("%s: %v", o.name, err)
	}
}

// expect sends something that is to have an outcome's end.
func (w *world) expect(ctx context.Context, a ask, o outcome) error {
	r, err := w.send(ctx, a)
	if err != nil {
		return err
	}
	return o.fits(r)
}

// fits says whether a request has ended as it was to.
func (o outcome) fits(r api.Request) error {
	if r.Status != o.want {
		return fmt.Errorf("ended as %s, want %s: %+v", r.Status, o.want, r.Result)
	}
	if o.why != "" && !slices.ContainsFunc(r.Result.Reasons, func(x message.RoleReason) bool {
		return x.Code == o.why && (o.by == "" || x.Role == o.by)
	}) {
		return fmt.Errorf("ended as %s, and not for %s by %s: %+v", r.Status, o.why, o.by, r.Result.Reasons)
	}
	return nil
}
