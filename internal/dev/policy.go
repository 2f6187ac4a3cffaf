package dev

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
)

// devAsset is an asset of the development policy, with amounts in whole units:
// above ask people must agree; once is the limit of one transaction, daily that
// of a wallet in 24 hours.
type devAsset struct {
	document.Asset
	ask, once, daily string
}

// ether is an asset of 18 decimals.
func ether(id, chain string) devAsset {
	return devAsset{document.Asset{ID: id, Asset: chain + "/slip44:60", Decimals: 18}, "1", "10", "100"}
}

// devAssets are ether on mainnet, on Sepolia and on the chains of `geth --dev`
// and anvil, and a token of six decimals.
var devAssets = []devAsset{
	ether("ether", "eip155:1"), ether("sepolia-ether", "eip155:11155111"),
	ether("geth-ether", "eip155:1337"), ether("anvil-ether", "eip155:31337"),
	{
		document.Asset{ID: "usdc", Asset: "eip155:1/erc20:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", Decimals: 6},
		"1000", "10000", "1000000",
	},
}

// denied is where nothing may move to, for trying it out.
const denied = "0x000000000000000000000000000000000000dead"

// developmentPolicy lets alice do everything with wallets of her own: up to 10
// ether at once and 100 in a day and wallet, above 1 ether if bob agrees.
func developmentPolicy(m made, identities map[string][]message.JWK) (*document.Document, error) {
	user, err := message.NewJWK(m.user.Public())
	if err != nil {
		return nil, err
	}
	voter, err := message.NewJWK(m.voter.Public())
	if err != nil {
		return nil, err
	}
	doc := &document.Document{
		Version: 1, Deployment: m.id.String(), Services: identities, Expires: document.At(time.Now().AddDate(1, 0, 0)),
		Users: []document.User{{
			ID: userID, Issuer: tokenIssuer, Subject: userID,
			Certificates: []string{m.certificate}, Keys: []message.JWK{user},
		}},
		Approvers: []document.Approver{{ID: approverID, Keys: []message.JWK{voter}}},
		Grants: []document.Grant{
			{Users: []string{userID}, Kinds: walletKinds, Wallets: []string{document.WalletsOwn}},
			// Whoever carries a document decides nothing: the admins' signatures do.
			{Users: []string{userID}, Kinds: []message.Kind{message.KindPolicyUpdate}, Wallets: []string{document.WalletsAny}},
		},
		Rules:    developmentRules(),
		Approval: document.Approval{Approvers: []string{approverID}, Quorum: 1},
	}
	book := document.List{ID: "denied"}
	for _, chain := range []string{"eip155:1", "eip155:11155111", "eip155:1337", "eip155:31337"} {
		book.Entries = append(book.Entries, document.Entry{Account: chain + ":" + denied, Label: "for trying it out"})
	}
	doc.Lists = []document.List{book}
	for _, a := range devAssets {
		doc.Assets = append(doc.Assets, a.Asset)
	}
	return doc, nil
}

// walletKinds are what alice may ask for with wallets of her own.
var walletKinds = []message.Kind{
	message.KindWalletCreate, message.KindAccountCreate,
	message.KindEthereumTransaction, message.KindEthereumMessage, message.KindEthereumTypedData,
}

// moving are the kinds that can put an amount at risk.
var moving = []message.Kind{message.KindEthereumTransaction, message.KindEthereumTypedData}

// developmentRules are the simplest that use all three roles: what is granted
// may be asked for, fraud knows a list, the assets and their limits, and above a
// threshold people must agree.
func developmentRules() document.Rules {
	granted := document.Rule{
		ID: "granted", Effect: document.EffectAllow, When: "true",
		Kinds: append(slices.Clone(walletKinds), message.KindPolicyUpdate),
	}
	return document.Rules{
		Authorization: []document.Rule{granted},
		Fraud: []document.Rule{
			{
				ID: "deny-listed", Effect: document.EffectDeny, Kinds: moving,
				When:   `signal.listed("denied")`,
				Reason: "an account is on the deny list",
			}, {
				ID: "no-limit", Effect: document.EffectDeny, Kinds: moving,
				When: `!tx.amounts.all(a, a.asset in [` +
					ofEach(", ", func(a devAsset) string { return fmt.Sprintf(`asset(%q)`, a.ID) }) + `])`,
				Reason: "the policy has no limit for the asset",
			}, {
				ID: "over-transaction-limit", Effect: document.EffectDeny, Kinds: moving,
				When:   above(func(a devAsset) string { return a.once }),
				Reason: "it is more than the limit of one transaction",
			}, {
				ID: "over-24-hours-limit", Effect: document.EffectDeny, Kinds: moving,
				When: ofEach(" ||\n", func(a devAsset) string {
					return fmt.Sprintf(`history.sum("wallet", asset(%[1]q), duration("24h")) + amount_of(asset(%[1]q)) > units(%[1]q, %[2]q)`,
						a.ID, a.daily)
				}),
				Reason: "it is more than what is left of the wallet's limit of 24 hours",
			}, granted,
		},
		Approval: []document.Rule{
			{
				ID: "large", Effect: document.EffectAsk, Kinds: moving,
				When:   above(func(a devAsset) string { return a.ask }),
				Reason: "it is more than may be moved without people",
			}, granted,
		},
	}
}

// above is the condition that more of an asset is at risk than an amount of it.
func above(amount func(devAsset) string) string {
	return ofEach(" ||\n", func(a devAsset) string {
		return fmt.Sprintf(`amount_of(asset(%[1]q)) > units(%[1]q, %[2]q)`, a.ID, amount(a))
	})
}

func ofEach(between string, say func(devAsset) string) string {
	parts := make([]string, 0, len(devAssets))
	for _, a := range devAssets {
		parts = append(parts, say(a))
	}
	return strings.Join(parts, between)
}

// signPolicy writes the document and signs it with a quorum of the admins.
func signPolicy(l layout, m made, doc *document.Document) (message.PolicyBundle, *document.Active, error) {
	raw, err := yaml.Marshal(doc)
	if err != nil {
		return message.PolicyBundle{}, nil, fmt.Errorf("writing policy: %w", err)
	}
	if err := writeFile(l.policy(), raw); err != nil {
		return message.PolicyBundle{}, nil, fmt.Errorf("writing policy: %w", err)
	}
	bundle := message.PolicyBundle{Document: raw}
	for _, admin := range m.admins[:threshold] {
		signature, err := document.Sign(raw, m.id, admin)
		if err != nil {
			return bundle, nil, fmt.Errorf("signing policy: %w", err)
		}
		bundle.Signatures = append(bundle.Signatures, signature)
	}
	active, err := document.VerifyBundle(bundle, m.genesis, m.id)
	if err != nil {
		return bundle, nil, fmt.Errorf("checking policy: %w", err)
	}
	return bundle, active, nil
}

// pushPolicy stores the signed document as the operator does.
func pushPolicy(ctx context.Context, cfg database.Config, active *document.Active, log *slog.Logger) error {
	body, err := message.Encode(active.Bundle)
	if err != nil {
		return err
	}
	db, err := database.Open(cfg)
	if err != nil {
		return err
	}
	defer db.Close()
	q := queue.New(db, cfg, log)
	return q.Publish(ctx, queue.Notice{
		Topic: queue.TopicPolicy, Key: message.Sum(body).String(), Sender: secrets.ServiceOperator, Body: body,
	})
}
