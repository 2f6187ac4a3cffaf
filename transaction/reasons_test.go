package transaction_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
)

// inside are names that only who reads the source knows: *ethereum.typedJSON,
// into Go, unmarshal.
var inside = regexp.MustCompile(`\*?[a-z]+\.[a-z]+[A-Z]|Go |unmarshal|decoding|\*[a-z]+\.|\b(json|jsontext|rlp|hex|strconv):|\)\.[A-Z]`)

// TestReasonsAreForPeople: why a payload is refused stands in a signed result.
// It says what is wrong in the user's words.
func TestReasonsAreForPeople(t *testing.T) {
	fix := stored(t)
	wallet := map[string]any{"wallet": fix.wallet}
	account := map[string]any{"wallet": fix.wallet, "account": fix.account}
	members := map[message.Kind]map[string]any{
		message.KindWalletCreate: {}, message.KindAccountCreate: wallet, message.KindEthereumTransaction: account,
		message.KindEthereumMessage: account, message.KindEthereumTypedData: account,
		message.KindPolicyUpdate: {}, message.KindWalletFreeze: wallet, message.KindUserFreeze: {},
	}
	for _, c := range []struct {
		kind          message.Kind
		payload, want string
	}{
		{message.KindWalletCreate, `{"a":1}`, `member "/a" is not known`},
		{message.KindWalletCreate, `{"owner":1}`, `member "/owner" must not be a number`},
		{message.KindWalletCreate, `{"owner":"alice","seed_type":"raw","source":"mine"}`, `from source "mine" is not known`},
		{message.KindAccountCreate, `{"a":1}`, `member "/a" is not known`},
		{message.KindAccountCreate, `{"path":["m"]}`, `member "/path" must not be an array`},
		{message.KindEthereumTransaction, `{"a":1}`, `malformed payload: member "/a" is not known`},
		{message.KindEthereumTransaction, `{"type":"legacy","nonce":9}`, `malformed payload: member "/nonce" must not be a number`},
		{message.KindEthereumTransaction, `{"type":"eip2930","access_list":{}}`, `member "/access_list" must not be an object`},
		{message.KindEthereumTransaction, `{"type":"eip2930","access_list":[{"storage_keys":[7]}]}`, `member "/access_list/0/storage_keys/0" must not be a number`},
		{message.KindEthereumTransaction, `{"type":"legacy","nonce":null}`, `"nonce" is null`},
		{message.KindEthereumTransaction, `{"raw":"0xc101"}`, `too few elements`},
		{message.KindEthereumTransaction, `{"raw":"0x02c101"}`, `too few elements`},
		{message.KindEthereumTransaction, `{"raw":"0x02c20180"}`, `too few elements`},
		{message.KindEthereumTransaction, `{"raw":"0x01c28000"}`, `non-canonical integer (leading zero bytes)`},
		{message.KindEthereumTransaction, `{"raw":"0x02cb01` + strings.Repeat("01", 4) + `82111101010101"}`, `input string too short`},
		{message.KindEthereumTransaction, `{"raw":"0xc9c1010101010101010101"}`, `expected input string or byte`},
		{message.KindEthereumTransaction, `{"raw":"0xf8"}`, `it ends too early`},
		{message.KindEthereumTransaction, `{"raw":"0x02"}`, `it ends too early`},
		{message.KindEthereumTransaction, `{"raw":"0x02f838"}`, `value size exceeds available input length`},
		{message.KindEthereumMessage, `{"a":1}`, `malformed payload: member "/a" is not known`},
		{message.KindEthereumMessage, `{"text":{}}`, `member "/text" must not be an object`},
		{message.KindEthereumTypedData, `{"a":1}`, `malformed payload: member "/a" is not known`},
		{message.KindEthereumTypedData, `{"typed_data":{"a":1}}`, `malformed payload: member "/typed_data/a" is not known`},
		{message.KindEthereumTypedData, `{"typed_data":"{}"}`, `member "/typed_data" must not be a string`},
		{message.KindEthereumTypedData, `{"typed_data":{"types":{"A":[{"name":1}]}}}`, `member "/typed_data/types/A/0/name" must not be a number`},
		{message.KindPolicyUpdate, `{"a":1}`, `member "/a" is not known`},
		{message.KindPolicyUpdate, `{"document":"?"}`, `member "/document": illegal base64`},
		{message.KindPolicyUpdate, `{"signatures":"x"}`, `member "/signatures" must not be a string`},
		{message.KindWalletFreeze, `{"a":1}`, `member "/a" is not known`},
		{message.KindWalletFreeze, `{"reason":false}`, `member "/reason" must not be a boolean`},
		{message.KindUserFreeze, `{"a":1}`, `member "/a" is not known`},
		{message.KindUserFreeze, `{"user":[]}`, `member "/user" must not be an array`},
	} {
		t.Run(string(c.kind)+" "+c.payload, func(t *testing.T) {
			changes := map[string]any{"payload": jsontext.Value(c.payload)}
			for name, value := range members[c.kind] {
				changes[name] = value
			}
			_, err := interpreter(fix.store).Interpret(t.Context(), statement(t, c.kind, changes))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "invalid payload: ") {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if found := inside.FindString(err.Error()); found != "" {
				t.Errorf("%q is said to people: %v", found, err)
			}
		})
	}
}
