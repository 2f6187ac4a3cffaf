package document_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

const (
	payee  = "eip155:1:0x00000000000000000000000000000000000000a1"
	thawed = "019400aa-0000-7000-8000-000000000001"
	token  = "0xabababababababababababababababababababab"
)

// names are a part of every section by which rules call things.
func names(x *document.Document) {
	x.Groups = []document.Group{{ID: "desk", Members: []string{"alice"}}, {ID: "officers", Members: []string{"bob"}}}
	x.Lists = []document.List{
		{ID: "book", Entries: []document.Entry{{Account: payee, Label: "payee one"}}},
		{ID: "none", Entries: []document.Entry{}},
		{ID: "sanctions", File: &document.File{SHA256: message.Sum(nil).String(), Entries: 1}},
	}
	x.Assets = []document.Asset{{ID: "eth", Asset: deploymenttest.Ether, Decimals: 18}}
	x.Calls = []document.Call{{Function: "swap(uint256 amount)"}, {Function: "swap(uint256 amount)", Contract: payee}}
	x.Thaw = []string{thawed}
	x.Rules = document.Rules{
		Authorization: []document.Rule{{ID: "all", Effect: document.EffectAllow, When: "true"}},
		Fraud:         []document.Rule{{ID: "all", Effect: document.EffectAllow, When: "true", UnknownCalls: true}},
		Approval: []document.Rule{
			{ID: "large", Effect: document.EffectAsk, Kinds: []message.Kind{message.KindEthereumTypedData, message.KindPolicyUpdate}, When: "true"},
			{ID: "own", Effect: document.EffectAsk, When: "true", Approvers: []string{"officers"}, Quorum: 1, UnknownCalls: true},
			{ID: "no", Effect: document.EffectDeny, When: "true", Reason: "because é"},
		},
	}
}

