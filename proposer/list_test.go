package proposer_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/queue"
)

// TestPayloadIsShown: who reads a request sees what was asked for; a list does not
// repeat it.
func TestPayloadIsShown(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	statement := w.statement()
	r := wantRequest(t, w.propose(statement), http.StatusAccepted)
	asked, err := message.ParseStatement(statement, w.d.ID)
	must(t, err)
	token := w.token(deploymenttest.User, nil)
	shown := wantRequest(t, w.get("/v1/requests/"+r.ID, token), http.StatusOK)
	if len(shown.Payload) == 0 || string(shown.Payload) != string(asked.Payload) {
		t.Errorf("payload is %s, want %s", shown.Payload, asked.Payload)
	}
	var page api.Requests
	must(t, message.DecodeStrict(w.get("/v1/requests", token).body, &page))
	if len(page.Requests) != 1 || page.Requests[0].Payload != nil {
		t.Errorf("list is %+v", page.Requests)
	}
}

func TestListPages(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	var ids []string
	for range 5 {
		ids = append(ids, wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID)
	}
	w.end(m, ids[2], nil)
	token := w.token(deploymenttest.User, nil)
	list := func(query string) (page api.Requests) {
		a := w.get("/v1/requests?"+query, token)
		must(t, message.DecodeStrict(a.body, &page))
		return page
	}
	var got []string
	for cursor := "limit=2"; ; {
		page := list(cursor)
		for _, r := range page.Requests {
			got = append([]string{r.ID}, got...)
		}
		if page.Next == "" {
			break
		}
		cursor = "limit=2&cursor=" + url.QueryEscape(page.Next)
	}
	if strings.Join(got, " ") != strings.Join(ids, " ") {
		t.Fatalf("got %v, want %v", got, ids)
	}
	if page := list("status=done&kind=wallet.create"); len(page.Requests) != 1 || page.Requests[0].ID != ids[2] {
		t.Fatalf("filter: %+v", page)
	}
	for i, consumer := range []string{message.RoleApproval, message.RoleSigning} {
		m.change(t, ids[i], func(v *queue.View) { v.Tasks = []queue.TaskView{{Consumer: consumer, State: "parked"}} })
	}
	if page := list("status=waiting"); len(page.Requests) != 1 || page.Requests[0].ID != ids[0] || page.Requests[0].Status != message.StatusWaiting {
		t.Fatalf("those that wait for people: %+v", page)
	}
	if page := list("limit=5"); page.Next != "" || len(page.Requests) != 5 {
		t.Fatalf("a full last page has a next one: %+v", page.Next)
	}
}

func TestWalletPages(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	for _, pair := range []string{"11", "22", "33"} {
		id := strings.Repeat(pair, 32)
		m.wallets[id] = message.WalletDescriptor{Version: 1, Deployment: w.d.ID, ID: id, Owner: deploymenttest.User, Roles: w.d.Genesis.Roles, Generation: 1, SeedType: "raw", Source: "software"}
		m.accounts[id] = message.AccountDescriptor{Version: 1, Deployment: w.d.ID, ID: id, Owner: deploymenttest.User, Generation: 1, Wallet: strings.Repeat("11", 32), Chain: "eip155:1", Curve: "secp256k1", Path: "m/44'", PublicKey: []byte{2}, Address: "0x"}
	}
	token := w.token(deploymenttest.User, nil)
	for _, path := range []string{"/v1/wallets", "/v1/wallets/" + strings.Repeat("11", 32) + "/accounts"} {
		count, query := 0, "?limit=2"
		for {
			a := w.get(path+query, token)
			var page struct {
				Wallets  []api.Wallet  `json:"wallets"`
				Accounts []api.Account `json:"accounts"`
				Next     string        `json:"next"`
			}
			must(t, message.DecodeStrict(a.body, &page))
			count += len(page.Wallets) + len(page.Accounts)
			if page.Next == "" {
				break
			}
			query = "?limit=2&cursor=" + page.Next
		}
		if count != 3 {
			t.Fatalf("%s: %d entries, want 3", path, count)
		}
	}
}
