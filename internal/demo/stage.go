package main

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/google/uuid"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/deployment"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/transaction"
)

// Who receives what in the demo.
const (
	friend = "0x00000000000000000000000000000000000000a1"
	denied = "0x000000000000000000000000000000000000dead"

	small = "10000000000000000"   // 0.01 ether: signed by itself
	large = "2000000000000000000" // 2 ether: a person must agree
)

// requestLife is how long the demo's requests stay open, answerWithin how long
// one may take to end.
const (
	requestLife  = 10 * time.Minute
	answerWithin = 30 * time.Second
)

// stage is a deployment with the people who use and attack it.
type stage struct {
	*deployment.Running
	rows      *table
	user      *client.Client
	superuser *sql.DB

	wallet  string
	account string
	address common.Address
	nonce   int
}

func newStage(ctx context.Context, d *deployment.Running) (*stage, error) {
	s := &stage{Running: d, rows: &table{began: time.Now()}}
	var err error
	if s.user, err = d.Client(); err != nil {
		return s, err
	}
	s.superuser, err = d.Superuser(ctx)
	return s, err
}

func (s *stage) close() {
	if s.superuser != nil {
		_ = s.superuser.Close()
	}
}

// transfer is the payload of a plain transfer.
type transfer struct {
	Type        string `json:"type"`
	Nonce       string `json:"nonce"`
	GasLimit    string `json:"gas_limit"`
	MaxFee      string `json:"max_fee_per_gas"`
	MaxPriority string `json:"max_priority_fee_per_gas"`
	To          string `json:"to"`
	Value       string `json:"value"`
}

// submit sends a request and returns it when it has ended or waits for people.
func (s *stage) submit(ctx context.Context, kind message.Kind, payload any) (api.Request, time.Duration, error) {
	wallet, account := s.wallet, s.account
	if kind == message.KindWalletCreate {
		wallet, account = "", ""
	}
	if kind == message.KindAccountCreate {
		account = ""
	}
	statement, err := s.user.NewStatement(kind, wallet, account, payload, requestLife)
	if err != nil {
		return api.Request{}, 0, err
	}
	begin := time.Now()
	r, err := s.user.Submit(ctx, statement, time.Second)
	if err != nil {
		return r, 0, err
	}
	r, err = s.settle(ctx, r)
	return r, time.Since(begin), err
}

// settle waits until a request has ended or waits for people.
func (s *stage) settle(ctx context.Context, r api.Request) (api.Request, error) {
	for deadline := time.Now().Add(answerWithin); !r.Ended() && r.Status != message.StatusWaiting; {
		if time.Now().After(deadline) {
			return r, fmt.Errorf("request %s is still %s", r.ID, r.Status)
		}
		var err error
		if r, err = s.user.Wait(ctx, r.ID, time.Second); err != nil {
			return r, err
		}
	}
	return r, nil
}

// finish waits for the end of a request that waited for people.
func (s *stage) finish(ctx context.Context, id string) (api.Request, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return s.user.Watch(ctx, id, func(api.Request) error { return nil })
}

func (s *stage) send(ctx context.Context, to, amount string) (api.Request, time.Duration, error) {
	s.nonce++
	return s.submit(ctx, message.KindEthereumTransaction, transfer{
		Type: "eip1559", Nonce: fmt.Sprint(s.nonce - 1), GasLimit: "21000",
		MaxFee: "30000000000", MaxPriority: "1000000000", To: to, Value: amount,
	})
}

func (s *stage) makeWallet(ctx context.Context) (string, time.Duration, error) {
	r, took, err := s.submit(ctx, message.KindWalletCreate, message.WalletCreate{
		Owner: s.User, SeedType: transaction.SeedTypeRaw, Source: transaction.SourceSoftware, Label: "demo",
	})
	if err != nil {
		return "", 0, err
	}
	s.wallet = r.Wallet
	return "wallet " + short(r.Wallet), took, want(r, message.StatusDone)
}

func (s *stage) makeAccount(ctx context.Context) (string, time.Duration, error) {
	r, took, err := s.submit(ctx, message.KindAccountCreate, message.AccountCreate{
		Chain: "eip155:1", Curve: "secp256k1", Path: "m/44'/60'/0'/0/0", Label: "demo",
	})
	if err != nil {
		return "", 0, err
	}
	if err := want(r, message.StatusDone); err != nil {
		return "", 0, err
	}
	var out struct {
		Address string `json:"address"`
	}
	if err := json.Unmarshal(r.Result.Output, &out); err != nil {
		return "", 0, err
	}
	s.account, s.address = r.Account, common.HexToAddress(out.Address)
	return out.Address, took, nil
}

// checkSignature recovers the sender of a signed transaction: it must be the
// account, and the transaction must be the one that was asked for.
func (s *stage) checkSignature(r api.Request, to, amount string) error {
	if err := want(r, message.StatusSigned); err != nil {
		return err
	}
	var out struct {
		Raw string `json:"raw"`
	}
	if err := json.Unmarshal(r.Result.Output, &out); err != nil {
		return err
	}
	raw, err := hex.DecodeString(strings.TrimPrefix(out.Raw, "0x"))
	if err != nil {
		return err
	}
	var tx types.Transaction
	if err := tx.UnmarshalBinary(raw); err != nil {
		return err
	}
	sender, err := types.Sender(types.LatestSignerForChainID(big.NewInt(1)), &tx)
	if err != nil {
		return err
	}
	value, _ := new(big.Int).SetString(amount, 10)
	if sender != s.address || tx.To() == nil || *tx.To() != common.HexToAddress(to) || tx.Value().Cmp(value) != 0 {
		return errors.New("the signed transaction is not the one that was asked for")
	}
	return nil
}

// want turns another status into an error that tells the reasons.
func want(r api.Request, status message.Status) error {
	if r.Status == status {
		return nil
	}
	return fmt.Errorf("request %s is %s, not %s: %s", r.ID, r.Status, status, reasons(r))
}

// reasons are those of a request's end, in the roles' own words.
func reasons(r api.Request) string {
	if r.Result == nil {
		return ""
	}
	var out []string
	for _, reason := range r.Result.Reasons {
		out = append(out, fmt.Sprintf("%s: %s (%s)", reason.Role, reason.Detail, reason.Code))
	}
	return strings.Join(out, "; ")
}

func short(id string) string { return id[:8] + "…" }

func newID() string { return uuid.NewString() }
