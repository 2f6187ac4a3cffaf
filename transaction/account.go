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

// Address is the account that signs, as CAIP-10 in canonical form: two accounts of
// one wallet with one key are one. It is empty where the request signs nothing.
func (m Meaning) Address() string {
	if m.AccountDescriptor == nil || m.AccountDescriptor.Address == "" {
		return ""
	}
	return Canonical(m.AccountDescriptor.Chain + ":" + m.AccountDescriptor.Address)
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
