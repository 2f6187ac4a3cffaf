package main

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/message"
)

// transactionPayload is the payload of ethereum.transaction: fields, or raw.
type transactionPayload struct {
	Raw         string `json:"raw,omitempty"`
	Type        string `json:"type,omitempty"`
	Nonce       string `json:"nonce,omitempty"`
	GasLimit    string `json:"gas_limit,omitempty"`
	GasPrice    string `json:"gas_price,omitempty"`
	MaxFee      string `json:"max_fee_per_gas,omitempty"`
	MaxPriority string `json:"max_priority_fee_per_gas,omitempty"`
	To          string `json:"to,omitempty"`
	Value       string `json:"value,omitempty"`
	Data        string `json:"data,omitempty"`
}

// messagePayload is the payload of ethereum.message.
type messagePayload struct {
	Text *string `json:"text,omitempty"`
	Hex  string  `json:"hex,omitempty"`
}

// typedDataPayload is the payload of ethereum.typed-data.
type typedDataPayload struct {
	TypedData jsontext.Value `json:"typed_data"`
}

// target names whose key signs.
type target struct{ wallet, account string }

func (t *target) add(c *cobra.Command) {
	c.Flags().StringVar(&t.account, "account", "", "account id")
	c.Flags().StringVar(&t.wallet, "wallet", "", "wallet id (default: the account's wallet is looked up)")
}

func (a *app) signCommand() *cobra.Command {
	return a.userFlags(group("sign", "Ask for a signature", a.signTransaction(), a.signMessage(), a.signTypedData()))
}

