package transaction

import "strings"

// Canonical is the form in which accounts are compared: CAIP-10 of eip155, and
// bare 0x addresses, in lower case, since the case of such an address is a
// checksum and no more.
func Canonical(account string) string {
	if strings.HasPrefix(account, "eip155:") || strings.HasPrefix(account, "0x") {
		return strings.ToLower(account)
	}
	return account
}

// Owner is the owner of the wallet that the request is about, as its descriptor
// (of wallet.create: the payload) names it; empty where there is none.
func (m Meaning) Owner() string {
	switch {
	case m.WalletCreate != nil:
		return m.WalletCreate.Owner
	case m.AccountDescriptor != nil:
		return m.AccountDescriptor.Owner
	case m.WalletDescriptor != nil:
		return m.WalletDescriptor.Owner
	}
	return ""
}
