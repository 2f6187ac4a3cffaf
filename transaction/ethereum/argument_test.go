package ethereum_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/countersign/countersign/transaction/ethereum"
)

// TestTypes: the types of arguments are those that Decode gives values of.
func TestTypes(t *testing.T) {
	f, err := ethereum.ParseFunction("f(address to, int8, bytes4[] b, (bool ok, string text, bytes raw)[2] parts)")
	if err != nil {
		t.Fatal(err)
	}
	fixed := ethereum.Type{Kind: ethereum.TypeBytes}
	part := ethereum.Type{Kind: ethereum.TypeTuple, Parts: map[string]ethereum.Type{
		"ok": {Kind: ethereum.TypeBool}, "text": {Kind: ethereum.TypeString}, "raw": fixed,
	}}
	want := map[string]ethereum.Type{
		"to": {Kind: ethereum.TypeAddress}, "1": {Kind: ethereum.TypeInteger},
		"b": {Kind: ethereum.TypeArray, Elem: &fixed}, "parts": {Kind: ethereum.TypeArray, Elem: &part},
	}
	if got := f.Types(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestReadAddress(t *testing.T) {
	const lower = "0xfb6916095ca1df60bb79ce92ce3ea74c37c5d359"
	for text, want := range map[string]string{
		lower: lower, "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359": lower,
		"0xFb6916095ca1df60bB79Ce92cE3Ea74c37c5d359": "", "0xFB6916095CA1DF60BB79CE92CE3EA74C37C5D359": "",
		"0X" + lower[2:]: "", lower[2:]: "", lower[:40]: "", lower + "00": "", "eip155:1:" + lower: "", "": "",
	} {
		got, err := ethereum.ReadAddress(text)
		if got != want || want == "" && err == nil || want != "" && err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := ethereum.ReadAddress("0xFb6916095ca1df60bB79Ce92cE3Ea74c37c5d359"); !errors.Is(err, ethereum.ErrAddress) {
		t.Errorf("%v", err)
	}
}