func (a *app) signTransaction() *cobra.Command {
	var t target
	var p transactionPayload
	var f submitFlags
	c := &cobra.Command{
		Use:   "transaction --account ID (--to ADDRESS --value AMOUNT ... | --raw 0x...)",
		Short: "Sign an Ethereum transaction",
		Long: `Sign an Ethereum transaction, given by its fields or as raw unsigned RLP.
Amounts are in wei, or with a unit: 0.5ether, 30gwei.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.complete(); err != nil {
				return usageError{err, cmd.CommandPath()}
			}
			return a.sign(cmd.Context(), t, message.KindEthereumTransaction, p, f)
		},
	}
	t.add(c)
	c.Flags().StringVar(&p.Raw, "raw", "", "raw unsigned transaction in hex; no other field then")
	c.Flags().StringVar(&p.Type, "type", "", "legacy, eip2930 or eip1559 (default: eip1559, or legacy with --gas-price)")
	oneOf(c, "type", "legacy", "eip2930", "eip1559")
	c.Flags().StringVar(&p.Nonce, "nonce", "", "the account's next transaction number")
	c.Flags().StringVar(&p.GasLimit, "gas-limit", "", "most gas (default: 21000 where there is no --data)")
	c.Flags().StringVar(&p.GasPrice, "gas-price", "", "price of gas, for legacy and eip2930")
	c.Flags().StringVar(&p.MaxFee, "max-fee", "", "highest fee per gas")
	c.Flags().StringVar(&p.MaxPriority, "max-priority-fee", "", "highest tip per gas (default: 0)")
	c.Flags().StringVar(&p.To, "to", "", "receiver's address; none creates a contract")
	c.Flags().StringVar(&p.Value, "value", "", "amount to send (default: 0)")
	c.Flags().StringVar(&p.Data, "data", "", "call data in hex")
	f.add(c)
	return require(c, "account")
}

func (a *app) signMessage() *cobra.Command {
	var t target
	var text, hex string
	var f submitFlags
	c := &cobra.Command{
		Use:   "message --account ID (--text TEXT | --hex 0x...)",
		Short: "Sign a message (EIP-191), as personal_sign does",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := messagePayload{Hex: hex}
			if cmd.Flags().Changed("text") {
				p.Text = &text
			}
			if (p.Text == nil) == (hex == "") {
				return usageError{errors.New("exactly one of --text and --hex is wanted"), cmd.CommandPath()}
			}
			return a.sign(cmd.Context(), t, message.KindEthereumMessage, p, f)
		},
	}
	t.add(c)
	c.Flags().StringVar(&text, "text", "", "the message")
	c.Flags().StringVar(&hex, "hex", "", "the message's bytes")
	f.add(c)
	return require(c, "account")
}

func (a *app) signTypedData() *cobra.Command {
	var t target
	var f submitFlags
	c := &cobra.Command{
		Use:   "typed-data --account ID FILE",
		Short: "Sign typed data (EIP-712), as eth_signTypedData_v4 does",
		Long: `Sign typed data (EIP-712). The file holds the JSON that eth_signTypedData_v4
takes: {"types": ..., "primaryType": ..., "domain": ..., "message": ...}.
Integers are decimal, and strings where they exceed 2^53-1.`,
		Args:              exactly(1),
		ValidArgsFunction: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := readTypedData(args[0])
			if err != nil {
				return err
			}
			return a.sign(cmd.Context(), t, message.KindEthereumTypedData, typedDataPayload{data}, f)
		},
	}
	t.add(c)
	f.add(c)
	return require(c, "account")
}

// readTypedData finds out only whether the file holds a JSON object without
// doubled members: what it means is for the services to say.
func readTypedData(path string) (jsontext.Value, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var members map[string]jsontext.Value
	if err := message.DecodeStrict(b, &members); err != nil {
		return nil, advise(fmt.Errorf("%s is not a JSON object, or a member stands twice in it", path),
			"give the JSON of eth_signTypedData_v4, not a string that contains it")
	}
	return b, nil
}

func (a *app) sign(ctx context.Context, t target, kind message.Kind, payload any, f submitFlags) error {
	c, _, err := a.connect(true)
	if err != nil {
		return err
	}
	if t.wallet == "" {
		if t.wallet, err = walletOf(ctx, c, t.account); err != nil {
			return err
		}
	}
	return a.submit(ctx, c, submission{kind: kind, wallet: t.wallet, account: t.account, payload: payload}, f)
}

// walletOf finds the wallet of an account among those that the user may see.
func walletOf(ctx context.Context, c *client.Client, account string) (string, error) {
	for cursor := ""; ; {
		page, err := c.Wallets(ctx, 0, cursor)
		if err != nil {
			return "", err
		}
		for _, w := range page.Wallets {
			found, err := hasAccount(ctx, c, w.ID, account)
			if err != nil || found {
				return w.ID, err
			}
		}
		if cursor = page.Next; cursor == "" {
			return "", advise(fmt.Errorf("account %s is in none of your wallets", account),
				"list them: countersign wallet list, countersign account list --wallet ID")
		}
	}
}

func hasAccount(ctx context.Context, c *client.Client, wallet, account string) (bool, error) {
	for cursor := ""; ; {
		page, err := c.Accounts(ctx, wallet, 0, cursor)
		if err != nil {
			return false, err
		}
		for _, v := range page.Accounts {
			if v.ID == account {
				return true, nil
			}
		}
		if cursor = page.Next; cursor == "" {
			return false, nil
		}
	}
}

// complete fills in what goes without saying and turns amounts into wei.
func (p *transactionPayload) complete() error {
	if p.Raw != "" {
		if *p != (transactionPayload{Raw: p.Raw}) {
			return errors.New("--raw stands alone: it says everything")
		}
		return nil
	}
	if p.Type == "" {
		p.Type = "eip1559"
		if p.GasPrice != "" {
			p.Type = "legacy"
		}
	}
	if p.Nonce == "" {
		return errors.New("--nonce is missing")
	}
	if p.GasLimit == "" {
		if p.Data != "" {
			return errors.New("--gas-limit is missing")
		}
		p.GasLimit = "21000"
	}
	if p.Value == "" {
		p.Value = "0"
	}
	if p.Type == "eip1559" {
		if p.MaxFee == "" {
			return errors.New("--max-fee is missing")
		}
		if p.MaxPriority == "" {
			p.MaxPriority = "0"
		}
	}
	return p.convert()
}

func (p *transactionPayload) convert() error {
	for name, amount := range map[string]*string{
		"value": &p.Value, "gas-price": &p.GasPrice, "max-fee": &p.MaxFee, "max-priority-fee": &p.MaxPriority,
	} {
		if *amount == "" {
			continue
		}
		wei, err := parseAmount(*amount)
		if err != nil {
			return fmt.Errorf("--%s: %w", name, err)
		}
		*amount = wei
	}
	return nil
}

// units are the decimals of each unit of ether; longer names first, so that
// the "wei" in "gwei" is not taken for the unit.
var units = []struct {
	name     string
	decimals int
}{{"ether", 18}, {"gwei", 9}, {"wei", 0}}

// parseAmount reads a decimal number with an optional unit and returns wei.
// What is not a whole number of wei is refused, never rounded.
func parseAmount(text string) (string, error) {
	number, decimals := text, 0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			number, decimals = strings.TrimSpace(rest), u.decimals
			break
		}
	}
	whole, fraction, _ := strings.Cut(number, ".")
	if len(fraction) > decimals || whole+fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" {
		return "", fmt.Errorf("%q is not an amount: write wei, or for example 0.5ether or 30gwei", text)
	}
	n, ok := new(big.Int).SetString(whole+fraction+strings.Repeat("0", decimals-len(fraction)), 10)
	if !ok {
		return "", fmt.Errorf("%q is not an amount", text)
	}
	return n.String(), nil
}