func TestValidateNamesAndRules(t *testing.T) {
	d := deploymenttest.New(t)
	type doc = *document.Document
	ask := func(x doc) *document.Rule { return &x.Rules.Approval[1] }
	asset := func(id string) func(doc) { return func(x doc) { x.Assets[0].Asset = id } }
	for name, tt := range map[string]struct {
		edit func(doc)
		want string // empty: valid
	}{
		"ok/all":                    {func(doc) {}, ""},
		"fail/group-id":             {func(x doc) { x.Groups[0].ID = "a b" }, `group "a b": id`},
		"fail/group-twice":          {func(x doc) { x.Groups[1].ID = "desk" }, "stands twice"},
		"fail/group-is-user":        {func(x doc) { x.Groups[0].ID = "alice" }, "has this id"},
		"fail/group-is-approver":    {func(x doc) { x.Groups[0].ID = "bob" }, "has this id"},
		"fail/group-member":         {func(x doc) { x.Groups[0].Members = []string{"eve"} }, `no user or approver "eve"`},
		"fail/group-member-twice":   {func(x doc) { x.Groups[0].Members = []string{"alice", "alice"} }, "stands twice"},
		"fail/list-twice":           {func(x doc) { x.Lists[1].ID = "book" }, "stands twice"},
		"fail/list-empty":           {func(x doc) { x.Lists[0].Entries = nil }, "either entries or a file"},
		"fail/list-both":            {func(x doc) { x.Lists[0].File = x.Lists[2].File }, "either entries or a file"},
		"fail/entry-checksum":       {func(x doc) { x.Lists[0].Entries[0].Account = strings.ToUpper(payee) }, "CAIP-10"},
		"fail/entry-short":          {func(x doc) { x.Lists[0].Entries[0].Account = "eip155:1:0xa1" }, "CAIP-10"},
		"fail/entry-twice":          {func(x doc) { x.Lists[0].Entries = append(x.Lists[0].Entries, x.Lists[0].Entries[0]) }, "stands twice"},
		"fail/entry-label":          {func(x doc) { x.Lists[0].Entries[0].Label = "a\u202eb" }, "not printable"},
		"fail/file-sha256":          {func(x doc) { x.Lists[2].File.SHA256 = strings.Repeat("A", 64) }, "64 lower-case hex"},
		"fail/file-entries-zero":    {func(x doc) { x.Lists[2].File.Entries = 0 }, "0 entries"},
		"fail/file-entries-many":    {func(x doc) { x.Lists[2].File.Entries = document.MaxListEntries + 1 }, "300001 entries"},
		"fail/asset-id":             {func(x doc) { x.Assets[0].ID = "" }, "id is not usable"},
		"fail/asset-form":           {func(x doc) { x.Assets[0].Asset = "ETH" }, "CAIP-19"},
		"fail/asset-case":           {func(x doc) { x.Assets[0].Asset = "eip155:1/erc20:0x" + strings.Repeat("AB", 20) }, "CAIP-19"},
		"fail/asset-short":          {func(x doc) { x.Assets[0].Asset = "eip155:1/erc20:0xab" }, "CAIP-19"},
		"fail/asset-chain":          {func(x doc) { x.Assets[0].Asset = "eip155:01/slip44:60" }, "CAIP-19"},
		"fail/asset-other-coin":     {asset("eip155:137/slip44:966"), "the native coin of every eip155 chain is slip44:60"},
		"fail/asset-other-standard": {asset("eip155:1/erc777:" + token), "erc20, erc721 or erc1155"},
		"fail/asset-all-items":      {asset("eip155:1/erc1155:" + token), "each item of an erc1155 contract is an asset of its own"},
		"fail/asset-token-item":     {asset("eip155:1/erc20:" + token + "/7"), "CAIP-19"},
		"fail/asset-coin-item":      {asset("eip155:1/slip44:60/7"), "CAIP-19"},
		"fail/asset-item-form":      {asset("eip155:1/erc721:" + token + "/07"), "CAIP-19"},
		"fail/asset-item-long":      {asset("eip155:1/erc1155:" + token + "/1" + strings.Repeat("0", 78)), "CAIP-19"},
		"ok/asset-coin":             {asset("eip155:137/slip44:60"), ""},
		"ok/asset-collection":       {asset("eip155:1/erc721:" + token), ""},
		"ok/asset-item":             {asset("eip155:1/erc721:" + token + "/0"), ""},
		"ok/asset-one-of-many":      {asset("eip155:1/erc1155:" + token + "/1" + strings.Repeat("0", 77)), ""},
		"ok/asset-elsewhere":        {asset("cosmos:hub-4/nft:abc/7"), ""},
		"fail/asset-two-names":      {func(x doc) { x.Assets = append(x.Assets, document.Asset{ID: "e", Asset: x.Assets[0].Asset}) }, "another name"},
		"fail/asset-decimals":       {func(x doc) { x.Assets[0].Decimals = 78 }, "decimals 78"},
		"fail/asset-decimals-below": {func(x doc) { x.Assets[0].Decimals = -1 }, "decimals -1"},
		"fail/call-empty":           {func(x doc) { x.Calls[0].Function = "" }, "function is missing"},
		"fail/call-contract":        {func(x doc) { x.Calls[1].Contract = "0x00" }, "CAIP-10"},
		"fail/call-twice":           {func(x doc) { x.Calls[1].Contract = "" }, "stands twice"},
		"fail/thaw":                 {func(x doc) { x.Thaw[0] = strings.ToUpper(thawed) }, "canonical"},
		"fail/thaw-v4":              {func(x doc) { x.Thaw[0] = "019400aa-0000-4000-8000-000000000001" }, "UUIDv7"},
		"fail/thaw-twice":           {func(x doc) { x.Thaw = append(x.Thaw, thawed) }, "stands twice"},
		"fail/rule-id":              {func(x doc) { ask(x).ID = "a/b" }, "id is not usable"},
		"fail/rule-twice":           {func(x doc) { ask(x).ID = "no" }, "stands twice"},
		"fail/rule-effect":          {func(x doc) { ask(x).Effect = "permit" }, `effect "permit"`},
		"fail/rule-no-effect":       {func(x doc) { ask(x).Effect = "" }, `effect ""`},
		"fail/ask-in-fraud":         {func(x doc) { x.Rules.Fraud[0].Effect = document.EffectAsk }, "only a rule of approval"},
		"fail/ask-in-authorization": {func(x doc) { x.Rules.Authorization[0].Effect = document.EffectAsk }, "only a rule of approval"},
		"fail/rule-kind":            {func(x doc) { ask(x).Kinds = []message.Kind{"ethereum.*"} }, "not known"},
		"fail/rule-kind-twice": {func(x doc) {
			ask(x).Kinds = []message.Kind{message.KindEthereumMessage, message.KindEthereumMessage}
		}, "stands twice"},
		"fail/rule-on-freeze":     {func(x doc) { ask(x).Kinds = []message.Kind{message.KindWalletFreeze} }, "not known"},
		"fail/grant-of-freeze":    {func(x doc) { x.Grants[0].Kinds = []message.Kind{message.KindUserFreeze} }, "not known"},
		"fail/when-empty":         {func(x doc) { ask(x).When = " \n" }, "when is missing"},
		"fail/when-long":          {func(x doc) { ask(x).When = strings.Repeat("x", document.MaxWhen+1) }, "when is missing or longer"},
		"fail/reason-long":        {func(x doc) { ask(x).Reason = strings.Repeat("x", 201) }, "reason is longer"},
		"fail/reason-control":     {func(x doc) { ask(x).Reason = "a\x1b[0m" }, "not printable"},
		"fail/deny-unknown-calls": {func(x doc) { x.Rules.Approval[2].UnknownCalls = true }, "without saying so"},
		"fail/deny-quorum":        {func(x doc) { x.Rules.Approval[2].Quorum = 1 }, "only a rule that asks"},
		"fail/allow-approvers":    {func(x doc) { x.Rules.Fraud[0].Approvers = []string{"bob"} }, "only a rule that asks"},
		"fail/approvers-alone":    {func(x doc) { ask(x).Quorum = 0 }, "go together"},
		"fail/quorum-alone":       {func(x doc) { ask(x).Approvers = nil }, "go together"},
		"fail/approver-unknown":   {func(x doc) { ask(x).Approvers = []string{"eve"} }, `no approver or group "eve"`},
		"fail/approver-twice":     {func(x doc) { ask(x).Approvers = []string{"bob", "bob"} }, "stands twice"},
		"fail/approver-is-user":   {func(x doc) { ask(x).Approvers = []string{"desk"} }, `"alice" of a group is no approver`},
		"fail/rule-quorum":        {func(x doc) { ask(x).Quorum = 2 }, "the 1 persons whom it asks"},
		"fail/rule-quorum-below":  {func(x doc) { ask(x).Quorum = -1 }, "quorum -1"},
		"fail/nobody-to-ask":      {func(x doc) { x.Approval.Approvers, x.Approval.Quorum = nil, 0 }, "neither it nor the section"},
		"fail/too-many": {func(x doc) {
			for i := range document.MaxRules {
				x.Rules.Fraud = append(x.Rules.Fraud, document.Rule{ID: fmt.Sprint("r", i), Effect: document.EffectAllow, When: "true"})
			}
		}, "more than 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			document := d.Document()
			names(document)
			tt.edit(document)
			err := document.Validate(d.Genesis)
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestQuorumOfOneHumanByGroup: two approver ids of one human in a group are one
// person.
func TestQuorumOfOneHumanByGroup(t *testing.T) {
	d := deploymenttest.New(t)
	x := d.Document()
	names(x)
	x.Approvers[0].User = "alice"
	x.Approvers = append(x.Approvers, document.Approver{
		ID: "rob", User: "alice", Keys: []message.JWK{deploymenttest.JWK(t, deploymenttest.Key(t))},
	})
	x.Groups[1].Members = []string{"bob", "rob"}
	x.Rules.Approval[1].Approvers, x.Rules.Approval[1].Quorum = []string{"officers", "rob"}, 2
	if err := x.Validate(d.Genesis); err == nil || !strings.Contains(err.Error(), "the 1 persons") {
		t.Fatalf("got %v", err)
	}
}

// TestUnknownApproverIsOneFault: who is not there is told once, not as somebody of
// a group and a missing person too.
func TestUnknownApproverIsOneFault(t *testing.T) {
	d := deploymenttest.New(t)
	x := d.Document()
	names(x)
	x.Rules.Approval[1].Approvers = []string{"eve"}
	if err := x.Validate(d.Genesis); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

// TestTwoHundredRulesFit into a document, and its bundle into a message.
func TestTwoHundredRulesFit(t *testing.T) {
	d := deploymenttest.New(t)
	bundle := d.Policy(func(x *document.Document) {
		x.Rules.Fraud = nil
		for i := range 200 {
			x.Rules.Fraud = append(x.Rules.Fraud, document.Rule{
				ID: fmt.Sprintf("desk-limit-%03d", i), Effect: document.EffectDeny, Kinds: []message.Kind{message.KindEthereumTransaction},
				When:   strings.Repeat("x", 400),
				Reason: "more than the desk may move in a day without the treasurer",
			})
		}
	})
	if _, err := document.VerifyBundle(bundle, d.Genesis, d.ID); err != nil {
		t.Fatal(err)
	}
	raw, err := message.Encode(bundle)
	if err != nil || len(raw) > message.MaxSize {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
}

func TestNames(t *testing.T) {
	d := deploymenttest.New(t)
	a := d.Active(names)
	if got := a.GroupsOf("alice"); len(got) != 1 || got[0] != "desk" || len(a.GroupsOf("eve")) != 0 {
		t.Errorf("groups of alice are %v", got)
	}
	if !a.Member("officers", "bob") || a.Member("officers", "alice") || a.Member("nobody", "bob") {
		t.Error("members are wrong")
	}
	eth, ok := a.Asset("eth")
	if by, found := a.AssetOf(deploymenttest.Ether); !ok || !found || by != eth || eth.Decimals != 18 {
		t.Errorf("asset is %+v", eth)
	}
	if _, ok := a.Asset(deploymenttest.Ether); ok {
		t.Error("a CAIP-19 id is an asset's id")
	}
	if e, ok := a.Entry("book", payee); !ok || e.Label != "payee one" || !a.Listed("book", payee) {
		t.Errorf("entry is %+v", e)
	}
	if a.Listed("none", payee) || a.Listed("sanctions", payee) || a.Listed("nothing", payee) {
		t.Error("it is listed where it is not")
	}
}

// TestCountFor: each rule that asks counts its own approvers' votes.
func TestCountFor(t *testing.T) {
	d := deploymenttest.New(t)
	key := deploymenttest.Key(t)
	active := d.Active(func(x *document.Document) {
		names(x)
		x.Approvers = append(x.Approvers, document.Approver{ID: "rob", Keys: []message.JWK{deploymenttest.JWK(t, key)}})
		x.Groups[1].Members = []string{"rob"}
	})
	v, want := voteOn(ask(t, d), active)
	bobs := d.Vote(v, d.ApproverKey)
	v.Approver = "rob"
	robs := d.Vote(v, key)
	for name, tt := range map[string]struct {
		approvers []string
		want      string
	}{
		"of-the-section": {nil, "[bob]"},
		"of-a-group":     {[]string{"officers"}, "[rob]"},
		"of-both":        {[]string{"officers", "bob"}, "[bob rob]"},
		"of-nobody":      {[]string{"nobody"}, "[]"},
	} {
		got := document.CountFor(active, []string{bobs, robs}, want, "alice", now, tt.approvers)
		if fmt.Sprint(got.Persons) != tt.want || got.Rejected {
			t.Errorf("%s: counted %v", name, got.Persons)
		}
	}
	v.Decision = message.Reject
	no := []string{d.Vote(v, key)}
	if !document.CountFor(active, no, want, "alice", now, []string{"officers"}).Rejected {
		t.Error("the rejection of one who was asked does not count")
	}
	if document.Count(active, no, want, "alice", now).Rejected {
		t.Error("the rejection of one who was not asked counts")
	}
	// Who is asked by a rule alone may vote only while there is that rule.
	none := d.Active(func(x *document.Document) {
		names(x)
		x.Approvers = append(x.Approvers, document.Approver{ID: "rob", Keys: []message.JWK{deploymenttest.JWK(t, key)}})
	})
	if _, _, ok := none.ApproverByKey(deploymenttest.JWK(t, key).Thumbprint()); ok {
		t.Error("an approver whom nothing names may vote")
	}
}
