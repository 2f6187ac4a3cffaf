package ethereum

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/big"
	"unicode"
	"unicode/utf8"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
)

// PersonalMessage is a decoded ethereum.message: EIP-191 version 0x45. Its
// prefix keeps the digest from ever being that of a transaction or of typed
// data, also where the message is a hash of one.
type PersonalMessage struct {
	from   sender
	text   []byte
	digest message.Digest
}

// messagePayload is the JSON of an ethereum.message: a text, of which the
// UTF-8 bytes are signed as they are, or bytes as 0x hex.
type messagePayload struct {
	Text *string `json:"text,omitempty"`
	Hex  *string `json:"hex,omitempty"`
}

func parseMessage(raw jsontext.Value, who sender) (*PersonalMessage, error) {
	var p messagePayload
	if err := decode(raw, &p); err != nil {
		return nil, err
	}
	text := []byte{}
	switch {
	case p.Text != nil && p.Hex == nil:
		text = append(text, *p.Text...)
	case p.Hex != nil && p.Text == nil:
		b, err := parseHex(*p.Hex)
		if err != nil {
			return nil, fmt.Errorf("hex: %w", err)
		}
		text = append(text, b...)
	default:
		return nil, fmt.Errorf("%w: want either text or hex", ErrPayload)
	}
	return &PersonalMessage{
		from: who, text: text,
		digest: message.Digest{Algorithm: message.AlgorithmSecp256k1, Value: personalDigest(text)},
	}, nil
}

// personalDigest is EIP-191 version 0x45:
//
//	keccak256(0x19 || "Ethereum Signed Message:\n" || decimal length || message)
func personalDigest(text []byte) []byte {
	prefix := fmt.Sprintf("\x19Ethereum Signed Message:\n%d", len(text))
	return crypto.Keccak256([]byte(prefix), text)
}

// Effects shows the message. A text moves nothing by itself; a hash may stand for
// anything: Safe wallets, order books and relayers take such a signature for one
// of what was hashed.
func (m *PersonalMessage) Effects() transaction.Effects {
	e := transaction.Effects{Message: m.text, Details: &transaction.Details{
		Form: "eip191", Chain: m.from.chain, From: AccountID(m.from.chainID, m.from.address),
	}}
	if isHash(m.text) {
		e.Unknown = []transaction.UnknownCall{{Value: new(big.Int), Size: len(m.text)}}
	}
	return e
}

// isHash says whether a message is 32 bytes, or 32 bytes in hex, or none that a
// person could read: packed numbers are mostly zeros, which is UTF-8 too.
func isHash(text []byte) bool {
	digits := bytes.TrimPrefix(bytes.ToLower(bytes.TrimSpace(text)), []byte("0x"))
	_, err := hex.DecodeString(string(digits))
	return len(text) == 32 || (err == nil && len(digits) == 64) || !utf8.Valid(text) || bytes.ContainsFunc(text, control)
}

// control says whether a character is none of a text.
func control(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }

// Digests returns the one digest to be signed.
func (m *PersonalMessage) Digests() []message.Digest { return []message.Digest{m.digest} }
