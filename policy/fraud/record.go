package fraud

import (
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/exposure"
)

// record is what one approval adds to the role's chain: at Time, Amounts of
// Wallet were approved under the envelope. A later record of the same envelope
// takes the place of the earlier one.
//
//	{"version":1,"envelope":"<hash>","wallet":"<id>","time":"<RFC 3339>","amounts":[{"asset":"<CAIP-19>","amount":"<decimal>"}]}
type record struct {
	Version  int          `json:"version"`
	Envelope message.Hash `json:"envelope"`
	Wallet   string       `json:"wallet"`
	Time     message.Time `json:"time"`
	Amounts  []counted    `json:"amounts"`
}

type counted struct {
	Asset  string `json:"asset"`
	Amount string `json:"amount"`
}

func encodeRecord(envelope message.Hash, wallet string, at time.Time, amounts []exposure.Amount) ([]byte, error) {
	r := record{Version: message.Version, Envelope: envelope, Wallet: wallet, Time: message.At(at)}
	for _, a := range amounts {
		r.Amounts = append(r.Amounts, counted{a.Asset, a.Amount.String()})
	}
	return message.Encode(r)
}

// approved is a record as the ledger takes it.
type approved struct {
	envelope message.Hash
	at       int64         // seconds since 1970
	heard    time.Duration // when this process took it, by its watch
	amounts  map[key]*big.Int
}

func decodeRecord(body []byte) (approved, error) {
	var r record
	if err := message.Decode(body, &r); err != nil {
		return approved{}, err
	}
	if r.Version != message.Version || r.Envelope.IsZero() || r.Wallet == "" || r.Time.IsZero() {
		return approved{}, errors.New("version, envelope, wallet or time is wrong")
	}
	out := approved{envelope: r.Envelope, at: r.Time.Unix(), amounts: map[key]*big.Int{}}
	for _, c := range r.Amounts {
		k := key{r.Wallet, c.Asset}
		amount, err := parseSum(c.Amount)
		if err != nil || c.Asset == "" || out.amounts[k] != nil {
			return approved{}, fmt.Errorf("amount of asset %q is wrong or stands twice", c.Asset)
		}
		out.amounts[k] = amount
	}
	return out, nil
}

// maxDigits bounds a sum of amounts, which may be longer than one amount.
const maxDigits = 100

func parseSum(s string) (*big.Int, error) {
	if len(s) > maxDigits {
		return nil, document.ErrAmount
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok || n.Sign() < 0 || n.String() != s {
		return nil, document.ErrAmount
	}
	return n, nil
}
