package boot

import (
	"encoding/json"
	"os"

	"github.com/countersign/countersign/internal/message"
)

// PrintKey writes a public key to standard output as one line of JSON, in the
// form in which the policy document takes it.
func PrintKey(key message.JWK) error {
	b, err := message.Encode(key)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(b, '\n'))
	return err
}

// PrintJSON writes v to standard output.
func PrintJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
