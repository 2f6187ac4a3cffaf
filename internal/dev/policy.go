package dev

import (
	"context"
	"fmt"
	"log/slog"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
)

// Assets of the development policy: ether on mainnet, Sepolia and the chains
// of `geth --dev` and anvil, and a token of six decimals.
var (
	ethers = []string{"eip155:1/slip44:60", "eip155:11155111/slip44:60", "eip155:1337/slip44:60", "eip155:31337/slip44:60"}
	tokens = []string{"eip155:1/erc20:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"}
)

// denied is where nothing may move to, for trying it out.
const denied = "0x000000000000000000000000000000000000dead"

// Amounts in base units.
const (
	oneEther      = "1000000000000000000"
	tenEther      = "10000000000000000000"
	hundredEther  = "100000000000000000000"
	tokens1000    = "1000000000"
	tokens10000   = "10000000000"
	tokens1000000 = "1000000000000"
)

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
		Version: 1, Deployment: m.id.String(), Services: identities,
		Users: []document.User{{
			ID: userID, Issuer: tokenIssuer, Subject: userID,
			Certificates: []string{m.certificate}, Keys: []message.JWK{user},
		}},
		Approvers: []document.Approver{{ID: approverID, Keys: []message.JWK{voter}}},
		Grants: []document.Grant{{
			Users: []string{userID},
			Kinds: []message.Kind{
				message.KindWalletCreate, message.KindAccountCreate,
				message.KindEthereumTransaction, message.KindEthereumMessage,
			},
			Wallets: []string{document.WalletsOwn},
		}},
		Fraud:    document.Fraud{Messages: true},
		Approval: document.Approval{Approvers: []string{approverID}, Quorum: 1},
	}
	for _, chain := range []string{"eip155:1", "eip155:11155111", "eip155:1337", "eip155:31337"} {
		doc.Fraud.Deny = append(doc.Fraud.Deny, chain+":"+denied)
	}
	if err := limit(doc, ethers, tenEther, hundredEther, oneEther); err != nil {
		return nil, err
	}
	return doc, limit(doc, tokens, tokens10000, tokens1000000, tokens1000)
}

// limit sets the most per transaction and per day, and the amount above which
// people must agree.
func limit(doc *document.Document, assets []string, once, daily, above string) error {
	var amounts [3]document.Amount
	for i, s := range []string{once, daily, above} {
		var err error
		if amounts[i], err = document.ParseAmount(s); err != nil {
			return err
		}
	}
	for _, asset := range assets {
		doc.Fraud.Limits = append(doc.Fraud.Limits, document.Limit{
			Wallet: document.WalletsAny, Asset: asset, PerTransaction: amounts[0], Per24Hours: amounts[1],
		})
		doc.Approval.Above = append(doc.Approval.Above, document.Threshold{Asset: asset, Amount: amounts[2]})
	}
	return nil
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
