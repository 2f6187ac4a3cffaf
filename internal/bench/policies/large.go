package policies

import (
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// Sizes of the large document.
const (
	rules     = 200
	assets    = 20
	suppliers = 100
)

// Blocked is the name of the large document's list, whose file is Accounts.
const Blocked = "blocked"

// Large returns a document with 200 rules for fraud, of every sort that a rule
// can be, and a list of so many accounts by file. No rule denies a small payment.
func Large(expires time.Time, listed int) (*document.Document, *document.ListFile, error) {
	file, err := document.ReadList(Accounts(listed))
	if err != nil {
		return nil, nil, err
	}
	doc := &document.Document{
		Version: 1, Deployment: strings.Repeat("0", 64), Expires: document.At(expires),
		Users: []document.User{{ID: Payer}},
		Grants: []document.Grant{{
			Users: []string{Payer}, Kinds: []message.Kind{message.KindEthereumTransaction}, Wallets: []string{document.WalletsAny},
		}},
		Groups: []document.Group{{ID: "desk", Members: []string{Payer}}},
		Lists: []document.List{
			{ID: "suppliers", Entries: book()},
			{ID: Blocked, File: &document.File{SHA256: file.SHA256(), Entries: listed}},
		},
		Assets: []document.Asset{{ID: "eth", Asset: "eip155:1/slip44:60", Decimals: 18}},
	}
	for i := 1; i < assets; i++ {
		doc.Assets = append(doc.Assets, document.Asset{
			ID: fmt.Sprintf("token%d", i), Asset: fmt.Sprintf("eip155:1/erc20:0x%040x", i), Decimals: 6,
		})
	}
	for i := range rules {
		doc.Rules.Fraud = append(doc.Rules.Fraud, rule(i))
	}
	return doc, file, nil
}

// Payer is the user of the large document, and Chain where its accounts are.
const (
	Payer = "paula"
	Chain = "eip155:1"
)

// Receiver is the address of one of many whom the payer pays; the first of them
// are the document's suppliers.
func Receiver(i int) string { return fmt.Sprintf("0x%040x", 0xabc000+i) }

// Alike is another address with the first and last digits of a receiver's.
func Alike(i int) string {
	address := Receiver(i)
	return address[:10] + "a11ce" + address[15:]
}

func book() (out []document.Entry) {
	since := document.Time{Time: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)}
	for i := range suppliers {
		out = append(out, document.Entry{Account: Chain + ":" + Receiver(i), Label: fmt.Sprintf("supplier %d", i), Since: since})
	}
	return out
}

// sorts are the sorts of rule that the large document is made of, for an asset.
var sorts = []struct {
	effect document.Effect
	when   string
}{
	{document.EffectAllow, `member("desk", user.id) && tx.amounts.all(a, a.asset in [asset("eth"), asset("%[1]s")])`},
	{document.EffectDeny, `amount_of(asset("%[1]s")) > units("%[1]s", "1000000")`},
	{document.EffectDeny, `history.sum("wallet", asset("%[1]s"), duration("24h")) + amount_of(asset("%[1]s")) > units("%[1]s", "9000000")`},
	{document.EffectDeny, `history.sum("user", asset("%[1]s"), duration("168h")) + amount_of(asset("%[1]s")) > units("%[1]s", "90000000")`},
	{document.EffectDeny, `history.count("account", duration("1h")) >= 100000`},
	{document.EffectDeny, `signal.listed("blocked")`},
	{document.EffectDeny, `tx.moves.exists(m, m.asset == asset("%[1]s") && !listed("suppliers", m.to) && m.amount > units("%[1]s", "500000"))`},
	{document.EffectDeny, `tx.allowances.exists(a, a.unlimited || a.amount > units("%[1]s", "1000"))`},
	{document.EffectDeny, `signal.unusual("wallet", 12.0) && signal.lookalike() && amount_of(asset("%[1]s")) > units("%[1]s", "100")`},
	{document.EffectDeny, `tx.gas_limit > 500000u || tx.fee_per_gas > units("eth", "0.000001") || tx.data_size > 10000`},
}

func rule(i int) document.Rule {
	name := "eth"
	if n := i / len(sorts); n > 0 {
		name = fmt.Sprintf("token%d", n%assets)
		if n%assets == 0 {
			name = "eth"
		}
	}
	s := sorts[i%len(sorts)]
	when := s.when
	if strings.Contains(when, "%[1]s") {
		when = fmt.Sprintf(when, name)
	}
	return document.Rule{
		ID: fmt.Sprintf("rule-%d", i), Effect: s.effect, Kinds: []message.Kind{message.KindEthereumTransaction},
		When: when, Reason: "the benchmark's",
	}
}

// Accounts returns the file of a list of so many accounts.
func Accounts(n int) []byte {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "%s:0x%040x\n", Chain, 0x5a00000000+i)
	}
	return []byte(out.String())
}
